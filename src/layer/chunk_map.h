/*
 * Where the chunks of one cached object lie in a layer's blob, from slices of the layer's
 * TOC. Pure; immutable once it is filled.
 */
#ifndef KF_LAYER_CHUNK_MAP_H
#define KF_LAYER_CHUNK_MAP_H

#include <stdint.h>

#include "layer/toc.h"

struct kf_cuts;
struct kf_err;

struct kf_chunk_map {
    struct kf_cuts *cuts;    /* a reference */
    uint64_t *stored_offset; /* one a chunk */
    uint32_t *stored_length;
    uint32_t *number; /* in the layer */
    uint64_t filled;  /* chunks so far */
};

/* For `count` chunks, which come by slices. */
int kf_chunk_map_init(struct kf_chunk_map *ret, uint64_t count, struct kf_err *err);
void kf_chunk_map_fini(struct kf_chunk_map *map);
/* The next slice, from its bytes (kf_toc_slice_decode's errors). */
int kf_chunk_map_add(struct kf_chunk_map *map, const struct kf_toc *toc, uint32_t slice,
                     const void *data, size_t length, struct kf_err *err);

#endif
