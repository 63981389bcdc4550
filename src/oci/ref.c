#include "oci/ref.h"
