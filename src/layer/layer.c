#include "layer/layer.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/store.h"
#include "fetch/queue.h"
#include "layer/frames.h"
#include "layer/layer_state.h"
#include "layer/map_load.h"
#include "layer/seek_find.h"
#include "layer/sequential.h"
#include "layer/tar_walk.h"
#include "layer/whole.h"

/* Above what the largest table needs: 2^22 records and 1 GiB of names. */
#define TABLE_BYTES_LIMIT (UINT64_C(5) << 28)

int kf_layer_load_table(struct kf_layer *layer)
{
    struct kf_buf bytes;
    struct kf_err why;
    int rc;

    if (!layer->store)
        return -1;
    kf_buf_init(&bytes, TABLE_BYTES_LIMIT);
    rc = kf_store_load(layer->store, KF_SMALL_TABLE, &layer->name, &bytes, &why);
    if (rc == 0) {
        rc = kf_table_decode(&layer->table, bytes.data, bytes.length, &why);
        if (rc == 0 && !layer->is_streamed &&
            layer->table.stream_size != kf_source_size(layer->source)) {
            kf_table_fini(&layer->table);
            rc = kf_fail(&why, KF_E_MALFORMED, "file table of a stream of another size");
        }
        if (rc != 0)
            kf_log(KF_LOG_WARN, "layer", "event=table_damaged layer=%s why=\"%s\"",
                   layer->blob->name, why.message);
    }
    kf_buf_fini(&bytes);
    return rc;
}

void kf_layer_save_table(const struct kf_layer *layer, const struct kf_table *table)
{
    struct kf_buf bytes;
    struct kf_err why;

    if (!layer->store)
        return;
    kf_buf_init(&bytes, TABLE_BYTES_LIMIT);
    if (kf_table_encode(table, &bytes, &why) != 0 ||
        kf_store_save(layer->store, KF_SMALL_TABLE, &layer->name, bytes.data,
                      bytes.length, &why) != 0)
        kf_log(KF_LOG_WARN, "layer", "event=table_not_saved layer=%s why=\"%s\"",
               layer->blob->name, why.message);
    kf_buf_fini(&bytes);
}

/* ---- the table ---- */

int kf_layer_raw_table(struct kf_layer *layer, const struct kf_layer_spec *spec,
                       uint64_t size, struct kf_err *err)
{
    const struct kf_table_entry entry = {
        .size = size,
        .mtime = spec->raw_mtime,
        .mode = spec->raw_mode & 0777,
        .type = KF_TYPE_FILE,
    };
    const char *path = spec->raw_path;
    size_t length = strlen(path);

    layer->table.stream_size = entry.size;
    if (spec->has_raw_size && spec->raw_size != entry.size)
        return kf_fail(err, KF_E_MALFORMED,
                       "the file has %" PRIu64 " bytes, and its metadata says %" PRIu64,
                       entry.size, spec->raw_size);
    if (kf_name_check(&path, &length, err) != 0)
        return -1;
    if (length == 0)
        return kf_fail(err, KF_E_MALFORMED, "a file in the place of the root");
    return kf_table_add(&layer->table, &entry, path, length, err);
}

/* Chunks of files get objects of their own; what is left is the remainder. */
static int lay_out_rest(struct kf_layer *layer, struct kf_err *err)
{
    const struct kf_toc *toc = &layer->toc.toc;

    layer->rest_offsets = calloc((size_t)toc->slice_count + 1, sizeof(uint64_t));
    if (!layer->rest_offsets)
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    for (uint32_t i = 0; i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];

        layer->rest_offsets[i] = layer->rest_size;
        if (slice->file != KF_TOC_NO_FILE)
            continue;
        layer->rest_size += kf_toc_slice_stream_end(toc, i) - slice->stream_offset;
        layer->rest_chunks += slice->chunk_count;
    }
    return 0;
}

static int table_of_toc(struct kf_layer *layer, const struct kf_layer_spec *spec,
                        struct kf_err *err)
{
    const struct kf_toc *toc = &layer->toc.toc;

    if (toc->carrier == KF_CARRIER_RAW)
        return kf_layer_raw_table(layer, spec, kf_source_size(layer->source), err);
    layer->table.stream_size = toc->stream_length;
    for (uint32_t i = 0; i < toc->file_count; i++) {
        const struct kf_toc_file *file = &toc->files[i];
        const struct kf_table_entry entry = {
            .offset = file->offset,
            .size = file->size,
            .mtime = file->mtime,
            .mode = file->mode,
            .type = file->type,
        };
        size_t length;
        const char *name = kf_toc_name(toc, i, &length);

        if (kf_table_add(&layer->table, &entry, name, length, err) != 0)
            return -1;
    }
    return 0;
}

static int check_carrier(const struct kf_layer *layer, const struct kf_layer_spec *spec,
                         const struct kf_toc_link *link, struct kf_err *err)
{
    bool packed = spec->packing == KF_LAYER_ZSTD && spec->is_tar;
    enum kf_toc_carrier expected = packed         ? KF_CARRIER_TAR_ZSTD
                                   : spec->is_tar ? KF_CARRIER_TAR
                                                  : KF_CARRIER_RAW;

    if (layer->toc.toc.carrier != expected || link->embedded != packed)
        return kf_fail(err, KF_E_MALFORMED,
                       "its table of contents is that of another kind of layer");
    return 0;
}

/* 1: it counts as none. */
static int open_toc(struct kf_layer *layer, const struct kf_layer_spec *spec,
                    const struct kf_toc_from *from, struct kf_err *err)
{
    struct kf_err why;
    int rc = kf_toc_open(&layer->toc, from, &why);

    if (rc > 0)
        kf_log(KF_LOG_WARN, "layer", "event=toc_left_out layer=%s why=\"%s\"",
               layer->blob->name, why.message);
    if (rc < 0 && err)
        *err = why;
    if (rc != 0)
        return rc;
    layer->has_toc = true;
    layer->toc_area = from->link->area_length;
    layer->root_digest = from->link->root_digest;
    if (check_carrier(layer, spec, from->link, err) != 0 ||
        table_of_toc(layer, spec, err) != 0 || lay_out_rest(layer, err) != 0)
        return -1;
    return 0;
}

static struct kf_toc_from toc_from(const struct kf_layer *layer,
                                   const struct kf_layer_spec *spec)
{
    return (struct kf_toc_from){
        .link = spec->toc,
        .source = spec->toc_source ? spec->toc_source : layer->blob,
        .blob_size = kf_source_size(layer->blob),
        .store = layer->store,
        .fetch = layer->fetch,
        .timeout_ns = spec->timeout_ns,
    };
}

static int open_found_toc(struct kf_layer *layer, const struct kf_layer_spec *spec,
                          const struct kf_seek_found *found, struct kf_err *err)
{
    struct kf_toc_from from = toc_from(layer, spec);

    from.link = &found->toc;
    from.source = layer->blob;
    from.area = found->area;
    from.area_length = found->area_length;
    layer->toc_found = true;
    return open_toc(layer, spec, &from, err);
}

/* docs/formats/layer.md section 8. 1: `layer->source` is the decoded stream now, which is
 * read as a plain layer is, or still the blob, when it has no frames to go by. */
static int open_frames(struct kf_layer *layer, struct kf_seek_found *found,
                       struct kf_err *err)
{
    struct kf_source *source;
    int rc = 1;

    if (found->table)
        rc = kf_frames_open(&source, layer->blob, kf_fetch_workq(layer->fetch),
                            found->table, found->length, err);
    if (rc < 0)
        return -1;
    if (rc > 0)
        return 1;
    found->table = NULL; /* the source's now */
    kf_source_close(layer->source);
    layer->source = source;
    return 1;
}

/* 0: the table is made, by a TOC. What is to be checked before it is read, and has no
 * digest but the blob's, is streamed. */
static int open_zstd(struct kf_layer *layer, const struct kf_layer_spec *spec,
                     struct kf_err *err)
{
    const struct kf_seek_from from = {
        .source = layer->blob,
        .digest = &layer->digest,
        .is_tar = spec->is_tar,
        .store = layer->store,
        .timeout_ns = spec->timeout_ns,
    };
    struct kf_seek_found found;
    int rc = 1;

    if (kf_seek_find(&found, &from, err) != 0)
        return -1;
    if (found.has_toc && !spec->toc && spec->check != KF_CHECK_FULL)
        rc = open_found_toc(layer, spec, &found, err);
    if (rc > 0 && (spec->check != KF_CHECK_FULL || spec->diff_id))
        rc = open_frames(layer, &found, err);
    kf_seek_found_fini(&found);
    return rc;
}

static int make_plain_table(struct kf_layer *layer, const struct kf_layer_spec *spec,
                            struct kf_err *err)
{
    if (!spec->is_tar)
        return kf_layer_raw_table(layer, spec, kf_source_size(layer->source), err);
    if (kf_layer_load_table(layer) == 0 || spec->check == KF_CHECK_FULL)
        return 0; /* or it is made of all of the stream */
    if (kf_tar_walk(&layer->table, layer->source, spec->timeout_ns, err) != 0)
        return -1;
    kf_layer_save_table(layer, &layer->table);
    return 0;
}

static int make_table(struct kf_layer *layer, const struct kf_layer_spec *spec,
                      struct kf_err *err)
{
    const struct kf_toc_from from = toc_from(layer, spec);
    int rc = spec->toc ? open_toc(layer, spec, &from, err) : 1;

    if (rc > 0 && spec->check == KF_CHECK_REQUIRE_TOC)
        rc = kf_fail(err, KF_E_REFUSED, "no usable table of contents");
    if (rc > 0 && spec->packing == KF_LAYER_ZSTD)
        rc = open_zstd(layer, spec, err);
    if (rc > 0 && spec->packing != KF_LAYER_PLAIN && layer->source == layer->blob)
        rc = kf_layer_open_stream(layer, spec, err);
    if (rc > 0)
        rc = make_plain_table(layer, spec, err);
    return rc;
}

/* A layer without a TOC is checked as a whole: by what its stream's digest is said to
 * be, which of a plain one is that of the blob. A streamed one was checked as it passed.
 */
static int make_whole(struct kf_layer *layer, const struct kf_layer_spec *spec,
                      struct kf_err *err)
{
    if (layer->has_toc || layer->is_streamed)
        return 0;
    layer->has_digest = spec->packing == KF_LAYER_PLAIN || spec->diff_id;
    if (layer->has_digest)
        layer->stream_digest =
            spec->packing == KF_LAYER_PLAIN ? layer->digest : *spec->diff_id;
    if (kf_whole_new(&layer->whole, layer, err) != 0)
        return -1;
    if (spec->check != KF_CHECK_FULL || kf_whole_trust(layer->whole) == KF_TRUST_VERIFIED)
        return 0;
    return kf_whole_fetch(layer->whole, layer, spec->timeout_ns, err);
}

int kf_layer_open(struct kf_layer **ret, const struct kf_layer_spec *spec,
                  struct kf_err *err)
{
    struct kf_layer *layer = calloc(1, sizeof(*layer));
    char text[KF_DIGEST_TEXT_SIZE];

    if (!layer || pthread_mutex_init(&layer->lock, NULL) != 0) {
        free(layer);
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    }
    layer->digest = layer->name = spec->digest;
    layer->blob = kf_source_ref(spec->source);
    layer->source = kf_source_ref(spec->source);
    layer->is_tar = spec->is_tar;
    layer->packing = spec->packing;
    layer->store = spec->store;
    layer->fetch = spec->fetch;
    kf_table_init(&layer->table);
    kf_slot_init(&layer->remainder, layer, NULL);
    if (make_table(layer, spec, err) != 0 || make_whole(layer, spec, err) != 0) {
        kf_layer_close(layer);
        return kf_fail_wrap(err, "layer '%s'", kf_digest_format(&spec->digest, text));
    }
    layer->files = calloc((size_t)layer->table.count + 1, sizeof(struct kf_file *));
    if (!layer->files) {
        kf_layer_close(layer);
        return kf_fail(err, KF_E_NOMEM, "no memory for the files of a layer");
    }
    *ret = layer;
    return 0;
}

void kf_layer_close(struct kf_layer *layer)
{
    if (!layer)
        return;
    assert(!layer->long_reads);
    if (layer->is_streamed && layer->source != layer->blob)
        kf_sequential_stop(layer->source);
    kf_whole_end(layer->whole);
    kf_slot_fini(&layer->remainder);
    if (__atomic_load_n(&layer->failed, __ATOMIC_ACQUIRE) && !layer->has_toc)
        kf_whole_discard(layer); /* now that nobody has it open */
    kf_opened_toc_fini(&layer->toc);
    free(layer->rest_offsets);
    free(layer->files);
    kf_table_fini(&layer->table);
    kf_source_close(layer->source);
    kf_source_close(layer->blob);
    free(layer->raw_path);
    (void)pthread_mutex_destroy(&layer->lock); /* nobody is left to hold it */
    free(layer);
}

const struct kf_table *kf_layer_table(const struct kf_layer *layer)
{
    return &layer->table;
}

const struct kf_digest *kf_layer_digest(const struct kf_layer *layer)
{
    return &layer->digest;
}

struct kf_source *kf_layer_plain_blob(const struct kf_layer *layer)
{
    return layer->packing == KF_LAYER_PLAIN && !layer->has_toc ? layer->source : NULL;
}

enum kf_layer_access kf_layer_access(const struct kf_layer *layer)
{
    if (layer->has_toc)
        return layer->toc_found ? KF_ACCESS_FOUND_TOC : KF_ACCESS_TOC;
    if (layer->is_streamed)
        return KF_ACCESS_STREAM;
    return layer->source == layer->blob ? KF_ACCESS_RANGES : KF_ACCESS_FRAMES;
}

const struct kf_toc *kf_layer_toc(const struct kf_layer *layer)
{
    return layer->has_toc ? &layer->toc.toc : NULL;
}

/* ---- whether it is what its digest says ---- */

void kf_layer_fail(struct kf_layer *layer, const char *event, const struct kf_err *why)
{
    kf_log(KF_LOG_ERROR, "layer", "event=%s layer=%s why=\"%s\"", event,
           layer->blob->name, why->message);
    (void)kf_fail(&layer->failure, KF_E_CORRUPT, "layer '%s' cannot be trusted: %s",
                  layer->blob->name, why->message);
    __atomic_store_n(&layer->failed, true, __ATOMIC_RELEASE);
}

bool kf_layer_has_failed(struct kf_layer *layer, struct kf_err *ret_failure)
{
    bool failed = __atomic_load_n(&layer->failed, __ATOMIC_ACQUIRE);

    if (failed)
        *ret_failure = layer->failure;
    return failed;
}

enum kf_trust kf_layer_trust(struct kf_layer *layer, struct kf_err *ret_failure)
{
    if (kf_layer_has_failed(layer, ret_failure))
        return KF_TRUST_FAILED;
    if (layer->has_toc)
        return layer->toc_found ? KF_TRUST_UNVERIFIED : KF_TRUST_VERIFIED;
    if (!layer->whole)
        return KF_TRUST_VERIFIED;
    kf_whole_look(layer->whole);
    return kf_whole_trust(layer->whole) == KF_TRUST_VERIFIED ? KF_TRUST_VERIFIED
                                                             : KF_TRUST_UNVERIFIED;
}

void kf_layer_watch(struct kf_layer *layer, bool fetch)
{
    if (layer->whole)
        kf_whole_watch(layer->whole, fetch);
}

/* ---- all chunks ---- */

struct waited_load {
    struct kf_map_load load;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done; /* lock */
    bool failed;
    struct kf_err error;
};

static void all_loaded(struct kf_map_load *load, const struct kf_err *err)
{
    struct waited_load *waited = kf_container_of(load, struct waited_load, load);

    (void)pthread_mutex_lock(&waited->lock);
    waited->failed = err != NULL;
    if (err)
        waited->error = *err;
    waited->done = true;
    (void)pthread_cond_signal(&waited->cond);
    (void)pthread_mutex_unlock(&waited->lock);
}

int kf_layer_chunks(struct kf_layer *layer, struct kf_chunk_map *ret, struct kf_err *err)
{
    struct waited_load waited = {
        .load = {.toc = &layer->toc,
                 .count = layer->toc.toc.slice_count,
                 .chunk_count = layer->toc.toc.chunk_count,
                 .done = all_loaded},
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER,
    };

    kf_map_load_start(&waited.load);
    (void)pthread_mutex_lock(&waited.lock);
    while (!waited.done) /* its reads have a deadline */
        (void)pthread_cond_wait(&waited.cond, &waited.lock);
    (void)pthread_mutex_unlock(&waited.lock);
    if (waited.failed) {
        if (err)
            *err = waited.error;
        return -1;
    }
    *ret = waited.load.map;
    return 0;
}
