/*
 * The rows of a slice from bytes: docs/formats/layer.md section 7, end of rule 3.
 */
#include <string.h>

#include "base/err.h"
#include "layer/le.h"
#include "layer/toc.h"
#include "layer/toc_private.h"

static int bad(struct kf_err *err, enum kf_err_kind kind, uint32_t slice,
               const char *what)
{
    return kf_fail(err, kind, "slice %u of a table of contents: %s", slice, what);
}

/* No sum overflows: the root's check has bounded a slice's offsets by about 2^50, and its
 * chunks are at most 2^26 of 32 bits. */
static int decode_rows(const struct kf_toc *toc, uint32_t index, const uint8_t *data,
                       struct kf_chunk_row *rows, struct kf_err *err)
{
    const struct kf_toc_slice *slice = &toc->slices[index];
    uint64_t stream = slice->stream_offset, stored = slice->stored_offset;

    for (uint32_t i = 0; i < slice->chunk_count; i++) {
        const uint8_t *p = data + (size_t)i * KF_TOC_ROW_SIZE;
        struct kf_chunk_row *row = &rows[i];

        row->stored_length = kf_le32(p);
        row->length = kf_le32(p + 4);
        memcpy(row->digest.bytes, p + 8, KF_SHA256_SIZE);
        if (row->length == 0 || row->length > toc->largest_chunk)
            return bad(err, KF_E_MALFORMED, index, "the length of a chunk");
        if (toc->carrier == KF_CARRIER_TAR_ZSTD
                ? row->stored_length == 0 ||
                      row->stored_length > kf_toc_stored_limit(row->length)
                : row->stored_length != row->length)
            return bad(err, KF_E_MALFORMED, index, "the stored length of a chunk");
        stream += row->length;
        stored += row->stored_length;
    }
    if (stream != kf_toc_slice_stream_end(toc, index) ||
        stored != kf_toc_slice_stored_end(toc, index))
        return bad(err, KF_E_MALFORMED, index, "its lengths do not add up");
    return 0;
}

/* The first of the borders at or after `offset`. */
static uint32_t border_at(const struct kf_toc *toc, uint64_t offset)
{
    uint32_t low = 0, high = toc->border_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (toc->borders[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* An end of a file of 64 KiB or more that lies in the slice must be a chunk's begin. */
static int check_borders(const struct kf_toc *toc, uint32_t index,
                         const struct kf_chunk_row *rows, struct kf_err *err)
{
    uint64_t at = toc->slices[index].stream_offset;
    uint32_t border = border_at(toc, at);

    for (uint32_t i = 0; i < toc->slices[index].chunk_count; i++) {
        while (border < toc->border_count && toc->borders[border] == at)
            border++;
        at += rows[i].length;
        if (border < toc->border_count && toc->borders[border] < at)
            return bad(err, KF_E_MALFORMED, index, "a chunk crosses a file's border");
    }
    return 0;
}

int kf_toc_slice_decode(const struct kf_toc *toc, uint32_t index, const void *data,
                        size_t length, struct kf_chunk_row *rows, struct kf_err *err)
{
    const struct kf_toc_slice *slice = &toc->slices[index];
    struct kf_digest digest;

    if (length != (size_t)slice->chunk_count * KF_TOC_ROW_SIZE)
        return bad(err, KF_E_CORRUPT, index, "its length");
    if (!slice->is_inline) {
        if (kf_digest_of(&digest, data, length, err) != 0)
            return -1;
        if (!kf_digest_equal(&digest, &slice->digest))
            return bad(err, KF_E_CORRUPT, index, "its digest");
    }
    if (decode_rows(toc, index, data, rows, err) != 0 ||
        check_borders(toc, index, rows, err) != 0)
        return -1;
    if (slice->file == KF_TOC_NO_FILE)
        return 0;
    if (kf_toc_content_id(rows, slice->chunk_count, &digest, err) != 0)
        return -1;
    return kf_digest_equal(&digest, &slice->content_id)
               ? 0
               : bad(err, KF_E_MALFORMED, index, "its content id");
}
