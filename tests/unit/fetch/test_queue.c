#include "fetch/queue.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rig.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (400 * (uint64_t)CHUNK)

static struct rig rig;

static void open_with(unsigned connections, uint64_t memory_bytes)
{
    rig_open(&rig, &(struct rig_opts){.size = SIZE,
                                      .connections = connections,
                                      .memory_bytes = memory_bytes});
}

static const struct held_request *request(unsigned number)
{
    cr_assert(held_wait(rig.held, number), "request %u does not come", number);
    return &rig.held->requests[number - 1];
}

static void expect_request(unsigned number, uint64_t chunk, uint64_t count,
                           enum kf_urgency urgency)
{
    const struct held_request *got = request(number);

    cr_assert_eq(got->offset, chunk * CHUNK, "request %u is of chunk %llu", number,
                 (unsigned long long)(got->offset / CHUNK));
    cr_assert_eq(got->length, count * CHUNK, "request %u is of %llu chunks", number,
                 (unsigned long long)(got->length / CHUNK));
    cr_assert_eq(got->urgency, urgency);
}

/* Ends requests as they come, up to one number. */
static void finish_until(unsigned first, unsigned last)
{
    for (unsigned number = first; number <= last; number++) {
        (void)request(number);
        held_finish(rig.held, number);
    }
}

Test(queue, most_urgent_first_oldest_first)
{
    struct test_read *reads[3];

    open_with(1, 0);
    reads[0] = read_start(&rig, 0, CHUNK);
    kf_feed_want(rig.feed, 50, 1, KF_PREFETCH);
    kf_feed_want(rig.feed, 40, 1, KF_READAHEAD);
    kf_feed_want(rig.feed, 30, 1, KF_READAHEAD);
    reads[1] = read_start(&rig, 20 * CHUNK, CHUNK);
    reads[2] = read_start(&rig, 10 * CHUNK, CHUNK);
    cr_assert_eq(held_count(rig.held), 1);
    finish_until(1, 6);
    expect_request(2, 20, 1, KF_DEMAND);
    expect_request(3, 10, 1, KF_DEMAND);
    expect_request(4, 40, 1, KF_READAHEAD);
    expect_request(5, 30, 1, KF_READAHEAD);
    expect_request(6, 50, 1, KF_PREFETCH);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, a_read_or_a_wish_moves_a_chunk_up)
{
    struct test_read *reads[2];

    open_with(1, 0);
    reads[0] = read_start(&rig, 0, CHUNK);
    kf_feed_want(rig.feed, 50, 1, KF_READAHEAD);
    kf_feed_want(rig.feed, 60, 1, KF_PREFETCH);
    kf_feed_want(rig.feed, 70, 1, KF_PREFETCH);
    kf_feed_want(rig.feed, 80, 1, KF_PREFETCH);
    kf_feed_want(rig.feed, 70, 1, KF_READAHEAD);
    kf_feed_want(rig.feed, 50, 1, KF_PREFETCH); /* does not move down */
    reads[1] = read_start(&rig, 80 * CHUNK, CHUNK);
    finish_until(1, 5);
    expect_request(2, 80, 1, KF_DEMAND);
    expect_request(3, 50, 1, KF_READAHEAD);
    expect_request(4, 70, 1, KF_READAHEAD);
    expect_request(5, 60, 1, KF_PREFETCH);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, two_connections_are_kept_for_demand)
{
    struct test_read *reads[3];

    open_with(4, 0);
    for (uint64_t i = 0; i < 10; i++)
        kf_feed_want(rig.feed, 100 + 2 * i, 1, i % 2 ? KF_READAHEAD : KF_PREFETCH);
    cr_assert_eq(held_count(rig.held), 2);
    for (uint64_t i = 0; i < 3; i++)
        reads[i] = read_start(&rig, 10 * i * CHUNK, CHUNK);
    cr_assert_eq(held_count(rig.held), 4);
    expect_request(3, 0, 1, KF_DEMAND);
    expect_request(4, 10, 1, KF_DEMAND);
    held_finish(rig.held, 1);
    expect_request(5, 20, 1, KF_DEMAND);
    held_finish(rig.held, 3);
    cr_assert_eq(read_end(reads[0]), KF_E_NONE);
    held_finish(rig.held, 4);
    cr_assert_eq(read_end(reads[1]), KF_E_NONE);
    (void)request(6); /* of the others only two at once, however few the demands */
    held_finish(rig.held, 5);
    cr_assert_eq(read_end(reads[2]), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 6);
    rig_close(&rig);
}

Test(queue, demand_takes_every_connection)
{
    struct test_read *reads[5];

    open_with(4, 0);
    for (uint64_t i = 0; i < 5; i++)
        reads[i] = read_start(&rig, 10 * i * CHUNK, CHUNK);
    kf_feed_want(rig.feed, 200, 1, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 4);
    finish_until(1, 6);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    expect_request(6, 200, 1, KF_READAHEAD);
    rig_close(&rig);
}

Test(queue, few_connections_still_read_ahead)
{
    for (unsigned connections = 1; connections <= 3; connections++) {
        open_with(connections, 0);
        kf_feed_want(rig.feed, 0, 1, KF_PREFETCH);
        kf_feed_want(rig.feed, 10, 1, KF_PREFETCH);
        cr_assert_eq(held_count(rig.held), 1);
        finish_until(1, 2);
        rig_close(&rig);
    }
}

/* ---- ranges ---- */

Test(queue, runs_ahead_of_readers_are_cut_at_8_mib)
{
    open_with(8, 0);
    kf_feed_want(rig.feed, 0, 400, KF_READAHEAD);
    expect_request(1, 0, 128, KF_READAHEAD);
    expect_request(2, 128, 128, KF_READAHEAD);
    expect_request(3, 256, 128, KF_READAHEAD);
    expect_request(4, 384, 16, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 4);
    rig_close(&rig);
}

Test(queue, demanded_runs_are_cut_at_4_mib)
{
    struct test_read *blocker, *reads[5];

    open_with(1, 0);
    blocker = read_start(&rig, 300 * CHUNK, 1);
    for (uint64_t i = 0; i < 5; i++)
        reads[i] = read_start(&rig, 20 * i * CHUNK, 20 * CHUNK);
    finish_until(1, 3);
    expect_request(2, 0, 64, KF_DEMAND);
    expect_request(3, 64, 36, KF_DEMAND);
    cr_assert_eq(read_end(blocker), KF_E_NONE);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, demand_and_what_follows_it_share_a_request)
{
    struct test_read *reads[2];

    open_with(1, 0);
    reads[0] = read_start(&rig, 300 * CHUNK, 1);
    kf_feed_want(rig.feed, 9, 11, KF_READAHEAD);
    kf_feed_want(rig.feed, 20, 10, KF_PREFETCH);
    reads[1] = read_start(&rig, 10 * CHUNK, 2 * CHUNK);
    finish_until(1, 2);
    expect_request(2, 10, 10, KF_DEMAND);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    expect_request(3, 9, 1, KF_READAHEAD);
    finish_until(3, 3);
    expect_request(4, 20, 10, KF_PREFETCH);
    rig_close(&rig);
}

Test(queue, a_random_read_asks_for_its_chunk_only)
{
    struct test_read *read;

    open_with(8, 0);
    read = read_start(&rig, 77 * CHUNK + 5, 4096);
    expect_request(1, 77, 1, KF_DEMAND);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(read), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, a_hundred_thousand_chunks_are_wanted_at_no_cost)
{
    uint64_t chunks = 100000;

    rig_open(&rig, &(struct rig_opts){.size = chunks * CHUNK, .memory_bytes = 512 * MIB});
    kf_feed_want(rig.feed, 0, chunks, KF_PREFETCH);
    cr_assert_eq(held_count(rig.held), 6);
    for (unsigned i = 1; i <= 6; i++)
        expect_request(i, (i - 1) * 128, 128, KF_PREFETCH);
    finish_until(1, 20);
    expect_request(20, 19 * 128, 128, KF_PREFETCH);
    rig_close(&rig);
}

/* ---- the budget ---- */

static uint64_t in_flight_bytes(void)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < held_count(rig.held); i++)
        if (rig.held->requests[i].req)
            bytes += rig.held->requests[i].length;
    return bytes;
}

Test(queue, reading_ahead_keeps_within_the_budget)
{
    unsigned number = 1;

    open_with(8, 2 * MIB);
    kf_feed_want(rig.feed, 0, 400, KF_READAHEAD);
    for (uint64_t bytes = 0; bytes < SIZE; number++) {
        bytes += request(number)->length;
        cr_assert_leq(in_flight_bytes(), 2 * MIB);
        cr_assert_geq(request(number)->length, bytes < SIZE ? MIB / 2 : CHUNK,
                      "request %u is short", number);
        held_finish(rig.held, number);
        for (uint64_t at = bytes - request(number)->length; at < bytes; at += CHUNK)
            cr_assert_eq(read_whole(&rig, at, CHUNK), KF_E_NONE);
    }
    rig_close(&rig);
}

Test(queue, one_demand_passes_a_spent_budget)
{
    struct test_read *reads[3];

    open_with(8, MIB);
    reads[0] = read_start(&rig, 0, 16 * CHUNK);
    /* The answer being gathered took all of it. */
    expect_request(1, 0, 1, KF_DEMAND);
    cr_assert_eq(held_count(rig.held), 1);
    reads[1] = read_start(&rig, 100 * CHUNK, CHUNK);
    kf_feed_want(rig.feed, 200, 10, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 1);
    reads[2] = read_start(&rig, 0, CHUNK);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(reads[2]), KF_E_NONE);
    /* A read is told a moment after its last request has ended. */
    for (unsigned number = 2; !read_is_done(reads[0]) || !read_is_done(reads[1]);) {
        if (held_count(rig.held) >= number)
            held_finish(rig.held, number++);
        else
            (void)sched_yield(); /* cannot fail on Linux */
    }
    cr_assert_eq(read_end(reads[0]), KF_E_NONE);
    cr_assert_eq(read_end(reads[1]), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, reads_work_without_any_budget)
{
    open_with(8, 1);
    rig.held->automatic = true;
    kf_feed_want(rig.feed, 0, 10, KF_READAHEAD);
    for (uint64_t chunk = 0; chunk < 20; chunk += 4)
        cr_assert_eq(read_whole(&rig, chunk * CHUNK + 1, 3 * CHUNK), KF_E_NONE);
    rig_close(&rig);
}

/* ---- stopping ---- */

Test(queue, stopping_ends_waiting_reads_and_cancels_requests)
{
    struct test_read *reads[4];

    open_with(1, 0);
    reads[0] = read_start(&rig, 0, CHUNK);
    reads[1] = read_start(&rig, 10 * CHUNK, 3 * CHUNK);
    kf_feed_want(rig.feed, 20, 10, KF_READAHEAD);
    kf_feed_want(rig.feed, 0, 400, KF_PREFETCH);
    reads[2] = read_start(&rig, 25 * CHUNK, CHUNK);
    cr_assert_eq(kf_fetch_stop(rig.fetch, kf_deadline_ns(20 * KF_NS_PER_S)), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_CANCELLED);
    cr_assert_null(rig.held->requests[0].req);
    reads[3] = read_start(&rig, 0, CHUNK);
    cr_assert(read_is_done(reads[3]));
    cr_assert_eq(read_end(reads[3]), KF_E_CANCELLED);
    kf_feed_want(rig.feed, 30, 10, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 1);
    rig_close(&rig);
}

Test(queue, stopping_gives_up_on_a_deaf_source)
{
    struct test_read *read;

    open_with(8, 0);
    read = read_start(&rig, 0, CHUNK);
    rig.held->deaf = true;
    cr_assert_eq(kf_fetch_stop(rig.fetch, kf_deadline_ns(KF_NS_PER_MS)), -1);
    cr_assert_eq(read_end(read), KF_E_CANCELLED, "the reader does not wait for it");
    held_finish(rig.held, 1);
    rig_close(&rig);
}

Test(queue, nothing_to_stop)
{
    struct kf_fetch *fetch;
    struct kf_err err;

    cr_assert_eq(kf_fetch_new(&fetch, &(struct kf_fetch_opts){0}, &err), 0);
    cr_assert_eq(kf_fetch_stop(fetch, 0), 0);
    kf_fetch_free(fetch);
    kf_fetch_free(NULL);
}

/* ---- looking ---- */

struct seen {
    struct kf_fetch_view views[8];
    unsigned count;
};

static void look(void *arg, const struct kf_fetch_view *view)
{
    struct seen *seen = arg;

    seen->views[seen->count++] = *view;
}

Test(queue, shows_what_is_in_flight)
{
    struct seen seen = {.count = 0};
    struct test_read *read;

    open_with(8, 0);
    kf_clock_fake(10 * KF_NS_PER_S);
    read = read_start(&rig, 5 * CHUNK, 2 * CHUNK);
    kf_clock_fake(12 * KF_NS_PER_S);
    kf_feed_want(rig.feed, 50, 3, KF_PREFETCH);
    kf_fetch_in_flight(rig.fetch, look, &seen);
    cr_assert_eq(seen.count, 2);
    cr_assert_str_eq(seen.views[0].source_name, "held");
    cr_assert_eq(seen.views[0].first_chunk, 5);
    cr_assert_eq(seen.views[0].chunk_count, 2);
    cr_assert_eq(seen.views[0].urgency, KF_DEMAND);
    cr_assert_eq(seen.views[0].age_ns, 2 * KF_NS_PER_S);
    cr_assert_eq(seen.views[1].urgency, KF_PREFETCH);
    kf_clock_fake(-1);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(read), KF_E_NONE);
    rig_close(&rig);
}

Test(queue, window_follows_connections_and_memory)
{
    static const struct {
        unsigned connections;
        uint64_t memory_bytes, window_bytes;
    } rows[] = {{0, 0, 64 * MIB}, {2, 0, 16 * MIB}, {0, 32 * MIB, 16 * MIB}};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_fetch *fetch;
        struct kf_err err;
        struct kf_fetch_opts opts = {.connections = rows[i].connections,
                                     .memory_bytes = rows[i].memory_bytes};

        cr_assert_eq(kf_fetch_new(&fetch, &opts, &err), 0);
        cr_assert_eq(kf_fetch_window_bytes(fetch), rows[i].window_bytes);
        kf_fetch_free(fetch);
    }
}
