/*
 * Immutable bytes at any offset, asynchronously: the contract between what is above
 * (chunks, layers) and below (registry blobs, layout files, memory in tests). Nothing
 * above knows that there is a network, nothing below knows that there are files.
 *
 * A source is counted; a request holds a reference from submit until its `done` returned.
 * All calls lock themselves and may come from any thread; none of them blocks.
 */
#ifndef KF_BASE_SOURCE_H
#define KF_BASE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/workq.h"

struct kf_source;
struct kf_source_req;

/* Where bytes go (base/sink has a slice of memory). `write` gets the request's
 * bytes in order, each exactly once, on a thread of the source that must not be held up:
 * it copies and returns. It returns 0, or -1 to stop the request, which then ends with
 * KF_E_CANCELLED unless it set `err`. */
struct kf_sink {
    int (*write)(struct kf_sink *sink, const uint8_t *data, size_t length,
                 struct kf_err *err);
};

/* One contiguous range. Caller-owned, and untouched from submit until `done` runs. */
struct kf_source_req {
    uint64_t offset;
    uint64_t length; /* > 0; offset + length <= size of the source */
    struct kf_sink *sink;
    enum kf_urgency urgency;
    bool fresh; /* over a new connection: what came before was damaged */
    /* The source may end the request before its first byte, `reordered`, when it turns
     * out that bytes come in order (kf_source_next): what lies before is to be asked for
     * first. */
    bool can_reorder;
    /* Give up then, with KF_E_TIMEOUT; retries happen inside until that time. */
    int64_t deadline_ns;
    /* Runs exactly once, on a work-queue thread, no lock held. `err` is NULL when the
     * sink got every byte, else borrowed for the call. The request may be freed in it. */
    void (*done)(struct kf_source_req *req, const struct kf_err *err);

    bool reordered; /* for `done`, with KF_E_TIMEOUT */

    /* The source's own, from submit to done. */
    void *priv;
    struct kf_source *source;
    struct kf_job job;
    struct kf_err result;
};

/* For those who write a source. `submit` takes a reference, which is dropped when `done`
 * has run (kf_source_finish does both). A request that comes with `result` filled already
 * (its range is outside the source) is ended at once, not started. `cancel` may name a
 * request that has ended and whose `done` has not begun: then it does nothing. */
struct kf_source_ops {
    void (*submit)(struct kf_source *source, struct kf_source_req *req);
    void (*cancel)(struct kf_source *source, struct kf_source_req *req);
    void (*destroy)(struct kf_source *source); /* last reference gone; any thread */
};

struct kf_source {
    const struct kf_source_ops *ops;
    uint64_t size;
    int refs;             /* atomic */
    uint64_t next_plus_1; /* atomic; see kf_source_next */
    char name[128];       /* for messages: a digest, never a URL */
};

/* Ends a request: `done` is queued with what `result` says, then one reference dropped.
 * Any thread, locks may be held; the source touches the request no more. */
void kf_source_finish(struct kf_source_req *req, struct kf_workq *workq);

struct kf_source *kf_source_ref(struct kf_source *source);
void kf_source_close(struct kf_source *source); /* drops a reference; NULL is fine */
static inline uint64_t kf_source_size(const struct kf_source *source)
{
    return source->size;
}

/* The offset from which bytes come in order now, in one transfer for all who ask: what
 * lies before it costs another one. UINT64_MAX: they come from anywhere. */
static inline uint64_t kf_source_next(const struct kf_source *source)
{
    return __atomic_load_n(&source->next_plus_1, __ATOMIC_RELAXED) - 1;
}

/* A range outside the source ends with KF_E_ARG through `done`. */
void kf_source_submit(struct kf_source *source, struct kf_source_req *req);
/* The request ends soon, with KF_E_CANCELLED unless it had ended otherwise; `done` runs
 * all the same. The caller must know that `done` has not begun (its own lock). */
void kf_source_cancel(struct kf_source *source, struct kf_source_req *req);

/* Blocking: for opening a kit and for tools, never on a FUSE, network or work-queue
 * thread. A source that does not keep the deadline itself is cancelled 2 s after it. */
int kf_source_read(struct kf_source *source, void *data, uint64_t offset, size_t length,
                   int64_t deadline_ns, struct kf_err *err);
/* The same of bytes that came damaged: over a new connection, or from another host. */
int kf_source_read_anew(struct kf_source *source, void *data, uint64_t offset,
                        size_t length, int64_t deadline_ns, struct kf_err *err);

#endif
