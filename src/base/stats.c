#include "base/stats.h"

static const char *const names[KF_STAT_COUNT] = {
#define KF_STAT_NAME(id, name, help) [KF_STAT_##id] = name,
    KF_STATS(KF_STAT_NAME)
#undef KF_STAT_NAME
};

static const char *const helps[KF_STAT_COUNT] = {
#define KF_STAT_HELP(id, name, help) [KF_STAT_##id] = help,
    KF_STATS(KF_STAT_HELP)
#undef KF_STAT_HELP
};

const char *kf_stat_name(enum kf_stat which)
{
    return names[which];
}

const char *kf_stat_help(enum kf_stat which)
{
    return helps[which];
}
