/*
 * What a mount fetches next: wanted chunks of all its feeds in order of urgency (demand,
 * then readahead, then prefetch; in each the oldest first), within a number of requests
 * in flight and a budget of memory. Two of the requests and a quarter of the budget are
 * kept free for demand; one demand request is always let through, whatever the budget, so
 * that it cannot deadlock. Chunks that the cache did not take lie in what is left of the
 * budget: those that were read in half of it at most, and nothing is fetched ahead while
 * those that were not read fill half of it. Locks itself.
 *
 * Lock order, for all of kitfs: layer -> fetch (one lock for its feeds, their flights and
 * the queue) -> source, object, work queue. Nothing is locked while `done` callbacks run,
 * a block is released, or a chunk is decoded, hashed or copied.
 */
#ifndef KF_FETCH_QUEUE_H
#define KF_FETCH_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/block.h"

struct kf_err;
struct kf_fetch;
struct kf_stats;
struct kf_workq;

struct kf_fetch_opts {
    struct kf_workq *workq;  /* borrowed; outlives */
    struct kf_stats *stats;  /* borrowed; may be NULL */
    uint64_t memory_bytes;   /* 0: 160 MiB */
    unsigned connections;    /* requests in flight at most; 0: 8 */
    int64_t read_timeout_ns; /* of one fetch; 0: 5 minutes */
};

int kf_fetch_new(struct kf_fetch **ret, const struct kf_fetch_opts *opts,
                 struct kf_err *err);
/* Nothing new is fetched, waiting reads end with KF_E_CANCELLED, running requests are
 * cancelled; returns when requests and reads have ended or the deadline passed (then -1).
 * Chunks handed to the cache may still be held until it has written them. */
int kf_fetch_stop(struct kf_fetch *fetch, int64_t deadline_ns);
/* After kf_fetch_stop; the memory goes with the last feed. NULL is fine. */
void kf_fetch_free(struct kf_fetch *fetch);

/* What is in flight, for `status`: calls `each` under the lock. */
struct kf_fetch_view {
    const char *source_name;
    uint64_t first_chunk;
    uint64_t chunk_count;
    int urgency;
    int64_t age_ns;
};
void kf_fetch_in_flight(struct kf_fetch *fetch,
                        void (*each)(void *arg, const struct kf_fetch_view *view),
                        void *arg);
struct kf_workq *kf_fetch_workq(struct kf_fetch *fetch);      /* borrowed */
uint64_t kf_fetch_window_bytes(const struct kf_fetch *fetch); /* readahead's ceiling */

#endif
