/*
 * Where the chunks of an object are cut, and the sha256 of each: what a layer's TOC says
 * about a file. Immutable once it is filled; counted.
 */
#ifndef KF_CACHE_CUTS_H
#define KF_CACHE_CUTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_err;

struct kf_cuts {
    int refs; /* atomic */
    uint64_t count;
    uint64_t *offsets; /* count + 1, ascending; the last is the object's size */
    struct kf_digest *digests;
};

/* At most KF_MAP_CHUNK_LIMIT; the caller fills offsets and digests. NULL: `err` is set.
 */
struct kf_cuts *kf_cuts_new(uint64_t count, struct kf_err *err);
struct kf_cuts *kf_cuts_ref(struct kf_cuts *cuts);
void kf_cuts_unref(struct kf_cuts *cuts); /* NULL is fine */

/* The chunk that holds a byte; offset below the object's size. */
uint64_t kf_cuts_at(const struct kf_cuts *cuts, uint64_t offset);

#endif
