/*
 * What to remove from a cache that is too full. Pure.
 */
#ifndef KF_CACHE_EVICT_H
#define KF_CACHE_EVICT_H

#include <stddef.h>
#include <stdint.h>

struct kf_evict_state {
    uint64_t used_bytes;     /* by the cache */
    uint64_t limit_bytes;    /* for the cache; UINT64_MAX: none */
    uint64_t free_bytes;     /* of the file system */
    uint64_t min_free_bytes; /* of the file system; 0: none */
};

/* How many bytes must go before `wanted_bytes` more can be kept. */
uint64_t kf_evict_need(const struct kf_evict_state *state, uint64_t wanted_bytes);

struct kf_evict_candidate {
    int64_t last_used_ns; /* since the epoch */
    uint64_t bytes;       /* on disk */
    char *path;           /* of the object, below objects/, without ending; owned */
};

/* Least recently used first; of those used at the same time the largest. Whoever removes
 * goes through them in this order until enough bytes are gone, skipping what is in use.
 */
void kf_evict_order(struct kf_evict_candidate *candidates, size_t count);

#endif
