#include "oci/media.h"
