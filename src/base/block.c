#include "base/block.h"
