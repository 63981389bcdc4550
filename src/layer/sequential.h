/*
 * A source over the unpacked bytes of a layer without random access, for what the cache
 * does not hold (any more). One thread of its own reads the blob from its first byte on
 * and answers the requests whose bytes pass; when those that are left lie behind it, it
 * begins again. While nobody asks it stops where it is, and lets go of everything after a
 * few seconds.
 *
 * It costs what it costs: the farther in the stream, the longer a request takes. Memory:
 * 16 MiB and what layer/unpack takes, while it reads. What it gives was compared with no
 * digest but the format's own checksums: the blob's digest was right when the layer was
 * opened first.
 */
#ifndef KF_LAYER_SEQUENTIAL_H
#define KF_LAYER_SEQUENTIAL_H

#include <stdint.h>

#include "layer/layer.h"

struct kf_err;
struct kf_source;
struct kf_workq;

struct kf_sequential_opts {
    struct kf_source *stored; /* the blob; a reference is taken */
    enum kf_layer_packing packing;
    uint64_t size;          /* of the unpacked stream */
    struct kf_workq *workq; /* borrowed; outlives */
    int64_t timeout_ns;     /* of one request to `stored` */
};

/* One reference. NULL: `err` is set. */
struct kf_source *kf_sequential_new(const struct kf_sequential_opts *opts,
                                    struct kf_err *err);
/* Ends its thread, blocking for a moment; requests end with KF_E_CANCELLED, those that
 * come later, too. Before the last reference goes. NULL is fine. */
void kf_sequential_stop(struct kf_source *source);

#endif
