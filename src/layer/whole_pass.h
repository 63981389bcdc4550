/*
 * A layer's unpacked stream that passes in order: its digest, its file table, and the
 * chunks of the objects that it is kept as (layer/layer.h), each with its sha256. One
 * thread.
 */
#ifndef KF_LAYER_WHOLE_PASS_H
#define KF_LAYER_WHOLE_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_block;
struct kf_err;
struct kf_whole_pass;
struct kf_sums;
struct kf_table;

struct kf_whole_chunk {
    bool of_rest;         /* else of a large file: ... */
    uint64_t file_offset; /* ... where it begins in the stream, ... */
    uint64_t file_size;
    uint64_t chunk;         /* of that object */
    struct kf_block *block; /* borrowed */
    struct kf_digest digest;
};

struct kf_whole_pass_spec {
    uint64_t stream_size;
    const struct kf_table *raw; /* of a raw layer, borrowed; NULL: an archive */
    /* Each chunk that is needed, as soon as it is complete; -1 ends the work. May be
     * NULL. */
    int (*on_chunk)(void *arg, const struct kf_whole_chunk *chunk, struct kf_err *err);
    void *arg;
};

/* What a stream was found to hold. */
struct kf_passed {
    struct kf_digest digest;
    struct kf_table *table; /* of an archive; borrowed from the pass */
    struct kf_sums *sums;   /* borrowed from the pass */
};

int kf_whole_pass_new(struct kf_whole_pass **ret, const struct kf_whole_pass_spec *spec,
                      struct kf_err *err);
/* Blocks that others hold must be released first. NULL is fine. */
void kf_whole_pass_free(struct kf_whole_pass *pass);

/* After a failure only free is left. KF_E_MALFORMED and others for an archive that cannot
 * be read. */
int kf_whole_pass_push(struct kf_whole_pass *pass, const uint8_t *data, size_t length,
                       struct kf_err *err);
/* All of the stream was pushed. */
int kf_whole_pass_end(struct kf_whole_pass *pass, struct kf_passed *ret,
                      struct kf_err *err);
/* Of an archive, as far as it was read; an uninitialized table. */
void kf_whole_pass_take_table(struct kf_whole_pass *pass, struct kf_table *ret);

#endif
