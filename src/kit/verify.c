#include "kit/verify.h"

#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "kit/open.h"
#include "layer/verify.h"

struct run {
    const struct kf_kit_verify_opts *opts;
    char blob[KF_DIGEST_TEXT_SIZE + 32]; /* what is being read, for people */
    uint64_t done, total;
    uint64_t problems;
};

static void on_problem(void *arg, const char *line)
{
    struct run *run = arg;

    run->problems++;
    run->opts->problem(run->opts->arg, run->blob, line);
}

static void on_progress(void *arg, uint64_t bytes)
{
    struct run *run = arg;

    run->done += bytes;
    run->opts->progress(run->opts->arg, run->blob, run->done, run->total);
}

static void name_blob(struct run *run, const char *kind, const struct kf_digest *digest)
{
    char text[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(run->blob, sizeof(run->blob), "%s %s", kind,
                   kf_digest_format(digest, text)); /* cut is fine */
}

/* A blob that cannot be read to its end is a problem like any other. */
static void note_failure(struct run *run, const struct kf_err *why)
{
    on_problem(run, why->message);
}

static bool is_wanted(const struct kf_kit_verify_opts *opts,
                      const struct kf_kit_layer *layer)
{
    return opts->layer_limit == 0 || layer->size <= opts->layer_limit;
}

static void verify_layers(struct run *run, struct kf_kit *kit,
                          struct kf_verify_opts *opts)
{
    kf_auto(kf_free) struct kf_digest *ids = NULL;
    size_t id_count = 0;
    struct kf_err failure;

    (void)snprintf(run->blob, sizeof(run->blob), "config"); /* fits */
    if (kf_kit_config_diff_ids(kit, &ids, &id_count, &failure) != 0)
        note_failure(run, &failure);
    for (size_t i = 0; i < kf_kit_layer_count(kit); i++) {
        const struct kf_kit_layer *layer = kf_kit_layer(kit, i);
        struct kf_err why;

        if (!is_wanted(run->opts, layer))
            continue;
        name_blob(run, layer->kind, &layer->digest);
        opts->diff_id = layer->has_diff_id ? &layer->diff_id : NULL;
        opts->config_diff_id = layer->position < id_count ? &ids[layer->position] : NULL;
        if (kf_layer_verify(layer->layer, opts, &why) != 0)
            note_failure(run, &why);
    }
    opts->diff_id = opts->config_diff_id = NULL;
}

uint64_t kf_kit_verify(struct kf_kit *kit, const struct kf_kit_verify_opts *opts)
{
    struct run run = {.opts = opts};
    struct kf_verify_opts layer_opts = {.timeout_ns = opts->timeout_ns,
                                        .problem = on_problem,
                                        .progress = opts->progress ? on_progress : NULL,
                                        .arg = &run};
    struct kf_digest digest;
    struct kf_source *source;
    struct kf_err why;

    for (size_t i = 0; i < kf_kit_layer_count(kit); i++)
        if (is_wanted(opts, kf_kit_layer(kit, i)))
            run.total += kf_kit_layer(kit, i)->size;
    for (size_t i = 0; (source = kf_kit_toc_blob(kit, i, &digest)); i++)
        run.total += kf_source_size(source);
    verify_layers(&run, kit, &layer_opts);
    for (size_t i = 0; (source = kf_kit_toc_blob(kit, i, &digest)); i++) {
        name_blob(&run, "tables of contents", &digest);
        if (kf_blob_verify(source, &digest, &layer_opts, &why) != 0)
            note_failure(&run, &why);
    }
    return run.problems;
}
