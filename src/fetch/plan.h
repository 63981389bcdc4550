/*
 * Pure: wanted chunks -> one range to ask for. Merges a run of chunks that lie one after
 * the other in the source, up to a length; a single chunk when reading is random.
 */
#ifndef KF_FETCH_PLAN_H
#define KF_FETCH_PLAN_H

#include <stddef.h>
#include <stdint.h>

/* A wanted chunk, in order of chunk number. */
struct kf_plan_chunk {
    uint64_t number;
    uint64_t stored_offset;
    uint32_t stored_length;
    uint8_t urgency; /* enum kf_urgency */
};

struct kf_plan_range {
    size_t first; /* index into the chunks */
    size_t count; /* >= 1 */
    uint64_t offset;
    uint64_t length;
};

/* A range around chunks[seed] of chunks that are consecutive in number and in the source,
 * no longer than `max_bytes` (the seed alone may be). It grows forward first, over chunks
 * of the seed's urgency or the next lower one, so that the seed arrives early; with what
 * is left of `max_bytes` it grows backward, over chunks as urgent as the seed. It stops
 * at the first chunk that does not fit: neither end can be moved further. */
struct kf_plan_range kf_plan_range(const struct kf_plan_chunk *chunks, size_t count,
                                   size_t seed, uint64_t max_bytes);

#endif
