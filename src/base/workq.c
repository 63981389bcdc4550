#include "base/workq.h"
