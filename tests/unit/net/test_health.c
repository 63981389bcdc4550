#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/health.h"
#include "net/peers.h"

#define S KF_NS_PER_S
#define MS KF_NS_PER_MS

static struct kf_health health; /* each test has a process of its own */
static int64_t now = 100 * S;

static void expect_due(int64_t span_ns)
{
    cr_expect_eq(kf_health_due(&health, false, now), now + span_ns);
}

static bool send_one(void)
{
    return kf_health_sent(&health, false, now);
}

static void end(bool probe, enum kf_health_news news)
{
    kf_health_ended(&health, probe, news, 0, now);
}

static void fail_times(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)send_one();
        end(false, KF_HEALTH_FAILURE);
    }
}

Test(health, five_failures_in_a_row_are_a_rest)
{
    fail_times(KF_HEALTH_FAILURES - 1);
    expect_due(0);
    fail_times(1);
    expect_due(KF_HEALTH_REST_NS);
}

Test(health, an_answer_between_failures_begins_the_row_anew)
{
    fail_times(KF_HEALTH_FAILURES - 1);
    end(false, KF_HEALTH_ANSWER);
    fail_times(KF_HEALTH_FAILURES - 1);
    expect_due(0);
}

Test(health, failures_that_are_long_apart_are_no_row)
{
    fail_times(KF_HEALTH_FAILURES - 1);
    now += KF_HEALTH_WINDOW_NS + 1;
    fail_times(KF_HEALTH_FAILURES - 1);
    expect_due(0);
}

Test(health, what_ends_for_us_says_nothing)
{
    for (unsigned i = 0; i < 4 * KF_HEALTH_FAILURES; i++)
        end(false, KF_HEALTH_NOTHING);
    expect_due(0);
}

Test(health, one_probe_at_a_time_and_longer_rests)
{
    int64_t rest = KF_HEALTH_REST_NS;

    fail_times(KF_HEALTH_FAILURES);
    for (unsigned i = 0; i < 6; i++) {
        expect_due(rest);
        now += rest;
        expect_due(0);
        cr_assert(send_one());
        cr_expect_eq(kf_health_due(&health, false, now), KF_NO_DEADLINE);
        now += 300 * MS;
        end(true, KF_HEALTH_FAILURE);
        rest = rest * 2 < KF_HEALTH_REST_LIMIT_NS ? rest * 2 : KF_HEALTH_REST_LIMIT_NS;
    }
    cr_expect_eq(rest, KF_HEALTH_REST_LIMIT_NS);
    now += rest;
    cr_assert(send_one());
    end(true, KF_HEALTH_ANSWER);
    expect_due(0);
    cr_expect_not(send_one());
}

Test(health, a_probe_that_is_cancelled_lets_the_next_one_go)
{
    fail_times(KF_HEALTH_FAILURES);
    now += KF_HEALTH_REST_NS;
    cr_assert(send_one());
    end(true, KF_HEALTH_NOTHING);
    expect_due(0);
    cr_assert(send_one());
}

/* Eight connections break at once: that is one outage, and no longer a rest. */
Test(health, those_under_way_do_not_prolong_the_rest)
{
    for (unsigned i = 0; i < 8; i++)
        end(false, KF_HEALTH_FAILURE);
    expect_due(KF_HEALTH_REST_NS);
}

Test(health, too_many_requests_are_a_pause_for_all)
{
    static const struct {
        int64_t said, pause;
    } rows[] = {
        {0, KF_HEALTH_PAUSE_NS}, {2 * S, 2 * S}, {3600 * S, KF_HEALTH_PAUSE_LIMIT_NS}};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        health = (struct kf_health){0};
        kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, rows[i].said, now);
        expect_due(rows[i].pause);
    }
}

/* How many are sent in so many seconds, each answered at once. */
static unsigned sent_in(int64_t span_ns)
{
    unsigned count = 0;

    for (int64_t until = now + span_ns; now < until; now += MS) {
        if (kf_health_due(&health, false, now) > now)
            continue;
        (void)send_one();
        count++;
    }
    return count;
}

Test(health, after_429_requests_keep_a_pace)
{
    unsigned first, second;

    kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, S, now);
    kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, S, now); /* of the same burst */
    now += S;
    first = sent_in(4 * S);
    cr_expect(first >= 31 && first <= 33, "%u in 4 s", first);
    kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, S, now);
    now += S;
    second = sent_in(4 * S);
    cr_expect(second >= 15 && second <= 17, "%u in 4 s", second);
    for (unsigned i = 0; i < 10; i++) {
        kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, S, now);
        now += S;
    }
    cr_expect_eq(sent_in(4 * S), 4u, "one a second is the least");
}

Test(health, answers_end_the_pace)
{
    kf_health_ended(&health, false, KF_HEALTH_TOO_MANY, 0, now);
    now += S;
    for (unsigned i = 0; i < 500; i++)
        end(false, KF_HEALTH_ANSWER);
    (void)send_one();
    expect_due(0);
}

/* How many of those that repeat are let go in so many seconds. */
static unsigned repeats_in(int64_t span_ns)
{
    unsigned count = 0;

    for (int64_t until = now + span_ns; now < until; now += MS) {
        if (kf_health_due(&health, true, now) > now)
            continue;
        (void)kf_health_sent(&health, true, now);
        count++;
    }
    return count;
}

Test(health, repeats_have_a_budget)
{
    unsigned count = repeats_in(S);

    cr_expect(count >= 14 && count <= 16, "%u in the first second", count);
    count = repeats_in(10 * S);
    cr_expect(count >= 49 && count <= 51, "%u in ten seconds", count);
    expect_due(0); /* what is new is not held */
    for (unsigned i = 0; i < 100; i++)
        end(false, KF_HEALTH_ANSWER);
    cr_expect_eq(repeats_in(2 * MS), 2u, "answers earn some");
}

Test(peers, each_host_has_a_record_of_its_own)
{
    static struct kf_peers peers;
    struct kf_peer *one = kf_peers_get(&peers, "http://one:80");

    one->health.failures = 3;
    cr_expect_eq(kf_peers_get(&peers, "http://two:80")->health.failures, 0u);
    cr_expect_eq(kf_peers_get(&peers, "http://one:80")->health.failures, 3u);
    kf_peers_fini(&peers);
}

Test(peers, the_one_that_was_not_asked_for_longest_goes)
{
    static struct kf_peers peers;
    char origin[32];

    for (unsigned i = 0; i <= KF_PEERS_LIMIT; i++) {
        (void)snprintf(origin, sizeof(origin), "http://host:%u", i);
        kf_peers_get(&peers, origin)->health.failures = i + 1;
        cr_assert_eq(kf_peers_get(&peers, "http://host:0")->health.failures, 1u);
    }
    cr_expect_eq(peers.count, KF_PEERS_LIMIT);
    cr_expect_eq(kf_peers_get(&peers, "http://host:2")->health.failures, 3u);
    cr_expect_eq(kf_peers_get(&peers, "http://host:1")->health.failures, 0u);
    kf_peers_fini(&peers);
}
