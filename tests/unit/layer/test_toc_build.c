#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_getFrameHeader */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "layer/toc_build.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define CHUNK ((uint32_t)MIB(1))

struct built {
    struct kf_pack_stream stream;
    struct kf_chunk_row *rows;
    struct kf_toc_link link;
    struct kf_buf area;
    struct kf_toc toc;
};

/* One zstd frame as section 4 wants the root. */
static uint8_t *root_of(const struct built *built)
{
    const struct kf_toc_link *link = &built->link;
    ZSTD_frameHeader header;
    struct kf_digest digest;
    uint8_t *root = malloc(link->root_raw);

    cr_assert_eq(ZSTD_getFrameHeader(&header, built->area.data, built->area.length), 0);
    cr_assert_eq(header.frameContentSize, link->root_raw);
    cr_assert_eq(header.dictID, 0);
    cr_assert_leq(header.windowSize, 1 << 24);
    cr_assert_eq(ZSTD_findFrameCompressedSize(built->area.data, built->area.length),
                 link->root_stored);
    cr_assert_eq(kf_digest_of(&digest, built->area.data, link->root_stored, NULL), 0);
    cr_assert(kf_digest_equal(&digest, &link->root_digest));
    cr_assert_eq(
        ZSTD_decompress(root, link->root_raw, built->area.data, link->root_stored),
        link->root_raw);
    return root;
}

static void decode(struct built *built, enum kf_toc_carrier carrier)
{
    struct kf_toc_link *link = &built->link;
    bool embedded = carrier == KF_CARRIER_TAR_ZSTD;
    uint64_t blob = built->stream.length + (carrier == KF_CARRIER_TAR ? 1024 : 0);
    uint8_t *root = root_of(built);
    struct kf_err err;

    link->embedded = embedded;
    if (embedded) {
        link->area_offset = built->stream.length + 8;
        blob = link->area_offset + link->area_length;
    }
    cr_assert_eq(link->area_length, built->area.length);
    cr_assert_eq(kf_toc_decode(&built->toc, root, link->root_raw, link, blob,
                               &kf_toc_limits, &err),
                 0, "%s", err.message);
    free(root);
}

static void build(struct built *built, enum kf_toc_carrier carrier,
                  const struct kf_pack_entry *entries, uint32_t count,
                  uint32_t chunk_size)
{
    struct kf_err err;

    memset(built, 0, sizeof(*built));
    cr_assert_eq(kf_pack_stream_init(&built->stream, entries, count, chunk_size,
                                     carrier == KF_CARRIER_TAR, carrier == KF_CARRIER_RAW,
                                     &err),
                 0, "%s", err.message);
    built->rows = calloc((size_t)built->stream.chunk_count + 1, sizeof(*built->rows));
    for (uint32_t i = 0; i < built->stream.chunk_count; i++) {
        built->rows[i].length = built->stream.chunks[i].length;
        built->rows[i].stored_length = built->rows[i].length;
    }
    kf_buf_init(&built->area, MIB(1));
    cr_assert_eq(kf_toc_build(&built->link, &built->stream, built->rows, carrier,
                              chunk_size, &built->area, &err),
                 0, "%s", err.message);
    decode(built, carrier);
}

static void finish(struct built *built)
{
    kf_toc_fini(&built->toc);
    kf_buf_fini(&built->area);
    free(built->rows);
    kf_pack_stream_fini(&built->stream);
}

static void expect_file(const struct kf_toc *toc, uint32_t index, const char *name,
                        uint64_t size, uint16_t mode, uint8_t type)
{
    const struct kf_toc_file *file = &toc->files[index];
    size_t length;
    const char *found = kf_toc_name(toc, index, &length);

    cr_assert_eq(length, strlen(name));
    cr_assert_eq(memcmp(found, name, length), 0, "%s", name);
    cr_assert(file->size == size && file->mode == mode && file->type == type &&
              file->mtime == 0);
}

static void expect_run(const struct kf_toc *toc, uint32_t index, uint32_t first,
                       uint32_t count)
{
    cr_assert_lt(index, toc->prefetch_count);
    cr_assert_eq(toc->prefetch[index].first_chunk, first, "run %u: %u", index,
                 toc->prefetch[index].first_chunk);
    cr_assert_eq(toc->prefetch[index].count, count, "run %u: %u", index,
                 toc->prefetch[index].count);
}

static const struct kf_pack_entry tree[] = {
    {.name = "d", .is_dir = true},
    {.name = "d/b", .size = 10},
    {.name = "d0", .size = 20, .is_executable = true},
    {.name = "a", .size = MIB(20) + 1}, /* larger ones stand behind, though "a" < "d" */
    {.name = "w", .size = MIB(3), .tensors = {.data_offset = 100}},
};

Test(toc_build, files_by_name)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        struct built built;

        build(&built, carriers[i], tree, KF_ARRAY_LEN(tree), CHUNK);
        cr_assert_eq(built.toc.file_count, 5);
        expect_file(&built.toc, 0, "a", MIB(20) + 1, 0644, KF_TYPE_FILE);
        expect_file(&built.toc, 1, "d", 0, 0755, KF_TYPE_DIR);
        expect_file(&built.toc, 2, "d/b", 10, 0644, KF_TYPE_FILE);
        expect_file(&built.toc, 3, "d0", 20, 0755, KF_TYPE_FILE);
        expect_file(&built.toc, 4, "w", MIB(3), 0644, KF_TYPE_FILE);
        cr_assert_eq(built.toc.files[0].offset, built.stream.places[3].data);
        finish(&built);
    }
}

/* Chunks: 0 small files, and the header of "a"; 1-21 "a"; 22 its padding and the next
 * header; 23 the header of "w"; 24-26 its data. */
Test(toc_build, prefetch_in_order)
{
    struct built built;

    build(&built, KF_CARRIER_TAR_ZSTD, tree, KF_ARRAY_LEN(tree), CHUNK);
    cr_assert_eq(built.toc.prefetch_count, 4);
    expect_run(&built.toc, 0, 0, 1);
    expect_run(&built.toc, 1, 23, 1);
    expect_run(&built.toc, 2, 1, 21);
    expect_run(&built.toc, 3, 23, 4);
    finish(&built);
}

Test(toc_build, small_files_only)
{
    struct built built;

    build(&built, KF_CARRIER_TAR_ZSTD, tree, 3, CHUNK);
    cr_assert_eq(built.toc.prefetch_count, 1);
    expect_run(&built.toc, 0, 0, 1);
    finish(&built);
}

Test(toc_build, no_entries)
{
    struct built built;

    build(&built, KF_CARRIER_TAR_ZSTD, NULL, 0, CHUNK);
    cr_assert(built.toc.file_count == 0 && built.toc.prefetch_count == 0 &&
              built.link.area_length == built.link.root_stored);
    finish(&built);
}

/* A file that is all header (a vocabulary as GGUF): more runs than chunks. */
Test(toc_build, raw)
{
    const struct kf_pack_entry entry = {.name = "models/vocab.gguf",
                                        .size = MIB(2),
                                        .is_executable = true,
                                        .tensors = {.data_offset = MIB(2)}};
    struct built built;

    build(&built, KF_CARRIER_RAW, &entry, 1, (uint32_t)MIB(16));
    cr_assert_eq(built.toc.chunk_count, 1);
    cr_assert_eq(built.toc.names_length, 0);
    expect_file(&built.toc, 0, "", MIB(2), 0, KF_TYPE_FILE);
    cr_assert_eq(built.toc.prefetch_count, 2);
    finish(&built);
}

Test(toc_build, meta)
{
    struct built built;

    build(&built, KF_CARRIER_TAR_ZSTD, tree, 3, CHUNK);
    cr_assert_not_null(strstr(built.toc.meta, "\"packer\":\"kitfs\""));
    cr_assert_not_null(strstr(built.toc.meta, "\"policy\":\"cut1\""));
    finish(&built);
}

Test(toc_build, same_bytes_each_time)
{
    struct built a, b;

    build(&a, KF_CARRIER_TAR_ZSTD, tree, KF_ARRAY_LEN(tree), CHUNK);
    build(&b, KF_CARRIER_TAR_ZSTD, tree, KF_ARRAY_LEN(tree), CHUNK);
    cr_assert_eq(a.area.length, b.area.length);
    cr_assert_eq(memcmp(a.area.data, b.area.data, a.area.length), 0);
    finish(&a);
    finish(&b);
}

/* Slices behind the root, where the root says. */
Test(toc_build, slices_follow_the_root)
{
    const struct kf_pack_entry entry = {.name = "a", .size = MIB(100)};
    struct kf_chunk_row rows[100];
    struct built built;
    struct kf_err err;

    build(&built, KF_CARRIER_TAR_ZSTD, &entry, 1, CHUNK);
    cr_assert_eq(built.link.area_length, built.link.root_stored + 100 * 40);
    cr_assert_eq(built.toc.slices[1].where, 0);
    cr_assert_eq(kf_toc_slice_decode(&built.toc, 1,
                                     built.area.data + built.link.root_stored, 100 * 40,
                                     rows, &err),
                 0, "%s", err.message);
    finish(&built);
}

Test(toc_build, no_room)
{
    struct built built;
    struct kf_err err;

    build(&built, KF_CARRIER_TAR_ZSTD, tree, KF_ARRAY_LEN(tree), CHUNK);
    built.area.limit = built.area.length;
    cr_assert_eq(kf_toc_build(&built.link, &built.stream, built.rows, KF_CARRIER_TAR_ZSTD,
                              CHUNK, &built.area, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    finish(&built);
}
