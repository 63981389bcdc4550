/*
 * A whole blob in order, blocking: for tools. Several requests are on their way at once.
 */
#ifndef KF_LAYER_BLOB_STREAM_H
#define KF_LAYER_BLOB_STREAM_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_source;

/* Gives the bytes to `take` in order; stops at its first failure (nonzero), or one of the
 * source, and returns when no request is left. `timeout_ns` is of one request. */
int kf_blob_stream(struct kf_source *source, int64_t timeout_ns,
                   int (*take)(void *arg, const uint8_t *data, size_t length,
                               struct kf_err *err),
                   void *arg, struct kf_err *err);

#endif
