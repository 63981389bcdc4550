#include "base/containers.h"
