/*
 * A decompressed root; the descriptor promises what the root itself says, so that it is
 * not refused for that alone. What is accepted is sound: a reader can rely on each
 * number.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/le.h"
#include "layer/table.h"
#include "layer/toc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right)
        abort();
}

static void check_files(const struct kf_toc *toc)
{
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *file = &toc->files[i];
        size_t length;
        const char *name = kf_toc_name(toc, i, &length);

        check(file->size <= toc->stream_length &&
              file->offset <= toc->stream_length - file->size);
        check((uint64_t)file->name_offset + length <= toc->names_length);
        check(toc->carrier == KF_CARRIER_RAW || kf_name_check(&name, &length, NULL) == 0);
    }
}

/* Rows of inline slices are in the root: they may be wrong, but not harm. */
static void check_slices(const struct kf_toc *toc)
{
    uint64_t chunk = 0;

    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];
        struct kf_chunk_row rows[KF_TOC_INLINE_CHUNKS];
        size_t length;

        check(slice->first_chunk == chunk && slice->chunk_count > 0);
        check(slice->stream_offset < kf_toc_slice_stream_end(toc, i));
        check(slice->stored_offset < kf_toc_slice_stored_end(toc, i));
        check(kf_toc_slice_at(toc, slice->stream_offset) == i);
        check(slice->file == KF_TOC_NO_FILE || slice->file < toc->file_count);
        chunk += slice->chunk_count;
        if (!slice->is_inline)
            continue;
        check(slice->chunk_count <= KF_TOC_INLINE_CHUNKS);
        const uint8_t *bytes = kf_toc_inline_rows(toc, i, &length);
        check(slice->where + length <= toc->rows_length);
        (void)kf_toc_slice_decode(toc, i, bytes, length, rows, NULL); /* may fail */
    }
    check(chunk == toc->chunk_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_toc_link link = {.root_stored = 1, .root_raw = size, .area_length = 1};
    uint64_t stored = 0, blob_size;
    struct kf_toc toc;
    struct kf_err err;

    if (size >= 64) {
        stored = kf_le64(data + 32) & UINT64_C(0xffffffffffffff);
        link.area_length += kf_le64(data + 56) & UINT32_MAX;
        link.embedded = data[20] == KF_CARRIER_TAR_ZSTD;
    }
    link.area_offset = stored + 8;
    blob_size = stored + (size >= 64 && data[20] == KF_CARRIER_TAR ? 1024 : 0);
    if (link.embedded)
        blob_size = link.area_offset + link.area_length;
    if (kf_toc_decode(&toc, data, size, &link, blob_size, &kf_toc_limits, &err) != 0)
        return 0;
    check_files(&toc);
    check_slices(&toc);
    for (uint32_t i = 0; i < toc.prefetch_count; i++)
        check((uint64_t)toc.prefetch[i].first_chunk + toc.prefetch[i].count <=
              toc.chunk_count);
    kf_toc_fini(&toc);
    return 0;
}
