/*
 * The one pass over a layer without random access: all of its blob, in order, unpacked,
 * hashed, its files found, and its bytes kept in the cache. Blocking.
 */
#ifndef KF_LAYER_PASS_H
#define KF_LAYER_PASS_H

#include <stdbool.h>
#include <stdint.h>

#include "layer/layer.h"
#include "layer/table.h"

struct kf_digest;
struct kf_err;
struct kf_source;
struct kf_store;
struct kf_turn;

struct kf_pass {
    struct kf_source *source;      /* the blob */
    const struct kf_digest *blob;  /* its digest */
    const struct kf_digest *diff;  /* of the unpacked stream; NULL: not known */
    const struct kf_digest *name;  /* what the objects are called by */
    enum kf_layer_packing packing; /* gzip or zstd */
    bool is_tar;
    struct kf_store *store; /* NULL: nothing is kept */
    struct kf_turn *turn;   /* told that we go on; may be NULL */
    int64_t timeout_ns;     /* of one request */
    /* Told now and then; nonzero stops with KF_E_CANCELLED. May be NULL. */
    int (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* Fills an uninitialized table: of an archive the files, else nothing but the length of
 * the stream. KF_E_CORRUPT when the blob is not what its digest says; then, and after any
 * other failure, the cache holds nothing of it. A wrong `diff` is only logged: kit takes
 * it, and the bytes are those of the blob. */
int kf_pass_run(const struct kf_pass *pass, struct kf_table *ret, struct kf_err *err);

/* A part of one file, given on as it passes, and no more of the stream than that. Bytes
 * that are not followed to the stream's end were not compared with any digest. */
struct kf_scan {
    const char *path; /* without leading or trailing slash */
    uint64_t offset, length;
    int (*write)(void *arg, const void *data, size_t length, struct kf_err *err);
    void *arg;
    bool found; /* the answer */
};

/* Of a raw layer the path is `raw_path`. 0 also when it was not found. KF_E_ARG for a
 * folder. Keeps nothing. */
int kf_pass_scan(const struct kf_pass *pass, const char *raw_path, struct kf_scan *scan,
                 struct kf_err *err);

#endif
