/*
 * Feeds over the chunks that a TOC describes: stored bytes are unpacked where the carrier
 * packs them, and nothing leaves here whose sha256 is not the TOC's
 * (docs/formats/layer.md, section 7, rule 4).
 */
#ifndef KF_LAYER_TOC_FEED_H
#define KF_LAYER_TOC_FEED_H

#include "layer/chunk_map.h"
#include "layer/toc.h"

struct kf_err;
struct kf_feed;
struct kf_fetch;
struct kf_source;
struct kf_store;

struct kf_toc_feed_spec {
    const char *name; /* of the object */
    enum kf_toc_carrier carrier;
    struct kf_source *source; /* the layer's blob */
    struct kf_store *store;   /* may be NULL */
    struct kf_fetch *fetch;
};

/* Blocking (opens the object). Takes the map, also when it fails. */
int kf_toc_feed_new(struct kf_feed **ret, const struct kf_toc_feed_spec *spec,
                    struct kf_chunk_map *map, struct kf_err *err);

#endif
