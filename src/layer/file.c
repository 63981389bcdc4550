#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/map.h"
#include "cache/object.h"
#include "fetch/queue.h"
#include "fetch/readahead.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/long_read.h"

struct kf_file {
    struct kf_layer *layer;
    struct kf_slot *slot; /* NULL for an empty file */
    struct kf_slot own;   /* a large file's */
    uint32_t entry;
    uint32_t refs; /* layer->lock */
    uint64_t size;
    uint64_t base; /* where the file begins in the slot's object */
    pthread_mutex_t lock;
    struct kf_readahead readahead; /* lock */
};

static bool is_large(const struct kf_table_entry *entry)
{
    return entry->size >= KF_LARGE_FILE;
}

/* Where a small file begins in the remainder: with a TOC that holds nothing else. */
static uint64_t place_in_rest(const struct kf_layer *layer,
                              const struct kf_table_entry *entry)
{
    const struct kf_toc *toc = &layer->toc.toc;
    uint32_t slice;

    if (!layer->has_toc)
        return entry->offset;
    slice = kf_toc_slice_at(toc, entry->offset);
    return layer->rest_offsets[slice] + entry->offset - toc->slices[slice].stream_offset;
}

static int open_slot(struct kf_file *file, const struct kf_table_entry *entry,
                     struct kf_err *err)
{
    if (entry->size == 0)
        return 0;
    if (is_large(entry)) {
        kf_slot_init(&file->own, file->layer, file);
        file->slot = &file->own;
    } else {
        file->base = place_in_rest(file->layer, entry);
        file->slot = &file->layer->remainder;
    }
    return kf_slot_open(file->slot, err);
}

/* The whole blob of a plain layer, as the entry behind the last. */
static int open_whole(struct kf_file *file, struct kf_err *err)
{
    file->size = file->layer->table.stream_size;
    if (file->size == 0)
        return 0;
    file->slot = &file->layer->remainder;
    return kf_slot_open(file->slot, err);
}

/* ---- files ---- */

static void free_file(struct kf_file *file)
{
    if (!file)
        return;
    if (file->slot == &file->own)
        kf_slot_fini(&file->own);
    (void)pthread_mutex_destroy(&file->lock); /* nobody is left to hold it */
    free(file);
}

static struct kf_file *new_file(struct kf_layer *layer, uint32_t entry,
                                struct kf_err *err)
{
    struct kf_file *file = calloc(1, sizeof(*file));
    const struct kf_table_entry *place;
    int rc;

    if (!file || pthread_mutex_init(&file->lock, NULL) != 0) {
        free(file);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a file");
        return NULL;
    }
    file->layer = layer;
    file->entry = entry;
    file->refs = 1;
    kf_readahead_init(&file->readahead);
    if (entry == layer->table.count) {
        rc = open_whole(file, err);
    } else {
        place = &layer->table.entries[entry];
        file->size = place->size;
        rc = open_slot(file, place, err);
    }
    if (rc != 0) {
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

static struct kf_file *get_file(struct kf_layer *layer, uint32_t entry,
                                struct kf_err *err)
{
    struct kf_file *file, *opened;

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

struct kf_file *kf_layer_file(struct kf_layer *layer, uint32_t entry, struct kf_err *err)
{
    if (entry >= layer->table.count || layer->table.entries[entry].type != KF_TYPE_FILE) {
        (void)kf_fail(err, KF_E_ARG, "entry %" PRIu32 " of the layer is no file", entry);
        return NULL;
    }
    return get_file(layer, entry, err);
}

struct kf_file *kf_layer_whole(struct kf_layer *layer, struct kf_err *err)
{
    if (!kf_layer_plain_blob(layer)) {
        (void)kf_fail(err, KF_E_ARG, "the layer's stream is not its blob");
        return NULL;
    }
    return get_file(layer, layer->table.count, err);
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

void kf_file_keep(struct kf_file *file)
{
    (void)pthread_mutex_lock(&file->layer->lock);
    file->refs++;
    (void)pthread_mutex_unlock(&file->layer->lock);
}

uint32_t kf_file_entry(const struct kf_file *file)
{
    return file->entry;
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

static struct chunks chunks_of(const struct kf_file *file, struct kf_feed *feed,
                               uint64_t offset, uint64_t length)
{
    const struct kf_object *object = kf_feed_object(feed);
    uint64_t first = kf_object_chunk_at(object, file->base + offset);
    uint64_t last = kf_object_chunk_at(object, file->base + offset + length - 1);

    return (struct chunks){first, last - first + 1};
}

static bool is_cached(struct kf_feed *feed, struct chunks chunks)
{
    const struct kf_object *object = kf_feed_object(feed);

    for (uint64_t i = 0; i < chunks.count; i++) {
        if (!kf_object_has(object, chunks.first + i))
            return false;
    }
    return true;
}

/* Tells readahead about a read; the chunks to want next, maybe none. */
static struct chunks see(struct kf_file *file, struct kf_feed *feed, uint64_t offset,
                         uint64_t length, bool waited)
{
    uint64_t window = kf_fetch_window_bytes(file->layer->fetch);
    struct kf_readahead_want want;

    (void)pthread_mutex_lock(&file->lock);
    want = kf_readahead_see(&file->readahead, offset, length, waited, file->size, window);
    (void)pthread_mutex_unlock(&file->lock);
    if (want.length == 0)
        return (struct chunks){0, 0};
    return chunks_of(file, feed, want.offset, want.length);
}

static bool inside(const struct kf_file *file, uint64_t offset, uint64_t length)
{
    return length > 0 && offset < file->size && length <= file->size - offset;
}

static void start(struct kf_file *file, struct kf_feed *feed, struct kf_read *read)
{
    struct chunks ahead, own = chunks_of(file, feed, read->offset, read->length);

    ahead = see(file, feed, read->offset, read->length, !is_cached(feed, own));
    read->offset += file->base;
    /* What the reader waits for goes out first, so that nothing ahead can hold it up.
     * `done` may run at once and put the file. */
    if (own.count <= KF_READ_CHUNKS)
        kf_feed_read(feed, read);
    else
        kf_long_read_start(file->layer, feed, read);
    if (ahead.count > 0)
        kf_feed_want(feed, ahead.first, ahead.count, KF_READAHEAD);
}

void kf_file_start(struct kf_file *file, struct kf_read *read)
{
    struct kf_feed *feed = kf_feed_ref(file->slot->feed); /* ready: never changes again */

    start(file, feed, read);
    kf_feed_unref(feed);
}

static bool has_failed(const struct kf_layer *layer)
{
    return __atomic_load_n(&layer->failed, __ATOMIC_ACQUIRE);
}

void kf_file_read(struct kf_file *file, struct kf_read *read)
{
    struct kf_feed *feed;

    assert(inside(file, read->offset, read->length));
    if (has_failed(file->layer)) {
        read->done(read, NULL, &file->layer->failure);
        return;
    }
    feed = kf_slot_feed_or_wait(file->slot, file, read);
    if (!feed)
        return;
    start(file, feed, read);
    kf_feed_unref(feed);
}

void kf_file_cancel(struct kf_file *file, struct kf_read *read)
{
    struct kf_feed *feed;

    if (kf_slot_cancel(file->slot, read))
        return;
    feed = kf_slot_feed(file->slot);
    if (!feed)
        return; /* the read is being told that its slice could not be had */
    kf_feed_cancel(feed, read);
    kf_long_read_cancel(file->layer, read);
    kf_feed_unref(feed);
}

ssize_t kf_file_read_now(struct kf_file *file, void *data, size_t length, uint64_t offset)
{
    struct kf_feed *feed = kf_slot_feed(file->slot);
    struct chunks ahead;
    ssize_t got;

    assert(inside(file, offset, length));
    if (has_failed(file->layer)) {
        kf_feed_unref(feed);
        return -1;
    }
    got = feed ? kf_feed_read_now(feed, data, length, file->base + offset) : -1;
    if (got >= 0) {
        ahead = see(file, feed, offset, length, false);
        if (ahead.count > 0)
            kf_feed_want(feed, ahead.first, ahead.count, KF_READAHEAD);
    }
    kf_feed_unref(feed);
    return got;
}

/* ---- how much is local ---- */

static struct kf_map_shape shape_of_large(const struct kf_layer *layer,
                                          const struct kf_table_entry *entry)
{
    const struct kf_toc *toc = &layer->toc.toc;

    if (!layer->has_toc)
        return kf_map_uniform(entry->size, KF_PLAIN_CHUNK);
    return kf_map_of_cuts(entry->size,
                          toc->slices[kf_toc_slice_at(toc, entry->offset)].chunk_count);
}

static uint64_t closed_large_bytes(struct kf_layer *layer,
                                   const struct kf_table_entry *entry)
{
    const struct kf_map_shape shape = shape_of_large(layer, entry);
    char name[KF_OBJECT_NAME_SIZE];

    kf_slot_object_name(layer, entry, name);
    return kf_store_local_bytes(layer->store, name, &shape);
}

/* The feed of a large file that is open; a reference. */
static struct kf_feed *find_large(struct kf_layer *layer, uint32_t entry)
{
    struct kf_feed *feed = NULL;

    (void)pthread_mutex_lock(&layer->lock);
    if (layer->files[entry] && layer->files[entry]->own.feed)
        feed = kf_feed_ref(layer->files[entry]->own.feed);
    (void)pthread_mutex_unlock(&layer->lock);
    return feed;
}

/* The remainder's feed. One that an earlier mount left in the cache is worth opening to
 * look into it. */
static struct kf_feed *find_rest(struct kf_layer *layer)
{
    struct kf_feed *feed = kf_slot_feed(&layer->remainder);
    struct kf_map_shape shape;
    char name[KF_OBJECT_NAME_SIZE];

    if (feed)
        return feed;
    shape = layer->has_toc ? kf_map_of_cuts(layer->rest_size, layer->rest_chunks)
                           : kf_map_uniform(layer->table.stream_size, KF_PLAIN_CHUNK);
    kf_slot_object_name(layer, NULL, name);
    if (kf_store_local_bytes(layer->store, name, &shape) == 0 ||
        kf_slot_open(&layer->remainder, NULL) != 0)
        return NULL;
    return kf_slot_feed(&layer->remainder);
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
    struct kf_feed *feed;
    uint64_t local = 0;

    if (file->size == 0)
        return 0;
    feed = is_large(file) ? find_large(layer, entry) : find_rest(layer);
    if (feed && is_large(file))
        local = kf_object_local_bytes(kf_feed_object(feed));
    else if (feed)
        local = local_bytes(kf_feed_object(feed), place_in_rest(layer, file), file->size);
    else if (is_large(file))
        local = closed_large_bytes(layer, file);
    kf_feed_unref(feed);
    return local;
}
