/*
 * The stream of a seekable blob that others made, through the source over it: bytes, what
 * is asked for and kept, several requests at once, and their ends.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fake_source.h"
#include "frames_world.h"
#include "layer/frame_map.h"
#include "layer/frames.h"

/* ---- bytes ---- */

Test(frames, every_range)
{
    struct frames_world world;
    uint64_t size;

    frames_world_begin(&world, KIB(700), KIB(100));
    world.made.no_content_size = true;
    seekable_add(&world.made, "x", 1);
    seekable_add(&world.made, "", 0);
    seekable_skip(&world.made, 100, false);
    seekable_add(&world.made, "yz", 2);
    seekable_skip(&world.made, KIB(400), true);
    world.made.no_checksum = true;
    seekable_add_all(&world.made, world.made.stream.data, KIB(300), KIB(299));
    seekable_skip(&world.made, 8, true);
    seekable_end(&world.made, true);
    frames_world_open(&world);
    size = kf_source_size(world.frames);
    frames_world_expect(&world, 0, (size_t)size);
    for (uint64_t offset = 0; offset < size; offset += 9973)
        frames_world_expect(&world, offset, (size_t)kf_min_u64(size - offset, 30011));
    frames_world_expect(&world, KIB(700) - 1, 5);
    frames_world_expect(&world, KIB(700) + 1, 1);
    frames_world_expect(&world, size - 1, 1);
    frames_world_end(&world);
}

Test(frames, outside_of_the_stream)
{
    struct frames_world world;

    frames_world_begin(&world, KIB(10), KIB(10));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    cr_assert_eq(frames_world_read(&world, KIB(10), 1), -1);
    cr_assert_eq(world.err.kind, KF_E_ARG);
    cr_assert_eq(kf_fake_source_requests(world.blob), 0);
    frames_world_end(&world);
}

Test(frames, nothing_in_it)
{
    struct frames_world world;

    frames_world_begin(&world, 0, 1);
    seekable_end(&world.made, false);
    frames_world_open(&world);
    frames_world_end(&world);

    frames_world_begin(&world, 0, 1);
    seekable_add(&world.made, "", 0);
    seekable_skip(&world.made, 8, true);
    seekable_end(&world.made, true);
    frames_world_open(&world);
    frames_world_end(&world);
}

/* ---- what is asked for ---- */

/* Small frames come together, the frames of one read in one request, and what one read
 * leaves of a frame is there for the next. */
Test(frames, few_requests)
{
    struct frames_world world;

    frames_world_begin(&world, MIB(4), KIB(4));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    frames_world_expect(&world, 0, KIB(64));
    cr_assert_eq(kf_fake_source_requests(world.blob), 1);
    frames_world_expect(&world, KIB(64), KIB(64)); /* of the same unit */
    cr_assert_eq(kf_fake_source_requests(world.blob), 1);
    cr_assert_leq(kf_fake_source_bytes(world.blob), KF_UNIT_BYTES);
    frames_world_expect(&world, MIB(1), MIB(3));
    cr_assert_eq(kf_fake_source_requests(world.blob), 2);
    frames_world_end(&world);
}

Test(frames, neighbours_share_a_frame)
{
    struct frames_world world;

    frames_world_begin(&world, MIB(8), MIB(4));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    for (size_t at = KIB(300); at + MIB(1) < MIB(8); at += MIB(1))
        frames_world_expect(&world, at, MIB(1));
    cr_assert_eq(kf_fake_source_requests(world.blob), 2);
    frames_world_end(&world);
}

/* Twice as much as one request may fetch: two runs; and what was given out is gone. */
Test(frames, bounded_runs)
{
    struct frames_world world;
    struct kf_fake_range range;

    frames_world_begin(&world, MIB(20), MIB(1));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    frames_world_expect(&world, 0, MIB(20));
    cr_assert_eq(kf_fake_source_requests(world.blob), 3);
    for (size_t i = 0; kf_fake_source_range(world.blob, i, &range); i++)
        cr_assert_leq(range.length, KF_FRAMES_RUN);
    cr_assert_eq(kf_frames_in_hand(), 0);
    frames_world_end(&world);
}

Test(frames, kept_frames_are_bounded)
{
    struct frames_world world;

    frames_world_begin(&world, MIB(64), MIB(8));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    for (size_t at = 0; at < MIB(64); at += MIB(8))
        frames_world_expect(&world, at, 10);
    cr_assert_leq(kf_frames_in_hand(), KF_FRAMES_KEPT);
    cr_assert_geq(kf_frames_in_hand(), KF_FRAMES_KEPT - MIB(8));
    cr_assert_eq(kf_fake_source_requests(world.blob), 8);
    frames_world_expect(&world, MIB(56), 10); /* the last ones are still there */
    cr_assert_eq(kf_fake_source_requests(world.blob), 8);
    frames_world_expect(&world, 0, 10);
    cr_assert_eq(kf_fake_source_requests(world.blob), 9);
    frames_world_end(&world);
}

/* ---- several at once ---- */

#define LONG (100 * KF_NS_PER_S)

Test(frames, one_fetch_for_all)
{
    struct frames_world world;
    struct frames_reading readings[16];

    frames_world_begin(&world, MIB(16), MIB(16));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    for (size_t i = 0; i < KF_ARRAY_LEN(readings); i++) {
        frames_reading_start(&world, &readings[i], MIB(i), MIB(1),
                             LONG + (int64_t)i * KF_NS_PER_S);
        if (i == 0)
            cr_assert(kf_fake_source_wait(world.blob, 1));
    }
    kf_fake_source_hold(world.blob, false);
    for (size_t i = 0; i < KF_ARRAY_LEN(readings); i++)
        cr_assert_eq(frames_reading_end(&world, &readings[i]), KF_E_NONE);
    cr_assert_eq(kf_fake_source_requests(world.blob), 1);
    cr_assert_eq(kf_frames_in_hand(), 0);
    frames_world_end(&world);
}

/* Beyond the memory for what is on its way requests wait, and then go on. */
Test(frames, memory_on_its_way_is_bounded)
{
    struct frames_world world;
    struct frames_reading readings[16];

    frames_world_begin(&world, MIB(64), MIB(4));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    for (size_t i = 0; i < KF_ARRAY_LEN(readings); i++)
        frames_reading_start(&world, &readings[i], MIB(4 * i), MIB(4), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 4));
    for (int i = 0; i < 200; i++) {
        cr_assert_leq(kf_frames_in_hand(), KF_FRAMES_RUNNING);
        (void)kf_fake_source_release(world.blob, 1);
    }
    kf_fake_source_hold(world.blob, false);
    for (size_t i = 0; i < KF_ARRAY_LEN(readings); i++)
        cr_assert_eq(frames_reading_end(&world, &readings[i]), KF_E_NONE);
    frames_world_end(&world);
}

/* ---- cancelling, deadlines, failures ---- */

Test(frames, cancelled_in_each_state)
{
    struct frames_world world;
    struct frames_reading fetching, waiting, starved[8];

    frames_world_begin(&world, MIB(64), MIB(8));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    frames_reading_start(&world, &fetching, 0, MIB(1), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 1));
    frames_reading_start(&world, &waiting, MIB(1), MIB(1), 2 * LONG);
    for (size_t i = 1; i < 8; i++)
        frames_reading_start(&world, &starved[i], MIB(8 * i), MIB(1), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 2));
    kf_source_cancel(world.frames, &starved[7].req);
    cr_assert_eq(frames_reading_end(&world, &starved[7]), KF_E_CANCELLED);
    kf_source_cancel(world.frames, &waiting.req);
    cr_assert_eq(frames_reading_end(&world, &waiting), KF_E_CANCELLED);
    kf_source_cancel(world.frames, &fetching.req);
    cr_assert_eq(frames_reading_end(&world, &fetching), KF_E_CANCELLED);
    kf_fake_source_hold(world.blob, false);
    for (size_t i = 1; i < 7; i++)
        cr_assert_eq(frames_reading_end(&world, &starved[i]), KF_E_NONE);
    frames_world_end(&world);
}

/* Whoever waited for a request that was cancelled makes its own. */
Test(frames, waiters_outlive_a_cancelled_request)
{
    struct frames_world world;
    struct frames_reading first, second;

    frames_world_begin(&world, MIB(4), MIB(4));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    frames_reading_start(&world, &first, 0, MIB(1), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 1));
    frames_reading_start(&world, &second, MIB(1), MIB(1), 2 * LONG);
    kf_source_cancel(world.frames, &first.req);
    cr_assert_eq(frames_reading_end(&world, &first), KF_E_CANCELLED);
    cr_assert(kf_fake_source_wait(world.blob, 2));
    kf_fake_source_hold(world.blob, false);
    cr_assert_eq(frames_reading_end(&world, &second), KF_E_NONE);
    frames_world_end(&world);
}

/* One whose time is up sooner does not wait for one that has more. */
Test(frames, shorter_deadline_fetches_by_itself)
{
    struct frames_world world;
    struct frames_reading slow, quick;
    struct kf_fake_range range;

    frames_world_begin(&world, MIB(4), MIB(4));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    frames_reading_start(&world, &slow, 0, MIB(1), 2 * LONG);
    cr_assert(kf_fake_source_wait(world.blob, 1));
    frames_reading_start(&world, &quick, MIB(1), MIB(1), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 2));
    cr_assert(kf_fake_source_range(world.blob, 1, &range));
    cr_assert_eq(range.deadline_ns, quick.req.deadline_ns);
    cr_assert_eq(range.urgency, KF_READAHEAD);
    kf_fake_source_hold(world.blob, false);
    cr_assert_eq(frames_reading_end(&world, &slow), KF_E_NONE);
    cr_assert_eq(frames_reading_end(&world, &quick), KF_E_NONE);
    frames_world_end(&world);
}

Test(frames, deadline_that_has_passed)
{
    struct frames_world world;
    struct frames_reading reading;

    frames_world_begin(&world, MIB(1), MIB(1));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    frames_reading_start(&world, &reading, 0, 10, -1);
    reading.req.deadline_ns = 1;
    cr_assert_eq(frames_reading_end(&world, &reading), KF_E_TIMEOUT);
    cr_assert_eq(kf_fake_source_requests(world.blob), 0);
    frames_world_end(&world);
}

Test(frames, failure_of_the_blob)
{
    struct frames_world world;
    struct frames_reading first, second;

    frames_world_begin(&world, MIB(4), MIB(1));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_hold(world.blob, true);
    kf_fake_source_fail(world.blob, 1, KF_E_UNREACHABLE, 1000);
    frames_reading_start(&world, &first, 0, MIB(4), LONG);
    cr_assert(kf_fake_source_wait(world.blob, 1));
    frames_reading_start(&world, &second, MIB(2), MIB(1), 2 * LONG);
    kf_fake_source_hold(world.blob, false);
    cr_assert_eq(frames_reading_end(&world, &first), KF_E_UNREACHABLE);
    /* It waited for the first, or came after it. */
    (void)frames_reading_end(&world, &second);
    frames_world_expect(&world, 0, MIB(4));
    frames_world_end(&world);
}

static int refuse(struct kf_sink *sink, const uint8_t *data, size_t length,
                  struct kf_err *err)
{
    return -1;
}

Test(frames, sink_that_stops)
{
    struct frames_world world;
    struct frames_reading reading = {.req = {.deadline_ns = 0}};
    struct kf_sink sink = {refuse};

    frames_world_begin(&world, MIB(2), MIB(1));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    (void)sem_init(&reading.done, 0, 0);
    reading.req = (struct kf_source_req){.length = MIB(2),
                                         .sink = &sink,
                                         .deadline_ns = KF_NO_DEADLINE,
                                         .done = frames_reading_done};
    kf_source_submit(world.frames, &reading.req);
    cr_assert_eq(frames_reading_end(&world, &reading), KF_E_CANCELLED);
    frames_world_expect(&world, 0, MIB(2));
    frames_world_end(&world);
}
