/*
 * A blob in order, blocking: for tools. Several requests are on their way at once.
 */
#ifndef KF_LAYER_BLOB_STREAM_H
#define KF_LAYER_BLOB_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_source;

struct kf_blob_range {
    uint64_t offset, length; /* inside the source */
    int64_t timeout_ns;      /* of one request */
    /* Whether to give up, with KF_E_CANCELLED; asked a few times a second, also while
     * nothing comes. May be NULL. */
    bool (*stopped)(void *arg);
};

/* Gives the bytes to `take` in order; stops at its first failure (nonzero), or one of the
 * source, and returns when no request is left. `timeout_ns` is of one request. */
int kf_blob_stream(struct kf_source *source, int64_t timeout_ns,
                   int (*take)(void *arg, const uint8_t *data, size_t length,
                               struct kf_err *err),
                   void *arg, struct kf_err *err);

/* The same for a part of it; `arg` is also that of `stopped`. */
int kf_blob_stream_range(struct kf_source *source, const struct kf_blob_range *range,
                         int (*take)(void *arg, const uint8_t *data, size_t length,
                                     struct kf_err *err),
                         void *arg, struct kf_err *err);

#endif
