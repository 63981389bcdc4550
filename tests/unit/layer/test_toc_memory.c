/*
 * Every allocation of the toc module fails once: an error like others, and nothing leaks.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "fail_alloc.h"
#include "layer/seektab.h"
#include "layer/toc_build.h"
#include "toc_maker.h"

static const struct toc_entry entries[] = {
    {"d", 0, true}, {"d/a", 10, false}, {"x", MIB(16), false}, {"y", MIB(70), false}};

struct world {
    struct toc_image image;
    struct kf_toc toc;
    struct kf_chunk_row rows[70];
    struct kf_pack_stream stream;
    struct kf_chunk_row stream_rows[32];
    struct kf_buf table;
    uint64_t file_size;
};

static int decode_root(struct world *world, struct kf_err *err)
{
    const struct toc_image *image = &world->image;
    struct kf_toc toc;

    if (kf_toc_decode(&toc, image->root.data, image->root.length, &image->link,
                      image->blob_size, &image->limits, err) != 0)
        return -1;
    kf_toc_fini(&toc);
    return 0;
}

static int decode_slice(struct world *world, struct kf_err *err)
{
    size_t length;
    const uint8_t *bytes = toc_slice_bytes(&world->image, &world->toc, 3, &length);

    return kf_toc_slice_decode(&world->toc, 3, bytes, length, world->rows, err);
}

static int encode(struct world *world, struct kf_err *err)
{
    struct kf_buf root, slices;
    int rc;

    kf_buf_init(&root, SIZE_MAX);
    kf_buf_init(&slices, SIZE_MAX);
    rc = kf_toc_encode(&world->image.source, world->image.rows, world->image.row_count,
                       &root, &slices, err);
    kf_buf_fini(&root);
    kf_buf_fini(&slices);
    return rc;
}

static int build(struct world *world, struct kf_err *err)
{
    struct kf_toc_link link;
    struct kf_buf area;
    int rc;

    kf_buf_init(&area, SIZE_MAX);
    rc = kf_toc_build(&link, &world->stream, world->stream_rows, KF_CARRIER_TAR, CHUNK,
                      &area, err);
    kf_buf_fini(&area);
    return rc;
}

static int decode_table(struct world *world, struct kf_err *err)
{
    struct kf_seek_entry *ret;
    uint32_t count;

    if (kf_seektab_decode(world->table.data, world->table.length, world->file_size, &ret,
                          &count, err) != 0)
        return -1;
    free(ret);
    return 0;
}

static const struct {
    const char *what;
    int (*call)(struct world *world, struct kf_err *err);
    long allocations; /* at least */
} calls[] = {
    {"root", decode_root, 8}, {"slice", decode_slice, 1}, {"encode", encode, 8},
    {"build", build, 12},     {"table", decode_table, 1},
};

static void make(struct world *world)
{
    static const struct kf_pack_entry packed = {.name = "x", .size = MIB(20)};
    static const struct kf_seek_entry entry = {10, 20};
    struct kf_err err;

    toc_make(&world->image, KF_CARRIER_TAR, entries, KF_ARRAY_LEN(entries), CHUNK);
    cr_assert_eq(toc_decode(&world->image, &world->toc, &err), 0, "%s", err.message);
    cr_assert_eq(
        kf_pack_stream_init(&world->stream, &packed, 1, CHUNK, false, false, &err), 0);
    for (uint32_t i = 0; i < world->stream.chunk_count; i++)
        world->stream_rows[i].length = world->stream.chunks[i].length;
    kf_buf_init(&world->table, SIZE_MAX);
    cr_assert_eq(kf_seektab_encode(&entry, 1, &world->table, &err), 0);
    world->file_size = world->table.length + 10;
}

Test(toc_memory, each_allocation_fails_once)
{
    struct world world = {0};

    make(&world);
    for (size_t i = 0; i < KF_ARRAY_LEN(calls); i++) {
        long count = -1;
        int rc, happened;

        do {
            struct kf_err err = {0};

            fail_alloc_after(++count);
            rc = calls[i].call(&world, &err);
            happened = fail_alloc_happened();
            fail_alloc_after(-1);
            cr_assert_eq(rc, happened ? -1 : 0, "%s, allocation %ld: %s", calls[i].what,
                         count, err.message);
            cr_assert_eq(err.kind, happened ? KF_E_NOMEM : KF_E_NONE, "%s: %s",
                         calls[i].what, err.message);
        } while (happened);
        cr_assert_geq(count, calls[i].allocations, "%s: %ld", calls[i].what, count);
    }
    kf_toc_fini(&world.toc);
    kf_pack_stream_fini(&world.stream);
    kf_buf_fini(&world.table);
    toc_image_fini(&world.image);
}
