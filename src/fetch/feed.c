#include "fetch/feed.h"
