#include "layer/layer.h"
