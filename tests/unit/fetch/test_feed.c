#include "fetch/feed.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rig.h"

static struct rig rig;

static void close_rig(void)
{
    rig_close(&rig);
}

static void open_plain(void)
{
    rig_open(&rig, &(struct rig_opts){0});
}

static void open_coded(void)
{
    rig_open(&rig, &(struct rig_opts){.coded = true});
}

static void open_cached(void)
{
    rig_open(&rig, &(struct rig_opts){.cached = true});
}

/* The cache gathers for a second before it writes: until then chunks are in memory. */
static void open_in_memory(void)
{
    rig_open(&rig, &(struct rig_opts){.cached = true, .write_queue_bytes = 64 << 20});
}

static void answer_all(void)
{
    rig.held->automatic = true;
}

TestSuite(feed, .init = open_plain, .fini = close_rig);
TestSuite(feed_coded, .init = open_coded, .fini = close_rig);
TestSuite(feed_cached, .init = open_cached, .fini = close_rig);
TestSuite(feed_memory, .init = open_in_memory, .fini = close_rig);

/* ---- fetching ---- */

Test(feed, reads_a_part_of_a_chunk)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 3 * CHUNK + 1000, 77), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig.held->requests[0].offset, 3 * CHUNK);
    cr_assert_eq(rig.held->requests[0].length, CHUNK);
    cr_assert_eq(rig_stat(&rig, KF_STAT_NEEDED_BYTES), CHUNK);
    cr_assert_eq(rig_stat(&rig, KF_STAT_READ_WAITS), 1);
}

Test(feed, reads_the_short_last_chunk)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 64 * CHUNK, 100), KF_E_NONE);
    cr_assert_eq(rig.held->requests[0].length, 100);
    cr_assert_eq(rig_stat(&rig, KF_STAT_NEEDED_BYTES), 100);
}

Test(feed, reads_across_chunks_with_one_request)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 5 * CHUNK + 10, 3 * CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig.held->requests[0].length, 4 * CHUNK);
}

Test(feed, refuses_ranges_that_cannot_be_read)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, 0), KF_E_ARG);
    cr_assert_eq(read_whole(&rig, rig.size, 1), KF_E_ARG);
    cr_assert_eq(read_whole(&rig, rig.size - 1, 2), KF_E_ARG);
    cr_assert_eq(read_whole(&rig, UINT64_MAX, 2), KF_E_ARG);
    cr_assert_eq(read_whole(&rig, 0, KF_READ_CHUNKS * CHUNK + 1), KF_E_ARG);
    cr_assert_eq(held_count(rig.held), 0);
    cr_assert_eq(read_whole(&rig, 0, KF_READ_CHUNKS * CHUNK), KF_E_NONE);
}

Test(feed, sixty_four_readers_of_a_cold_chunk_are_one_fetch)
{
    struct test_read *reads[64];

    for (unsigned i = 0; i < 64; i++)
        reads[i] = read_start(&rig, 7 * CHUNK + i * 1000, 1000);
    cr_assert_eq(held_count(rig.held), 1);
    held_finish(rig.held, 1);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_READ_WAITS), 64);
    cr_assert_eq(rig_stat(&rig, KF_STAT_NEEDED_BYTES), CHUNK);
}

Test(feed, a_reader_does_not_wait_for_the_rest_of_its_range)
{
    struct test_read *first, *second;

    kf_feed_want(rig.feed, 0, 8, KF_READAHEAD);
    first = read_start(&rig, CHUNK, 100);
    second = read_start(&rig, 2 * CHUNK, 100);
    held_send(rig.held, 1, 2 * CHUNK);
    cr_assert_eq(read_end(first), KF_E_NONE);
    held_send(rig.held, 1, CHUNK - 1);
    cr_assert(!read_is_done(second));
    held_send(rig.held, 1, 1);
    cr_assert_eq(read_end(second), KF_E_NONE);
    held_finish(rig.held, 1);
    cr_assert_eq(held_count(rig.held), 1);
}

Test(feed, two_feeds_of_one_source_keep_apart)
{
    struct kf_feed *other = rig_feed(&rig, "0456-second");
    struct test_read *here = read_start(&rig, 0, CHUNK);
    struct test_read *there = read_start_on(&rig, other, 0, CHUNK, 0);

    cr_assert_eq(held_count(rig.held), 2);
    held_finish(rig.held, 2);
    cr_assert_eq(read_end(there), KF_E_NONE);
    cr_assert(!read_is_done(here));
    held_fail(rig.held, 1, KF_E_UNREACHABLE);
    cr_assert_eq(read_end(here), KF_E_UNREACHABLE);
    kf_feed_unref(other);
}

Test(feed, flights_keep_a_feed_that_nobody_else_holds)
{
    struct kf_feed *other = rig_feed(&rig, "0456-second");
    struct test_read *read = read_start_on(&rig, other, 0, CHUNK, 0);

    kf_feed_want(other, 10, 3, KF_READAHEAD);
    kf_feed_unref(other);
    held_finish(rig.held, 1);
    held_finish(rig.held, 2);
    cr_assert_eq(read_end(read), KF_E_NONE);
}

Test(feed, wanted_chunks_are_joined)
{
    struct test_read *read;

    kf_feed_want(rig.feed, 4, 4, KF_PREFETCH);
    read = read_start(&rig, 5 * CHUNK, 2 * CHUNK);
    cr_assert_eq(held_count(rig.held), 1);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(read), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_NEEDED_BYTES), 2 * CHUNK);
}

Test(feed, wanting_past_the_end_is_cut)
{
    kf_feed_want(rig.feed, 60, UINT64_MAX, KF_READAHEAD);
    kf_feed_want(rig.feed, 65, 1, KF_READAHEAD);
    kf_feed_want(rig.feed, UINT64_MAX, UINT64_MAX, KF_READAHEAD);
    kf_feed_want(rig.feed, 0, 0, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig.held->requests[0].length, 4 * CHUNK + 100);
    held_finish(rig.held, 1);
}

/* ---- failures ---- */

Test(feed, all_waiters_get_the_failure_and_the_next_read_works)
{
    struct test_read *reads[8];

    for (unsigned i = 0; i < 8; i++)
        reads[i] = read_start(&rig, 7 * CHUNK, 1000);
    held_send(rig.held, 1, CHUNK / 2);
    held_fail(rig.held, 1, KF_E_UNREACHABLE);
    for (unsigned i = 0; i < 8; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_UNREACHABLE);
    answer_all();
    cr_assert_eq(read_whole(&rig, 7 * CHUNK, 1000), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 2);
}

Test(feed, what_arrived_before_a_failure_counts)
{
    struct test_read *first, *second, *both;

    first = read_start(&rig, 0, 3 * CHUNK);
    cr_assert_eq(held_count(rig.held), 1);
    read_cancel(&rig, first);
    cr_assert_eq(read_end(first), KF_E_CANCELLED);
    first = read_start(&rig, CHUNK, 100);
    second = read_start(&rig, 2 * CHUNK, 100);
    both = read_start(&rig, CHUNK, CHUNK + 1);
    held_send(rig.held, 1, 2 * CHUNK + 50);
    held_fail(rig.held, 1, KF_E_TIMEOUT);
    cr_assert_eq(read_end(first), KF_E_NONE);
    cr_assert_eq(read_end(second), KF_E_TIMEOUT);
    cr_assert_eq(read_end(both), KF_E_TIMEOUT);
}

/* Readahead gives up soon; who joined it has time. */
Test(feed, a_reader_that_joined_readahead_gets_its_own_tries)
{
    struct test_read *read;

    kf_feed_want(rig.feed, 0, 4, KF_READAHEAD);
    read = read_start(&rig, 2 * CHUNK, 100);
    held_send(rig.held, 1, CHUNK);
    held_fail(rig.held, 1, KF_E_UNREACHABLE);
    cr_assert(held_wait(rig.held, 2));
    cr_assert_eq(rig.held->requests[1].urgency, KF_DEMAND);
    cr_assert_eq(rig.held->requests[1].offset, 2 * CHUNK);
    cr_assert_eq(rig.held->requests[1].length, CHUNK, "of the others nobody waits");
    held_fail(rig.held, 2, KF_E_UNREACHABLE);
    cr_assert_eq(read_end(read), KF_E_UNREACHABLE, "that was its own request");
    rig_wait_quiet(&rig);
    cr_assert_eq(held_count(rig.held), 2);
}

Test(feed, failed_readahead_is_forgotten)
{
    kf_feed_want(rig.feed, 0, 4, KF_READAHEAD);
    held_fail(rig.held, 1, KF_E_UNREACHABLE);
    kf_feed_want(rig.feed, 10, 1, KF_PREFETCH);
    held_fail(rig.held, 2, KF_E_UNREACHABLE);
    rig_wait_quiet(&rig);
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
    cr_assert_eq(read_whole(&rig, 10 * CHUNK, CHUNK), KF_E_NONE);
}

Test(feed, a_source_that_ends_early_is_an_error)
{
    struct test_read *read = read_start(&rig, 0, 2 * CHUNK);

    held_send(rig.held, 1, CHUNK);
    held_fail(rig.held, 1, KF_E_NONE);
    cr_assert_eq(read_end(read), KF_E_CORRUPT);
}

Test(feed, a_source_that_sends_too_much_is_stopped)
{
    struct kf_source_req *req;
    struct test_read *read = read_start(&rig, 0, CHUNK);
    struct kf_err err;

    held_send(rig.held, 1, CHUNK);
    req = rig.held->requests[0].req;
    cr_assert_eq(req->sink->write(req->sink, (const uint8_t *)"x", 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    held_fail(rig.held, 1, KF_E_LIMIT);
    cr_assert_eq(read_end(read), KF_E_NONE, "its chunk had come");
}

Test(feed, deadline_goes_to_the_source)
{
    struct test_read *reads[3];
    int64_t now_ns = kf_now_ns();

    reads[0] = read_start_on(&rig, rig.feed, 0, CHUNK, now_ns + KF_NS_PER_S);
    reads[1] = read_start_on(&rig, rig.feed, 2 * CHUNK, CHUNK, 0);
    kf_feed_want(rig.feed, 10, 1, KF_READAHEAD);
    cr_assert_eq(rig.held->requests[0].deadline_ns, now_ns + KF_NS_PER_S);
    cr_assert_geq(rig.held->requests[1].deadline_ns, now_ns + 300 * KF_NS_PER_S);
    cr_assert_geq(rig.held->requests[2].deadline_ns, now_ns + 300 * KF_NS_PER_S);
    for (unsigned i = 0; i < 3; i++)
        held_finish(rig.held, i + 1);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(read_end(reads[i]), KF_E_NONE);
}

Test(feed, a_reader_that_joined_late_gets_its_own_time)
{
    int64_t start_ns = 1000 * KF_NS_PER_S, late_ns = start_ns + 400 * KF_NS_PER_S;
    struct test_read *read;

    kf_clock_fake(start_ns);
    kf_feed_want(rig.feed, 0, 1, KF_READAHEAD);
    kf_clock_fake(start_ns + 299 * KF_NS_PER_S);
    read = read_start_on(&rig, rig.feed, 0, CHUNK, late_ns);
    kf_clock_fake(start_ns + 300 * KF_NS_PER_S);
    held_fail(rig.held, 1, KF_E_TIMEOUT);
    cr_assert(held_wait(rig.held, 2));
    cr_assert_eq(rig.held->requests[1].urgency, KF_DEMAND);
    cr_assert_eq(rig.held->requests[1].deadline_ns, late_ns);
    kf_clock_fake(late_ns);
    held_fail(rig.held, 2, KF_E_TIMEOUT);
    cr_assert_eq(read_end(read), KF_E_TIMEOUT);
    cr_assert_eq(held_count(rig.held), 2);
    kf_clock_fake(-1);
}

/* ---- decoding ---- */

Test(feed_coded, decodes)
{
    answer_all();
    cr_assert_eq(read_whole(&rig, 5 * CHUNK + 10, 3 * CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 0);
}

Test(feed_coded, a_damaged_chunk_is_fetched_once_more)
{
    rig.held->damage_first = rig.held->damage_last = 1;
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 2);
    cr_expect_not(rig.held->requests[0].fresh);
    cr_expect(rig.held->requests[1].fresh);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 1);
}

Test(feed_coded, a_chunk_damaged_twice_is_an_error_and_not_kept)
{
    rig.held->damage_first = 1;
    rig.held->damage_last = 2;
    answer_all();
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_CORRUPT);
    cr_assert_eq(held_count(rig.held), 2);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 2);
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 3);
}

Test(feed_coded, a_damaged_chunk_that_nobody_waits_for_is_dropped)
{
    rig.held->damage_first = rig.held->damage_last = 1;
    answer_all();
    kf_feed_want(rig.feed, 0, 2, KF_READAHEAD);
    for (int tries = 0; tries < 20000 && rig_stat(&rig, KF_STAT_VERIFY_FAILURES) == 0;
         tries++)
        (void)usleep(1000);
    cr_assert_eq(rig_stat(&rig, KF_STAT_VERIFY_FAILURES), 1);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(read_whole(&rig, 0, CHUNK), KF_E_NONE);
}

/* ---- cancelling ---- */

Test(feed, cancelling_ends_one_read_and_the_fetch_goes_on)
{
    struct test_read *leaves = read_start(&rig, 0, CHUNK);
    struct test_read *stays = read_start(&rig, 0, CHUNK);

    read_cancel(&rig, leaves);
    cr_assert_eq(read_end(leaves), KF_E_CANCELLED);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(stays), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 1);
}

Test(feed, cancelling_twice_or_too_late_does_nothing)
{
    struct test_read *read = read_start(&rig, 0, CHUNK), *late;

    read_cancel(&rig, read);
    read_cancel(&rig, read);
    cr_assert_eq(read_end(read), KF_E_CANCELLED);
    late = read_start(&rig, 0, CHUNK);
    held_finish(rig.held, 1);
    while (!read_is_done(late))
        (void)usleep(100);
    read_cancel(&rig, late);
    cr_assert_eq(read_end(late), KF_E_NONE);
}

Test(feed, cancelling_leaves_all_flights)
{
    struct test_read *read = read_start(&rig, 0, 10 * CHUNK);
    struct test_read *other = read_start(&rig, 3 * CHUNK, 5 * CHUNK);

    held_send(rig.held, 1, 4 * CHUNK + 5);
    read_cancel(&rig, read);
    cr_assert_eq(read_end(read), KF_E_CANCELLED);
    held_finish(rig.held, 1);
    cr_assert_eq(read_end(other), KF_E_NONE);
}

/* ---- with a cache ---- */

Test(feed_cached, cached_chunks_are_not_fetched)
{
    answer_all();
    rig_cache(&rig, 0);
    rig_cache(&rig, 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), 0);
    cr_assert_eq(read_whole(&rig, 10, CHUNK), KF_E_NONE);
    cr_assert_eq(read_whole(&rig, 20, 1000), KF_E_NONE);
    kf_feed_want(rig.feed, 0, 2, KF_READAHEAD);
    cr_assert_eq(held_count(rig.held), 2);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), CHUNK + 1000);
    cr_assert_eq(rig_stat(&rig, KF_STAT_READ_WAITS), 2);
}

Test(feed_cached, mixed_reads_fetch_only_what_is_missing)
{
    answer_all();
    rig_cache(&rig, 1);
    rig_cache(&rig, 3);
    cr_assert_eq(read_whole(&rig, 100, 5 * CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 5);
    cr_assert_eq(rig.held->requests[2].offset, 0);
    cr_assert_eq(rig.held->requests[3].offset, 2 * CHUNK);
    cr_assert_eq(rig.held->requests[4].offset, 4 * CHUNK);
    cr_assert_eq(rig.held->requests[4].length, 2 * CHUNK);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), 2 * CHUNK);
}

static void truncate_data_files(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    cr_assert_not_null(dir);
    while ((entry = readdir(dir))) {
        char name[512];
        size_t length = strlen(entry->d_name);

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            truncate_data_files(name);
        else if (length > 5 && strcmp(entry->d_name + length - 5, ".data") == 0)
            cr_assert_eq(truncate(name, 0), 0);
    }
    (void)closedir(dir);
}

Test(feed_cached, damaged_cached_chunks_are_fetched_again)
{
    answer_all();
    for (uint64_t chunk = 0; chunk < 6; chunk++)
        rig_cache(&rig, chunk);
    truncate_data_files(rig.path);
    /* However many there are, they are found out and fetched at once. */
    cr_assert_eq(read_whole(&rig, 10, 5 * CHUNK), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 7);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_DAMAGED), 6);
}

Test(feed_cached, one_damaged_chunk_alone)
{
    answer_all();
    rig_cache(&rig, 0);
    truncate_data_files(rig.path);
    cr_assert_eq(read_whole(&rig, 10, 20), KF_E_NONE);
    cr_assert_eq(held_count(rig.held), 2);
    cr_assert_eq(rig_stat(&rig, KF_STAT_READ_WAITS), 2);
}

Test(feed_cached, read_now_knows_what_is_in_the_page_cache)
{
    uint8_t bytes[2000];

    answer_all();
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, sizeof(bytes), CHUNK - 1000), -1);
    rig_cache(&rig, 0);
    rig_cache(&rig, 1);
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, sizeof(bytes), CHUNK - 1000),
                 sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        cr_assert_eq(bytes[i], held_byte(CHUNK - 1000 + i));
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, 2, 2 * CHUNK - 1), -1);
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, 2, rig.size - 1), -1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), sizeof(bytes));
}

Test(feed_memory, chunks_answer_from_memory_until_they_are_written)
{
    uint8_t bytes[2000];
    struct test_read *read;

    answer_all();
    cr_assert_eq(read_whole(&rig, 0, 2 * CHUNK), KF_E_NONE);
    cr_assert(!kf_object_has(rig.object, 0));
    read = read_start(&rig, 10, 20);
    cr_assert(read_is_done(read), "one chunk");
    cr_assert_eq(read_end(read), KF_E_NONE);
    read = read_start(&rig, 10, CHUNK);
    cr_assert(read_is_done(read), "two chunks");
    cr_assert_eq(read_end(read), KF_E_NONE);
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, sizeof(bytes), CHUNK - 1000),
                 sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        cr_assert_eq(bytes[i], held_byte(CHUNK - 1000 + i));
    cr_assert_eq(kf_feed_read_now(rig.feed, bytes, 2, 2 * CHUNK - 1), -1);
    cr_assert_eq(held_count(rig.held), 1);
    cr_assert_eq(rig_stat(&rig, KF_STAT_CACHE_BYTES), 20 + CHUNK + sizeof(bytes));
}

Test(feed_memory, reads_take_from_memory_and_wait_for_the_rest)
{
    struct test_read *read, *leaves;

    answer_all();
    cr_assert_eq(read_whole(&rig, CHUNK, CHUNK), KF_E_NONE);
    rig.held->automatic = false;
    read = read_start(&rig, 100, 3 * CHUNK);
    leaves = read_start(&rig, 200, 3 * CHUNK);
    cr_assert_eq(held_count(rig.held), 3);
    held_finish(rig.held, 3);
    read_cancel(&rig, leaves);
    cr_assert_eq(read_end(leaves), KF_E_CANCELLED);
    held_finish(rig.held, 2);
    cr_assert_eq(read_end(read), KF_E_NONE);
}

/* A chunk on disk, one in memory, one to fetch. */
Test(feed_cached, reads_gather_from_everywhere)
{
    answer_all();
    rig_cache(&rig, 0);
    rig.held->automatic = false;
    kf_feed_want(rig.feed, 1, 1, KF_READAHEAD);
    struct test_read *read = read_start(&rig, 50, 3 * CHUNK - 50);
    cr_assert(held_wait(rig.held, 3));
    held_finish(rig.held, 3);
    held_finish(rig.held, 2);
    cr_assert_eq(read_end(read), KF_E_NONE);
}
