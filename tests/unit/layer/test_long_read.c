/*
 * Reads of more chunks than the fetch queue takes at once: tables of contents that cut
 * chunks of a few bytes are legal.
 */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fail_alloc.h"
#include "fake_source.h"
#include "toc_world.h"

#define CUT 3u
#define A_SIZE 60001u
#define B_SIZE 100000u

static void begin(struct toc_world *world, bool cached)
{
    static const struct toc_world_file files[] = {{"a", A_SIZE}, {"b", B_SIZE}};

    toc_world_cut(world, files, KF_ARRAY_LEN(files), CUT);
    toc_world_start(world, cached);
    toc_world_expect_open(world);
}

Test(long_read, every_byte)
{
    struct toc_world world;

    begin(&world, false);
    toc_world_expect_all(&world, MIB(1));
    toc_world_stop(&world);
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    toc_world_expect_all(&world, 777);
    toc_world_expect_all(&world, 4096);
    toc_world_end(&world);
}

/* On both sides of what one read takes, and with ends inside of chunks. */
Test(long_read, about_as_many_chunks_as_one_read_takes)
{
    struct toc_world world;

    begin(&world, false);
    for (size_t chunks = KF_READ_CHUNKS - 1; chunks <= KF_READ_CHUNKS + 2; chunks++)
        for (uint64_t offset = 0; offset < 3; offset++)
            for (size_t less = 0; less < 3; less++)
                cr_assert_eq(
                    toc_world_read(&world, "b", 3000 + offset, chunks * CUT - less),
                    KF_E_NONE);
    cr_assert_eq(toc_world_read(&world, "b", B_SIZE - 1000, 1000), KF_E_NONE);
    toc_world_end(&world);
}

/* What comes next is asked for in stretches. */
Test(long_read, takes_few_requests)
{
    struct toc_world world;
    uint64_t before;

    begin(&world, false);
    cr_assert_eq(toc_world_read(&world, "a", 0, 10), KF_E_NONE); /* the map */
    before = kf_fake_source_requests(world.fake);
    cr_assert_eq(toc_world_read(&world, "b", 0, B_SIZE), KF_E_NONE);
    cr_assert_leq(kf_fake_source_requests(world.fake) - before, B_SIZE / CUT / 50);
    toc_world_end(&world);
}

Test(long_read, is_kept)
{
    struct toc_world world;

    begin(&world, true);
    toc_world_expect_all(&world, MIB(1));
    toc_world_stop(&world);
    toc_world_start(&world, true);
    toc_world_unplug(&world);
    toc_world_expect_open(&world);
    cr_assert_eq(toc_world_read(&world, "a", 0, A_SIZE), KF_E_NONE);
    toc_world_end(&world);
}

Test(long_read, failure_of_one_chunk_is_the_reads)
{
    struct toc_world world;
    uint64_t at;

    begin(&world, false);
    at = kf_layer_table(world.layer)->entries[toc_world_entry(&world, "b")].offset;
    kf_fake_source_flip(world.fake, at + 50000, 1000);
    cr_assert_eq(toc_world_read(&world, "b", 0, B_SIZE), KF_E_CORRUPT);
    cr_assert_eq(toc_world_read(&world, "b", 0, 49000), KF_E_NONE);
    kf_fake_source_flip(world.fake, at + 50000, 0);
    cr_assert_eq(toc_world_read(&world, "b", 0, B_SIZE), KF_E_NONE);
    toc_world_end(&world);
}

Test(long_read, is_cancelled_at_any_time)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world, false);
    cr_assert_eq(toc_world_read(&world, "a", 0, 10), KF_E_NONE);
    for (uint64_t requests = 0; requests < 40; requests += 13) {
        struct toc_read other;
        uint64_t before;

        kf_fake_source_hold(world.fake, true);
        before = kf_fake_source_requests(world.fake);
        toc_read_begin(&world, &read, "b", requests * 1000, B_SIZE - 60000);
        toc_read_begin(&world, &other, "b", requests * 1000, B_SIZE - 60000);
        cr_assert(kf_fake_source_wait(world.fake, before + 1));
        for (uint64_t i = 0; i < requests; i++)
            (void)kf_fake_source_release(world.fake, 1);
        kf_file_cancel(read.file, &read.read);
        cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
        kf_fake_source_hold(world.fake, false);
        cr_assert_eq(toc_read_end(&other), KF_E_NONE);
    }
    toc_world_end(&world);
}

/* Marked before it begins: it waited for its slice. */
Test(long_read, is_cancelled_before_it_begins)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world, false);
    kf_fake_source_hold(world.toc_fake, true);
    toc_read_begin(&world, &read, "b", 0, B_SIZE);
    read.read.cancelled = true; /* as kf_feed_cancel does between slice and start */
    kf_fake_source_hold(world.toc_fake, false);
    cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
    toc_world_end(&world);
}

Test(long_read, ends_when_stopped)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world, false);
    cr_assert_eq(toc_world_read(&world, "a", 0, 10), KF_E_NONE);
    kf_fake_source_hold(world.fake, true);
    toc_read_begin(&world, &read, "b", 0, B_SIZE);
    cr_assert_eq(kf_fetch_stop(world.fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
    cr_assert_eq(toc_world_read(&world, "b", 0, B_SIZE), KF_E_CANCELLED);
    toc_world_end(&world);
}

Test(long_read, without_memory)
{
    struct toc_world world;
    struct toc_read read = {0};
    struct kf_file *file;

    begin(&world, false);
    cr_assert_eq(toc_world_read(&world, "a", 0, 10), KF_E_NONE);
    file = toc_world_file(&world, "b");
    kf_fake_source_hold(world.fake, true);
    for (long count = 0; count < 2; count++) {
        fail_alloc_after(count);
        toc_read_begin(&world, &read, "b", 0, B_SIZE);
        fail_alloc_after(-1);
        cr_assert_eq(toc_read_end(&read), KF_E_NOMEM);
    }
    kf_fake_source_hold(world.fake, false);
    kf_file_put(file);
    toc_world_end(&world);
}
