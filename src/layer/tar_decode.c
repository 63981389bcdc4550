#include "layer/tar_decode.h"
