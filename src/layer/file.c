#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/map.h"
#include "cache/object.h"
#include "fetch/queue.h"
#include "fetch/readahead.h"
#include "layer/layer.h"
#include "layer/layer_state.h"

struct kf_file {
    struct kf_layer *layer;
    struct kf_feed *feed; /* NULL for an empty file */
    uint32_t entry;
    uint32_t refs; /* layer->lock */
    uint64_t size;
    uint64_t base; /* where the file begins in the feed's object */
    pthread_mutex_t lock;
    struct kf_readahead readahead; /* lock */
};

/* ---- feeds: where the chunks of an object lie in the blob ---- */

struct span {
    uint64_t offset; /* of the object in the blob */
    uint64_t size;
};

static void place_chunk(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const struct span *span = arg;
    uint64_t begin = chunk * KF_PLAIN_CHUNK;
    uint32_t length = (uint32_t)kf_min_u64(KF_PLAIN_CHUNK, span->size - begin);

    ret->stored_offset = span->offset + begin;
    ret->stored_length = length;
    ret->length = length;
}

static const struct kf_feed_ops plain_ops = {.place = place_chunk, .destroy = free};

KF_DEFINE_AUTO(object, struct kf_object *, kf_object_unref)

/* The object over a part of the blob. */
static struct kf_object_spec spec_of(const struct kf_layer *layer, const char *suffix,
                                     const struct span *span)
{
    struct kf_object_spec spec = {.size = span->size, .chunk_size = KF_PLAIN_CHUNK};
    char hex[65];

    (void)snprintf(spec.name, sizeof(spec.name), "%s-%s",
                   kf_digest_hex(&layer->digest, hex), suffix); /* fits */
    return spec;
}

static struct span remainder_span(const struct kf_layer *layer)
{
    return (struct span){.offset = 0, .size = layer->table.stream_size};
}

static void large_suffix(const struct kf_table_entry *entry, char out[17])
{
    (void)snprintf(out, 17, "%016" PRIx64, entry->offset); /* fits */
}

/* It and what fills it. */
static struct kf_feed *open_feed(struct kf_layer *layer, const char *suffix,
                                 const struct span *span, struct kf_err *err)
{
    struct kf_object_spec spec = spec_of(layer, suffix, span);
    kf_auto(kf_auto_object) struct kf_object *object = NULL;
    kf_auto(kf_free) struct span *kept = malloc(sizeof(*kept));
    struct kf_feed *feed;

    if (!kept) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a feed");
        return NULL;
    }
    *kept = *span;
    if (kf_object_open(&object, layer->store, &spec, err) != 0 ||
        kf_feed_new(&feed, layer->fetch, layer->source, object, &plain_ops, kept, err) !=
            0)
        return NULL;
    (void)kf_steal(kept); /* the feed's now */
    return feed;
}

/* The feed of all that is not a large file; a reference. Two callers may race to open it:
 * the second one's is dropped before anybody used it. */
static struct kf_feed *get_remainder(struct kf_layer *layer, struct kf_err *err)
{
    const struct span span = remainder_span(layer);
    struct kf_feed *feed = NULL, *opened;

    (void)pthread_mutex_lock(&layer->lock);
    if (layer->remainder)
        feed = kf_feed_ref(layer->remainder);
    (void)pthread_mutex_unlock(&layer->lock);
    if (feed)
        return feed;

    opened = open_feed(layer, "r", &span, err);
    if (!opened)
        return NULL;
    (void)pthread_mutex_lock(&layer->lock);
    if (!layer->remainder)
        layer->remainder = kf_steal(opened);
    feed = kf_feed_ref(layer->remainder);
    (void)pthread_mutex_unlock(&layer->lock);
    kf_feed_unref(opened);
    return feed;
}

static int open_file_feed(struct kf_file *file, const struct kf_table_entry *entry,
                          struct kf_err *err)
{
    const struct span span = {.offset = entry->offset, .size = entry->size};
    char suffix[17];

    if (entry->size == 0)
        return 0;
    if (entry->size < KF_LARGE_FILE) {
        file->base = entry->offset;
        file->feed = get_remainder(file->layer, err);
    } else {
        large_suffix(entry, suffix);
        file->feed = open_feed(file->layer, suffix, &span, err);
    }
    return file->feed ? 0 : -1;
}

/* ---- files ---- */

static void free_file(struct kf_file *file)
{
    if (!file)
        return;
    kf_feed_unref(file->feed);
    (void)pthread_mutex_destroy(&file->lock); /* nobody is left to hold it */
    free(file);
}

static struct kf_file *new_file(struct kf_layer *layer, uint32_t entry,
                                struct kf_err *err)
{
    struct kf_file *file = calloc(1, sizeof(*file));

    if (!file || pthread_mutex_init(&file->lock, NULL) != 0) {
        free(file);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a file");
        return NULL;
    }
    file->layer = layer;
    file->entry = entry;
    file->refs = 1;
    file->size = layer->table.entries[entry].size;
    kf_readahead_init(&file->readahead);
    if (open_file_feed(file, &layer->table.entries[entry], err) != 0) {
        free_file(file);
        return NULL;
    }
    return file;
}

/* The open file of an entry with one reference more, or NULL. */
static struct kf_file *find_file_locked(struct kf_layer *layer, uint32_t entry)
{
    struct kf_file *file = layer->files[entry];

    if (file)
        file->refs++;
    return file;
}

struct kf_file *kf_layer_file(struct kf_layer *layer, uint32_t entry, struct kf_err *err)
{
    struct kf_file *file, *opened;

    if (entry >= layer->table.count || layer->table.entries[entry].type != KF_TYPE_FILE) {
        (void)kf_fail(err, KF_E_ARG, "entry %" PRIu32 " of the layer is no file", entry);
        return NULL;
    }
    (void)pthread_mutex_lock(&layer->lock);
    file = find_file_locked(layer, entry);
    (void)pthread_mutex_unlock(&layer->lock);
    if (file)
        return file;

    /* Opening touches the disk, so without the lock; another may come first. */
    opened = new_file(layer, entry, err);
    if (!opened)
        return NULL;
    (void)pthread_mutex_lock(&layer->lock);
    file = find_file_locked(layer, entry);
    if (!file)
        file = layer->files[entry] = kf_steal(opened);
    (void)pthread_mutex_unlock(&layer->lock);
    free_file(opened);
    return file;
}

void kf_file_put(struct kf_file *file)
{
    struct kf_layer *layer;
    bool last;

    if (!file)
        return;
    layer = file->layer;
    (void)pthread_mutex_lock(&layer->lock);
    last = --file->refs == 0;
    if (last)
        layer->files[file->entry] = NULL;
    (void)pthread_mutex_unlock(&layer->lock);
    if (last)
        free_file(file);
}

uint64_t kf_file_size(const struct kf_file *file)
{
    return file->size;
}

/* ---- reading ---- */

/* Chunks of the object that a range of the file touches. */
struct chunks {
    uint64_t first;
    uint64_t count;
};

static struct chunks chunks_of(const struct kf_file *file, uint64_t offset,
                               uint64_t length)
{
    const struct kf_object *object = kf_feed_object(file->feed);
    uint64_t first = kf_object_chunk_at(object, file->base + offset);
    uint64_t last = kf_object_chunk_at(object, file->base + offset + length - 1);

    return (struct chunks){first, last - first + 1};
}

static bool is_cached(const struct kf_file *file, struct chunks chunks)
{
    const struct kf_object *object = kf_feed_object(file->feed);

    for (uint64_t i = 0; i < chunks.count; i++) {
        if (!kf_object_has(object, chunks.first + i))
            return false;
    }
    return true;
}

/* Tells readahead about a read; the chunks to want next, maybe none. */
static struct chunks see(struct kf_file *file, uint64_t offset, uint64_t length,
                         bool waited)
{
    uint64_t window = kf_fetch_window_bytes(file->layer->fetch);
    struct kf_readahead_want want;

    (void)pthread_mutex_lock(&file->lock);
    want = kf_readahead_see(&file->readahead, offset, length, waited, file->size, window);
    (void)pthread_mutex_unlock(&file->lock);
    if (want.length == 0)
        return (struct chunks){0, 0};
    return chunks_of(file, want.offset, want.length);
}

static bool inside(const struct kf_file *file, uint64_t offset, uint64_t length)
{
    return length > 0 && offset < file->size && length <= file->size - offset;
}

void kf_file_read(struct kf_file *file, struct kf_read *read)
{
    struct chunks ahead, own = chunks_of(file, read->offset, read->length);
    struct kf_feed *feed;

    assert(inside(file, read->offset, read->length));
    ahead = see(file, read->offset, read->length, !is_cached(file, own));
    /* `done` may run at once and put the file, while the feed is still wanted here. */
    feed = kf_feed_ref(file->feed);
    read->offset += file->base;
    /* What the reader waits for goes out first, so that nothing ahead can hold it up. */
    kf_feed_read(feed, read);
    if (ahead.count > 0)
        kf_feed_want(feed, ahead.first, ahead.count, KF_READAHEAD);
    kf_feed_unref(feed);
}

void kf_file_cancel(struct kf_file *file, struct kf_read *read)
{
    kf_feed_cancel(file->feed, read);
}

ssize_t kf_file_read_now(struct kf_file *file, void *data, size_t length, uint64_t offset)
{
    struct chunks ahead;
    ssize_t got;

    assert(inside(file, offset, length));
    got = kf_feed_read_now(file->feed, data, length, file->base + offset);
    if (got < 0)
        return got;
    ahead = see(file, offset, length, false);
    if (ahead.count > 0)
        kf_feed_want(file->feed, ahead.first, ahead.count, KF_READAHEAD);
    return got;
}

/* The feed that a file is read through, if it is open; a reference. */
static struct kf_feed *find_feed(struct kf_layer *layer, uint32_t entry)
{
    bool large = layer->table.entries[entry].size >= KF_LARGE_FILE;
    struct kf_feed *feed;

    (void)pthread_mutex_lock(&layer->lock);
    feed = layer->remainder;
    if (large)
        feed = layer->files[entry] ? layer->files[entry]->feed : NULL;
    if (feed)
        (void)kf_feed_ref(feed); /* gives its argument back */
    (void)pthread_mutex_unlock(&layer->lock);
    return feed;
}

/* A remainder that an earlier mount left in the cache is worth opening to look into it.
 */
static struct kf_feed *find_remainder(struct kf_layer *layer)
{
    const struct span span = remainder_span(layer);
    struct kf_object_spec spec = spec_of(layer, "r", &span);
    struct kf_map_shape shape = kf_map_uniform(spec.size, spec.chunk_size);

    return kf_store_local_bytes(layer->store, spec.name, &shape) > 0
               ? get_remainder(layer, NULL)
               : NULL;
}

static uint64_t closed_large_bytes(struct kf_layer *layer,
                                   const struct kf_table_entry *entry)
{
    const struct span span = {.offset = entry->offset, .size = entry->size};
    const struct kf_map_shape shape = kf_map_uniform(span.size, KF_PLAIN_CHUNK);
    struct kf_object_spec spec;
    char suffix[17];

    large_suffix(entry, suffix);
    spec = spec_of(layer, suffix, &span);
    return kf_store_local_bytes(layer->store, spec.name, &shape);
}

/* How much of a range of the object is present. */
static uint64_t local_bytes(const struct kf_object *object, uint64_t offset,
                            uint64_t length)
{
    uint64_t end = offset + length, local = 0;

    while (offset < end) {
        uint64_t chunk = kf_object_chunk_at(object, offset);
        uint64_t next = kf_min_u64(kf_object_chunk_offset(object, chunk) +
                                       kf_object_chunk_length(object, chunk),
                                   end);

        if (kf_object_has(object, chunk))
            local += next - offset;
        offset = next;
    }
    return local;
}

uint64_t kf_layer_local_bytes(struct kf_layer *layer, uint32_t entry)
{
    const struct kf_table_entry *file = &layer->table.entries[entry];
    bool large = file->size >= KF_LARGE_FILE;
    struct kf_feed *feed = find_feed(layer, entry);
    uint64_t local = 0;

    if (!feed && large)
        return closed_large_bytes(layer, file);
    if (!feed && file->size > 0)
        feed = find_remainder(layer);
    if (feed && large)
        local = kf_object_local_bytes(kf_feed_object(feed));
    else if (feed)
        local = local_bytes(kf_feed_object(feed), file->offset, file->size);
    kf_feed_unref(feed);
    return local;
}
