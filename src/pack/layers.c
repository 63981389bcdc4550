/*
 * The layers of a kit on their way to the destination. One is packed once, into a blob as
 * it comes; or, for a registry that wants to know digest and size before, twice: into
 * nothing, then into the blob, unless that is there. Same files, same bytes
 * (docs/formats/layer.md section 9); files that changed are noticed.
 *
 * Where the destination gains by it, a few layers are under way at once, begun in the
 * order of the kit. The first failure ends the others; nothing else depends on who was
 * first.
 */
#include <pthread.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/dest.h"
#include "pack/packing.h"

#define DEFAULT_CHUNK ((uint32_t)1 << 20)
#define DEFAULT_LEVEL 3
#define WEIGHTS_LEVEL 1
#define LAYER_ATTEMPTS 3
#define LANES 3u

/* One layer being written. */
struct writing {
    struct kf_packing *packing;
    struct kf_packing_layer *layer;
    const char *path;
    struct kf_dest_blob *blob; /* NULL: nowhere */
    uint64_t done_limit;       /* of this pass */
    bool is_measured;          /* layer->written is what it will be */
};

static bool has_failed(const struct kf_packing *packing)
{
    return __atomic_load_n(&packing->failed, __ATOMIC_RELAXED) != 0;
}

static bool is_stopped(void *arg)
{
    const struct kf_packing *packing = arg;
    const struct kf_pack_opts *opts = packing->opts;

    return has_failed(packing) || (opts->stopped && opts->stopped(opts->arg));
}

/* ---- progress ---- */

static void set_done(struct kf_packing *packing, struct kf_packing_layer *layer,
                     uint64_t done, uint64_t todo)
{
    (void)pthread_mutex_lock(&packing->lock);
    packing->done += done - layer->done;
    packing->total += todo - layer->todo;
    layer->done = done;
    layer->todo = todo;
    (void)pthread_mutex_unlock(&packing->lock);
}

/* Headers and padding are counted by the writer, but not in what there is to do. The lock
 * is what makes the callback one thread's at a time. */
static void note_progress(void *arg, uint64_t bytes)
{
    const struct writing *writing = arg;
    struct kf_packing *packing = writing->packing;
    struct kf_packing_layer *layer = writing->layer;
    uint64_t before;

    (void)pthread_mutex_lock(&packing->lock);
    before = layer->done;
    layer->done = kf_min_u64(before + bytes, writing->done_limit);
    packing->done += layer->done - before;
    packing->opts->progress(packing->opts->arg, writing->path, packing->done,
                            packing->total);
    (void)pthread_mutex_unlock(&packing->lock);
}

/* ---- one layer ---- */

static int put_piece(void *arg, const void *data, size_t length, struct kf_err *err)
{
    const struct writing *writing = arg;

    if (is_stopped(writing->packing))
        return kf_fail(err, KF_E_CANCELLED, "interrupted");
    return writing->blob ? kf_dest_write(writing->blob, data, length, err) : 0;
}

static bool has_toc(const struct kf_packing *packing, enum kf_toc_carrier carrier)
{
    /* A ModelPack config has a diffId for each layer: no room for one of TOCs. */
    return !packing->opts->no_toc &&
           (carrier == KF_CARRIER_TAR_ZSTD || !packing->opts->model_pack);
}

/* One pass over the files. */
static int pass(struct writing *writing, struct kf_dest_blob *blob,
                struct kf_written *ret, struct kf_err *err)
{
    struct kf_packing *packing = writing->packing;
    const struct kf_pack_opts *opts = packing->opts;
    const struct kf_packing_layer *layer = writing->layer;
    /* A raw blob holds its file without the folders above it. */
    uint32_t skipped = layer->carrier == KF_CARRIER_RAW ? layer->scan.count - 1 : 0;
    const struct kf_pack_reader reader = {kf_scan_read, &packing->context_fd};
    const struct kf_pack_sink sink = {put_piece, writing};
    const struct kf_writer_opts writer = {
        .carrier = layer->carrier,
        .chunk_size = opts->chunk_size ? opts->chunk_size : DEFAULT_CHUNK,
        .level = opts->level ? opts->level : DEFAULT_LEVEL,
        .weights_level = opts->level ? opts->level : WEIGHTS_LEVEL,
        .threads = layer->threads,
        .no_toc = !has_toc(packing, layer->carrier),
        .no_seek_table = opts->no_seek_table,
        .progress = opts->progress ? note_progress : NULL,
        .progress_arg = writing,
    };

    writing->blob = blob;
    writing->done_limit = layer->done + layer->scan.bytes;
    return kf_write_layer(ret, layer->scan.entries + skipped, layer->scan.count - skipped,
                          &reader, &sink, &writer, err);
}

/* Into a blob that was begun. */
static int pass_into(struct writing *writing, struct kf_dest_blob *blob,
                     struct kf_written *ret, struct kf_err *err)
{
    if (pass(writing, blob, ret, err) != 0) {
        kf_dest_abandon(blob);
        return -1;
    }
    return kf_dest_commit(blob, &ret->digest, err);
}

static int write_once(struct writing *writing, struct kf_err *err)
{
    struct kf_dest_blob *blob = kf_dest_begin(writing->packing->dest, err);

    return blob ? pass_into(writing, blob, &writing->layer->written, err) : -1;
}

static int write_twice(struct writing *writing, struct kf_err *err)
{
    struct kf_packing *packing = writing->packing;
    struct kf_packing_layer *layer = writing->layer;
    struct kf_written *written = &layer->written, again = {0};
    struct kf_dest_blob *blob;
    int rc;

    set_done(packing, layer, layer->done, 2 * layer->scan.bytes);
    if (!writing->is_measured && pass(writing, NULL, written, err) != 0)
        return -1;
    writing->is_measured = true;
    set_done(packing, layer, layer->scan.bytes, layer->todo);
    rc = kf_dest_begin_known(&blob, packing->dest, &written->digest, written->size, err);
    if (rc != 0)
        return rc > 0 ? 0 : -1;
    rc = pass_into(writing, blob, &again, err);
    kf_written_fini(&again);
    return rc;
}

/* Whether to try again after a failure. */
static bool is_passing(const struct writing *writing, bool twice, unsigned *attempt,
                       const struct kf_err *err)
{
    if (!twice && err->kind == KF_E_UNSUPPORTED)
        return kf_dest_wants_size(writing->packing->dest); /* it turned out */
    return kf_err_worth_retrying(err->kind) && ++*attempt <= LAYER_ATTEMPTS;
}

static int write_layer(struct kf_packing *packing, struct kf_packing_layer *layer,
                       struct kf_err *err)
{
    struct writing writing = {.packing = packing,
                              .layer = layer,
                              .path = packing->plan.entries[layer->entry].clean};
    unsigned attempt = 1;

    for (;;) {
        bool twice = kf_dest_wants_size(packing->dest);

        if ((twice ? write_twice(&writing, err) : write_once(&writing, err)) == 0)
            break;
        if (!writing.is_measured)
            kf_written_fini(&layer->written);
        set_done(packing, layer, 0, layer->todo);
        if (err->kind == KF_E_CANCELLED) /* whoever noticed it first */
            (void)kf_fail(err, KF_E_CANCELLED, "interrupted");
        if (!is_passing(&writing, twice, &attempt, err))
            return kf_fail_wrap(err, "layer '%s'", writing.path);
    }
    set_done(packing, layer, layer->todo, layer->todo);
    return 0;
}

/* ---- several at once ---- */

static void note_failure(struct kf_packing *packing, const struct kf_err *err)
{
    (void)pthread_mutex_lock(&packing->lock);
    if (!has_failed(packing))
        packing->first_err = *err;
    __atomic_store_n(&packing->failed, 1, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&packing->lock);
}

static void *lane_main(void *arg)
{
    struct kf_packing *packing = arg;

    while (!has_failed(packing)) {
        size_t i = __atomic_fetch_add(&packing->next_layer, 1, __ATOMIC_RELAXED);
        struct kf_err err = {0};

        if (i >= packing->layer_count)
            break;
        if (write_layer(packing, &packing->layers[i], &err) != 0)
            note_failure(packing, &err);
    }
    return NULL;
}

/* All lanes together have about as many workers as were asked for; a layer that is most
 * of the kit has most of them. */
static unsigned share(unsigned threads, unsigned lanes, uint64_t bytes, uint64_t total)
{
    uint64_t by_size = bytes / (total / threads + 1) + 1;

    return (unsigned)kf_max_u64(kf_min_u64(by_size, threads),
                                (threads + lanes - 1) / lanes);
}

static void share_threads(struct kf_packing *packing, unsigned lanes)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned threads = packing->opts->threads;

    if (threads == 0)
        threads = processors > 0 ? (unsigned)processors : 1;
    for (size_t i = 0; i < packing->layer_count; i++) {
        struct kf_packing_layer *layer = &packing->layers[i];

        layer->todo = layer->scan.bytes;
        layer->threads = share(threads, lanes, layer->scan.bytes, packing->total);
    }
}

/* Fewer threads than wanted are only slower: this one is a lane, too. */
static int write_all(struct kf_packing *packing, struct kf_err *err)
{
    unsigned lanes = packing->dest->gains_by_many && packing->layer_count > 1
                         ? (unsigned)kf_min_u64(LANES, packing->layer_count)
                         : 1;
    pthread_t threads[LANES - 1];
    unsigned count = 0;

    share_threads(packing, lanes);
    while (count + 1 < lanes &&
           pthread_create(&threads[count], NULL, lane_main, packing) == 0)
        count++;
    (void)lane_main(packing);
    while (count > 0)
        (void)pthread_join(threads[--count], NULL); /* ours */
    if (!has_failed(packing))
        return 0;
    *err = packing->first_err;
    return -1;
}

/* ---- raw layers ---- */

/* kit finds raw layers by their digests, and cannot unpack two equal ones. */
static bool equals_earlier_raw(const struct kf_packing *packing,
                               const struct kf_packing_layer *layer)
{
    for (const struct kf_packing_layer *other = packing->layers; other < layer; other++)
        if (other->carrier == KF_CARRIER_RAW &&
            kf_digest_equal(&other->written.digest, &layer->written.digest))
            return true;
    return false;
}

int kf_packing_write_layers(struct kf_packing *packing, struct kf_err *err)
{
    kf_dest_stop_when(packing->dest, is_stopped, packing);
    if (write_all(packing, err) != 0)
        return -1;
    for (size_t i = 0; i < packing->layer_count; i++) {
        struct kf_packing_layer *layer = &packing->layers[i];

        if (layer->carrier != KF_CARRIER_RAW ||
            packing->plan.entries[layer->entry].kind == KF_ENTRY_MCP ||
            !equals_earlier_raw(packing, layer))
            continue;
        kf_packing_warn_of_tar(packing, layer->entry,
                               "kit cannot unpack two equal raw layers");
        kf_written_fini(&layer->written);
        layer->carrier = KF_CARRIER_TAR;
        set_done(packing, layer, 0, layer->todo);
        if (write_layer(packing, layer, err) != 0)
            return -1;
    }
    return 0;
}
