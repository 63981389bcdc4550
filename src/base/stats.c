#include "base/stats.h"
