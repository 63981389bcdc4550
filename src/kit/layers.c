#include "kit/layers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/source.h"
#include "kit/absent.h"
#include "kit/open.h"
#include "kit/pair.h"
#include "layer/layer.h"
#include "oci/file_metadata.h"
#include "oci/manifest.h"
#include "oci/origin.h"

/* How far a layer has come that is streamed. */
struct streaming {
    struct opening *opening;
    const char *kind;
    uint64_t done, total; /* 0, 0: it is none */
};

struct opening {
    struct kf_kit_layer *layers;
    const struct kf_pair *pairs;
    size_t count;
    const struct kf_layers_from *from;
    pthread_mutex_t lock;
    struct streaming *streaming; /* one for each layer; what is in them: lock */
    size_t next;                 /* lock */
    bool failed;                 /* lock */
    struct kf_err error;         /* of the first failure; lock */
};

struct kf_source *kf_layers_source(const struct kf_layers_from *from,
                                   const struct kf_desc *desc, struct kf_err *err)
{
    return from->origin ? kf_origin_blob(from->origin, desc, err)
                        : kf_absent_new(desc, from->workq, err);
}

static int describe_raw(struct kf_layer_spec *spec, const struct kf_desc *desc,
                        struct kf_err *err)
{
    struct kf_raw_file file;

    if (kf_raw_file_parse(&file, kf_layer_metadata(desc), err) != 0)
        return kf_fail_wrap(err, "file '%s'", spec->raw_path);
    spec->raw_mode = file.mode;
    spec->raw_mtime = file.mtime;
    spec->has_raw_size = file.has_size;
    spec->raw_size = file.size;
    return 0;
}

/* A TOC layer that is nowhere to be found counts as none (docs/formats/layer.md, section
 * 7, rule 7). */
static int open_toc_source(struct kf_layer_spec *spec, const struct kf_layers_from *from,
                           const struct kf_desc *desc, struct kf_err *err)
{
    struct kf_err why;

    spec->toc_source = kf_layers_source(from, desc, &why);
    if (spec->toc_source)
        return 0;
    if (why.kind == KF_E_NOTFOUND) {
        spec->toc = NULL;
        kf_log(KF_LOG_WARN, "kit", "event=toc_left_out layer=%s why=\"%s\"",
               spec->source->name, why.message);
        return 0;
    }
    if (err)
        *err = why;
    return -1;
}

static const enum kf_layer_packing packings[] = {
    [KF_COMPRESSION_NONE] = KF_LAYER_PLAIN,
    [KF_COMPRESSION_GZIP] = KF_LAYER_GZIP,
    [KF_COMPRESSION_ZSTD] = KF_LAYER_ZSTD,
};

/* On the thread that streams a layer: tells about all of them; another's failure ends
 * it. */
static int note_progress(void *arg, uint64_t done, uint64_t total)
{
    struct streaming *own = arg;
    struct opening *opening = own->opening;
    struct kf_kit_streaming now = {.kind = own->kind};
    bool failed;

    (void)pthread_mutex_lock(&opening->lock);
    own->done = done;
    own->total = total;
    for (size_t i = 0; i < opening->count; i++) {
        const struct streaming *other = &opening->streaming[i];

        now.done += other->done;
        now.total += other->total;
        if (other->total > 0 && strcmp(other->kind, own->kind) != 0)
            now.kind = "layers";
    }
    if (opening->from->streaming)
        opening->from->streaming(opening->from->arg, &now);
    failed = opening->failed;
    (void)pthread_mutex_unlock(&opening->lock);
    return failed ? -1 : 0;
}

static int open_one(const struct opening *opening, size_t index, struct kf_err *err)
{
    const struct kf_layers_from *from = opening->from;
    const struct kf_pair *pair = &opening->pairs[index];
    struct kf_kit_layer *layer = &opening->layers[index];
    struct kf_layer_spec spec = {
        .digest = pair->desc->digest,
        .is_tar = pair->media.pack == KF_PACK_TAR,
        .packing = packings[pair->media.compression],
        .raw_path = pair->raw_path,
        .toc = pair->has_toc ? &pair->toc : NULL,
        .store = from->store,
        .fetch = from->fetch,
        .timeout_ns = from->timeout_ns,
        .diff_id = pair->has_diff_id ? &pair->diff_id : NULL,
        .defer = from->defer,
        .progress = note_progress,
        .arg = &opening->streaming[index],
        .check = from->check,
    };
    int rc;

    if (pair->raw_path && describe_raw(&spec, pair->desc, err) != 0)
        return -1;
    spec.source = kf_layers_source(from, pair->desc, err);
    if (!spec.source)
        return -1;
    if (pair->toc_desc && open_toc_source(&spec, from, pair->toc_desc, err) != 0) {
        kf_source_close(spec.source);
        return -1;
    }
    layer->kind = pair->kind;
    layer->path = pair->path ? strdup(pair->path) : NULL; /* a hint: without is fine */
    layer->form = kf_media_layer_form(pair->media);
    layer->size = pair->desc->size;
    layer->digest = pair->desc->digest;
    layer->has_diff_id = pair->has_diff_id;
    layer->diff_id = pair->diff_id;
    rc = kf_layer_open(&layer->layer, &spec, err);
    kf_source_close(spec.source);
    kf_source_close(spec.toc_source);
    return rc;
}

/* Takes the next layer until none is left or one has failed. */
static void *open_some(void *arg)
{
    struct opening *opening = arg;
    struct kf_err err;
    int rc = 0;

    for (;;) {
        size_t index = 0;
        bool more;

        (void)pthread_mutex_lock(&opening->lock);
        if (rc != 0 && !opening->failed) {
            opening->failed = true;
            opening->error = err;
        }
        more = !opening->failed && opening->next < opening->count;
        if (more)
            index = opening->next++;
        (void)pthread_mutex_unlock(&opening->lock);
        if (!more)
            return NULL;
        rc = open_one(opening, index, &err);
    }
}

int kf_open_layers(struct kf_kit_layer *layers, const struct kf_pair *pairs, size_t count,
                   const struct kf_layers_from *from, struct kf_err *err)
{
    struct opening opening = {
        .layers = layers, .pairs = pairs, .count = count, .from = from};
    kf_auto(kf_free) struct streaming *streaming = calloc(count + 1, sizeof(*streaming));
    pthread_t helpers[KF_LAYERS_AT_ONCE - 1];
    size_t wanted = kf_min_u64(count ? count - 1 : 0, KF_ARRAY_LEN(helpers));
    size_t started = 0;

    if (!streaming || pthread_mutex_init(&opening.lock, NULL) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers", count);
    opening.streaming = streaming;
    for (size_t i = 0; i < count; i++)
        streaming[i] = (struct streaming){.opening = &opening, .kind = pairs[i].kind};
    /* With fewer helpers than wanted it only takes longer. */
    while (started < wanted &&
           pthread_create(&helpers[started], NULL, open_some, &opening) == 0)
        started++;
    (void)open_some(&opening);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(helpers[i], NULL); /* cannot fail: ours, joined once */
    (void)pthread_mutex_destroy(&opening.lock);
    if (!opening.failed)
        return 0;
    if (err)
        *err = opening.error;
    return -1;
}
