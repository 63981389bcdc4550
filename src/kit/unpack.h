/*
 * A kit unpacked into a folder, as kit unpack leaves it: its tree with modes less the
 * umask, times of now, and the Kitfile. Several layers at once; all is written below
 * KF_UNPACK_FOLDER (kit/unpack_folder.h) in the target first, and moved into place when
 * all of it is there and verified: no file is ever seen in part. Blocking.
 *
 * Whatever ends it, kill -9 included, a later call goes on from what is there.
 */
#ifndef KF_KIT_UNPACK_H
#define KF_KIT_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct kf_err;
struct kf_kit;

#define KF_UNPACK_LAYERS_AT_ONCE 4u

struct kf_unpack_opts {
    const char *dir; /* made when missing */
    bool overwrite;  /* files that are there */
    bool keep;       /* them: kit/unpack_plan.h */
    mode_t umask;
    int64_t timeout_ns; /* of one request */
    /* About ten times a second, on the caller's thread: layers and bytes that are done
     * in this call, of how many. */
    void (*progress)(void *arg, size_t layers, size_t layer_total, uint64_t done,
                     uint64_t total);
    bool (*stopped)(void *arg); /* any thread */
    void *arg;
};

struct kf_unpacked {
    uint64_t files, bytes;  /* put into place */
    uint64_t kept;          /* files that were there and stayed */
    uint64_t resumed_bytes; /* of an earlier call */
};

/* Nothing is written, and no content fetched, when something is in the way
 * (KF_E_REFUSED). Stopped: KF_E_CANCELLED. */
int kf_kit_unpack(struct kf_unpacked *ret, struct kf_kit *kit,
                  const struct kf_unpack_opts *opts, struct kf_err *err);

#endif
