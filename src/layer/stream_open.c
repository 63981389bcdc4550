/*
 * Opening layers without random access. Their table and their objects have a name of
 * their own, made of the blob's digest and of how it is read: one blob may be a gzipped
 * archive in one kit and a file in another.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/turn.h"
#include "fetch/queue.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/pass.h"
#include "layer/sequential.h"

static const char *form_of(const struct kf_layer *layer)
{
    if (layer->packing == KF_LAYER_GZIP)
        return layer->is_tar ? "tar+gzip" : "raw+gzip";
    return layer->is_tar ? "tar+zstd" : "raw+zstd";
}

/* docs/formats/cache.md, "Names of objects". */
static int make_name(struct kf_layer *layer, struct kf_err *err)
{
    char digest[KF_DIGEST_TEXT_SIZE], text[KF_DIGEST_TEXT_SIZE + 16];

    (void)snprintf(text, sizeof(text), "%s %s", kf_digest_format(&layer->digest, digest),
                   form_of(layer)); /* fits */
    return kf_digest_of(&layer->name, text, strlen(text), err);
}

static struct kf_pass pass_over(const struct kf_layer *layer)
{
    return (struct kf_pass){.source = layer->blob,
                            .blob = &layer->digest,
                            .name = &layer->name,
                            .packing = layer->packing,
                            .is_tar = layer->is_tar,
                            .timeout_ns = layer->timeout_ns};
}

static int ask_whether_to_wait(void *arg, struct kf_err *err)
{
    const struct kf_layer_spec *spec = arg;

    if (spec->progress && spec->progress(spec->arg, 0, kf_source_size(spec->source)) != 0)
        return kf_fail(err, KF_E_CANCELLED, "waiting for another process was stopped");
    return 0;
}

static int pass_alone(struct kf_layer *layer, const struct kf_layer_spec *spec,
                      struct kf_turn *turn, struct kf_err *err)
{
    struct kf_pass pass = pass_over(layer);

    pass.diff = spec->diff_id;
    pass.store = layer->store;
    pass.turn = turn;
    pass.progress = spec->progress;
    pass.arg = spec->arg;
    if (kf_pass_run(&pass, &layer->table, err) != 0)
        return -1;
    kf_layer_save_table(layer, &layer->table);
    return 0;
}

/* Whoever comes first streams it; the others wait, and find the table. */
static int pass_in_turn(struct kf_layer *layer, const struct kf_layer_spec *spec,
                        struct kf_err *err)
{
    struct kf_turn *turn = NULL;
    int rc;

    if (layer->store) {
        struct kf_layer_spec copy =
            *spec; /* what is asked gets it, and must not change it */

        if (kf_turn_take(&turn, layer->store, &layer->name, layer->timeout_ns,
                         ask_whether_to_wait, &copy, err) != 0)
            return -1;
    }
    rc = kf_layer_load_table(layer) == 0 ? 0 : pass_alone(layer, spec, turn, err);
    kf_turn_end(turn);
    return rc;
}

int kf_layer_open_stream(struct kf_layer *layer, const struct kf_layer_spec *spec,
                         struct kf_err *err)
{
    struct kf_source *stream;
    struct kf_sequential_opts opts = {.stored = layer->blob,
                                      .packing = layer->packing,
                                      .workq = kf_fetch_workq(layer->fetch),
                                      .timeout_ns = spec->timeout_ns};

    layer->is_streamed = true;
    layer->timeout_ns = spec->timeout_ns;
    if (!layer->is_tar && !(layer->raw_path = strdup(spec->raw_path)))
        return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
    if (make_name(layer, err) != 0)
        return -1;
    if (kf_layer_load_table(layer) != 0) {
        layer->is_deferred = spec->defer;
        if (layer->is_deferred)
            return 0;
        if (pass_in_turn(layer, spec, err) != 0)
            return -1;
    }
    opts.size = layer->table.stream_size;
    stream = kf_sequential_new(&opts, err);
    if (!stream)
        return -1;
    kf_source_close(layer->source);
    layer->source = stream;
    return layer->is_tar ? 0 : kf_layer_raw_table(layer, spec, opts.size, err);
}

bool kf_layer_is_streamed(const struct kf_layer *layer)
{
    return layer->is_streamed;
}

bool kf_layer_is_deferred(const struct kf_layer *layer)
{
    return layer->is_deferred;
}

int kf_layer_scan(struct kf_layer *layer, struct kf_scan *scan, struct kf_err *err)
{
    const struct kf_pass pass = pass_over(layer);
    char text[KF_DIGEST_TEXT_SIZE];

    if (kf_pass_scan(&pass, layer->raw_path, scan, err) != 0)
        return kf_fail_wrap(err, "layer '%s'", kf_digest_format(&layer->digest, text));
    return 0;
}
