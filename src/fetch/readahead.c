#include "fetch/readahead.h"
