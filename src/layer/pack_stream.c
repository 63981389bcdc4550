#include "layer/pack_stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/tar_encode.h"
#include "layer/toc.h"

/* A name of 4096 bytes in a pax record, its alignment, and the header blocks. */
#define HEADER_LIMIT ((size_t)16 << 10)

int kf_pack_order(const struct kf_pack_entry *a, const struct kf_pack_entry *b)
{
    bool late_a = !a->is_dir && a->size > KF_BOOT_FILE;
    bool late_b = !b->is_dir && b->size > KF_BOOT_FILE;

    if (late_a != late_b)
        return late_a ? 1 : -1;
    return strcmp(a->name, b->name);
}

/* --- where bytes lie --- */

static int encode_header(const struct kf_pack_stream *stream, uint32_t index,
                         struct kf_buf *ret, struct kf_err *err)
{
    const struct kf_pack_entry *entry = &stream->entries[index];
    struct kf_tar_file file = {.name = entry->name,
                               .size = entry->size,
                               .is_dir = entry->is_dir,
                               .is_executable = entry->is_executable,
                               .aligned =
                                   stream->align_data && entry->size >= KF_CUT_FILE,
                               .position = stream->places[index].header};

    return kf_tar_encode(&file, ret, err);
}

static int place_entry(struct kf_pack_stream *stream, uint32_t index,
                       struct kf_buf *header, struct kf_err *err)
{
    const struct kf_pack_entry *entry = &stream->entries[index];
    struct kf_pack_place *place = &stream->places[index];

    place->header = stream->length;
    kf_buf_clear(header);
    if (encode_header(stream, index, header, err) != 0)
        return -1;
    if (!kf_add_u64(place->header, header->length, &place->data) ||
        !kf_add_u64(place->data, entry->size, &place->end) ||
        !kf_add_u64(place->end, kf_tar_padding(entry->size), &place->end))
        return kf_fail(err, KF_E_LIMIT, "'%s' is too large for a layer", entry->name);
    stream->length = place->end;
    return 0;
}

static int place_all(struct kf_pack_stream *stream, struct kf_err *err)
{
    struct kf_buf header;
    int rc = 0;

    if (stream->raw) {
        stream->places[0] = (struct kf_pack_place){.end = stream->entries[0].size};
        stream->length = stream->entries[0].size;
        return 0;
    }
    kf_buf_init(&header, HEADER_LIMIT);
    for (uint32_t i = 0; rc == 0 && i < stream->entry_count; i++)
        rc = place_entry(stream, i, &header, err);
    kf_buf_fini(&header);
    return rc;
}

/* --- where chunks are cut --- */

/* Goes over the stream twice: counts, so that nothing is made in vain of what is over the
 * limit, and then fills. */
struct cutter {
    uint32_t chunk_size;
    uint64_t at; /* everything before it is cut */
    uint64_t count;
    struct kf_pack_chunk *chunks; /* NULL: only counts */
};

/* A run ends at `end`: its chunks count from where it began. */
static void cut_until(struct cutter *cutter, uint64_t end)
{
    uint64_t run = end > cutter->at ? (end - cutter->at - 1) / cutter->chunk_size + 1 : 0;

    for (uint64_t i = 0; cutter->chunks && i < run; i++) {
        uint64_t at = cutter->at + i * cutter->chunk_size;
        uint32_t length = (uint32_t)kf_min_u64(cutter->chunk_size, end - at);

        cutter->chunks[cutter->count + i] = (struct kf_pack_chunk){at, length};
    }
    cutter->count += run;
    cutter->at = kf_max_u64(cutter->at, end);
}

static void cut_file(struct cutter *cutter, const struct kf_pack_entry *entry,
                     uint64_t data)
{
    const struct kf_tensors *tensors = &entry->tensors;

    cut_until(cutter, data);
    cut_until(cutter, data + tensors->data_offset);
    for (uint32_t i = 0; i < tensors->count; i++) {
        const struct kf_tensor *tensor = &tensors->items[i];

        if (tensor->length < KF_CUT_TENSOR)
            continue;
        cut_until(cutter, data + tensor->offset);
        cut_until(cutter, data + tensor->offset + tensor->length);
    }
    cut_until(cutter, data + entry->size);
}

static uint64_t cut_all(const struct kf_pack_stream *stream, uint32_t chunk_size,
                        struct kf_pack_chunk *chunks)
{
    struct cutter cutter = {.chunk_size = chunk_size, .chunks = chunks};

    for (uint32_t i = 0; i < stream->entry_count; i++)
        if (stream->entries[i].size >= KF_CUT_FILE)
            cut_file(&cutter, &stream->entries[i], stream->places[i].data);
    cut_until(&cutter, stream->length);
    return cutter.count;
}

static int make_chunks(struct kf_pack_stream *stream, uint32_t chunk_size,
                       struct kf_err *err)
{
    uint64_t count = cut_all(stream, chunk_size, NULL);

    if (count > kf_toc_limits.chunks)
        return kf_fail(err, KF_E_LIMIT,
                       "more than %llu chunks in a layer: use a larger --chunk-size",
                       (unsigned long long)kf_toc_limits.chunks);
    stream->chunks = calloc(count + 1, sizeof(*stream->chunks));
    if (!stream->chunks)
        return kf_fail(err, KF_E_NOMEM, "no memory for the chunks of a layer");
    stream->chunk_count = (uint32_t)cut_all(stream, chunk_size, stream->chunks);
    return 0;
}

int kf_pack_stream_init(struct kf_pack_stream *ret, const struct kf_pack_entry *entries,
                        uint32_t entry_count, uint32_t chunk_size, bool align_data,
                        bool raw, struct kf_err *err)
{
    struct kf_pack_stream stream = {.entries = entries,
                                    .entry_count = entry_count,
                                    .align_data = align_data,
                                    .raw = raw};

    if (chunk_size < KF_CHUNK_MIN || chunk_size > KF_CHUNK_MAX ||
        (raw && (entry_count != 1 || entries[0].is_dir || entries[0].size == 0)))
        return kf_fail(err, KF_E_ARG, "a layer that cannot be made");
    if (entry_count > kf_toc_limits.files)
        return kf_fail(err, KF_E_LIMIT, "more than %llu files in a layer",
                       (unsigned long long)kf_toc_limits.files);
    stream.places = calloc((size_t)entry_count + 1, sizeof(*stream.places));
    if (!stream.places)
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    if (place_all(&stream, err) != 0 || make_chunks(&stream, chunk_size, err) != 0) {
        kf_pack_stream_fini(&stream);
        return -1;
    }
    *ret = stream;
    return 0;
}

void kf_pack_stream_fini(struct kf_pack_stream *stream)
{
    free(stream->places);
    free(stream->chunks);
    memset(stream, 0, sizeof(*stream));
}

/* --- bytes --- */

/* The entry whose header, data or padding holds the offset. */
static uint32_t entry_at(const struct kf_pack_stream *stream, uint64_t offset)
{
    uint32_t low = 0, high = stream->entry_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (stream->places[middle].header <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool kf_pack_stream_is_weights(const struct kf_pack_stream *stream, uint32_t chunk)
{
    uint64_t offset = stream->chunks[chunk].offset;
    uint32_t index = entry_at(stream, offset);
    const struct kf_pack_entry *entry = &stream->entries[index];
    uint64_t data = stream->places[index].data;

    return entry->size >= KF_CUT_FILE && entry->tensors.count > 0 &&
           offset >= data + entry->tensors.data_offset && offset < data + entry->size;
}

static int read_header(const struct kf_pack_stream *stream, uint32_t index, uint8_t *data,
                       size_t length, uint64_t offset, struct kf_err *err)
{
    struct kf_buf header;
    int rc;

    kf_buf_init(&header, HEADER_LIMIT);
    rc = encode_header(stream, index, &header, err);
    if (rc == 0)
        memcpy(data, header.data + offset, length);
    kf_buf_fini(&header);
    return rc;
}

/* Bytes from `offset` on that lie in one part of one entry; returns how many, or -1. */
static int64_t read_part(const struct kf_pack_stream *stream,
                         const struct kf_pack_reader *reader, uint32_t index,
                         uint8_t *data, size_t length, uint64_t offset,
                         struct kf_err *err)
{
    const struct kf_pack_place *place = &stream->places[index];
    const struct kf_pack_entry *entry = &stream->entries[index];
    uint64_t data_end = place->data + entry->size;

    if (offset < place->data) {
        length = (size_t)kf_min_u64(length, place->data - offset);
        if (read_header(stream, index, data, length, offset - place->header, err) != 0)
            return -1;
    } else if (offset < data_end) {
        length = (size_t)kf_min_u64(length, data_end - offset);
        if (reader->read(reader->arg, entry->source, data, length, offset - place->data,
                         err) != 0)
            return -1;
    } else {
        length = (size_t)kf_min_u64(length, place->end - offset);
        memset(data, 0, length);
    }
    return (int64_t)length;
}

int kf_pack_stream_read(const struct kf_pack_stream *stream,
                        const struct kf_pack_reader *reader, void *data, size_t length,
                        uint64_t offset, struct kf_err *err)
{
    uint8_t *to = data;
    uint32_t index = entry_at(stream, offset);

    while (length > 0) {
        int64_t got;

        while (offset >= stream->places[index].end)
            index++;
        got = read_part(stream, reader, index, to, length, offset, err);
        if (got < 0)
            return -1;
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}
