#include "layer/slot.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/cuts.h"
#include "cache/object.h"
#include "fetch/queue.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/map_load.h"
#include "layer/toc_feed.h"
#include "layer/whole.h"

void kf_slot_init(struct kf_slot *slot, struct kf_layer *layer, struct kf_file *owner)
{
    *slot = (struct kf_slot){.layer = layer, .owner = owner};
    slot->last = &slot->first;
}

void kf_slot_fini(struct kf_slot *slot)
{
    assert(!slot->first);
    kf_feed_unref(slot->feed);
}

/* ---- plain layers: chunks of one size, right behind each other ---- */

struct span {
    uint64_t offset; /* of the object in the blob */
    uint64_t size;
    struct kf_whole
        *whole; /* a reference; NULL: a streamed layer, checked as it passes */
    bool of_rest;
};

static void place_plain(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const struct span *span = arg;
    uint64_t begin = chunk * KF_PLAIN_CHUNK;
    uint32_t length = (uint32_t)kf_min_u64(KF_PLAIN_CHUNK, span->size - begin);

    ret->stored_offset = span->offset + begin;
    ret->stored_length = length;
    ret->length = length;
}

static const struct kf_digest *sum_of(const struct span *span, uint64_t chunk)
{
    return kf_whole_sum(span->whole, span->of_rest ? NULL : &span->offset, chunk);
}

static bool knows_plain(const void *arg, uint64_t chunk)
{
    return sum_of(arg, chunk) != NULL;
}

static int check_plain(const void *arg, uint64_t chunk, const uint8_t *data,
                       size_t length, struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct kf_digest *expected = sum_of(arg, chunk);

    if (kf_digest_of(ret_digest, data, length, err) != 0)
        return -1;
    if (kf_digest_equal(ret_digest, expected))
        return 0;
    return kf_fail(err, KF_E_CORRUPT,
                   "chunk %" PRIu64 " is not what it was when the layer was checked",
                   chunk);
}

static void kept_plain(void *arg, struct kf_object *object, uint64_t chunk)
{
    const struct span *span = arg;

    kf_whole_kept(span->whole, object, chunk);
}

static void destroy_plain(void *arg)
{
    struct span *span = arg;

    kf_whole_unref(span->whole);
    free(span);
}

static const struct kf_feed_ops plain_ops = {.place = place_plain,
                                             .check = check_plain,
                                             .knows = knows_plain,
                                             .kept = kept_plain,
                                             .destroy = destroy_plain};
static const struct kf_feed_ops streamed_ops = {.place = place_plain,
                                                .destroy = destroy_plain};

KF_DEFINE_AUTO(object, struct kf_object *, kf_object_unref)

static const struct kf_table_entry *entry_of(const struct kf_slot *slot)
{
    return &slot->layer->table.entries[kf_file_entry(slot->owner)];
}

int kf_slot_plain_object(const struct kf_layer *layer, const struct kf_table_entry *entry,
                         struct kf_object **ret, struct kf_err *err)
{
    struct kf_object_spec spec = {.size = entry ? entry->size : layer->table.stream_size,
                                  .chunk_size = KF_PLAIN_CHUNK,
                                  .kept_anyway = layer->is_streamed};

    kf_slot_object_name(layer, entry, spec.name);
    return kf_object_open(ret, layer->store, &spec, err);
}

static int make_plain(const struct kf_slot *slot, struct kf_feed **ret,
                      struct kf_err *err)
{
    const struct kf_layer *layer = slot->layer;
    const struct kf_table_entry *entry = slot->owner ? entry_of(slot) : NULL;
    kf_auto(kf_auto_object) struct kf_object *object = NULL;
    kf_auto(kf_free) struct span *span = malloc(sizeof(*span));

    if (!span)
        return kf_fail(err, KF_E_NOMEM, "no memory for a feed");
    *span = entry ? (struct span){entry->offset, entry->size, layer->whole, false}
                  : (struct span){0, layer->table.stream_size, layer->whole, true};
    if (kf_slot_plain_object(layer, entry, &object, err) != 0)
        return -1;
    if (layer->whole)
        kf_whole_sweep(layer->whole, object, entry ? &entry->offset : NULL);
    if (kf_feed_new(ret, layer->fetch, layer->source, object,
                    layer->whole ? &plain_ops : &streamed_ops, span, err) != 0)
        return -1;
    if (layer->whole)
        (void)kf_whole_ref(layer->whole);
    (void)kf_steal(span); /* the feed's now */
    return 0;
}

/* ---- what the object is called ---- */

static const struct kf_toc_slice *slice_of(const struct kf_layer *layer,
                                           const struct kf_table_entry *entry)
{
    const struct kf_toc *toc = &layer->toc.toc;

    return &toc->slices[kf_toc_slice_at(toc, entry->offset)];
}

void kf_plain_object_name(const struct kf_digest *digest,
                          const struct kf_table_entry *entry,
                          char out[KF_OBJECT_NAME_SIZE])
{
    char hex[65];

    (void)kf_digest_hex(digest, hex);
    if (entry)
        (void)snprintf(out, KF_OBJECT_NAME_SIZE, "%s-%016" PRIx64, hex, entry->offset);
    else
        (void)snprintf(out, KF_OBJECT_NAME_SIZE, "%s-r", hex);
}

void kf_slot_object_name(const struct kf_layer *layer, const struct kf_table_entry *entry,
                         char out[KF_OBJECT_NAME_SIZE])
{
    char hex[65];

    if (entry && layer->has_toc)
        (void)snprintf(out, KF_OBJECT_NAME_SIZE, "%s",
                       kf_digest_hex(&slice_of(layer, entry)->content_id, hex));
    else
        kf_plain_object_name(layer->has_toc ? &layer->root_digest : &layer->name, entry,
                             out);
}

/* ---- layers with a TOC: the chunk map comes first ---- */

struct loading {
    struct kf_map_load load;
    struct kf_slot *slot;
};

static void prepare_load(const struct kf_slot *slot, struct kf_map_load *load)
{
    const struct kf_layer *layer = slot->layer;
    const struct kf_toc *toc = &layer->toc.toc;

    *load = (struct kf_map_load){.toc = &layer->toc};
    if (slot->owner) {
        load->first = kf_toc_slice_at(toc, entry_of(slot)->offset);
        load->count = 1;
        load->chunk_count = toc->slices[load->first].chunk_count;
    } else {
        load->count = toc->slice_count;
        load->rest = true;
        load->chunk_count = layer->rest_chunks;
    }
}

static int make_packed(const struct kf_slot *slot, struct kf_chunk_map *map,
                       struct kf_feed **ret, struct kf_err *err)
{
    const struct kf_layer *layer = slot->layer;
    char name[KF_OBJECT_NAME_SIZE];
    const struct kf_toc_feed_spec spec = {.name = name,
                                          .carrier = layer->toc.toc.carrier,
                                          .source = layer->source,
                                          .store = layer->store,
                                          .fetch = layer->fetch};

    kf_slot_object_name(layer, slot->owner ? entry_of(slot) : NULL, name);
    return kf_toc_feed_new(ret, &spec, map, err);
}

/* Makes the slot ready or, without a feed, empty again; gives the reads that waited. */
static struct kf_waiting *settle(struct kf_slot *slot, struct kf_feed *feed)
{
    struct kf_layer *layer = slot->layer;
    struct kf_waiting *waiting;

    (void)pthread_mutex_lock(&layer->lock);
    waiting = slot->first;
    slot->first = NULL;
    slot->last = &slot->first;
    if (feed && !slot->feed) {
        slot->feed = feed;
        feed = NULL;
    }
    slot->state = slot->feed ? KF_SLOT_READY : KF_SLOT_EMPTY;
    (void)pthread_mutex_unlock(&layer->lock);
    kf_feed_unref(feed);
    return waiting;
}

static void loaded(struct kf_map_load *load, const struct kf_err *err)
{
    struct loading *loading = kf_container_of(load, struct loading, load);
    struct kf_slot *slot = loading->slot;
    struct kf_file *owner = slot->owner;
    struct kf_feed *feed = NULL;
    struct kf_waiting *waiting, *next;
    struct kf_err failure;

    if (err)
        failure = *err;
    else
        (void)make_packed(slot, &load->map, &feed, &failure); /* `feed` says it */
    free(loading);
    for (waiting = settle(slot, feed); waiting; waiting = next) {
        struct kf_read *read = waiting->read;
        struct kf_file *file = waiting->file;

        next = waiting->next;
        free(waiting);
        if (feed && file)
            kf_file_start(file, read);
        else if (feed)
            kf_feed_read(feed, read);
        else
            read->done(read, NULL, &failure); /* may free it, and put its file */
    }
    kf_file_put(owner); /* kept by whoever started the load; may be the last */
}

struct local_load {
    struct kf_map_load load;
    struct kf_err err;
    bool failed;
};

static void local_done(struct kf_map_load *load, const struct kf_err *err)
{
    struct local_load *local = kf_container_of(load, struct local_load, load);

    local->failed = err != NULL;
    if (err)
        local->err = *err;
}

static int load_local(struct kf_slot *slot, struct kf_feed **ret, struct kf_err *err)
{
    struct local_load local = {.failed = true};

    prepare_load(slot, &local.load);
    local.load.done = local_done;
    kf_map_load_start(&local.load);
    if (local.failed) {
        if (err)
            *err = local.err;
        return -1;
    }
    return make_packed(slot, &local.load.map, ret, err);
}

/* ---- opening and waiting ---- */

int kf_slot_open(struct kf_slot *slot, struct kf_err *err)
{
    struct kf_feed *feed = kf_slot_feed(slot);
    struct kf_map_load load;
    int rc;

    if (feed) {
        kf_feed_unref(feed);
        return 0;
    }
    if (slot->layer->has_toc) {
        prepare_load(slot, &load);
        if (!kf_map_load_is_local(&load))
            return 0; /* by the first read */
        rc = load_local(slot, &feed, err);
    } else {
        rc = make_plain(slot, &feed, err);
    }
    if (rc != 0)
        return -1;
    (void)settle(slot, feed); /* nobody waits for what needs no loading */
    return 0;
}

struct kf_feed *kf_slot_feed(struct kf_slot *slot)
{
    struct kf_feed *feed;

    (void)pthread_mutex_lock(&slot->layer->lock);
    feed = slot->feed ? kf_feed_ref(slot->feed) : NULL;
    (void)pthread_mutex_unlock(&slot->layer->lock);
    return feed;
}

static void start_loading(struct kf_slot *slot, struct loading *loading)
{
    prepare_load(slot, &loading->load);
    loading->slot = slot;
    loading->load.done = loaded;
    kf_map_load_start(&loading->load);
}

struct kf_feed *kf_slot_feed_or_wait(struct kf_slot *slot, struct kf_file *file,
                                     struct kf_read *read)
{
    struct kf_layer *layer = slot->layer;
    struct kf_feed *feed = kf_slot_feed(slot); /* almost always there */
    kf_auto(kf_free) struct kf_waiting *waiting = NULL;
    kf_auto(kf_free) struct loading *loading = NULL;
    struct kf_err err;
    bool start = false, kept;

    if (feed)
        return feed;
    waiting = malloc(sizeof(*waiting));
    loading = malloc(sizeof(*loading));
    (void)pthread_mutex_lock(&layer->lock);
    feed = slot->feed ? kf_feed_ref(slot->feed) : NULL;
    kept = !feed && waiting && loading;
    if (kept) {
        *waiting = (struct kf_waiting){.read = read, .file = file};
        *slot->last = waiting;
        slot->last = &waiting->next;
        start = slot->state == KF_SLOT_EMPTY;
        slot->state = KF_SLOT_LOADING;
    }
    (void)pthread_mutex_unlock(&layer->lock);
    if (kept)
        (void)kf_steal(waiting);
    if (start) {
        if (slot->owner)
            kf_file_keep(slot->owner);
        start_loading(slot, kf_steal(loading));
    }
    if (!feed && !kept) {
        (void)kf_fail(&err, KF_E_NOMEM, "no memory for a read");
        read->done(read, NULL, &err);
    }
    return feed;
}

static void tell_cancelled(struct kf_job *job)
{
    struct kf_read *read = kf_container_of(job, struct kf_read, job);
    struct kf_err err;

    (void)kf_fail(&err, KF_E_CANCELLED, "the read was cancelled");
    read->done(read, NULL, &err);
}

bool kf_slot_cancel(struct kf_slot *slot, struct kf_read *read)
{
    struct kf_layer *layer = slot->layer;
    struct kf_waiting *found = NULL;

    (void)pthread_mutex_lock(&layer->lock);
    for (struct kf_waiting **link = &slot->first; *link && !found;) {
        if ((*link)->read != read) {
            link = &(*link)->next;
            continue;
        }
        found = *link;
        *link = found->next;
        if (!*link)
            slot->last = link;
    }
    (void)pthread_mutex_unlock(&layer->lock);
    if (!found)
        return false;
    free(found);
    read->job.run = tell_cancelled;
    kf_workq_submit(kf_fetch_workq(layer->fetch), &read->job, KF_DEMAND);
    return true;
}
