/* Which host is asked next, as a table; the time is what the test says. */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/http.h"
#include "oci/hosts.h"
#include "oci/route.h"

#define S KF_NS_PER_S
#define ALL KF_HOST_ALL

static struct kf_route route;
static struct kf_route_blob blob;

static void set_up(void)
{
    blob = (struct kf_route_blob){0};
    kf_route_init(&route);
}

static void tear_down(void)
{
    kf_route_fini(&route);
}

TestSuite(route, .init = set_up, .fini = tear_down);

static void add(unsigned a, unsigned b, unsigned c)
{
    kf_route_add(&route, a);
    kf_route_add(&route, b);
    kf_route_add(&route, c);
}

static int next_at(int64_t seconds)
{
    return kf_route_next(&route, &blob, KF_HOST_PULL, 0, seconds * S);
}

static bool failed_until(size_t index, int64_t asked, int64_t retry_after, int64_t now)
{
    const struct kf_route_failure failure = {.asked_ns = asked * S,
                                             .retry_after_ns = retry_after * S,
                                             .now_ns = now * S,
                                             .why = "'a' answers 503"};

    return kf_route_failed(&route, index, &failure);
}

static void failed(size_t index, int64_t asked, int64_t now)
{
    (void)failed_until(index, asked, 0, now);
}

Test(route, by_capability)
{
    static const struct {
        unsigned can[3], need;
        size_t first;
        int next;
    } rows[] = {
        {{ALL, ALL, ALL}, KF_HOST_PULL, 0, 0},
        {{ALL, ALL, ALL}, KF_HOST_PULL, 1, 1},
        {{ALL, ALL, ALL}, KF_HOST_PULL, 2, 2},
        {{ALL, ALL, ALL}, KF_HOST_PULL, 3, -1},
        {{KF_HOST_PULL, ALL, ALL}, KF_HOST_RESOLVE, 0, 1},
        {{KF_HOST_PULL, KF_HOST_PULL, ALL}, KF_HOST_RESOLVE, 0, 2},
        {{KF_HOST_RESOLVE, ALL, ALL}, KF_HOST_PULL, 0, 1},
        {{ALL, KF_HOST_PULL, KF_HOST_PUSH}, KF_HOST_RESOLVE, 0, 0},
        {{ALL, KF_HOST_PULL, KF_HOST_PUSH}, KF_HOST_RESOLVE, 1, -1},
        {{KF_HOST_PUSH, KF_HOST_PUSH, KF_HOST_PUSH}, KF_HOST_PULL, 0, -1},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        route.count = 0;
        add(rows[i].can[0], rows[i].can[1], rows[i].can[2]);
        cr_expect_eq(kf_route_next(&route, &blob, rows[i].need, rows[i].first, 0),
                     rows[i].next, "row %zu", i);
    }
}

Test(route, the_last_is_the_last_that_can)
{
    add(ALL, ALL, KF_HOST_PUSH);
    cr_expect_not(kf_route_is_last(&route, KF_HOST_PULL, 0));
    cr_expect(kf_route_is_last(&route, KF_HOST_PULL, 1));
    cr_expect_not(kf_route_is_last(&route, KF_HOST_PUSH, 1));
    failed(0, 1, 2);
    failed(1, 1, 2);
    cr_expect_eq(next_at(3), 1, "it is asked whatever happened");
}

Test(route, one_that_failed_is_left_alone_and_tried_by_one)
{
    add(ALL, ALL, ALL);
    cr_expect_eq(next_at(10), 0);
    failed(0, 10, 11);
    cr_expect_eq(next_at(11), 1);
    cr_expect_eq(next_at(15), 1);
    cr_expect_eq(next_at(16), 0, "5 s are over: one tries it");
    cr_expect_eq(next_at(16), 1, "the others wait");
    cr_expect_eq(next_at(20), 1);
    cr_expect(kf_route_worked(&route, 0));
    cr_expect_eq(next_at(20), 0);
    cr_expect_eq(next_at(20), 0);
    cr_expect_not(kf_route_worked(&route, 0));
}

/* One that ends without a word (cancelled) must not keep it away for ever. */
Test(route, the_one_that_tries_says_nothing)
{
    add(ALL, ALL, ALL);
    failed(0, 10, 10);
    cr_expect_eq(next_at(15), 0);
    cr_expect_eq(next_at(19), 1);
    cr_expect_eq(next_at(20), 0);
}

Test(route, the_rest_doubles_up_to_5_minutes)
{
    static const int64_t rests[] = {5, 10, 20, 40, 80, 160, 300, 300};
    int64_t now = 1000;

    add(ALL, ALL, ALL);
    for (size_t i = 0; i < KF_ARRAY_LEN(rests); i++) {
        cr_assert_eq(next_at(now), 0, "after %zu failures", i);
        failed(0, now, now + 1);
        cr_expect_eq(next_at(now + 1 + rests[i] - 1), 1);
        now += 1 + rests[i];
    }
    cr_expect(kf_route_worked(&route, 0));
    failed(0, now, now);
    cr_expect_eq(next_at(now + 5), 0, "it begins anew");
}

Test(route, requests_under_way_together_fail_once)
{
    add(ALL, ALL, ALL);
    cr_expect(failed_until(0, 10, 0, 12));
    for (int i = 0; i < 7; i++)
        cr_expect_not(failed_until(0, 10, 0, 13));
    cr_expect_eq(next_at(17), 0);
}

Test(route, it_says_when)
{
    add(ALL, ALL, ALL);
    (void)failed_until(0, 0, 30, 0);
    cr_expect_eq(next_at(29), 1);
    cr_expect_eq(next_at(30), 0);
    (void)failed_until(0, 30, 1, 30);
    cr_expect_eq(next_at(39), 1, "not sooner than without");
    cr_expect_eq(next_at(40), 0);
    (void)failed_until(0, 40, 86400, 40);
    cr_expect_eq(next_at(339), 1);
    cr_expect_eq(next_at(340), 0, "5 min at most");
}

Test(route, what_one_blob_lacks)
{
    const struct kf_route_blob another = {0};

    add(ALL, ALL, ALL);
    kf_route_avoid(&route, &blob, 0, 60 * S, "no");
    kf_route_avoid(&route, &blob, 2, 60 * S, "no");
    cr_expect_eq(next_at(59), 1);
    cr_expect_eq(kf_route_next(&route, &another, KF_HOST_PULL, 0, 59 * S), 0);
    failed(1, 59, 59);
    cr_expect_eq(next_at(59), 2, "the last one, even so");
    cr_expect_eq(next_at(60), 0);
}

Test(route, why_they_are_not_asked)
{
    char text[64];

    add(ALL, KF_HOST_PULL, ALL);
    kf_route_tell(&route, &blob, KF_HOST_PULL, 2, 0, text, sizeof(text));
    cr_expect_str_eq(text, "");
    failed(0, 0, 0);
    kf_route_avoid(&route, &blob, 1, 60 * S, "'b' answers 404");
    kf_route_tell(&route, &blob, KF_HOST_PULL, 2, 1, text, sizeof(text));
    cr_expect_str_eq(text, "'a' answers 503; 'b' answers 404");
    kf_route_tell(&route, &blob, KF_HOST_RESOLVE, 2, 1, text, sizeof(text));
    cr_expect_str_eq(text, "'a' answers 503");
    kf_route_tell(&route, &blob, KF_HOST_PULL, 2, 5 * S, text, sizeof(text));
    cr_expect_str_eq(text, "'b' answers 404");
    kf_route_tell(&route, &blob, KF_HOST_PULL, 2, 1, text, 20);
    cr_expect_str_eq(text, "'a' answers 503; 'b");
}

Test(route, whose_fault)
{
    static const struct {
        enum kf_http_end end;
        int status;
        bool ignored;
        enum kf_route_fault fault;
    } rows[] = {
        {KF_HTTP_STATUS, 307, false, KF_ROUTE_OF_BLOB}, /* that leads nowhere */
        {KF_HTTP_STATUS, 400, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STATUS, 401, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 403, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 404, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STATUS, 405, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STATUS, 407, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 408, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 410, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STATUS, 416, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STATUS, 429, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 500, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STATUS, 503, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_BROKEN, 0, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_STALLED, 206, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_DEADLINE, 0, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_BAD, 206, false, KF_ROUTE_OF_HOST},
        {KF_HTTP_BAD, 200, true, KF_ROUTE_OF_BLOB},
        {KF_HTTP_TOO_LONG, 200, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_COMPLETE, 200, false, KF_ROUTE_OF_BLOB},
        {KF_HTTP_STOPPED, 206, false, KF_ROUTE_NO_FAULT},
        {KF_HTTP_CANCELLED, 0, false, KF_ROUTE_NO_FAULT},
    };
    struct kf_exchange exchange;

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_http_init(&exchange);
        exchange.end = rows[i].end;
        exchange.status = rows[i].status;
        exchange.range_ignored = rows[i].ignored;
        cr_expect_eq(kf_route_fault_of(&exchange), rows[i].fault, "row %zu", i);
        kf_http_fini(&exchange);
    }
}
