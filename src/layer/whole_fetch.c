/*
 * A whole layer into the cache before anything of it is read: one pass of the blob in
 * order, which brings its table and every chunk with its digest.
 */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/object.h"
#include "cache/store.h"
#include "layer/blob_stream.h"
#include "layer/cached_stream.h"
#include "layer/layer_state.h"
#include "layer/sums.h"
#include "layer/whole.h"
#include "layer/whole_pass.h"

#define PATIENCE_NS (10 * KF_NS_PER_S) /* with a cache that takes nothing */
#define PAUSE_NS (50 * KF_NS_PER_MS)

struct fetching {
    struct kf_layer *layer;
    struct kf_whole_pass *pass;
    struct kf_object *rest, *large;
    uint64_t large_offset; /* of `large` in the stream */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned writing; /* lock; chunks that the cache has not written yet */
    bool lost;        /* lock; one of them it did not keep */
};

struct written {
    struct kf_object_put put;
    struct fetching *fetching;
    struct kf_object *object; /* a reference */
    uint64_t chunk;
};

static int cannot_hold(const struct fetching *fetching, struct kf_err *err)
{
    return kf_fail(err, KF_E_LIMIT,
                   "the cache '%s' cannot hold the %" PRIu64
                   " bytes of it, which are to be checked before they are read",
                   kf_store_path(fetching->layer->store),
                   kf_source_size(fetching->layer->source));
}

/* ---- chunks into the cache ---- */

static void chunk_written(struct kf_object_put *put)
{
    struct written *written = kf_container_of(put, struct written, put);
    struct fetching *fetching = written->fetching;
    bool has = kf_object_has(written->object, written->chunk);

    kf_object_unref(written->object);
    free(written);
    (void)pthread_mutex_lock(&fetching->lock);
    fetching->writing--;
    fetching->lost |= !has;
    (void)pthread_cond_signal(&fetching->cond);
    (void)pthread_mutex_unlock(&fetching->lock);
}

/* Until a chunk was written, or for a moment. */
static void wait_a_while(struct fetching *fetching)
{
    (void)pthread_mutex_lock(&fetching->lock);
    (void)kf_cond_wait_until(&fetching->cond, &fetching->lock,
                             kf_deadline_ns(PAUSE_NS)); /* looked at again */
    (void)pthread_mutex_unlock(&fetching->lock);
}

static bool has_lost(struct fetching *fetching)
{
    bool lost;

    (void)pthread_mutex_lock(&fetching->lock);
    lost = fetching->lost;
    (void)pthread_mutex_unlock(&fetching->lock);
    return lost;
}

static int put_chunk(struct fetching *fetching, struct kf_object *object,
                     const struct kf_whole_chunk *chunk, struct kf_err *err)
{
    struct written *written = calloc(1, sizeof(*written));
    int64_t give_up_ns = kf_deadline_ns(PATIENCE_NS);
    struct kf_digest other;

    if (kf_object_digest(object, chunk->chunk, &other) &&
        !kf_digest_equal(&other, &chunk->digest))
        kf_object_drop(object, chunk->chunk); /* of an earlier mount */
    if (!written)
        return kf_fail(err, KF_E_NOMEM, "no memory for a chunk");
    *written = (struct written){.put.done = chunk_written,
                                .fetching = fetching,
                                .object = kf_object_ref(object),
                                .chunk = chunk->chunk};
    (void)pthread_mutex_lock(&fetching->lock);
    fetching->writing++;
    (void)pthread_mutex_unlock(&fetching->lock);
    while (!has_lost(fetching) && kf_now_ns() < give_up_ns) {
        if (kf_object_put(object, chunk->chunk, chunk->block, &chunk->digest,
                          &written->put))
            return 0;
        wait_a_while(fetching);
    }
    chunk_written(&written->put); /* gives it back */
    return cannot_hold(fetching, err);
}

/* The object that a chunk belongs to; files come one after the other. */
static struct kf_object *object_of(struct fetching *fetching,
                                   const struct kf_whole_chunk *chunk, struct kf_err *err)
{
    const struct kf_table_entry entry = {.offset = chunk->file_offset,
                                         .size = chunk->file_size};

    if (chunk->of_rest)
        return fetching->rest;
    if (fetching->large && fetching->large_offset == chunk->file_offset)
        return fetching->large;
    kf_object_unref(kf_steal(fetching->large));
    fetching->large_offset = chunk->file_offset;
    return kf_slot_plain_object(fetching->layer, &entry, &fetching->large, err) == 0
               ? fetching->large
               : NULL;
}

static int take_chunk(void *arg, const struct kf_whole_chunk *chunk, struct kf_err *err)
{
    struct fetching *fetching = arg;
    struct kf_object *object = object_of(fetching, chunk, err);

    return object ? put_chunk(fetching, object, chunk, err) : -1;
}

static void wait_for_writes(struct fetching *fetching)
{
    (void)pthread_mutex_lock(&fetching->lock);
    while (fetching->writing > 0) /* the writer ends each, kept or not */
        (void)pthread_cond_wait(&fetching->cond, &fetching->lock);
    (void)pthread_mutex_unlock(&fetching->lock);
}

/* ---- the pass ---- */

static int take_bytes(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct fetching *fetching = arg;

    return kf_whole_pass_push(fetching->pass, data, length, err);
}

/* Also one that is only begun: it says which objects there are. */
static void take_table(struct fetching *fetching)
{
    struct kf_layer *layer = fetching->layer;

    if (!layer->is_tar)
        return;
    kf_table_fini(&layer->table);
    kf_whole_pass_take_table(fetching->pass, &layer->table);
}

static int finish(struct fetching *fetching, struct kf_whole *whole, struct kf_err *err)
{
    struct kf_layer *layer = fetching->layer;
    struct kf_passed passed;

    if (kf_whole_pass_end(fetching->pass, &passed, err) != 0)
        return -1;
    wait_for_writes(fetching);
    if (has_lost(fetching))
        return cannot_hold(fetching, err);
    take_table(fetching);
    passed.table = &layer->table;
    if (kf_whole_conclude(whole, layer, &passed, err) != 0)
        return -1;
    if (layer->is_tar)
        kf_layer_save_table(layer, &layer->table);
    return 0;
}

static int pass_blob(struct fetching *fetching, struct kf_whole *whole,
                     int64_t timeout_ns, struct kf_err *err)
{
    struct kf_layer *layer = fetching->layer;
    const struct kf_whole_pass_spec spec = {.stream_size = kf_source_size(layer->source),
                                            .raw = layer->is_tar ? NULL : &layer->table,
                                            .on_chunk = take_chunk,
                                            .arg = fetching};
    const struct kf_blob_stream stream = {.source = layer->source,
                                          .timeout_ns = timeout_ns,
                                          .take = take_bytes,
                                          .arg = fetching};
    int rc;

    layer->table.stream_size = spec.stream_size; /* of an archive not yet known */
    if (kf_slot_plain_object(layer, NULL, &fetching->rest, err) != 0 ||
        kf_whole_pass_new(&fetching->pass, &spec, err) != 0)
        return -1;
    rc = kf_blob_stream(&stream, err);
    if (rc == 0)
        return finish(fetching, whole, err);
    take_table(fetching);
    return -1;
}

static int hash_pieces(struct kf_whole_pass *pass, struct kf_cached_stream *stream)
{
    kf_auto(kf_free) uint8_t *piece = malloc(KF_CACHED_PIECE);
    size_t length = 1;

    if (!piece)
        return -1;
    while (length > 0)
        if (kf_cached_stream_next(stream, piece, &length, NULL) != 0 ||
            kf_whole_pass_push(pass, piece, length, NULL) != 0)
            return -1;
    return 0;
}

static int hash_cached(struct kf_whole *whole, const struct kf_layer *layer,
                       const struct kf_sums *places)
{
    const struct kf_whole_pass_spec spec = {.stream_size = layer->table.stream_size,
                                            .raw = layer->is_tar ? NULL : &layer->table};
    struct kf_cached_stream stream;
    struct kf_whole_pass *pass;
    struct kf_passed passed;
    int rc;

    if (kf_whole_pass_new(&pass, &spec, NULL) != 0)
        return -1;
    kf_cached_stream_init(&stream, layer, places);
    rc = hash_pieces(pass, &stream);
    if (rc == 0)
        rc = kf_whole_pass_end(pass, &passed, NULL);
    if (rc == 0)
        rc = kf_whole_conclude(whole, layer, &passed, NULL);
    kf_cached_stream_fini(&stream);
    kf_whole_pass_free(pass);
    return rc;
}

/* All of it may be there from an earlier mount. */
static int pass_cache(struct fetching *fetching, struct kf_whole *whole)
{
    const struct kf_layer *layer = fetching->layer;
    struct kf_sums *places = kf_sums_new(layer->table.stream_size, NULL);
    uint64_t missing = 1;
    bool only_gaps;
    int rc = -1;

    if (places && kf_sums_add_files(places, &layer->table, NULL) == 0 &&
        kf_cached_missing(layer, places, &missing, &only_gaps, NULL) == 0 && missing == 0)
        rc = hash_cached(whole, layer, places);
    kf_sums_unref(places);
    return rc;
}

static int check_room(const struct fetching *fetching, struct kf_err *err)
{
    const struct kf_layer *layer = fetching->layer;
    struct kf_store_space space;

    assert(layer->has_digest);
    if (!layer->store)
        return kf_fail(err, KF_E_LIMIT,
                       "no cache to hold it while it is checked before it is read");
    if (kf_store_space(layer->store, &space, err) != 0)
        return -1;
    return kf_source_size(layer->source) > space.limit_bytes ? cannot_hold(fetching, err)
                                                             : 0;
}

/* Damage, or a lie: nothing of it stays. What was cut off may be of use. */
static bool is_bad(const struct kf_err *err)
{
    return err->kind == KF_E_CORRUPT || err->kind == KF_E_MALFORMED ||
           err->kind == KF_E_UNSUPPORTED;
}

static int fetch(struct fetching *fetching, struct kf_whole *whole, int64_t timeout_ns,
                 struct kf_err *err)
{
    struct kf_err why;
    int rc = check_room(fetching, &why);

    if (rc == 0 && fetching->layer->table.count > 0 && pass_cache(fetching, whole) == 0)
        return 0;
    if (rc == 0)
        rc = pass_blob(fetching, whole, timeout_ns, &why);
    wait_for_writes(fetching);
    kf_object_unref(fetching->large);
    kf_object_unref(fetching->rest);
    if (rc != 0 && is_bad(&why))
        kf_whole_discard(fetching->layer);
    kf_whole_pass_free(fetching->pass);
    if (rc != 0 && err)
        *err = why;
    return rc;
}

int kf_whole_fetch(struct kf_whole *whole, struct kf_layer *layer, int64_t timeout_ns,
                   struct kf_err *err)
{
    struct fetching fetching = {.layer = layer};
    int rc;

    if (pthread_mutex_init(&fetching.lock, NULL) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    if (kf_cond_init(&fetching.cond) != 0) {
        (void)pthread_mutex_destroy(&fetching.lock); /* never used */
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    }
    rc = fetch(&fetching, whole, timeout_ns, err);
    (void)pthread_cond_destroy(&fetching.cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&fetching.lock); /* nobody holds it */
    return rc;
}
