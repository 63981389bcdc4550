#include <criterion/criterion.h>
#include <stdio.h>

#include "base/block.h"
#include "base/clock.h"
#include "common.h"

#define PER_WINDOW (WINDOW / CHUNK)

TestSuite(writer, .init = cache_setup, .fini = cache_teardown);

static struct kf_store *open_roomy(void)
{
    return cache_open_with(&(struct kf_store_opts){0});
}

Test(writer, writes_a_window_when_it_is_full)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", 3 * WINDOW);
    struct put *puts[PER_WINDOW];

    kf_clock_fake(kf_now_ns());               /* time does not end it */
    for (uint64_t i = 0; i < PER_WINDOW; i++) /* 13 is prime to 32: in disorder */
        cr_assert_not_null(puts[i] = put_start(object, PER_WINDOW + i * 13 % PER_WINDOW));
    for (uint64_t i = 0; i < PER_WINDOW; i++)
        put_wait(puts[i]);
    for (uint64_t i = 0; i < PER_WINDOW; i++)
        cr_assert_eq(read_chunk(object, PER_WINDOW + i), 0);
    cr_assert_eq(kf_object_local_bytes(object), WINDOW);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, knows_the_shorter_window_at_the_end)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", WINDOW + CHUNK + 5);
    struct put *last, *before;

    kf_clock_fake(kf_now_ns());
    last = put_start(object, PER_WINDOW + 1);
    before = put_start(object, PER_WINDOW);
    put_wait(last);
    put_wait(before);
    cr_assert_eq(kf_object_local_bytes(object), CHUNK + 5);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, writes_a_window_after_a_second)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", 2 * WINDOW);
    struct kf_object *poke = object_open(store, "b", CHUNK);
    int64_t now = kf_now_ns();
    struct put *put;

    kf_clock_fake(now);
    put = put_start(object, 3);
    cr_assert(put_chunk(poke, 0)); /* the writer has seen both */
    cr_assert_not(kf_object_has(object, 3));
    kf_clock_fake(now + KF_NS_PER_S);
    kf_object_drop(poke, 0);
    cr_assert(put_chunk(poke, 0));
    put_wait(put);
    cr_assert(kf_object_has(object, 3));
    kf_object_unref(poke);
    kf_object_unref(object);
    cache_close(store);
}

/* Without a second's wait: who has handed over the last of something knows. */
Test(writer, writes_in_a_hurry_when_told)
{
    struct kf_store *store = cache_open_with(&(struct kf_store_opts){.path = cache_path});
    struct kf_object *object = object_open(store, "object", 2 * WINDOW);
    int64_t began_ns = kf_now_ns();
    struct put *put = put_start(object, 1);

    cr_assert_not_null(put);
    kf_store_hurry(store);
    put_wait(put);
    cr_assert(kf_object_has(object, 1));
    cr_assert_lt(kf_now_ns() - began_ns, KF_NS_PER_S / 2);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, fills_the_gap_in_a_window)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", 3 * CHUNK);
    struct put *puts[3];

    kf_clock_fake(kf_now_ns());
    for (uint64_t i = 0; i < 3; i++)
        puts[i] = put_start(object, i);
    for (uint64_t i = 0; i < 3; i++)
        put_wait(puts[i]);
    kf_object_drop(object, 1);
    cr_assert(put_chunk(object, 1)); /* its neighbours are there: nothing to wait for */
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, takes_no_more_than_its_queue)
{
    struct kf_store *store =
        cache_open_with(&(struct kf_store_opts){.write_queue_bytes = 2 * CHUNK});
    struct kf_object *object = object_open(store, "a", 2 * WINDOW + 3 * CHUNK);
    struct kf_object_spec spec = {
        .name = "b", .size = 4 * CHUNK, .chunk_size = 4 * CHUNK};
    struct kf_object *large;

    cr_assert_eq(kf_object_open(&large, store, &spec, NULL), 0);
    cr_assert_null(put_start(large, 0));
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_SKIPPED), 1);
    struct put *one = put_start(object, 0), *two = put_start(object, 1);

    cr_assert_not_null(one);
    cr_assert_not_null(two); /* more than half: both are written without delay */
    put_wait(one);
    struct put *three = put_start(object, 2);

    cr_assert_not_null(three);
    put_wait(two);
    kf_object_unref(large);
    kf_object_unref(object);
    cache_close(store); /* writes the third */
    put_wait(three);
}

Test(writer, is_done_at_once_with_a_chunk_that_is_there)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", WINDOW);
    struct put *puts[3];

    kf_clock_fake(kf_now_ns());
    puts[0] = put_start(object, 5);
    puts[1] = put_start(object, 5); /* twice in one window: the first is written now */
    puts[2] = put_start(object, 5);
    for (size_t i = 0; i < 3; i++)
        put_wait(puts[i]);
    cr_assert_eq(read_chunk(object, 5), 0);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_WRITTEN_BYTES), CHUNK);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, writes_what_is_left_when_the_store_closes)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", 5 * WINDOW);
    struct put *puts[5];

    kf_clock_fake(kf_now_ns());
    for (uint64_t i = 0; i < 5; i++)
        puts[i] = put_start(object, i * PER_WINDOW + i);
    kf_object_unref(object); /* the puts keep it */
    cache_close(store);
    for (uint64_t i = 0; i < 5; i++)
        put_wait(puts[i]);
    store = open_roomy();
    object = object_open(store, "a", 5 * WINDOW);
    for (uint64_t i = 0; i < 5; i++)
        cr_assert_eq(read_chunk(object, i * PER_WINDOW + i), 0);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, drops_what_is_left_when_time_is_up)
{
    struct kf_store *store = open_roomy();
    struct kf_object *object = object_open(store, "a", 5 * WINDOW);
    struct put *put;

    kf_clock_fake(kf_now_ns());
    put = put_start(object, 9);
    kf_object_unref(object);
    kf_store_close(store, kf_now_ns());
    put_wait(put);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_SKIPPED), 1);
    store = open_roomy();
    object = object_open(store, "a", 5 * WINDOW);
    cr_assert_eq(kf_object_local_bytes(object), 0);
    kf_object_unref(object);
    cache_close(store);
}

Test(writer, takes_chunks_of_any_size)
{
    static const uint32_t sizes[] = {96u << 10, 1u << 20, 3u << 20, 16u << 20};
    struct kf_store *store = open_roomy();

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct kf_object_spec spec = {.size = 2 * (uint64_t)sizes[i] + 1,
                                      .chunk_size = sizes[i]};
        struct kf_object *object;
        struct put *puts[3];

        (void)snprintf(spec.name, sizeof(spec.name), "of-%u", sizes[i]);
        cr_assert_eq(kf_object_open(&object, store, &spec, NULL), 0);
        for (uint64_t chunk = 0; chunk < 3; chunk++)
            cr_assert_not_null(puts[chunk] = put_start(object, chunk));
        for (uint64_t chunk = 0; chunk < 3; chunk++) {
            put_wait(puts[chunk]);
            cr_assert_eq(read_chunk(object, chunk), 0);
        }
        cr_assert(kf_object_complete(object));
        kf_object_unref(object);
    }
    cache_close(store);
}
