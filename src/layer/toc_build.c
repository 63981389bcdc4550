#include "layer/toc_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"

#define ROOT_LEVEL 3
#define POLICY "cut1"

/* Entries by name: the order of FILE. */
static int compare_names(const void *left, const void *right, void *arg)
{
    const struct kf_pack_stream *stream = arg;

    return strcmp(stream->entries[*(const uint32_t *)left].name,
                  stream->entries[*(const uint32_t *)right].name);
}

static uint16_t mode_of(const struct kf_pack_entry *entry)
{
    return entry->is_dir || entry->is_executable ? 0755 : 0644;
}

static void fill_file(struct kf_toc *toc, uint32_t index,
                      const struct kf_pack_entry *entry,
                      const struct kf_pack_place *place, bool raw)
{
    struct kf_toc_file *file = &toc->files[index];
    size_t length = raw ? 0 : strlen(entry->name);

    *file = (struct kf_toc_file){.offset = entry->is_dir ? 0 : place->data,
                                 .size = entry->size,
                                 .name_offset = (uint32_t)toc->names_length,
                                 .name_length = (uint32_t)length,
                                 .mode = raw ? 0 : mode_of(entry),
                                 .type = entry->is_dir ? KF_TYPE_DIR : KF_TYPE_FILE};
    memcpy(toc->names + toc->names_length, entry->name, length);
    toc->names_length += length;
}

static int fill_files(struct kf_toc *toc, const struct kf_pack_stream *stream,
                      struct kf_err *err)
{
    kf_auto(kf_free) uint32_t *order =
        calloc((size_t)stream->entry_count + 1, sizeof(*order));
    uint64_t names = 0;

    for (uint32_t i = 0; i < stream->entry_count; i++)
        names += strlen(stream->entries[i].name);
    if (names > kf_toc_limits.root_raw_bytes)
        return kf_fail(err, KF_E_LIMIT, "the names of a layer are too long");
    toc->files = calloc((size_t)stream->entry_count + 1, sizeof(*toc->files));
    toc->names = malloc(names + 1);
    if (!order || !toc->files || !toc->names)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    for (uint32_t i = 0; i < stream->entry_count; i++)
        order[i] = i;
    qsort_r(order, stream->entry_count, sizeof(*order), compare_names,
            (void *)(uintptr_t)stream);
    toc->file_count = stream->entry_count;
    for (uint32_t i = 0; i < stream->entry_count; i++)
        fill_file(toc, i, &stream->entries[order[i]], &stream->places[order[i]],
                  stream->raw);
    return 0;
}

/* The chunk that holds a byte of the stream. */
static uint32_t chunk_at(const struct kf_pack_stream *stream, uint64_t offset)
{
    uint32_t low = 0, high = stream->chunk_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (stream->chunks[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The chunks that hold bytes [offset, end) of the stream, if there are any. */
static void add_run(struct kf_toc *toc, const struct kf_pack_stream *stream,
                    uint64_t offset, uint64_t end)
{
    uint32_t first;

    if (end <= offset)
        return;
    first = chunk_at(stream, offset);
    toc->prefetch[toc->prefetch_count++] =
        (struct kf_toc_run){first, chunk_at(stream, end - 1) - first + 1};
}

/* Small files, then headers of weights, then large files: in the stream the small ones
 * come first, and the large ones by name. */
static int fill_prefetch(struct kf_toc *toc, const struct kf_pack_stream *stream,
                         struct kf_err *err)
{
    const struct kf_pack_entry *entries = stream->entries;
    const struct kf_pack_place *places = stream->places;
    uint32_t count = stream->entry_count, large = 0;

    toc->prefetch = calloc((size_t)count * 2 + 1, sizeof(*toc->prefetch));
    if (!toc->prefetch)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    while (large < count && entries[large].size <= KF_BOOT_FILE)
        large++;
    add_run(toc, stream, 0, large == count ? stream->length : places[large].header);
    for (uint32_t i = large; i < count; i++)
        add_run(toc, stream, places[i].data,
                places[i].data + entries[i].tensors.data_offset);
    for (uint32_t i = large; i < count; i++)
        add_run(toc, stream, places[i].data, places[i].data + entries[i].size);
    return 0;
}

static int fill_meta(struct kf_toc *toc, struct kf_err *err)
{
    if (asprintf(&toc->meta, "{\"packer\":\"kitfs\",\"zstd\":\"%s\",\"policy\":\"%s\"}",
                 ZSTD_versionString(), POLICY) < 0) {
        toc->meta = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    }
    return 0;
}

static int compress_root(struct kf_toc_link *link, const struct kf_buf *root,
                         struct kf_buf *area, struct kf_err *err)
{
    size_t bound = ZSTD_compressBound(root->length), got;
    kf_auto(kf_free) void *stored = malloc(bound);

    if (!stored)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    got = ZSTD_compress(stored, bound, root->data, root->length, ROOT_LEVEL);
    if (ZSTD_isError(got))
        return kf_fail(err, KF_E_NOMEM, "cannot compress a table of contents: %s",
                       ZSTD_getErrorName(got));
    if (got > kf_toc_limits.root_stored_bytes ||
        root->length > kf_toc_limits.root_raw_bytes)
        return kf_fail(err, KF_E_LIMIT,
                       "the table of contents is too large: use a larger --chunk-size");
    link->root_stored = got;
    link->root_raw = root->length;
    if (kf_digest_of(&link->root_digest, stored, got, err) != 0)
        return -1;
    return kf_buf_append(area, stored, got, err);
}

static int build(struct kf_toc_link *link, struct kf_toc *toc,
                 const struct kf_chunk_row *rows, uint32_t count, struct kf_buf *area,
                 struct kf_err *err)
{
    struct kf_buf root, slices;
    int rc;

    kf_buf_init(&root, kf_toc_limits.root_raw_bytes);
    kf_buf_init(&slices, kf_toc_limits.area_bytes);
    rc = kf_toc_encode(toc, rows, count, &root, &slices, err);
    if (rc == 0)
        rc = compress_root(link, &root, area, err);
    if (rc == 0 && slices.length > 0)
        rc = kf_buf_append(area, slices.data, slices.length, err);
    if (rc == 0)
        link->area_length = link->root_stored + slices.length;
    kf_buf_fini(&root);
    kf_buf_fini(&slices);
    return rc;
}

int kf_toc_build(struct kf_toc_link *ret, const struct kf_pack_stream *stream,
                 const struct kf_chunk_row *rows, enum kf_toc_carrier carrier,
                 uint32_t chunk_size, struct kf_buf *ret_area, struct kf_err *err)
{
    struct kf_toc toc = {.carrier = carrier, .chunk_size = chunk_size};
    struct kf_toc_link link = {0};
    int rc = fill_files(&toc, stream, err);

    if (rc == 0)
        rc = fill_prefetch(&toc, stream, err);
    if (rc == 0)
        rc = fill_meta(&toc, err);
    if (rc == 0)
        rc = build(&link, &toc, rows, stream->chunk_count, ret_area, err);
    kf_toc_fini(&toc);
    if (rc == 0)
        *ret = link;
    return rc;
}
