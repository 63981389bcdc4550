/*
 * The table of contents that the writer makes, as a reader goes through it: area, root,
 * slices, chunks.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/frame.h"
#include "layer/writer.h"
#include "pack_files.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)

static const struct pack_file noise = {.seed = 1, .alphabet = 256};
static const struct pack_file text = {.seed = 2, .alphabet = 20};

/* --- the table of contents, as a reader goes through it: area, root, slices, chunks ---
 */

static struct kf_toc read_toc(const struct kf_written *written, const uint8_t *area)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint8_t *raw = malloc(written->link.root_raw);
    struct kf_toc toc;
    struct kf_err err = {0};

    pack_expect_digest(&written->link.root_digest, area, written->link.root_stored);
    cr_assert_eq(kf_frame_decode(decoder, area, written->link.root_stored, raw,
                                 written->link.root_raw, &err),
                 0, "%s", err.message);
    cr_assert_eq(kf_toc_decode(&toc, raw, written->link.root_raw, &written->link,
                               written->size, &kf_toc_limits, &err),
                 0, "%s", err.message);
    cr_assert_eq(toc.chunk_count, written->chunk_count);
    free(raw);
    kf_frame_decoder_free(decoder);
    return toc;
}

static void expect_chunks(const struct kf_toc *toc, uint32_t slice,
                          const struct kf_chunk_row *rows, const struct kf_buf *blob,
                          const uint8_t *stream)
{
    uint64_t at = toc->slices[slice].stream_offset;
    uint64_t stored_at = toc->slices[slice].stored_offset;
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint8_t *chunk = malloc(toc->largest_chunk);

    for (uint32_t i = 0; i < toc->slices[slice].chunk_count; i++) {
        pack_expect_digest(&rows[i].digest, stream + at, rows[i].length);
        if (toc->carrier == KF_CARRIER_TAR_ZSTD)
            cr_assert_eq(kf_frame_decode(decoder, blob->data + stored_at,
                                         rows[i].stored_length, chunk, rows[i].length,
                                         NULL),
                         0);
        at += rows[i].length;
        stored_at += rows[i].stored_length;
    }
    free(chunk);
    kf_frame_decoder_free(decoder);
}

static void expect_toc(const struct kf_written *written, const struct kf_buf *blob,
                       const uint8_t *stream)
{
    const uint8_t *area =
        written->area ? written->area->data : blob->data + written->link.area_offset;
    struct kf_toc toc = read_toc(written, area);
    struct kf_err err = {0};

    for (uint32_t i = 0; i < toc.slice_count; i++) {
        size_t length = toc.slices[i].chunk_count * KF_TOC_ROW_SIZE;
        const uint8_t *bytes =
            toc.slices[i].is_inline
                ? kf_toc_inline_rows(&toc, i, &length)
                : area + written->link.root_stored + toc.slices[i].where;
        struct kf_chunk_row *rows = calloc(toc.slices[i].chunk_count, sizeof(*rows));

        cr_assert_eq(kf_toc_slice_decode(&toc, i, bytes, length, rows, &err), 0, "%s",
                     err.message);
        expect_chunks(&toc, i, rows, blob, stream);
        free(rows);
    }
    kf_toc_fini(&toc);
}

Test(writer_toc, it_names_every_chunk)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR,
                                                   KF_CARRIER_RAW};
    struct kf_pack_entry entries[] = {pack_entry("config", 3000, &text),
                                      pack_entry("noise", MIB(17) + 5, &noise),
                                      pack_entry("z", MIB(1) + 1, &text)};

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        struct kf_writer_opts opts = pack_opts(carriers[i]);
        struct pack_sink sink;
        struct kf_written written;
        uint8_t *stream = NULL;

        opts.chunk_size = KIB(64); /* the large file's rows are not inline */
        written = pack_layer(&sink, carriers[i] == KF_CARRIER_RAW ? &entries[1] : entries,
                             carriers[i] == KF_CARRIER_RAW ? 1 : 3, &opts);
        if (carriers[i] == KF_CARRIER_TAR_ZSTD)
            stream = pack_unpack(&sink.blob, written.stream_size);
        expect_toc(&written, &sink.blob, stream ? stream : sink.blob.data);
        free(stream);
        kf_written_fini(&written);
        kf_buf_fini(&sink.blob);
    }
}
