/*
 * How it is known that all of a layer is here without looking at all of it for each
 * chunk: a look counts what is missing, and the next one is due when as many bytes have
 * landed. What another process brought in is seen by the looks that somebody asks for.
 */
#include "layer/whole.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fetch/queue.h"
#include "layer/cached_stream.h"
#include "layer/layer_state.h"
#include "layer/sums.h"
#include "layer/whole_pass.h"

/* Above what the most chunks and files need. */
#define SUMS_BYTES_LIMIT (KF_SUMS_CHUNK_LIMIT * 40)

struct kf_whole {
    int refs;             /* atomic */
    int trust;            /* atomic: enum kf_trust */
    struct kf_sums *sums; /* of what was checked; set before `trust` says so */

    struct kf_workq *workq; /* borrowed */
    pthread_mutex_t lock;
    pthread_cond_t idle;    /* `busy` has become false */
    struct kf_layer *layer; /* lock; NULL: it goes. Stays while busy */
    bool watching, fetch;   /* lock */
    bool busy;              /* lock; the job is queued or runs */
    uint64_t landed;        /* lock; bytes of chunks that were kept */
    uint64_t due;           /* lock; look when so many have landed */

    /* the job's own */
    struct kf_job job;
    bool wanted_gaps;
    struct kf_sums *places; /* while it hashes, as are the next */
    struct kf_whole_pass *pass;
    struct kf_cached_stream stream;
    uint8_t *piece;
};

/* ---- what an earlier run has learned ---- */

static void load(struct kf_whole *whole, const struct kf_layer *layer)
{
    struct kf_buf bytes;
    struct kf_err why;

    kf_buf_init(&bytes, SUMS_BYTES_LIMIT);
    if (kf_store_load(layer->store, KF_SMALL_SUMS, &layer->digest, &bytes, &why) == 0) {
        if (kf_sums_decode(&whole->sums, &layer->table, bytes.data, bytes.length, &why) ==
            0)
            whole->trust = KF_TRUST_VERIFIED;
        else
            kf_log(KF_LOG_WARN, "layer", "event=sums_damaged layer=%s why=\"%s\"",
                   layer->blob->name, why.message);
    }
    kf_buf_fini(&bytes);
}

static void save(const struct kf_layer *layer, const struct kf_sums *sums)
{
    struct kf_buf bytes;
    struct kf_err why;

    kf_buf_init(&bytes, SUMS_BYTES_LIMIT);
    if (kf_sums_encode(sums, &bytes, &why) != 0 ||
        kf_store_save(layer->store, KF_SMALL_SUMS, &layer->digest, bytes.data,
                      bytes.length, &why) != 0)
        kf_log(KF_LOG_WARN, "layer", "event=sums_not_saved layer=%s why=\"%s\"",
               layer->blob->name, why.message);
    kf_buf_fini(&bytes);
}

static void run(struct kf_job *job);

int kf_whole_new(struct kf_whole **ret, struct kf_layer *layer, struct kf_err *err)
{
    struct kf_whole *whole = calloc(1, sizeof(*whole));

    if (!whole || pthread_mutex_init(&whole->lock, NULL) != 0) {
        free(whole);
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    }
    if (pthread_cond_init(&whole->idle, NULL) != 0) {
        (void)pthread_mutex_destroy(&whole->lock); /* never used */
        free(whole);
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    }
    whole->refs = 1;
    whole->layer = layer;
    whole->workq = kf_fetch_workq(layer->fetch);
    whole->due = UINT64_MAX;
    whole->job.run = run;
    load(whole, layer);
    *ret = whole;
    return 0;
}

struct kf_whole *kf_whole_ref(struct kf_whole *whole)
{
    (void)__atomic_add_fetch(&whole->refs, 1, __ATOMIC_RELAXED); /* the caller has one */
    return whole;
}

void kf_whole_unref(struct kf_whole *whole)
{
    if (!whole || __atomic_sub_fetch(&whole->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kf_sums_unref(whole->sums);
    (void)pthread_cond_destroy(&whole->idle);  /* nobody waits */
    (void)pthread_mutex_destroy(&whole->lock); /* nobody holds it */
    free(whole);
}

/* Not under a deadline of its own: a piece is a read of the disk and a digest. */
void kf_whole_end(struct kf_whole *whole)
{
    if (!whole)
        return;
    (void)pthread_mutex_lock(&whole->lock);
    whole->layer = NULL;
    while (whole->busy)
        (void)pthread_cond_wait(&whole->idle, &whole->lock);
    (void)pthread_mutex_unlock(&whole->lock);
    kf_whole_unref(whole);
}

/* ---- what is known ---- */

enum kf_trust kf_whole_trust(const struct kf_whole *whole)
{
    return (enum kf_trust)__atomic_load_n(&whole->trust, __ATOMIC_SEQ_CST);
}

const struct kf_digest *kf_whole_sum(const struct kf_whole *whole,
                                     const uint64_t *file_offset, uint64_t chunk)
{
    if (kf_whole_trust(whole) != KF_TRUST_VERIFIED)
        return NULL;
    return file_offset ? kf_sums_of_file(whole->sums, *file_offset, chunk)
                       : kf_sums_of_rest(whole->sums, chunk);
}

void kf_whole_sweep(const struct kf_whole *whole, struct kf_object *object,
                    const uint64_t *file_offset)
{
    struct kf_digest found;

    if (kf_whole_trust(whole) != KF_TRUST_VERIFIED)
        return;
    for (uint64_t chunk = 0; chunk < kf_object_chunk_count(object); chunk++) {
        const struct kf_digest *expected = kf_whole_sum(whole, file_offset, chunk);

        if (expected && kf_object_digest(object, chunk, &found) &&
            !kf_digest_equal(&found, expected))
            kf_object_drop(object, chunk);
    }
}

/* The objects of a plain layer that hold something, one after the other. */
static void each_object(const struct kf_layer *layer,
                        void (*act)(void *arg, struct kf_object *object,
                                    const struct kf_table_entry *entry),
                        void *arg)
{
    const struct kf_table *table = &layer->table;

    for (uint32_t i = 0; i <= table->count; i++) {
        const struct kf_table_entry *entry = i < table->count ? &table->entries[i] : NULL;
        struct kf_object *object;

        if ((entry && entry->size < KF_LARGE_FILE) ||
            kf_cached_bytes(layer, entry) == 0 ||
            kf_slot_plain_object(layer, entry, &object, NULL) != 0)
            continue;
        act(arg, object, entry);
        kf_object_unref(object);
    }
}

static void sweep_one(void *arg, struct kf_object *object,
                      const struct kf_table_entry *entry)
{
    kf_whole_sweep(arg, object, entry ? &entry->offset : NULL);
}

static void discard_one(void *arg, struct kf_object *object,
                        const struct kf_table_entry *entry)
{
    (void)arg;
    (void)entry;
    kf_object_discard(object);
}

void kf_whole_discard(const struct kf_layer *layer)
{
    const struct kf_table *table = &layer->table;
    char name[KF_OBJECT_NAME_SIZE];

    each_object(layer, discard_one, NULL);
    for (uint32_t i = 0; i <= table->count; i++) {
        const struct kf_table_entry *entry = i < table->count ? &table->entries[i] : NULL;

        if (entry && entry->size < KF_LARGE_FILE)
            continue;
        kf_slot_object_name(layer, entry, name);
        kf_store_delete(layer->store, name);
    }
    if (layer->is_tar)
        kf_store_forget(layer->store, KF_SMALL_TABLE, &layer->digest);
    if (layer->packing == KF_LAYER_ZSTD)
        kf_store_forget(layer->store, KF_SMALL_SEEK, &layer->digest);
}

int kf_whole_conclude(struct kf_whole *whole, const struct kf_layer *layer,
                      const struct kf_passed *passed, struct kf_err *err)
{
    char found[KF_DIGEST_TEXT_SIZE];

    if (!kf_digest_equal(&passed->digest, &layer->stream_digest))
        return kf_fail(err, KF_E_CORRUPT, "its content has the digest %s",
                       kf_digest_format(&passed->digest, found));
    save(layer, passed->sums);
    if (layer->is_tar && !kf_table_equal(&layer->table, passed->table)) {
        kf_layer_save_table(layer, passed->table);
        (void)kf_fail(
            err, KF_E_CORRUPT,
            "its headers came with other bytes when it was opened: mount it again"); /* 1
                                                                                      */
        return 1;
    }
    whole->sums = kf_sums_ref(passed->sums);
    __atomic_store_n(&whole->trust, KF_TRUST_VERIFIED, __ATOMIC_SEQ_CST);
    each_object(layer, sweep_one, whole);
    return 0;
}

/* ---- looking and hashing, a step at a time ---- */

static void submit(struct kf_whole *whole)
{
    kf_workq_submit(whole->workq, &whole->job, KF_PREFETCH);
}

static void start_locked(struct kf_whole *whole)
{
    if (!whole->watching || whole->busy || !whole->layer ||
        kf_whole_trust(whole) != KF_TRUST_UNVERIFIED)
        return;
    whole->busy = true;
    submit(whole);
}

static void stop_hashing(struct kf_whole *whole)
{
    kf_cached_stream_fini(&whole->stream);
    kf_whole_pass_free(kf_steal(whole->pass));
    kf_sums_unref(kf_steal(whole->places));
    free(kf_steal(whole->piece));
}

/* The next look is when `due` bytes have landed. */
static void rest(struct kf_whole *whole, uint64_t due)
{
    (void)pthread_mutex_lock(&whole->lock);
    whole->due = due;
    whole->busy = false;
    if (whole->landed >= due)
        start_locked(whole);
    if (!whole->busy)
        (void)pthread_cond_broadcast(&whole->idle);
    (void)pthread_mutex_unlock(&whole->lock);
}

static void give_up(struct kf_whole *whole, struct kf_layer *layer,
                    const struct kf_err *why)
{
    kf_log(KF_LOG_WARN, "layer", "event=not_checked layer=%s why=\"%s\"",
           layer->blob->name, why->message);
    stop_hashing(whole);
    rest(whole, UINT64_MAX);
}

/* Chunks that land from now on are dropped by who keeps them. */
static void fail(struct kf_whole *whole, struct kf_layer *layer, bool discard,
                 const struct kf_err *why)
{
    stop_hashing(whole);
    __atomic_store_n(&whole->trust, KF_TRUST_FAILED, __ATOMIC_SEQ_CST);
    kf_layer_fail(layer, "content_differs", why);
    if (discard)
        kf_whole_discard(layer);
    rest(whole, UINT64_MAX);
}

static int begin_hashing(struct kf_whole *whole, const struct kf_layer *layer,
                         struct kf_err *err)
{
    const struct kf_whole_pass_spec spec = {.stream_size = layer->table.stream_size,
                                            .raw = layer->is_tar ? NULL : &layer->table};

    if (kf_whole_pass_new(&whole->pass, &spec, err) != 0)
        return -1;
    whole->piece = malloc(KF_CACHED_PIECE);
    if (!whole->piece)
        return kf_fail(err, KF_E_NOMEM, "no memory to check a layer");
    kf_cached_stream_init(&whole->stream, layer, whole->places);
    return 0;
}

static int count_missing(struct kf_whole *whole, const struct kf_layer *layer,
                         uint64_t *ret_bytes, bool *ret_only_gaps, struct kf_err *err)
{
    whole->places = kf_sums_new(layer->table.stream_size, err);
    if (!whole->places || kf_sums_add_files(whole->places, &layer->table, err) != 0)
        return -1;
    return kf_cached_missing(layer, whole->places, ret_bytes, ret_only_gaps, err);
}

static void look(struct kf_whole *whole, struct kf_layer *layer)
{
    uint64_t missing, landed;
    bool only_gaps, fetch;
    struct kf_err err;
    int rc;

    (void)pthread_mutex_lock(&whole->lock);
    landed = whole->landed;
    fetch = whole->fetch && !whole->wanted_gaps;
    (void)pthread_mutex_unlock(&whole->lock);
    rc = count_missing(whole, layer, &missing, &only_gaps, &err);
    if (rc == 0 && missing == 0)
        rc = begin_hashing(whole, layer, &err);
    if (rc != 0) {
        give_up(whole, layer, &err);
    } else if (missing == 0) {
        submit(whole);
    } else {
        whole->wanted_gaps |= only_gaps && fetch; /* once: they may not be to be had */
        if (only_gaps && fetch)
            kf_cached_want_rest(layer, whole->places);
        stop_hashing(whole);
        rest(whole, landed + missing);
    }
}

static void conclude(struct kf_whole *whole, struct kf_layer *layer)
{
    struct kf_passed passed;
    struct kf_err err;
    int rc = kf_whole_pass_end(whole->pass, &passed, &err);

    if (rc == 0)
        rc = kf_whole_conclude(whole, layer, &passed, &err);
    if (rc == 0) {
        kf_log(KF_LOG_INFO, "layer", "event=checked layer=%s", layer->blob->name);
        stop_hashing(whole);
        rest(whole, UINT64_MAX);
    } else if (err.kind == KF_E_NOMEM) {
        give_up(whole, layer, &err);
    } else {
        fail(whole, layer, rc < 0, &err);
    }
}

static bool is_lost(const struct kf_err *err)
{
    return err->kind == KF_E_NOTFOUND || err->kind == KF_E_CORRUPT;
}

static void hash(struct kf_whole *whole, struct kf_layer *layer)
{
    struct kf_err err;
    size_t length;

    if (kf_cached_stream_next(&whole->stream, whole->piece, &length, &err) != 0) {
        if (!is_lost(&err)) {
            give_up(whole, layer, &err);
            return;
        }
        stop_hashing(whole);
        submit(whole); /* looks what is missing now */
    } else if (length == 0) {
        conclude(whole, layer);
    } else if (kf_whole_pass_push(whole->pass, whole->piece, length, &err) == 0) {
        submit(whole);
    } else if (err.kind == KF_E_NOMEM || err.kind == KF_E_LIMIT) {
        give_up(whole, layer, &err);
    } else {
        fail(whole, layer, true, &err);
    }
}

static void run(struct kf_job *job)
{
    struct kf_whole *whole = kf_container_of(job, struct kf_whole, job);
    struct kf_layer *layer;

    (void)pthread_mutex_lock(&whole->lock);
    layer = whole->layer;
    (void)pthread_mutex_unlock(&whole->lock);
    if (!layer) {
        stop_hashing(whole);
        rest(whole, UINT64_MAX);
    } else if (whole->pass) {
        hash(whole, layer);
    } else {
        look(whole, layer);
    }
}

void kf_whole_watch(struct kf_whole *whole, bool fetch)
{
    (void)pthread_mutex_lock(&whole->lock);
    whole->watching = whole->layer && whole->layer->store && whole->layer->has_digest;
    whole->fetch = fetch;
    start_locked(whole);
    (void)pthread_mutex_unlock(&whole->lock);
}

void kf_whole_look(struct kf_whole *whole)
{
    (void)pthread_mutex_lock(&whole->lock);
    start_locked(whole);
    (void)pthread_mutex_unlock(&whole->lock);
}

void kf_whole_kept(struct kf_whole *whole, struct kf_object *object, uint64_t chunk)
{
    enum kf_trust trust = kf_whole_trust(whole);

    if (trust == KF_TRUST_FAILED)
        kf_object_drop(object, chunk);
    if (trust != KF_TRUST_UNVERIFIED)
        return;
    (void)pthread_mutex_lock(&whole->lock);
    whole->landed += kf_object_chunk_length(object, chunk);
    if (whole->landed >= whole->due)
        start_locked(whole);
    (void)pthread_mutex_unlock(&whole->lock);
}
