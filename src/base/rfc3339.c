#include "base/rfc3339.h"

#include <string.h>
#include <time.h>

static bool two_digits(const char *text, int *ret)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *ret = 10 * (text[0] - '0') + (text[1] - '0');
    return true;
}

/* "+hh:mm", "-hh:mm" or "Z" to seconds east of UTC. */
static bool parse_zone(const char *text, int *ret)
{
    int hours, minutes;

    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0) {
        *ret = 0;
        return true;
    }
    if (strlen(text) != strlen("+hh:mm") || (text[0] != '+' && text[0] != '-') ||
        text[3] != ':' || !two_digits(text + 1, &hours) ||
        !two_digits(text + 4, &minutes))
        return false;
    *ret = (hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
    return true;
}

bool kf_parse_time(const char *text, int64_t *ret)
{
    struct tm when = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &when);
    int east;

    if (!rest)
        return false;
    if (*rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    if (!parse_zone(rest, &east))
        return false;
    *ret = (int64_t)timegm(&when) - east;
    return true;
}
