#include <criterion/criterion.h>

#include "base/clock.h"
#include "net/pace.h"

#define MB UINT64_C(1000000)
#define LOOK KF_PACE_LOOK_NS
#define A_LOOK(rate) ((rate) / (uint64_t)(KF_NS_PER_S / LOOK))
#define LEFT (100 * MB)

static struct kf_pace pace; /* each test has a process of its own */
static struct kf_pace_slow slow;

/* So many connections give so much each for one look. */
static void give(unsigned connections, uint64_t rate)
{
    for (unsigned i = 0; i < connections; i++)
        kf_pace_connection(&pace, A_LOOK(rate), LOOK);
    pace.bytes = connections * A_LOOK(rate);
    kf_pace_look(&pace, LOOK);
}

static bool is_slow(unsigned active, uint64_t rate)
{
    return kf_pace_is_slow(&pace, active, &slow, A_LOOK(rate), LEFT, LOOK);
}

Test(pace, a_slow_one_of_eight_is_seen_at_the_second_look)
{
    give(8, 10 * MB);
    cr_expect_not(is_slow(8, 10 * MB));
    cr_expect_not(is_slow(8, MB / 10));
    cr_expect(is_slow(8, MB / 10));
}

Test(pace, a_moment_is_not_slow)
{
    give(8, 10 * MB);
    cr_expect_not(is_slow(8, 0));
    cr_expect_not(is_slow(8, 10 * MB));
    cr_expect_not(is_slow(8, 0));
}

Test(pace, a_slow_one_that_is_left_alone_is_seen)
{
    give(8, 10 * MB);
    (void)is_slow(1, MB / 10);
    cr_expect(is_slow(1, MB / 10));
}

Test(pace, one_alone_need_not_be_as_fast_as_all)
{
    give(32, 10 * MB);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_not(is_slow(1, 10 * MB));
}

Test(pace, those_who_share_a_link_need_not_be_as_fast_as_one_alone)
{
    give(1, 100 * MB);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_not(is_slow(64, 100 * MB / 64));
}

Test(pace, what_nothing_is_known_of_is_slow_under_the_floor_only)
{
    for (int64_t spent = LOOK; spent < KF_PACE_FLOOR_NS; spent += LOOK)
        cr_assert_not(is_slow(1, KF_PACE_FLOOR / 2));
    cr_expect(is_slow(1, KF_PACE_FLOOR / 2));
    slow = (struct kf_pace_slow){0};
    for (unsigned i = 0; i < 100; i++)
        cr_assert_not(is_slow(1, 2 * KF_PACE_FLOOR));
}

Test(pace, what_is_near_its_end_stays)
{
    give(8, 10 * MB);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_not(kf_pace_is_slow(&pace, 8, &slow, A_LOOK(MB / 10), MB / 10, LOOK));
}

/* A hundred times slower than it was: a few are replaced, then it is as it is. */
Test(pace, a_host_that_slows_down_is_soon_taken_as_it_is)
{
    unsigned replaced = 0;

    give(8, 10 * MB);
    for (unsigned i = 0; i < 100; i++) {
        slow = i % 4 == 0 ? (struct kf_pace_slow){0} : slow;
        if (is_slow(8, MB / 10)) {
            kf_pace_replaced(&pace);
            replaced++;
        }
        give(8, MB / 10);
    }
    cr_expect(replaced >= 1 && replaced <= 4, "%u replaced", replaced);
    cr_expect_not(is_slow(8, MB / 10));
}

Test(pace, the_record_recovers_with_the_host)
{
    give(8, 10 * MB);
    kf_pace_replaced(&pace);
    give(8, 10 * MB);
    cr_expect_geq(pace.connection, 9 * MB);
    cr_expect_geq(pace.all, 79 * MB);
}
