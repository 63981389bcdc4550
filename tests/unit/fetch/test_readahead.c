#include "fetch/readahead.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define MAX_WINDOW (64 * MIB)

static struct kf_readahead state;
static uint64_t wanted_bytes, wanted_end;
static unsigned batches;

static struct kf_readahead_want see_of(uint64_t offset, uint64_t length, bool waited,
                                       uint64_t size, uint64_t max_window)
{
    struct kf_readahead_want want =
        kf_readahead_see(&state, offset, length, waited, size, max_window);

    if (want.length > 0) {
        cr_assert_leq(want.offset + want.length, size);
        wanted_bytes += want.length;
        wanted_end = want.offset + want.length;
        batches++;
    }
    return want;
}

static struct kf_readahead_want see(uint64_t offset, uint64_t length, bool waited)
{
    return see_of(offset, length, waited, GIB, MAX_WINDOW);
}

static void setup(void)
{
    kf_readahead_init(&state);
    wanted_bytes = wanted_end = 0;
    batches = 0;
}

TestSuite(readahead, .init = setup);

Test(readahead, first_read_wants_nothing)
{
    see(512 * MIB, MIB, true);
    cr_assert_eq(batches, 0);
}

Test(readahead, one_pread_of_a_mebibyte_wants_nothing)
{
    /* What the kernel makes of it: the READ, and one ahead. */
    see(512 * MIB, MIB, true);
    see(513 * MIB, MIB, true);
    cr_assert_eq(batches, 0);
}

Test(readahead, header_readers_want_nothing)
{
    see(0, 16 * KIB, true);
    see(16 * KIB, 300 * KIB, true);
    see(316 * KIB, MIB, true);
    cr_assert_eq(batches, 0);
    kf_readahead_init(&state);
    for (uint64_t at = 0; at < MIB; at += 128 * KIB)
        see(at, 128 * KIB, true);
    cr_assert_eq(batches, 0);
}

Test(readahead, window_opens_past_a_mebibyte_in_sequence)
{
    struct kf_readahead_want want;

    see(8 * MIB, MIB, true);
    see(9 * MIB, MIB, true);
    want = see(10 * MIB, MIB, true);
    cr_assert_eq(want.offset, 11 * MIB);
    cr_assert_eq(want.length, KF_READAHEAD_MIN_WINDOW);
}

Test(readahead, window_opens_for_small_reads_too)
{
    uint64_t at = 0;

    for (; at <= MIB; at += 128 * KIB)
        see(at, 128 * KIB, true);
    cr_assert_eq(batches, 0);
    see(at, 128 * KIB, true);
    cr_assert_eq(batches, 1);
    cr_assert_eq(wanted_end, at + 128 * KIB + KF_READAHEAD_MIN_WINDOW);
}

static void read_sequentially(uint64_t from, uint64_t to, uint64_t step, bool waited)
{
    for (uint64_t at = from; at < to; at += step)
        see(at, step, waited);
}

Test(readahead, window_stays_while_nobody_waits)
{
    read_sequentially(0, 64 * MIB, MIB, false);
    cr_assert_leq(wanted_end, 64 * MIB + KF_READAHEAD_MIN_WINDOW);
    cr_assert_geq(wanted_end, 64 * MIB + KF_READAHEAD_MIN_WINDOW / 2);
    cr_assert_eq(wanted_bytes, wanted_end - 3 * MIB, "wanted twice, or left out");
}

Test(readahead, window_doubles_up_to_its_limit_while_the_reader_waits)
{
    for (uint64_t at = 0; at < 2 * GIB; at += MIB)
        see_of(at, MIB, true, 4 * GIB, MAX_WINDOW);
    cr_assert_leq(wanted_end, 2 * GIB + MAX_WINDOW);
    cr_assert_geq(wanted_end, 2 * GIB + MAX_WINDOW / 2);
    cr_assert_eq(wanted_bytes, wanted_end - 3 * MIB);
}

Test(readahead, window_stays_in_proportion_to_what_was_read)
{
    for (uint64_t at = 0; at < 512 * MIB; at += MIB) {
        uint64_t share =
            kf_max_u64((at + MIB) / KF_READAHEAD_PROPORTION, KF_READAHEAD_MIN_WINDOW);

        see(at, MIB, true);
        cr_assert_leq(wanted_end, at + MIB + share);
    }
    cr_assert_geq(wanted_end, 512 * MIB + 16 * MIB);
    cr_assert_leq(batches, 180, "%u batches: ranges get short", batches);
}

Test(readahead, batches_are_long_for_small_reads)
{
    read_sequentially(0, 256 * MIB, 128 * KIB, true);
    cr_assert_leq(batches, 130, "%u batches", batches);
}

Test(readahead, ends_at_the_end_of_the_file)
{
    uint64_t size = 10 * MIB + 17;

    for (uint64_t at = 0; at < size; at += MIB)
        see_of(at, MIB, true, size, MAX_WINDOW);
    cr_assert_eq(wanted_end, size);
    cr_assert_eq(state.highest, size);
    cr_assert_eq(state.read_bytes, size);
    cr_assert_eq(state.lowest, 0);
    cr_assert_eq(see_of(size, 1, true, size, MAX_WINDOW).length, 0);
    cr_assert_eq(see_of(0, 0, true, size, MAX_WINDOW).length, 0);
}

Test(readahead, small_limit_is_kept)
{
    for (uint64_t at = 0; at < 64 * MIB; at += MIB) {
        see_of(at, MIB, true, GIB, 2 * MIB);
        cr_assert_leq(wanted_end, at + 3 * MIB);
    }
    cr_assert_gt(batches, 0);
}

Test(readahead, no_window_allowed_wants_nothing)
{
    for (uint64_t at = 0; at < 64 * MIB; at += MIB)
        see_of(at, MIB, true, GIB, 0);
    cr_assert_eq(batches, 0);
}

Test(readahead, reads_that_overtake_each_other_are_one_stream)
{
    for (uint64_t at = 0; at < 64 * MIB; at += 2 * MIB) {
        see(at + MIB, MIB, true);
        see(at, MIB, true);
    }
    cr_assert_geq(wanted_end, 64 * MIB);
    cr_assert_eq(wanted_bytes, wanted_end - 6 * MIB, "wanted twice, or left out");
}

Test(readahead, random_small_reads_want_nothing)
{
    unsigned seed = (unsigned)time(NULL);

    fprintf(stderr, "readahead: seed %u\n", seed);
    srandom(seed);
    for (int i = 0; i < 2000; i++) {
        uint64_t length = (4 + (uint64_t)random() % 125) * KIB;

        see((uint64_t)random() % (256 * 4096) * 4 * KIB, length, true);
    }
    cr_assert_eq(batches, 0);
    cr_assert_geq(state.highest, GIB / 2);
}

Test(readahead, random_reads_of_a_mebibyte_want_nothing)
{
    /* Far apart, so that no two are in sequence by chance; each as the kernel sends it.
     */
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t at = i * 37 % 100 * 10 * MIB;

        see(at, MIB, true);
        see(at + MIB, MIB, true);
    }
    cr_assert_eq(batches, 0);
}

/* N threads, each through its own share of the file, one read each in turn. */
static void interleave(unsigned streams, uint64_t share, uint64_t step)
{
    uint64_t ends[KF_READAHEAD_STREAMS] = {0};

    for (uint64_t at = 0; at < share; at += step) {
        for (unsigned i = 0; i < streams; i++) {
            struct kf_readahead_want want = see(i * share + at, step, true);

            if (want.length == 0)
                continue;
            if (ends[i] != 0)
                cr_assert_eq(want.offset, kf_max_u64(ends[i], i * share + at + step),
                             "stream %u wants a hole", i);
            ends[i] = want.offset + want.length;
        }
    }
    for (unsigned i = 0; i < streams; i++)
        cr_assert_geq(ends[i], (i + 1) * share, "stream %u was lost", i);
}

Test(readahead, sixteen_streams_in_one_file)
{
    interleave(16, 64 * MIB, MIB);
}

Test(readahead, thirty_two_streams_of_small_reads)
{
    interleave(32, 32 * MIB, 128 * KIB);
}

Test(readahead, streams_share_the_windows)
{
    uint64_t share = 64 * MIB, furthest = 0;

    for (uint64_t at = 0; at < 32 * MIB; at += MIB) {
        for (unsigned i = 0; i < 16; i++) {
            struct kf_readahead_want want = see(i * share + at, MIB, true);

            if (at > 16 * MIB && want.length > 0)
                furthest =
                    kf_max_u64(furthest, want.offset + want.length - i * share - at);
        }
    }
    cr_assert_gt(furthest, 0);
    cr_assert_leq(furthest, kf_max_u64(MAX_WINDOW / 16, KF_READAHEAD_MIN_WINDOW) + MIB);
}

Test(readahead, a_stream_alone_again_gets_the_whole_window)
{
    interleave(16, 16 * MIB, MIB);
    read_sequentially(512 * MIB, 1000 * MIB, MIB, true);
    cr_assert_geq(wanted_end, kf_min_u64(GIB, 1000 * MIB + MAX_WINDOW / 8));
}

Test(readahead, a_seek_back_starts_over)
{
    read_sequentially(0, 64 * MIB, MIB, true);
    batches = 0;
    see(2 * MIB, MIB, true);
    see(3 * MIB, MIB, true);
    cr_assert_eq(batches, 0);
    see(4 * MIB, MIB, true);
    cr_assert_eq(batches, 1);
}

Test(readahead, the_stalest_stream_gives_way)
{
    for (uint64_t i = 0; i < KF_READAHEAD_STREAMS; i++)
        see(i * 16 * MIB, MIB, true);
    see(0, MIB, true); /* not the stalest any more */
    see(900 * MIB, MIB, true);
    see(MIB, MIB, true);
    cr_assert_eq(see(2 * MIB, MIB, true).length, KF_READAHEAD_MIN_WINDOW);
}

Test(readahead, every_byte_of_a_stream_is_read_or_wanted_whatever_the_steps)
{
    unsigned seed = (unsigned)time(NULL);

    fprintf(stderr, "readahead: seed %u\n", seed);
    srandom(seed);
    for (int round = 0; round < 50; round++) {
        uint64_t at = (uint64_t)random() % 1000 * KIB, opened = 0, end = 0;

        kf_readahead_init(&state);
        while (at < 200 * MIB) {
            uint64_t length = (1 + (uint64_t)random() % 256) * 4 * KIB;
            struct kf_readahead_want want = see(at, length, random() % 2);

            at += length;
            if (want.length == 0) {
                cr_assert(end == 0 || at < end, "fell behind");
                continue;
            }
            if (opened++ > 0)
                cr_assert_eq(want.offset, end);
            end = want.offset + want.length;
            cr_assert_leq(end - at, MAX_WINDOW);
        }
        cr_assert_gt(opened, 0);
    }
}
