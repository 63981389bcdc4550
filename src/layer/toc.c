#include "layer/toc.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/le.h"
#include "layer/toc_private.h"

const struct kf_toc_limits kf_toc_limits = {
    .root_stored_bytes = UINT64_C(64) << 20,
    .root_raw_bytes = UINT64_C(512) << 20,
    .area_bytes = (UINT64_C(1) << 32) - 9,
    .chunks = UINT64_C(1) << 26,
    .files = UINT64_C(1) << 22,
    .slices = UINT64_C(1) << 20,
    .chunk_bytes = UINT64_C(16) << 20,
};

int kf_toc_broken(struct kf_err *err, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "broken table of contents: %s", what);
}

static int compare_extents(const void *left, const void *right)
{
    const struct kf_toc_extent *a = left, *b = right;

    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

void kf_toc_sort_extents(struct kf_toc_extent *extents, size_t count)
{
    if (count > 0)
        qsort(extents, count, sizeof(*extents), compare_extents);
}

/* ZSTD_compressBound, written out: the format's limit must not follow the library's. */
uint64_t kf_toc_stored_limit(uint32_t length)
{
    const uint32_t small = UINT32_C(128) << 10;
    uint64_t bound = (uint64_t)length + (length >> 8);

    return bound + (length < small ? (small - length) >> 11 : 0) + 64;
}

void kf_toc_fini(struct kf_toc *toc)
{
    free(toc->files);
    free(toc->slices);
    free(toc->prefetch);
    free(toc->borders);
    free(toc->rows);
    free(toc->names);
    free(toc->meta);
    memset(toc, 0, sizeof(*toc));
}

const char *kf_toc_name(const struct kf_toc *toc, uint32_t file, size_t *ret_length)
{
    *ret_length = toc->files[file].name_length;
    return toc->names + toc->files[file].name_offset;
}

uint64_t kf_toc_slice_stream_end(const struct kf_toc *toc, uint32_t slice)
{
    return slice + 1 < toc->slice_count ? toc->slices[slice + 1].stream_offset
                                        : toc->stream_length;
}

uint64_t kf_toc_slice_stored_end(const struct kf_toc *toc, uint32_t slice)
{
    return slice + 1 < toc->slice_count ? toc->slices[slice + 1].stored_offset
                                        : toc->stored_length;
}

uint32_t kf_toc_slice_at(const struct kf_toc *toc, uint64_t stream_offset)
{
    uint32_t low = 0, high = toc->slice_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (toc->slices[middle].stream_offset <= stream_offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

const uint8_t *kf_toc_inline_rows(const struct kf_toc *toc, uint32_t slice,
                                  size_t *ret_length)
{
    *ret_length = (size_t)toc->slices[slice].chunk_count * KF_TOC_ROW_SIZE;
    return toc->rows + toc->slices[slice].where;
}

int kf_toc_content_id(const struct kf_chunk_row *rows, uint32_t count,
                      struct kf_digest *ret, struct kf_err *err)
{
    struct kf_hasher *hasher = kf_hasher_new(err);
    int rc = hasher ? 0 : -1;

    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        uint8_t row[4 + KF_SHA256_SIZE];

        kf_put_le32(row, rows[i].length);
        memcpy(row + 4, rows[i].digest.bytes, KF_SHA256_SIZE);
        rc = kf_hasher_update(hasher, row, sizeof(row), err);
    }
    if (rc == 0)
        rc = kf_hasher_finish(hasher, ret, err);
    kf_hasher_free(hasher);
    return rc;
}
