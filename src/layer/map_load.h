/*
 * Gets the chunk map of one object of a layer with a TOC: the slice of a large file, or
 * all slices that are of no such file. Slices come from memory, from the cache or from
 * the source; no thread waits.
 */
#ifndef KF_LAYER_MAP_LOAD_H
#define KF_LAYER_MAP_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "layer/chunk_map.h"
#include "layer/gather.h"

struct kf_err;
struct kf_opened_toc;

struct kf_map_load {
    /* The caller's, from start to done. */
    const struct kf_opened_toc *toc;
    uint32_t first, count; /* slices; of these only those without a file when `rest` */
    bool rest;
    uint64_t chunk_count; /* of the object */
    /* Runs exactly once, no lock held, perhaps before start returns. NULL: `map` is
     * filled, and the callee's. */
    void (*done)(struct kf_map_load *load, const struct kf_err *err);
    struct kf_chunk_map map;

    /* private */
    uint32_t slice;
    uint32_t asked; /* slices before this one are on their way, or here */
    uint8_t *bytes; /* of the slice that is being read */
    struct kf_gather gather;
};

/* Whether all of it is in memory: then kf_map_load_start is done when it returns. */
bool kf_map_load_is_local(const struct kf_map_load *load);
void kf_map_load_start(struct kf_map_load *load);

#endif
