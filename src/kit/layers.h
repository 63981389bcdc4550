/*
 * Opens the layers of a kit, a few at a time: each takes two round trips or more when its
 * file table is not in the cache.
 */
#ifndef KF_KIT_LAYERS_H
#define KF_KIT_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/layer.h"

struct kf_desc;
struct kf_err;
struct kf_fetch;
struct kf_kit_layer;
struct kf_kit_streaming;
struct kf_origin;
struct kf_pair;
struct kf_source;
struct kf_store;
struct kf_workq;

#define KF_LAYERS_AT_ONCE 4u

struct kf_layers_from {
    struct kf_origin *origin; /* NULL: offline */
    struct kf_store *store;   /* may be NULL */
    struct kf_fetch *fetch;
    struct kf_workq *workq;
    int64_t timeout_ns;
    bool defer; /* layers that must be streamed are not */
    /* As in kf_kit_opts. */
    void (*streaming)(void *arg, const struct kf_kit_streaming *now);
    void *arg;
    enum kf_layer_check check;
};

/* A blob of the kit; NULL: `err` is set. */
struct kf_source *kf_layers_source(const struct kf_layers_from *from,
                                   const struct kf_desc *desc, struct kf_err *err);

/* Blocking. Fills `count` zeroed layers from their pairs; on failure those that were
 * opened stay so, for the caller to close. */
int kf_open_layers(struct kf_kit_layer *layers, const struct kf_pair *pairs, size_t count,
                   const struct kf_layers_from *from, struct kf_err *err);

#endif
