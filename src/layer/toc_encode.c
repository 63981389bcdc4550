/*
 * Files and chunks to a root and its slices: the writer's side of docs/formats/layer.md
 * section 4.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/toc.h"
#include "layer/toc_private.h"

#define SECTION_COUNT 6u

struct encoder {
    const struct kf_toc *toc;
    const struct kf_chunk_row *rows;
    uint32_t count;
    struct kf_toc_slice *slices;
    uint32_t slice_count, slice_capacity;
    uint64_t stream, stored; /* where the next slice begins */
    uint32_t largest;
    struct kf_buf within;   /* rows of inline slices */
    struct kf_buf *outside; /* of the others */
    uint64_t outside_length;
};

struct section {
    const char *type;
    bool is_required; /* and to be understood; the others are left out when empty */
    uint64_t length;
};

struct large_file {
    uint64_t offset, size;
    uint32_t index;
};

static int compare_large(const void *left, const void *right)
{
    const struct large_file *a = left, *b = right;

    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int put_rows(struct kf_buf *out, const struct kf_chunk_row *rows, uint32_t count,
                    struct kf_err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t p[KF_TOC_ROW_SIZE];

        kf_put_le32(p, rows[i].stored_length);
        kf_put_le32(p + 4, rows[i].length);
        memcpy(p + 8, rows[i].digest.bytes, KF_SHA256_SIZE);
        if (kf_buf_append(out, p, sizeof(p), err) != 0)
            return -1;
    }
    return 0;
}

/* Puts the rows where they belong, and says where that is. */
static int place_rows(struct encoder *e, struct kf_toc_slice *slice, struct kf_err *err)
{
    const struct kf_chunk_row *rows = e->rows + slice->first_chunk;
    size_t length = (size_t)slice->chunk_count * KF_TOC_ROW_SIZE;

    if (slice->is_inline) {
        slice->where = e->within.length;
        return put_rows(&e->within, rows, slice->chunk_count, err);
    }
    slice->where = e->outside_length;
    e->outside_length += length;
    if (put_rows(e->outside, rows, slice->chunk_count, err) != 0)
        return -1;
    return kf_digest_of(&slice->digest, e->outside->data + e->outside->length - length,
                        length, err);
}

static struct kf_toc_slice *new_slice(struct encoder *e, struct kf_err *err)
{
    if (e->slice_count == kf_toc_limits.slices) {
        (void)kf_fail(err, KF_E_LIMIT,
                      "more than %u slices in a table of contents: use a larger "
                      "--chunk-size",
                      e->slice_count); /* NULL says it */
        return NULL;
    }
    if (e->slice_count == e->slice_capacity) {
        uint32_t capacity = e->slice_capacity ? e->slice_capacity * 2 : 16;
        struct kf_toc_slice *grown = reallocarray(e->slices, capacity, sizeof(*grown));

        if (!grown) {
            (void)kf_fail(err, KF_E_NOMEM,
                          "no memory for a table of contents"); /* NULL says it */
            return NULL;
        }
        e->slices = grown;
        e->slice_capacity = capacity;
    }
    return &e->slices[e->slice_count++];
}

static int add_slice(struct encoder *e, uint32_t first, uint32_t count, uint32_t file,
                     struct kf_err *err)
{
    struct kf_toc_slice *slice = new_slice(e, err);

    if (!slice)
        return -1;
    *slice = (struct kf_toc_slice){.file = file,
                                   .first_chunk = first,
                                   .chunk_count = count,
                                   .is_inline = count <= KF_TOC_INLINE_CHUNKS,
                                   .stream_offset = e->stream,
                                   .stored_offset = e->stored};
    for (uint32_t i = first; i < first + count; i++) {
        e->stream += e->rows[i].length;
        e->stored += e->rows[i].stored_length;
        if (e->rows[i].length > e->largest)
            e->largest = e->rows[i].length;
    }
    if (place_rows(e, slice, err) != 0)
        return -1;
    return file == KF_TOC_NO_FILE
               ? 0
               : kf_toc_content_id(e->rows + first, count, &slice->content_id, err);
}

/* How many chunks from `first` on make a slice that ends at `end` or before. */
static uint32_t count_until(const struct encoder *e, uint32_t first, uint64_t end,
                            uint32_t limit)
{
    uint64_t at = e->stream;
    uint32_t count = 0;

    while (count < limit && first + count < e->count &&
           e->rows[first + count].length <= end - at)
        at += e->rows[first + count++].length;
    return count;
}

/* The chunks from *first up to `end` of the stream, as slices of at most `limit`. */
static int slice_until(struct encoder *e, uint32_t *first, uint64_t end, uint32_t file,
                       uint32_t limit, struct kf_err *err)
{
    while (e->stream < end) {
        uint32_t count = count_until(e, *first, end, limit);

        if (count == 0)
            return kf_fail(err, KF_E_ARG, "no chunk ends at the border of a large file");
        if (add_slice(e, *first, count, file, err) != 0)
            return -1;
        *first += count;
    }
    return 0;
}

static int slice_large(struct encoder *e, uint32_t *first, const struct large_file *file,
                       struct kf_err *err)
{
    if (slice_until(e, first, file->offset, KF_TOC_NO_FILE, KF_TOC_SLICE_CHUNKS, err) !=
        0)
        return -1;
    return slice_until(e, first, file->offset + file->size, file->index, UINT32_MAX, err);
}

static int make_slices(struct encoder *e, struct kf_err *err)
{
    kf_auto(kf_free) struct large_file *large = NULL;
    uint32_t large_count = 0, first = 0;
    uint64_t length = 0;

    large = calloc((size_t)e->toc->file_count + 1, sizeof(*large));
    if (!large)
        return kf_fail(err, KF_E_NOMEM, "no memory for a table of contents");
    for (uint32_t i = 0; i < e->toc->file_count; i++)
        if (e->toc->files[i].size >= KF_TOC_LARGE_FILE)
            large[large_count++] =
                (struct large_file){e->toc->files[i].offset, e->toc->files[i].size, i};
    qsort(large, large_count, sizeof(*large), compare_large);
    for (uint32_t i = 0; i < large_count; i++)
        if (slice_large(e, &first, &large[i], err) != 0)
            return -1;
    for (uint32_t i = 0; i < e->count; i++)
        length += e->rows[i].length;
    return slice_until(e, &first, length, KF_TOC_NO_FILE, KF_TOC_SLICE_CHUNKS, err);
}

static int pad(struct kf_buf *buf, struct kf_err *err)
{
    static const uint8_t zeros[8];

    return kf_buf_append(buf, zeros, (8 - buf->length % 8) % 8, err);
}

static int put_header(const struct encoder *e, uint32_t section_count,
                      struct kf_buf *root, struct kf_err *err)
{
    uint8_t p[KF_TOC_HEADER_SIZE] = {0};

    memcpy(p, KF_TOC_MAGIC, 8);
    kf_put_le16(p + 8, KF_TOC_MAJOR);
    kf_put_le32(p + 12, KF_TOC_HEADER_SIZE);
    kf_put_le32(p + 16, section_count);
    p[20] = (uint8_t)e->toc->carrier;
    p[21] = KF_TOC_SHA256;
    kf_put_le64(p + 24, e->stream);
    kf_put_le64(p + 32, e->stored);
    kf_put_le32(p + 40, e->count);
    kf_put_le32(p + 44, e->toc->file_count);
    kf_put_le32(p + 48, e->toc->chunk_size);
    kf_put_le32(p + 52, e->largest);
    kf_put_le64(p + 56, e->outside_length);
    return kf_buf_append(root, p, sizeof(p), err);
}

/* Header and directory of the sections that put_sections appends, in that order. */
static int put_directory(const struct encoder *e, struct kf_buf *root, struct kf_err *err)
{
    const struct kf_toc *toc = e->toc;
    const struct section all[SECTION_COUNT] = {
        {"FILE", true, (uint64_t)toc->file_count * KF_TOC_FILE_RECORD},
        {"NAME", true, toc->names_length},
        {"SLIC", true, (uint64_t)e->slice_count * KF_TOC_SLICE_RECORD},
        {"ROWS", true, e->within.length},
        {"PREF", false, (uint64_t)toc->prefetch_count * KF_TOC_RUN_RECORD},
        {"META", false, toc->meta ? strlen(toc->meta) : 0},
    };
    uint32_t count = 0;
    uint64_t offset;

    for (size_t i = 0; i < SECTION_COUNT; i++)
        count += all[i].is_required || all[i].length > 0;
    offset = KF_TOC_HEADER_SIZE + (uint64_t)count * KF_TOC_DIRECTORY_ENTRY;
    if (put_header(e, count, root, err) != 0)
        return -1;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        uint8_t p[KF_TOC_DIRECTORY_ENTRY];

        if (!all[i].is_required && all[i].length == 0)
            continue;
        memcpy(p, all[i].type, 4);
        kf_put_le32(p + 4, all[i].is_required ? KF_TOC_MUST_UNDERSTAND : 0);
        kf_put_le64(p + 8, offset);
        kf_put_le64(p + 16, all[i].length);
        if (kf_buf_append(root, p, sizeof(p), err) != 0)
            return -1;
        offset += (all[i].length + 7) / 8 * 8;
    }
    return 0;
}

static int put_files(const struct kf_toc *toc, struct kf_buf *root, struct kf_err *err)
{
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *file = &toc->files[i];
        uint8_t p[KF_TOC_FILE_RECORD] = {0};

        kf_put_le64(p, file->offset);
        kf_put_le64(p + 8, file->size);
        kf_put_le64(p + 16, (uint64_t)file->mtime);
        kf_put_le32(p + 24, file->name_offset);
        kf_put_le32(p + 28, file->name_length);
        kf_put_le32(p + 32, file->mode);
        p[36] = file->type;
        if (kf_buf_append(root, p, sizeof(p), err) != 0)
            return -1;
    }
    return kf_buf_append(root, toc->names, toc->names_length, err) != 0 ? -1
                                                                        : pad(root, err);
}

static int put_slices(const struct encoder *e, struct kf_buf *root, struct kf_err *err)
{
    for (uint32_t i = 0; i < e->slice_count; i++) {
        const struct kf_toc_slice *slice = &e->slices[i];
        uint8_t p[KF_TOC_SLICE_RECORD] = {0};

        kf_put_le32(p, slice->file);
        kf_put_le32(p + 4, slice->first_chunk);
        kf_put_le32(p + 8, slice->chunk_count);
        kf_put_le32(p + 12, slice->is_inline ? KF_TOC_INLINE : 0);
        kf_put_le64(p + 16, slice->stream_offset);
        kf_put_le64(p + 24, slice->stored_offset);
        kf_put_le64(p + 32, slice->where);
        memcpy(p + 40, slice->digest.bytes, KF_SHA256_SIZE);
        memcpy(p + 72, slice->content_id.bytes, KF_SHA256_SIZE);
        if (kf_buf_append(root, p, sizeof(p), err) != 0)
            return -1;
    }
    return 0;
}

static int put_optional(const struct kf_toc *toc, struct kf_buf *root, struct kf_err *err)
{
    for (uint32_t i = 0; i < toc->prefetch_count; i++) {
        uint8_t p[KF_TOC_RUN_RECORD];

        kf_put_le32(p, toc->prefetch[i].first_chunk);
        kf_put_le32(p + 4, toc->prefetch[i].count);
        if (kf_buf_append(root, p, sizeof(p), err) != 0)
            return -1;
    }
    if (toc->meta && kf_buf_append(root, toc->meta, strlen(toc->meta), err) != 0)
        return -1;
    return pad(root, err);
}

static int put_sections(const struct encoder *e, struct kf_buf *root, struct kf_err *err)
{
    if (put_files(e->toc, root, err) != 0 || put_slices(e, root, err) != 0 ||
        kf_buf_append(root, e->within.data, e->within.length, err) != 0)
        return -1;
    return put_optional(e->toc, root, err);
}

static int encode(struct encoder *e, struct kf_buf *root, struct kf_err *err)
{
    if (e->count > kf_toc_limits.chunks || e->toc->file_count > kf_toc_limits.files)
        return kf_fail(err, KF_E_LIMIT, "too many chunks or files in a layer");
    if (make_slices(e, err) != 0 || put_directory(e, root, err) != 0)
        return -1;
    return put_sections(e, root, err);
}

int kf_toc_encode(const struct kf_toc *toc, const struct kf_chunk_row *rows,
                  uint32_t count, struct kf_buf *ret_root, struct kf_buf *ret_slices,
                  struct kf_err *err)
{
    struct encoder e = {.toc = toc, .rows = rows, .count = count, .outside = ret_slices};
    int rc;

    kf_buf_init(&e.within, kf_toc_limits.root_raw_bytes);
    rc = encode(&e, ret_root, err);
    kf_buf_fini(&e.within);
    free(e.slices);
    return rc;
}
