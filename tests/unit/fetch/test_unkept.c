/* Chunks that the cache did not take. */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "fetch/flight.h"
#include "rig.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (400 * (uint64_t)CHUNK)
#define FULL 16 /* chunks in a budget of 1 MiB */

static struct rig rig;

static void open_small(void)
{
    rig_open(&rig, &(struct rig_opts){.size = SIZE, .memory_bytes = MIB});
}

static void open_default(void)
{
    rig_open(&rig, &(struct rig_opts){.size = SIZE});
}

static void close_rig(void)
{
    rig_close(&rig);
}

TestSuite(unkept, .init = open_default, .fini = close_rig);
TestSuite(unkept_small, .init = open_small, .fini = close_rig);

/* Chunks 0 to 15 in this order, read by nobody, from one request. */
static void fill(void)
{
    kf_feed_want(rig.feed, 0, FULL, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig.held->requests[0].length, FULL * CHUNK);
    for (size_t i = 1; i <= FULL; i++) {
        held_send(rig.held, 1, CHUNK);
        rig_wait_unkept(&rig, i);
    }
    held_finish(rig.held, 1);
    rig_wait_quiet(&rig);
}

static void read_begin(uint64_t chunk)
{
    cr_assert_eq(read_whole(&rig, chunk * CHUNK, 100), KF_E_NONE);
}

static void read_end_of(uint64_t chunk)
{
    cr_assert_eq(read_whole(&rig, chunk * CHUNK + CHUNK - 100, 100), KF_E_NONE);
}

static void expect_next_request(unsigned number, uint64_t chunk)
{
    cr_assert(held_wait(rig.held, number), "request %u does not come", number);
    cr_assert_eq(rig.held->requests[number - 1].offset, chunk * CHUNK);
}

/* ---- nothing is fetched twice ---- */

Test(unkept, parts_of_a_chunk_without_a_store_are_one_request)
{
    rig.held->automatic = true;
    for (uint64_t part = 0; part < 8; part++)
        cr_assert_eq(read_whole(&rig, CHUNK + part * (CHUNK / 8), CHUNK / 8), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_READ_WAITS), 1);
}

static void read_behind_readahead(void)
{
    unsigned requests;
    uint8_t byte;

    rig.held->automatic = true;
    kf_feed_want(rig.feed, 0, 200, KF_READAHEAD);
    rig_wait_unkept(&rig, 200);
    requests = held_count(rig.held);
    for (uint64_t chunk = 0; chunk < 200; chunk += 2)
        cr_assert_eq(read_whole(&rig, chunk * CHUNK, 2 * CHUNK), KF_E_NONE);
    cr_assert_eq(kf_feed_read_now(rig.feed, &byte, 1, 7 * CHUNK), 1);
    cr_assert_eq(held_count(rig.held), requests);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), 200 * CHUNK + 1);
}

Test(unkept, readahead_without_a_store_is_not_lost)
{
    read_behind_readahead();
}

Test(unkept_refused, readahead_that_the_cache_refuses_is_not_lost)
{
    rig_open(&rig, &(struct rig_opts){
                       .size = SIZE, .cached = true, .write_queue_bytes = CHUNK - 1});
    read_behind_readahead();
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_SKIPPED), 200);
    rig_close(&rig);
}

/* ---- what goes, and when ---- */

Test(unkept_small, a_demand_takes_the_room_of_the_oldest)
{
    struct test_read *first, *second;

    fill();
    first = read_start(&rig, 100 * CHUNK, CHUNK); /* passes whatever the budget */
    expect_next_request(2, 100);
    cr_assert(!rig_in_memory(&rig, 0));
    cr_assert(rig_in_memory(&rig, 1));
    second = read_start(&rig, 200 * CHUNK, CHUNK);
    expect_next_request(3, 200);
    cr_assert(!rig_in_memory(&rig, 1));
    cr_assert(rig_in_memory(&rig, 3));
    cr_assert_leq(kf_budget_used(&rig.fetch->budget), MIB);
    held_finish(rig.held, 2);
    held_finish(rig.held, 3);
    cr_assert_eq(read_end(first), KF_E_NONE);
    cr_assert_eq(read_end(second), KF_E_NONE);
}

Test(unkept_small, what_was_read_goes_before_what_was_not)
{
    static const uint64_t order[] = {9, 4, 5, 2, 0, 1, 3, 6, 7, 8};
    struct test_read *reads[6];
    unsigned gone = 0;

    fill();
    read_begin(5);
    read_begin(4);
    read_begin(2);
    read_end_of(9);
    read_end_of(4);
    for (unsigned i = 0; i < 6; i++) {
        reads[i] = read_start(&rig, (100 + 2 * i) * CHUNK, 1);
        expect_next_request(2 + i, 100 + 2 * i);
        while (gone < 10 && !rig_in_memory(&rig, order[gone]))
            gone++;
        cr_assert_geq(gone, i + 1);
        for (unsigned rest = gone; rest < 10; rest++)
            cr_assert(rig_in_memory(&rig, order[rest]), "%u went before %u",
                      (unsigned)order[rest], (unsigned)order[gone]);
    }
    for (unsigned i = 0; i < 6; i++) {
        held_finish(rig.held, 2 + i);
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    }
}

Test(unkept_small, a_read_makes_a_chunk_the_last_to_go)
{
    fill();
    read_end_of(3);
    read_end_of(7);
    read_end_of(3);
    rig.held->automatic = true;
    read_begin(100);
    rig_wait_quiet(&rig);
    cr_assert(rig_in_memory(&rig, 3));
    cr_assert(!rig_in_memory(&rig, 7));
}

Test(unkept_small, of_what_was_read_half_the_budget_stays)
{
    fill();
    for (uint64_t chunk = 0; chunk < FULL; chunk++)
        read_begin(chunk);
    rig_wait_unkept(&rig, FULL / 2);
    read_end_of(8);
    rig.held->automatic = true;
    read_begin(0);
    rig_wait_quiet(&rig);
    cr_assert(!rig_in_memory(&rig, 8), "what was begun goes after it");
    cr_assert(rig_in_memory(&rig, 9));
}

/* ---- holding back ---- */

Test(unkept_small, readahead_waits_for_readers_of_what_it_brought)
{
    fill();
    kf_feed_want(rig.feed, 50, 2, KF_READAHEAD);
    for (uint64_t chunk = 0; chunk < FULL / 2; chunk++)
        read_end_of(chunk);
    cr_assert_eq(held_count(rig.held), 1);
    read_begin(FULL / 2); /* less than half is left */
    expect_next_request(2, 50);
    for (uint64_t chunk = FULL / 2; chunk < FULL; chunk++)
        cr_assert(rig_in_memory(&rig, chunk));
}

Test(unkept_small, reading_from_memory_lets_readahead_go_on)
{
    uint8_t bytes[KF_READ_CHUNKS];

    fill();
    kf_feed_want(rig.feed, 50, 2, KF_PREFETCH);
    for (uint64_t chunk = 0; chunk <= FULL / 2; chunk++)
        cr_assert_eq(kf_feed_read_now(rig.feed, bytes, 1, (chunk + 1) * CHUNK - 1), 1);
    expect_next_request(2, 50);
}

Test(unkept_small, chunks_that_nobody_comes_for_hold_nobody_up_for_long)
{
    int64_t start_ns = 1000 * KF_NS_PER_S;

    kf_clock_fake(start_ns);
    fill();
    kf_feed_want(rig.feed, 50, 2, KF_READAHEAD);
    kf_clock_fake(start_ns + 10 * KF_NS_PER_S - 1);
    read_begin(15);
    cr_assert_eq(held_count(rig.held), 1);
    kf_clock_fake(start_ns + 10 * KF_NS_PER_S);
    read_begin(15);
    expect_next_request(2, 50);
    cr_assert(rig_in_memory(&rig, 14), "no more than needed");
    kf_clock_fake(-1);
}

/* ---- the end ---- */

Test(unkept_small, stopping_drops_all)
{
    fill();
    cr_assert_eq(kf_fetch_stop(rig.fetch, kf_deadline_ns(20 * KF_NS_PER_S)), 0);
    cr_assert_eq(kf_budget_used(&rig.fetch->budget), 0);
    cr_assert_eq(rig.fetch->flight_count, 0);
}

Test(unkept_small, a_chunk_that_lands_after_stopping_is_dropped)
{
    kf_feed_want(rig.feed, 0, 1, KF_READAHEAD);
    rig.held->deaf = true;
    cr_assert_eq(kf_fetch_stop(rig.fetch, 0), -1);
    held_finish(rig.held, 1);
    cr_assert_eq(kf_fetch_stop(rig.fetch, kf_deadline_ns(20 * KF_NS_PER_S)), 0);
    cr_assert_eq(kf_budget_used(&rig.fetch->budget), 0);
}

Test(unkept_small, room_of_a_feed_that_nobody_holds_is_taken)
{
    struct kf_feed *other = rig_feed(&rig, "0456-second");

    kf_feed_want(other, 0, FULL, KF_READAHEAD);
    kf_feed_unref(other);
    held_finish(rig.held, 1);
    rig_wait_unkept(&rig, FULL);
    rig.held->automatic = true;
    for (uint64_t chunk = 0; chunk < 2 * FULL; chunk++)
        read_begin(chunk);
    rig_wait_quiet(&rig);
    cr_assert_leq(kf_budget_used(&rig.fetch->budget), MIB);
}
