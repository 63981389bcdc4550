/*
 * What differs between two kits, from what their tables say: no file is read. Pure.
 *
 * Two files are the same, or are not, as far as that can be known: by size; by lying at
 * the same place of the same layer; by the digest of the whole (a raw layer is its file;
 * so is a file that is one chunk); by their chunks, as far as both are cut alike. All
 * else is unknown: the bytes would have to be read.
 */
#ifndef KF_KIT_DIFF_H
#define KF_KIT_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "kit/tree.h"

struct kf_cuts;
struct kf_err;

struct kf_diff_layer {
    struct kf_digest digest; /* of the blob */
    uint64_t size;           /* of the blob */
    bool is_content;         /* the blob is its one file, byte for byte */
    const struct kf_table *table;
    const struct kf_cuts *cuts;    /* of the unpacked stream; NULL: no TOC */
    const uint32_t *stored_length; /* of each chunk */
};

struct kf_diff_kit { /* all borrowed */
    const struct kf_tree *tree;
    const struct kf_diff_layer *layers;
    size_t layer_count;
    const char *kitfile; /* of nodes that are in no layer; NULL: there are none */
};

enum kf_diff_status {
    KF_DIFF_ADDED,
    KF_DIFF_REMOVED,
    KF_DIFF_CHANGED,
    KF_DIFF_MODE, /* the same content with another mode */
    KF_DIFF_UNKNOWN,
    KF_DIFF_STATUS_COUNT
};

struct kf_diff_row {
    enum kf_diff_status status;
    uint32_t a, b; /* nodes; KF_NODE_NONE where there is none */
};

struct kf_diff {
    struct kf_diff_row *rows; /* all that is not the same, by path */
    size_t count;
    size_t counts[KF_DIFF_STATUS_COUNT];
    size_t same; /* files */
    /* Of the different chunks of b, those that a has; bytes as unpacked. */
    uint64_t chunks, shared_chunks, chunk_bytes, shared_bytes;
    /* Of the blobs of b's layers, and what is left of that where a is in the cache;
     * besides manifest, config and tables of contents. */
    uint64_t total_bytes, fetch_bytes;
};

/* Files, and folders that hold nothing. */
int kf_diff(struct kf_diff *ret, const struct kf_diff_kit *a, const struct kf_diff_kit *b,
            struct kf_err *err);
void kf_diff_fini(struct kf_diff *diff);
const char *kf_diff_status_name(enum kf_diff_status status); /* static; "added" ... */

#endif
