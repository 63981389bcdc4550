/*
 * Seekable blobs that are damaged, and tables that lie about them.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fail_alloc.h"
#include "fake_source.h"
#include "frames_world.h"
#include "layer/frame_map.h"
#include "layer/frames.h"
#include "layer/le.h"

Test(frames_hostile, damaged_on_the_way_is_asked_for_once_more)
{
    struct frames_world world;

    frames_world_begin(&world, MIB(4), MIB(1));
    seekable_end(&world.made, false);
    frames_world_open(&world);
    kf_fake_source_flip(world.blob, world.made.blob.length / 2, 1);
    frames_world_expect(&world, 0, MIB(4));
    cr_assert_eq(kf_fake_source_requests(world.blob), 2);
    kf_fake_source_flip(world.blob, world.made.blob.length / 2, 2);
    cr_assert_eq(frames_world_read(&world, 0, MIB(4)), -1);
    cr_assert_eq(world.err.kind, KF_E_CORRUPT);
    cr_assert_not_null(strstr(world.err.message, "zstd frame 2"), "%s",
                       world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.blob), 4);
    frames_world_expect(&world, 0, MIB(4));
    frames_world_end(&world);
}

static void expect_corrupt(struct frames_world *world, const char *what)
{
    seekable_end(&world->made, true);
    cr_assert_eq(frames_world_try(world), 0, "%s: %s", what, world->err.message);
    cr_assert_eq(frames_world_read(world, 0, (size_t)kf_source_size(world->frames)), -1,
                 "%s", what);
    cr_assert_eq(world->err.kind, KF_E_CORRUPT, "%s: %s", what, world->err.message);
    cr_assert_eq(kf_fake_source_requests(world->blob), 2, "%s", what);
    frames_world_end(world);
}

Test(frames_hostile, lengths_that_lie)
{
    struct frames_world world;

    for (int more = -1; more <= 1; more += 2) {
        frames_world_begin(&world, MIB(1), KIB(512));
        world.made.entries[1].length += (uint32_t)more;
        expect_corrupt(&world, "length");

        frames_world_begin(&world, MIB(1), KIB(512));
        world.made.entries[0].stored_length += (uint32_t)more;
        world.made.entries[1].stored_length -= (uint32_t)more;
        expect_corrupt(&world, "stored length");
    }
    frames_world_begin(&world, MIB(1), KIB(512));
    world.made.entries[1].checksum ^= 1;
    expect_corrupt(&world, "checksum");
}

/* 16 MiB of zeros in 500 bytes, which the table says are 10. */
Test(frames_hostile, bomb)
{
    struct frames_world world;
    uint8_t *zeros = calloc(1, MIB(16));

    for (int with_size = 0; with_size < 2; with_size++) {
        frames_world_begin(&world, 0, 1);
        world.made.no_content_size = !with_size;
        seekable_add(&world.made, zeros, MIB(16));
        world.made.entries[0].length = 10;
        expect_corrupt(&world, "bomb");
    }
    free(zeros);
}

Test(frames_hostile, what_is_no_frame)
{
    static const uint8_t old[] = {0x27, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0, 0, 0};
    struct frames_world world;

    /* A format of before 0.8, which the library may still read. */
    frames_world_begin(&world, 0, 1);
    cr_assert_eq(kf_buf_append(&world.made.blob, old, sizeof(old), NULL), 0);
    world.made.entries[world.made.count++] = (struct seekable_entry){sizeof(old), 3, 0};
    world.made.stream.length = 0;
    expect_corrupt(&world, "old format");

    frames_world_begin(&world, 0, 1);
    seekable_skip(&world.made, 30, true);
    world.made.entries[0].length = 4;
    expect_corrupt(&world, "nothing but what is skipped");

    frames_world_begin(&world, KIB(1), KIB(1));
    cr_assert_eq(kf_buf_append(&world.made.blob, "1234567", 7, NULL), 0);
    world.made.entries[0].stored_length += 7;
    expect_corrupt(&world, "rubbish behind");
}

static void expect_not_by_frames(struct frames_world *world, enum kf_err_kind kind)
{
    seekable_end(&world->made, false);
    cr_assert_eq(frames_world_try(world), 1);
    cr_assert_eq(world->err.kind, kind, "%s", world->err.message);
    frames_world_end(world);
}

Test(frames_hostile, limits)
{
    struct frames_world world;
    uint8_t *zeros = calloc(1, MIB(16) + 1);

    frames_world_begin(&world, 0, 1);
    seekable_add(&world.made, zeros, MIB(16));
    seekable_end(&world.made, true);
    frames_world_open(&world);
    frames_world_expect(&world, MIB(16) - 1, 1);
    frames_world_end(&world);

    frames_world_begin(&world, 0, 1);
    seekable_add(&world.made, zeros, MIB(16) + 1);
    expect_not_by_frames(&world, KF_E_LIMIT);

    /* Stored bytes of an entry, with what is skipped among them. */
    for (uint32_t more = 0; more < 2; more++) {
        frames_world_begin(&world, 0, 1);
        seekable_skip(&world.made, KF_FRAME_STORED_LIMIT - 14 + more, false);
        world.made.no_checksum = true;
        seekable_add(&world.made, "hello", 5);
        cr_assert_eq(world.made.entries[0].stored_length, KF_FRAME_STORED_LIMIT + more);
        if (more > 0) {
            expect_not_by_frames(&world, KF_E_LIMIT);
            continue;
        }
        seekable_end(&world.made, true);
        frames_world_open(&world);
        frames_world_expect(&world, 0, 5);
        frames_world_end(&world);
    }

    frames_world_begin(&world, 10, 10);
    world.made.entries[world.made.count++] = (struct seekable_entry){0, 1, 0};
    expect_not_by_frames(&world, KF_E_MALFORMED);
    frames_world_begin(&world, 10, 10);
    world.made.entries[0].stored_length++;
    expect_not_by_frames(&world, KF_E_MALFORMED);
    free(zeros);
}

Test(frames_hostile, number_of_frames)
{
    struct kf_frame_map map;
    uint8_t *entries = calloc(KF_FRAMES_LIMIT + 1, 8);
    struct kf_seek_view view = {entries, KF_FRAMES_LIMIT, 8};
    struct kf_err err;

    for (uint32_t i = 0; i <= KF_FRAMES_LIMIT; i++) {
        kf_put_le32(entries + (size_t)i * 8, 10);
        kf_put_le32(entries + (size_t)i * 8 + 4, UINT32_C(1) << 24);
    }
    cr_assert_eq(kf_frame_map_make(&map, &view, &err), 0);
    cr_assert_eq(map.stream_length, (uint64_t)KF_FRAMES_LIMIT << 24);
    cr_assert_eq(map.unit_count, KF_FRAMES_LIMIT);
    cr_assert_eq(kf_frame_map_at(&map, map.stream_length - 1), KF_FRAMES_LIMIT - 1);
    kf_frame_map_fini(&map);
    view.count++;
    cr_assert_eq(kf_frame_map_make(&map, &view, &err), 1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    free(entries);
}

Test(frames_hostile, no_memory)
{
    struct frames_world world;
    int failures = 0;

    frames_world_begin(&world, MIB(2), MIB(1));
    seekable_end(&world.made, true);
    frames_world_open(&world);
    kf_source_close(world.frames);
    kf_source_close(&world.blob->source);
    kf_workq_free(world.workq);
    for (long n = 0;; n++) {
        size_t at = seekable_table(&world.made), length = world.made.blob.length - at;
        uint8_t *table = malloc(length);
        int rc;

        world.workq = kf_workq_new(1, NULL);
        world.blob =
            kf_fake_source_new(world.workq, world.made.blob.data, world.made.blob.length);
        memcpy(table, world.made.blob.data + at, length);
        fail_alloc_after(n);
        rc = kf_frames_open(&world.frames, &world.blob->source, world.workq, table,
                            length, &world.err);
        fail_alloc_after(-1);
        if (rc == 0)
            break;
        cr_assert_eq(rc, -1);
        cr_assert_eq(world.err.kind, KF_E_NOMEM);
        failures++;
        free(table);
        kf_source_close(&world.blob->source);
        kf_workq_free(world.workq);
    }
    cr_assert_eq(failures, 2);
    frames_world_end(&world);
}
