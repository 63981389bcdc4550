#include "kit/tree.h"
