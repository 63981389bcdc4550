/*
 * The rows of a slice against a root that says: one slice, of the carrier, stream and
 * stored length that the first 17 bytes hold, with a file of 64 KiB in it. Once as inline
 * rows, once with the digest that the root would name.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/le.h"
#include "layer/toc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 17u

static void check(const struct kf_toc *toc, const struct kf_chunk_row *rows)
{
    uint64_t stream = 0, stored = 0;
    int begins = 0, ends = 0;

    for (uint32_t i = 0; i < toc->chunk_count; i++) {
        begins |= stream == toc->borders[0];
        if (rows[i].length == 0 || rows[i].length > toc->largest_chunk ||
            rows[i].stored_length == 0)
            abort();
        stream += rows[i].length;
        stored += rows[i].stored_length;
        ends |= stream == toc->borders[1];
    }
    if (stream != toc->stream_length || stored != toc->stored_length || !begins || !ends)
        abort();
}

static int decode(struct kf_toc *toc, const uint8_t *data, size_t size)
{
    struct kf_chunk_row *rows = calloc(toc->chunk_count, sizeof(*rows));
    int rc;

    if (!rows)
        abort();
    rc = kf_toc_slice_decode(toc, 0, data, size, rows, NULL);
    if (rc == 0)
        check(toc, rows);
    free(rows);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t borders[] = {512, 512 + KF_TOC_SMALL_FILE};
    struct kf_toc_slice slice = {.file = KF_TOC_NO_FILE, .is_inline = true};
    struct kf_toc toc = {.slices = &slice,
                         .slice_count = 1,
                         .borders = borders,
                         .border_count = 2,
                         .largest_chunk = 1u << 24};
    int rc;

    if (size < HEAD + KF_TOC_ROW_SIZE)
        return 0;
    toc.carrier = (enum kf_toc_carrier)(1 + data[0] % 3);
    toc.stream_length = borders[1] + (kf_le64(data + 1) >> 16);
    toc.stored_length = kf_le64(data + 9);
    data += HEAD;
    size -= HEAD;
    toc.chunk_count = slice.chunk_count = (uint32_t)(size / KF_TOC_ROW_SIZE);
    rc = decode(&toc, data, size);
    slice.is_inline = false;
    if (decode(&toc, data, size) == 0) /* the digest is zero */
        abort();
    if (kf_digest_of(&slice.digest, data, size, NULL) != 0 ||
        decode(&toc, data, size) != rc)
        abort();
    return 0;
}
