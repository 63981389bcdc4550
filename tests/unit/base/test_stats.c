#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "base/stats.h"

Test(stats, adds_to_the_one_that_is_named)
{
    struct kf_stats stats = {0};

    kf_stats_add(&stats, KF_STAT_RETRIES, 2);
    kf_stats_add(&stats, KF_STAT_RETRIES, 3);
    cr_assert_eq(kf_stats_get(&stats, KF_STAT_RETRIES), 5);
    for (int i = 0; i < KF_STAT_COUNT; i++)
        if (i != KF_STAT_RETRIES)
            cr_assert_eq(kf_stats_get(&stats, (enum kf_stat)i), 0);
    kf_stats_add(NULL, KF_STAT_RETRIES, 1);
}

Test(stats, names_are_plain_and_differ)
{
    for (int i = 0; i < KF_STAT_COUNT; i++) {
        const char *name = kf_stat_name((enum kf_stat)i);

        cr_assert_gt(strlen(kf_stat_help((enum kf_stat)i)), 0);
        for (const char *c = name; *c; c++)
            cr_assert(islower((unsigned char)*c) || *c == '_', "%s", name);
        for (int j = 0; j < i; j++)
            cr_assert_str_neq(name, kf_stat_name((enum kf_stat)j));
    }
    cr_assert_str_eq(kf_stat_name(KF_STAT_FETCHED_BYTES), "fetched_bytes");
}
