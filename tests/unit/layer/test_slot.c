/*
 * Reads that come before the chunk map of their object: kept, answered, failed, given up;
 * and what ends while it is on its way.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fail_alloc.h"
#include "fake_source.h"
#include "toc_world.h"

#define LARGE MIB(16)

/* The slices of `large`, and the two of all the rest, do not come with the root. */
static void begin(struct toc_world *world)
{
    static const struct toc_world_file files[] = {
        {"a", 50000}, {"large", LARGE}, {"z", 60000}};

    toc_world_cut(world, files, KF_ARRAY_LEN(files), 512);
    toc_world_start(world, false);
    toc_world_expect_open(world);
}

Test(slot, reads_wait_for_one_slice)
{
    struct toc_world world;
    struct toc_read reads[5];

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    for (size_t i = 0; i < KF_ARRAY_LEN(reads); i++)
        toc_read_begin(&world, &reads[i], "large", i * 100000, 1000);
    cr_assert_eq(kf_file_read_now(reads[0].file, (char[10]){0}, 10, 0), -1);
    kf_fake_source_hold(world.toc_fake, false);
    for (size_t i = 0; i < KF_ARRAY_LEN(reads); i++)
        cr_assert_eq(toc_read_end(&reads[i]), KF_E_NONE);
    cr_assert_eq(kf_fake_source_requests(world.toc_fake), 2);
    toc_world_end(&world);
}

/* The maps of all the rest come by few requests, however many slices they are of. */
Test(slot, slices_of_the_rest_come_together)
{
    static const struct toc_world_file files[] = {{"a", 2000000}, {"b", 100000}};
    struct toc_world world;

    toc_world_cut(&world, files, KF_ARRAY_LEN(files), 64); /* 33,000 chunks: 5 slices */
    cr_assert_gt(world.link.area_length, MIB(1));
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    kf_fake_source_hold(world.toc_fake, true);
    {
        struct toc_read read;

        toc_read_begin(&world, &read, "b", 99000, 1000);
        cr_assert(kf_fake_source_wait(world.toc_fake, 2));
        kf_fake_source_hold(world.toc_fake, false);
        cr_assert_eq(toc_read_end(&read), KF_E_NONE, "%s", read.message);
    }
    cr_assert_leq(kf_fake_source_requests(world.toc_fake), 3);
    toc_world_expect_all(&world, MIB(1));
    toc_world_end(&world);
}

Test(slot, failed_load_is_tried_again)
{
    struct toc_world world;
    struct toc_read first, second;

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    kf_fake_source_fail(world.toc_fake, 1, KF_E_UNREACHABLE, 100);
    toc_read_begin(&world, &first, "large", 0, 10);
    toc_read_begin(&world, &second, "large", 20, 10);
    kf_fake_source_hold(world.toc_fake, false);
    cr_assert_eq(toc_read_end(&first), KF_E_UNREACHABLE);
    cr_assert_eq(toc_read_end(&second), KF_E_UNREACHABLE);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE);
    toc_world_end(&world);
}

Test(slot, one_read_gives_up_while_others_wait)
{
    struct toc_world world;
    struct toc_read reads[3];

    for (size_t who = 0; who < KF_ARRAY_LEN(reads); who++) {
        begin(&world);
        kf_fake_source_hold(world.toc_fake, true);
        for (size_t i = 0; i < KF_ARRAY_LEN(reads); i++)
            toc_read_begin(&world, &reads[i], "large", i * 5000, 1000);
        kf_file_cancel(reads[who].file, &reads[who].read);
        cr_assert_eq(toc_read_end(&reads[who]), KF_E_CANCELLED);
        kf_fake_source_hold(world.toc_fake, false);
        for (size_t i = 0; i < KF_ARRAY_LEN(reads); i++)
            if (i != who)
                cr_assert_eq(toc_read_end(&reads[i]), KF_E_NONE);
        toc_world_end(&world);
    }
}

/* One that comes after the last has given up is the end of the list. */
Test(slot, read_after_one_that_gave_up)
{
    struct toc_world world;
    struct toc_read first, second, third;

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    toc_read_begin(&world, &first, "large", 0, 10);
    toc_read_begin(&world, &second, "large", 10, 10);
    kf_file_cancel(second.file, &second.read);
    toc_read_begin(&world, &third, "large", 20, 10);
    cr_assert_eq(toc_read_end(&second), KF_E_CANCELLED);
    kf_fake_source_hold(world.toc_fake, false);
    cr_assert_eq(toc_read_end(&first), KF_E_NONE);
    cr_assert_eq(toc_read_end(&third), KF_E_NONE);
    toc_world_end(&world);
}

/* Given up after its slice came, while its chunk is on its way. */
Test(slot, read_gives_up_when_its_chunk_is_awaited)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world);
    kf_fake_source_hold(world.fake, true);
    toc_read_begin(&world, &read, "large", 0, 10);
    cr_assert(kf_fake_source_wait(world.fake, 1));
    kf_file_cancel(read.file, &read.read);
    cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
    kf_fake_source_hold(world.fake, false);
    toc_world_end(&world);
}

/* The load keeps its file: nobody else has it any more. */
Test(slot, last_user_leaves_while_it_loads)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    toc_read_begin(&world, &read, "large", 0, 10);
    kf_file_cancel(read.file, &read.read);
    cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED); /* puts it */
    kf_fake_source_hold(world.toc_fake, false);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE);
    toc_world_end(&world);
}

static void stop_now(struct toc_world *world)
{
    cr_assert_eq(kf_fetch_stop(world->fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
}

Test(slot, stopping_while_it_loads)
{
    static const char *const names[] = {"large", "z"};
    struct toc_world world;
    struct toc_read read;

    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        begin(&world);
        kf_fake_source_hold(world.toc_fake, true);
        toc_read_begin(&world, &read, names[i], 0, 10);
        stop_now(&world);
        cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
        toc_world_end(&world);
    }
}

Test(slot, stopping_while_it_loads_for_nobody)
{
    struct toc_world world;
    struct toc_read read;

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    toc_read_begin(&world, &read, "large", 0, 10);
    kf_file_cancel(read.file, &read.read);
    cr_assert_eq(toc_read_end(&read), KF_E_CANCELLED);
    toc_world_end(&world); /* while its slice is on its way */
}

/* The slice is refused before the call that asks for it returns. */
Test(slot, reading_when_stopped)
{
    static const char *const names[] = {"large", "z"};
    struct toc_world world;

    begin(&world);
    stop_now(&world);
    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++)
        cr_assert_eq(toc_world_read(&world, names[i], 0, 10), KF_E_CANCELLED);
    toc_world_end(&world);
}

/* Nothing is on its way yet, so no other thread allocates. */
Test(slot, reading_without_memory)
{
    struct toc_world world;
    struct toc_read read = {0};
    struct kf_file *file;

    begin(&world);
    kf_fake_source_hold(world.toc_fake, true);
    file = toc_world_file(&world, "large"); /* so that opening it takes none */
    for (long count = 0; count < 2; count++) {
        fail_alloc_after(count);
        toc_read_begin(&world, &read, "large", 0, 10);
        fail_alloc_after(-1);
        cr_assert_eq(toc_read_end(&read), KF_E_NOMEM);
    }
    kf_file_put(file);
    kf_fake_source_hold(world.toc_fake, false);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE);
    toc_world_end(&world);
}
