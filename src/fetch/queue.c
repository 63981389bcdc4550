#include "fetch/queue.h"
