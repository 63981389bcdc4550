#include "kit/open.h"
