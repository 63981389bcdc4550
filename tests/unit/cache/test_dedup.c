/* Chunks that another object holds. */
#include "cache/dedup.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/err.h"
#include "base/mem.h"
#include "cache/cuts.h"
#include "common.h"

#define COUNT 4u

TestSuite(dedup, .init = cache_setup, .fini = cache_teardown);

/* COUNT chunks of CHUNK bytes whose digests are those of chunk_block, shifted: chunk i is
 * what an unshifted object has as chunk i + shift. */
static struct kf_object *open_shifted(struct kf_store *store, const char *name,
                                      unsigned shift)
{
    struct kf_cuts *cuts = kf_cuts_new(COUNT, NULL);
    struct kf_object_spec spec = {.size = COUNT * CHUNK, .cuts = cuts};
    struct kf_object *object;
    struct kf_err err;

    cr_assert_not_null(cuts);
    for (uint64_t i = 0; i < COUNT; i++)
        cuts->offsets[i + 1] = cuts->offsets[i] + CHUNK;
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    cr_assert_eq(kf_object_open(&object, store, &spec, &err), 0, "%s", err.message);
    for (uint64_t i = 0; i < COUNT; i++)
        kf_block_unref(chunk_block(object, (i + shift) % COUNT, &cuts->digests[i]));
    kf_cuts_unref(cuts); /* the object's now */
    return object;
}

static void expect_copy(struct kf_object *object, uint64_t chunk, unsigned shift)
{
    struct kf_block *expected = chunk_block(object, (chunk + shift) % COUNT, NULL);
    struct kf_elsewhere from;
    struct kf_digest digest;
    uint8_t *data = malloc(CHUNK);
    struct kf_err err;

    cr_assert_not_null(data);
    cr_assert(kf_object_elsewhere(object, chunk, &from));
    cr_assert_eq(kf_object_copy(object, chunk, &from, data, CHUNK, &digest, &err), 0,
                 "%s", err.message);
    cr_assert_eq(memcmp(data, expected->data, CHUNK), 0);
    kf_block_unref(expected);
    free(data);
}

Test(dedup, finds_what_is_kept_from_now_on)
{
    struct kf_store *store = cache_open();
    struct kf_object *first, *second;
    struct kf_elsewhere from;

    kf_store_index(store);
    first = open_shifted(store, "aa", 0);
    second = open_shifted(store, "bb", 1);
    cr_assert_not(kf_object_elsewhere(second, 0, &from));
    put_all(first);
    for (uint64_t chunk = 0; chunk < COUNT; chunk++)
        expect_copy(second, chunk, 1);
    cr_assert_not(kf_object_elsewhere(first, 0, &from), "it is its own");
    kf_object_unref(first);
    kf_object_unref(second);
    cache_close(store);
}

Test(dedup, finds_what_earlier_mounts_left)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = open_shifted(store, "aa", 0);
    struct kf_elsewhere from;

    cr_assert(put_chunk(object, 2));
    kf_object_unref(object);
    cache_close(store);
    store = cache_open();
    object = open_shifted(store, "bb", 1);
    cr_assert_not(kf_object_elsewhere(object, 1, &from), "the maps were not read yet");
    kf_store_index(store);
    kf_store_index(store);
    expect_copy(object, 1, 1);
    cr_assert_not(kf_object_elsewhere(object, 0, &from));
    kf_object_unref(object);
    cache_close(store);
}

static enum kf_err_kind copy_fails(struct kf_object *object, uint64_t chunk)
{
    struct kf_elsewhere from;
    struct kf_digest digest;
    uint8_t *data = malloc(CHUNK);
    struct kf_err err;

    cr_assert(kf_object_elsewhere(object, chunk, &from));
    cr_assert_eq(kf_object_copy(object, chunk, &from, data, CHUNK, &digest, &err), -1);
    free(data);
    return err.kind;
}

Test(dedup, hints_that_are_wrong_do_no_harm)
{
    struct kf_store *store = cache_open();
    struct kf_object *first, *second;

    kf_store_index(store);
    first = open_shifted(store, "aa", 0);
    second = open_shifted(store, "bb", 1);
    put_all(first);
    file_write("aa", "data", 5, "?", 1);
    cr_assert_eq(copy_fails(second, 3), KF_E_CORRUPT);
    expect_copy(second, 0, 1);
    file_unlink("aa", "data");
    cr_assert_eq(copy_fails(second, 0), KF_E_NOTFOUND);
    file_unlink("aa", "map");
    cr_assert_eq(copy_fails(second, 0), KF_E_NOTFOUND);
    kf_object_unref(first);
    kf_object_unref(second);
    cache_close(store);
}

Test(dedup, needs_digests_and_a_store)
{
    struct kf_store *store = cache_open();
    struct kf_object *plain = object_open(store, "aa", 2 * CHUNK);
    struct kf_object *nowhere = open_shifted(NULL, "bb", 0);
    struct kf_elsewhere from;

    kf_store_index(store);
    put_all(plain);
    cr_assert_not(kf_object_elsewhere(plain, 0, &from));
    cr_assert_not(kf_object_elsewhere(nowhere, 0, &from));
    kf_object_unref(plain);
    kf_object_unref(nowhere);
    cache_close(store);
}

Test(dedup, serves_objects_that_are_not_kept)
{
    struct kf_store *store = cache_open();
    struct kf_object *first = open_shifted(store, "aa", 0), *second;

    put_all(first);
    kf_object_unref(first);
    cache_close(store);
    store = cache_open_with(&(struct kf_store_opts){.look_only = true});
    kf_store_index(store);
    second = open_shifted(store, "bb", 1);
    for (uint64_t chunk = 0; chunk < COUNT; chunk++)
        expect_copy(second, chunk, 1);
    kf_object_unref(second);
    cache_close(store);
}
