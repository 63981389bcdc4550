#include "layer/cached_stream.h"

#include "base/err.h"
#include "base/mem.h"
#include "cache/map.h"
#include "cache/object.h"
#include "cache/store.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/sums.h"

KF_DEFINE_AUTO(object, struct kf_object *, kf_object_unref)

/* ---- what is there ---- */

uint64_t kf_cached_bytes(const struct kf_layer *layer, const struct kf_table_entry *entry)
{
    uint64_t size = entry ? entry->size : layer->table.stream_size;
    const struct kf_map_shape shape = kf_map_uniform(size, KF_PLAIN_CHUNK);
    char name[KF_OBJECT_NAME_SIZE];

    kf_slot_object_name(layer, entry, name);
    return kf_store_local_bytes(layer->store, name, &shape);
}

static struct kf_table_entry entry_of(const struct kf_sums_file *file)
{
    return (struct kf_table_entry){.offset = file->offset, .size = file->size};
}

static uint64_t missing_of_files(const struct kf_layer *layer,
                                 const struct kf_sums *places)
{
    uint64_t missing = 0;

    for (uint32_t i = 0; i < places->file_count; i++) {
        const struct kf_table_entry entry = entry_of(&places->files[i]);

        missing += entry.size - kf_cached_bytes(layer, &entry);
    }
    return missing;
}

/* `rest` is NULL when there is nothing of it. */
static bool has_range(const struct kf_object *rest, uint64_t offset, uint64_t size)
{
    if (!rest)
        return false;
    for (uint64_t chunk = offset / KF_PLAIN_CHUNK;
         chunk <= (offset + size - 1) / KF_PLAIN_CHUNK; chunk++)
        if (!kf_object_has(rest, chunk))
            return false;
    return true;
}

static bool has_small_files(const struct kf_layer *layer, const struct kf_object *rest)
{
    const struct kf_table *table = &layer->table;

    for (uint32_t i = 0; i < table->count; i++) {
        const struct kf_table_entry *entry = &table->entries[i];

        if (entry->size > 0 && entry->size < KF_LARGE_FILE &&
            !has_range(rest, entry->offset, entry->size))
            return false;
    }
    return true;
}

static uint64_t missing_of_rest(const struct kf_object *rest,
                                const struct kf_sums *places)
{
    uint64_t size = places->stream_size, missing = 0;

    for (uint64_t at = 0; at < size; at += KF_PLAIN_CHUNK) {
        uint64_t chunk = at / KF_PLAIN_CHUNK;

        if (kf_sums_needs(places, chunk) && !(rest && kf_object_has(rest, chunk)))
            missing += kf_min_u64(KF_PLAIN_CHUNK, size - at);
    }
    return missing;
}

int kf_cached_missing(const struct kf_layer *layer, const struct kf_sums *places,
                      uint64_t *ret_bytes, bool *ret_only_gaps, struct kf_err *err)
{
    kf_auto(kf_auto_object) struct kf_object *rest = NULL;
    uint64_t of_files = missing_of_files(layer, places), of_rest;

    if (kf_cached_bytes(layer, NULL) > 0 &&
        kf_slot_plain_object(layer, NULL, &rest, err) != 0)
        return -1;
    of_rest = missing_of_rest(rest, places);
    *ret_only_gaps = of_files == 0 && of_rest > 0 && has_small_files(layer, rest);
    *ret_bytes = of_files + of_rest;
    return 0;
}

void kf_cached_want_rest(struct kf_layer *layer, const struct kf_sums *places)
{
    struct kf_feed *feed;
    struct kf_object *rest;

    if (kf_slot_open(&layer->remainder, NULL) != 0)
        return; /* a hint */
    feed = kf_slot_feed(&layer->remainder);
    if (!feed)
        return;
    rest = kf_feed_object(feed);
    for (uint64_t chunk = 0; chunk < kf_object_chunk_count(rest); chunk++)
        if (!kf_object_has(rest, chunk) && kf_sums_needs(places, chunk))
            kf_feed_want(feed, chunk, 1, KF_PREFETCH);
    kf_feed_unref(feed);
}

/* ---- its bytes ---- */

void kf_cached_stream_init(struct kf_cached_stream *stream, const struct kf_layer *layer,
                           const struct kf_sums *places)
{
    *stream = (struct kf_cached_stream){.layer = layer, .places = places};
}

void kf_cached_stream_fini(struct kf_cached_stream *stream)
{
    kf_object_unref(kf_steal(stream->rest));
    kf_object_unref(kf_steal(stream->large));
}

static int read_large(struct kf_cached_stream *stream, const struct kf_sums_file *file,
                      uint8_t *data, size_t *ret_length, struct kf_err *err)
{
    const struct kf_table_entry entry = entry_of(file);
    uint64_t offset = stream->at - file->offset;

    *ret_length = (size_t)kf_min_u64(KF_CACHED_PIECE, file->size - offset);
    if (!stream->large &&
        kf_slot_plain_object(stream->layer, &entry, &stream->large, err) != 0)
        return -1;
    if (kf_object_read(stream->large, data, *ret_length, offset, err) != 0)
        return -1;
    if (offset + *ret_length == file->size) {
        kf_object_unref(kf_steal(stream->large));
        stream->file++;
    }
    return 0;
}

static int read_rest(struct kf_cached_stream *stream, uint64_t end, uint8_t *data,
                     size_t *ret_length, struct kf_err *err)
{
    *ret_length = (size_t)kf_min_u64(KF_CACHED_PIECE, end - stream->at);
    if (!stream->rest &&
        kf_slot_plain_object(stream->layer, NULL, &stream->rest, err) != 0)
        return -1;
    return kf_object_read(stream->rest, data, *ret_length, stream->at, err);
}

int kf_cached_stream_next(struct kf_cached_stream *stream, uint8_t *data,
                          size_t *ret_length, struct kf_err *err)
{
    const struct kf_sums_file *file = stream->file < stream->places->file_count
                                          ? &stream->places->files[stream->file]
                                          : NULL;
    uint64_t end = file ? file->offset : stream->places->stream_size;
    size_t length = 0;

    if (file && stream->at >= file->offset) {
        if (read_large(stream, file, data, &length, err) != 0)
            return -1;
    } else if (stream->at < end) {
        if (read_rest(stream, end, data, &length, err) != 0)
            return -1;
    }
    stream->at += length;
    *ret_length = length;
    return 0;
}
