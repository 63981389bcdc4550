#include "fetch/plan.h"
