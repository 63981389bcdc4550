/*
 * bench_toc: tables of contents of kits that are too large to have.
 *
 * bench_toc measure COUNT SIZE          how long it takes until the TOC of a layer of
 * COUNT files of SIZE bytes can be used; prints chunks, bytes of the root stored and raw,
 * of the slices, then milliseconds: root, a file's slice bench_toc make COUNT SIZE BLOB
 * AREA   such a layer (plain tar, files of zeros; a sparse file) and its TOC area; prints
 * the annotation
 *
 * Files are a page shorter from one to the next: no two are one object of the cache.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/frame.h"
#include "layer/pack_stream.h"
#include "layer/toc.h"
#include "layer/toc_build.h"

#define MIB (UINT32_C(1) << 20)
#define ROUNDS 51
#define END_MARK 1024
#define NAME_SIZE 32

static void need(bool good, const struct kf_err *err)
{
    if (good)
        return;
    (void)fprintf(stderr, "bench_toc: %s\n", err->message);
    exit(1);
}

/* ---- the layer ---- */

struct layer {
    struct kf_pack_entry *entries;
    char (*names)[NAME_SIZE];
    struct kf_pack_stream stream;
    struct kf_chunk_row *rows;
    uint8_t *chunk;
};

static int read_zeros(void *arg, const void *source, void *data, size_t length,
                      uint64_t offset, struct kf_err *err)
{
    memset(data, 0, length);
    return 0;
}

static const struct kf_pack_reader zeros = {.read = read_zeros};

static void add_entries(struct layer *layer, uint32_t count, uint64_t size)
{
    layer->entries = calloc(count + 1, sizeof(*layer->entries));
    layer->names = calloc(count, sizeof(*layer->names));
    layer->chunk = malloc(KF_CHUNK_MAX);
    need(layer->entries && layer->names && layer->chunk,
         &(struct kf_err){.message = "no memory"});
    layer->entries[0] = (struct kf_pack_entry){.name = "m", .is_dir = true};
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(layer->names[i], NAME_SIZE, "m/%05u.bin", i);
        layer->entries[i + 1] = (struct kf_pack_entry){.name = layer->names[i],
                                                       .size = size - UINT64_C(4096) * i};
    }
}

/* Whether a chunk is nothing but the bytes of a file; else it holds headers. */
static bool is_content(const struct layer *layer, uint64_t offset, uint32_t *entry)
{
    while (*entry + 1 < layer->stream.entry_count &&
           layer->stream.places[*entry + 1].header <= offset)
        ++*entry;
    return !layer->entries[*entry].is_dir &&
           offset >= layer->stream.places[*entry].data &&
           offset < layer->stream.places[*entry].data + layer->entries[*entry].size;
}

/* Digests of all chunks; those with headers are written to `fd`, where there is one. */
static void add_rows(struct layer *layer, int fd)
{
    const struct kf_pack_stream *stream = &layer->stream;
    struct kf_digest of_zeros = {{0}};
    uint32_t zero_length = 0, entry = 0;
    struct kf_err err = {.message = "cannot write the layer"};

    layer->rows = calloc(stream->chunk_count, sizeof(*layer->rows));
    need(layer->rows != NULL, &err);
    for (uint32_t i = 0; i < stream->chunk_count; i++) {
        uint64_t offset = stream->chunks[i].offset;
        uint32_t length = stream->chunks[i].length;
        struct kf_chunk_row *row = &layer->rows[i];
        bool content = is_content(layer, offset, &entry);

        row->stored_length = row->length = length;
        if (content && length == zero_length) {
            row->digest = of_zeros;
            continue;
        }
        need(kf_pack_stream_read(stream, &zeros, layer->chunk, length, offset, &err) == 0,
             &err);
        need(kf_digest_of(&row->digest, layer->chunk, length, &err) == 0, &err);
        if (content) {
            of_zeros = row->digest;
            zero_length = length;
        } else if (fd >= 0) {
            need(pwrite(fd, layer->chunk, length, (off_t)offset) == (ssize_t)length,
                 &err);
        }
    }
}

static void layer_init(struct layer *layer, uint32_t count, uint64_t size, int fd)
{
    struct kf_err err;

    *layer = (struct layer){0};
    add_entries(layer, count, size);
    need(kf_pack_stream_init(&layer->stream, layer->entries, count + 1, MIB, true, false,
                             &err) == 0,
         &err);
    add_rows(layer, fd);
}

static void layer_fini(struct layer *layer)
{
    kf_pack_stream_fini(&layer->stream);
    free(layer->rows);
    free(layer->entries);
    free(layer->names);
    free(layer->chunk);
}

static struct kf_toc_link build(const struct layer *layer, struct kf_buf *area)
{
    struct kf_toc_link link = {0};
    struct kf_err err;

    kf_buf_init(area, SIZE_MAX / 2);
    need(kf_toc_build(&link, &layer->stream, layer->rows, KF_CARRIER_TAR, MIB, area,
                      &err) == 0 &&
             kf_digest_of(&link.blob, area->data, area->length, &err) == 0,
         &err);
    return link;
}

/* ---- measure ---- */

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median_ms(int64_t times[ROUNDS])
{
    qsort(times, ROUNDS, sizeof(*times), compare_times);
    return (double)times[ROUNDS / 2] / (double)KF_NS_PER_MS;
}

/* All that stands between the root's bytes and their use. */
static void open_root(struct kf_toc *ret, const struct kf_toc_link *link,
                      const uint8_t *area, uint64_t blob_size)
{
    kf_auto(kf_free) uint8_t *raw = malloc(link->root_raw);
    struct kf_err err = {.message = "no memory"};
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(&err);
    struct kf_digest digest;

    need(raw && decoder, &err);
    need(kf_digest_of(&digest, area, link->root_stored, &err) == 0 &&
             kf_frame_decode(decoder, area, link->root_stored, raw, link->root_raw,
                             &err) == 0 &&
             kf_toc_decode(ret, raw, link->root_raw, link, blob_size, &kf_toc_limits,
                           &err) == 0,
         &err);
    kf_frame_decoder_free(decoder);
}

/* The slice of the first large file. */
static void open_slice(const struct kf_toc *toc, const uint8_t *slices,
                       struct kf_chunk_row *rows)
{
    const struct kf_toc_slice *slice = toc->slices;
    struct kf_err err;

    while (slice->is_inline)
        slice++;
    need(kf_toc_slice_decode(toc, (uint32_t)(slice - toc->slices), slices + slice->where,
                             (size_t)slice->chunk_count * KF_TOC_ROW_SIZE, rows,
                             &err) == 0,
         &err);
}

static int measure(uint32_t count, uint64_t size)
{
    int64_t root_times[ROUNDS], slice_times[ROUNDS], start;
    struct kf_toc_link link;
    struct layer layer;
    struct kf_buf area;
    uint64_t blob_size;

    layer_init(&layer, count, size, -1);
    link = build(&layer, &area);
    blob_size = layer.stream.length + END_MARK;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct kf_toc toc;

        start = kf_now_ns();
        open_root(&toc, &link, area.data, blob_size);
        root_times[i] = kf_now_ns() - start;
        start = kf_now_ns();
        open_slice(&toc, area.data + link.root_stored, layer.rows);
        slice_times[i] = kf_now_ns() - start;
        kf_toc_fini(&toc);
    }
    (void)printf("%u %llu %llu %llu %.3f %.3f\n", layer.stream.chunk_count,
                 (unsigned long long)link.root_stored, (unsigned long long)link.root_raw,
                 (unsigned long long)(area.length - link.root_stored),
                 median_ms(root_times), median_ms(slice_times));
    kf_buf_fini(&area);
    layer_fini(&layer);
    return 0;
}

/* ---- make ---- */

static int make(uint32_t count, uint64_t size, const char *blob_path,
                const char *area_path)
{
    int blob = open(blob_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *area_file = fopen(area_path, "we");
    struct kf_err err = {.message = "cannot write"};
    struct kf_toc_link link;
    struct kf_buf area, text;
    struct layer layer;

    need(blob >= 0 && area_file, &err);
    layer_init(&layer, count, size, blob);
    link = build(&layer, &area);
    kf_buf_init(&text, END_MARK);
    need(ftruncate(blob, (off_t)(layer.stream.length + END_MARK)) == 0 &&
             fwrite(area.data, 1, area.length, area_file) == area.length &&
             fclose(area_file) == 0 && kf_toc_link_format(&link, &text, &err) == 0,
         &err);
    (void)printf("%s\n", (const char *)text.data);
    (void)close(blob);
    kf_buf_fini(&text);
    kf_buf_fini(&area);
    layer_fini(&layer);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "measure") == 0)
        return measure((uint32_t)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "make") == 0)
        return make((uint32_t)strtoul(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
                    argv[4], argv[5]);
    (void)fprintf(stderr, "usage: bench_toc measure COUNT SIZE\n"
                          "       bench_toc make COUNT SIZE BLOB AREA\n");
    return 2;
}
