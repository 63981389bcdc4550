#include <criterion/criterion.h>

#include "base/mem.h"
#include "cache/evict.h"

Test(evict, needs_nothing_up_to_the_limit)
{
    struct kf_evict_state state = {.used_bytes = 90, .limit_bytes = 100, .free_bytes = 5};

    cr_assert_eq(kf_evict_need(&state, 10), 0);
    cr_assert_eq(kf_evict_need(&state, 11), 1);
}

Test(evict, keeps_the_file_system_from_filling)
{
    struct kf_evict_state state = {.used_bytes = 90,
                                   .limit_bytes = UINT64_MAX,
                                   .free_bytes = 50,
                                   .min_free_bytes = 40};

    cr_assert_eq(kf_evict_need(&state, 10), 0);
    cr_assert_eq(kf_evict_need(&state, 11), 1);
    state.free_bytes = 0;
    cr_assert_eq(kf_evict_need(&state, 1), 41);
}

Test(evict, needs_the_larger_of_both)
{
    struct kf_evict_state state = {
        .used_bytes = 100, .limit_bytes = 60, .free_bytes = 30, .min_free_bytes = 50};

    cr_assert_eq(kf_evict_need(&state, 0), 40);
    state.limit_bytes = 95;
    cr_assert_eq(kf_evict_need(&state, 0), 20);
}

Test(evict, has_no_floor_unless_asked)
{
    struct kf_evict_state state = {.limit_bytes = UINT64_MAX};

    cr_assert_eq(kf_evict_need(&state, 1000), 0);
}

Test(evict, does_not_overflow)
{
    struct kf_evict_state state = {
        .used_bytes = 10, .limit_bytes = 100, .free_bytes = 10, .min_free_bytes = 1};

    cr_assert_eq(kf_evict_need(&state, UINT64_MAX), UINT64_MAX - 10);
}

Test(evict, takes_the_oldest_first_and_large_before_small)
{
    struct kf_evict_candidate list[] = {
        {.last_used_ns = 30, .bytes = 1}, {.last_used_ns = 10, .bytes = 2},
        {.last_used_ns = 20, .bytes = 3}, {.last_used_ns = 10, .bytes = 4},
        {.last_used_ns = -5, .bytes = 5},
    };
    const uint64_t expected[] = {5, 4, 2, 3, 1};

    kf_evict_order(list, KF_ARRAY_LEN(list));
    for (size_t i = 0; i < KF_ARRAY_LEN(list); i++)
        cr_assert_eq(list[i].bytes, expected[i]);
    kf_evict_order(NULL, 0);
}
