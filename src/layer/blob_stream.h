/*
 * A blob in order, blocking: never on a thread that must not wait. Several requests
 * are on their way at once.
 */
#ifndef KF_LAYER_BLOB_STREAM_H
#define KF_LAYER_BLOB_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_source;

struct kf_blob_stream {
    struct kf_source *source;
    uint64_t offset;    /* where to begin */
    uint64_t length;    /* 0: up to its end */
    int64_t timeout_ns; /* of one request */
    int (*take)(void *arg, const uint8_t *data, size_t length, struct kf_err *err);
    /* Called now and then while nothing comes; may be NULL. */
    int (*idle)(void *arg, struct kf_err *err);
    void *arg;
};

/* Gives the bytes to `take` in order; stops at the first failure (nonzero) of it or of
 * `idle`, or one of the source, and returns when no request is left. */
int kf_blob_stream(const struct kf_blob_stream *stream, struct kf_err *err);

#endif
