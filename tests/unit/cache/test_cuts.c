/* Objects whose chunks have cuts of their own. */
#include "cache/cuts.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/err.h"
#include "base/mem.h"
#include "cache/map.h"
#include "common.h"

#define NAME "c0ffee"

static const uint32_t lengths[] = {1, CHUNK, 3, CHUNK + 5, 7, 300};
#define COUNT KF_ARRAY_LEN(lengths)

TestSuite(cuts, .init = cache_setup, .fini = cache_teardown);

static struct kf_cuts *make_cuts(void)
{
    struct kf_cuts *cuts = kf_cuts_new(COUNT, NULL);

    cr_assert_not_null(cuts);
    for (size_t i = 0; i < COUNT; i++)
        cuts->offsets[i + 1] = cuts->offsets[i] + lengths[i];
    return cuts;
}

/* With the digests of what chunk_block makes. */
static struct kf_object *open_cut(struct kf_store *store)
{
    struct kf_cuts *cuts = make_cuts();
    struct kf_object_spec spec = {
        .name = NAME, .size = cuts->offsets[COUNT], .cuts = cuts};
    struct kf_object *object;
    struct kf_err err;

    cr_assert_eq(kf_object_open(&object, store, &spec, &err), 0, "%s", err.message);
    for (uint64_t chunk = 0; chunk < COUNT; chunk++)
        kf_block_unref(chunk_block(object, chunk, &cuts->digests[chunk]));
    kf_cuts_unref(cuts); /* the object's now */
    return object;
}

Test(cuts, are_found_by_offset)
{
    struct kf_cuts *cuts = make_cuts();

    for (uint64_t chunk = 0; chunk < COUNT; chunk++) {
        cr_assert_eq(kf_cuts_at(cuts, cuts->offsets[chunk]), chunk);
        cr_assert_eq(kf_cuts_at(cuts, cuts->offsets[chunk + 1] - 1), chunk);
    }
    kf_cuts_unref(cuts);
}

Test(cuts, have_a_limit)
{
    struct kf_err err;

    cr_assert_null(kf_cuts_new(KF_MAP_CHUNK_LIMIT + 1, &err));
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(cuts, chunks_are_kept_and_read_across_them)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = open_cut(store);
    uint64_t size = kf_object_size(object);
    uint8_t *data = malloc(size);

    cr_assert_not_null(data);
    cr_assert_eq(kf_object_chunk_count(object), COUNT);
    put_all(object);
    cr_assert(kf_object_complete(object));
    cr_assert_eq(kf_object_local_bytes(object), size);
    for (uint64_t chunk = 0; chunk < COUNT; chunk++)
        cr_assert_eq(read_chunk(object, chunk), KF_E_NONE, "chunk %lu", chunk);
    cr_assert_eq(kf_object_read(object, data, size, 0, NULL), 0);
    cr_assert_eq(kf_object_read_now(object, data, size, 0), (ssize_t)size);
    free(data);
    kf_object_unref(object);
    cache_close(store);
}

Test(cuts, of_other_shape_are_another_object)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = open_cut(store);
    struct kf_object *other = object_open(store, NAME, kf_object_size(object));

    cr_assert_neq(other, object);
    kf_object_unref(other);
    kf_object_unref(object);
    cache_close(store);
}

/* Who can write the cache can make data and map agree, but not with the TOC. */
Test(cuts, digests_overrule_the_map)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = open_cut(store);
    uint64_t map_digests = KF_MAP_HEADER_SIZE + 64;
    struct kf_digest digest;

    put_all(object);
    kf_object_unref(object);
    cache_close(store);
    cr_assert_eq(kf_digest_of(&digest, "x", 1, NULL), 0);
    file_write(NAME, "data", 0, "x", 1);
    file_write(NAME, "map", map_digests, digest.bytes, sizeof(digest.bytes));
    file_reboot_not_durable(NAME);
    store = cache_open();
    object = open_cut(store);
    cr_assert_eq(read_chunk(object, 0), KF_E_CORRUPT);
    cr_assert_not(kf_object_has(object, 0));
    cr_assert_eq(read_chunk(object, 1), KF_E_NONE);
    kf_object_unref(object);
    cache_close(store);
}
