#include "cache/object.h"
