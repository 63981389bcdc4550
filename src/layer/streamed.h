/*
 * A layer that can only be read from its first byte on, as it passes: the stored bytes
 * are pushed, their unpacked form is given on, and what files there are becomes known
 * just before their bytes come. One thread.
 */
#ifndef KF_LAYER_STREAMED_H
#define KF_LAYER_STREAMED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/layer.h"

struct kf_digest;
struct kf_err;
struct kf_streamed;
struct kf_table;

struct kf_streamed_opts {
    enum kf_layer_packing packing; /* gzip or zstd */
    bool is_tar;                   /* else the stream is one file */
    bool digest;                   /* of the unpacked stream is wanted */
    /* Gets the unpacked bytes in order; before that all entries that begin before the end
     * of these bytes are in the table. Nonzero stops. May be NULL. */
    int (*take)(void *arg, uint64_t offset, const uint8_t *data, size_t length,
                struct kf_err *err);
    void *arg;
};

/* NULL: `err` is set. */
struct kf_streamed *kf_streamed_new(const struct kf_streamed_opts *opts,
                                    struct kf_err *err);
void kf_streamed_free(struct kf_streamed *streamed); /* NULL is fine */

/* After a failure only free is left. */
int kf_streamed_push(struct kf_streamed *streamed, const uint8_t *data, size_t length,
                     struct kf_err *err);
/* Nothing more comes: the stream must be complete. `ret_diff` may be NULL. */
int kf_streamed_end(struct kf_streamed *streamed, struct kf_digest *ret_diff,
                    struct kf_err *err);

/* What is known so far, and at the end all: it may be moved out then. Empty unless it is
 * an archive, but for the length of the stream. */
struct kf_table *kf_streamed_table(struct kf_streamed *streamed);

#endif
