#include "layer/table.h"
