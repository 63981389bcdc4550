#include "oci/origin.h"
