/*
 * Reads on their way: what a READ request becomes when its bytes are not in memory. No
 * thread waits; whoever has the bytes answers. Locks itself.
 *
 * A reader that is killed is let go at once. The kernel tells of any signal (INTERRUPT),
 * but a read that ends early for a harmless one would be a wrong answer, even a SIGBUS
 * when it served a page fault: so only a pending SIGKILL counts, and is looked for again
 * as long as an interrupted read waits.
 */
#ifndef KF_FS_READS_H
#define KF_FS_READS_H

#include <stdint.h>
#include <sys/types.h>

#include "fs/trouble.h"

struct fuse_req;
struct kf_err;
struct kf_inodes;
struct kf_reads;
struct kf_stats;
struct kf_tree;
struct kf_workq;

#define KF_READ_LIMIT ((size_t)1 << 20) /* the largest READ: what INIT agrees on */

struct kf_reads_opts {
    const struct kf_tree *tree;
    struct kf_inodes *inodes;
    struct kf_workq *workq;
    struct kf_stats *stats;
    struct kf_trouble *trouble;
    int64_t timeout_ns; /* of one read */
};                      /* all borrowed, all outlive the reads */

int kf_reads_new(struct kf_reads **ret, const struct kf_reads_opts *opts,
                 struct kf_err *err);
/* After kf_reads_stop gave 0 and the work queue is gone. NULL is fine. */
void kf_reads_free(struct kf_reads *reads);

/* Reads `length` bytes (1 to KF_READ_LIMIT, inside the file) of an open node and answers
 * `req` once, from any thread. */
void kf_reads_submit(struct kf_reads *reads, struct fuse_req *req, uint32_t node,
                     uint64_t offset, size_t length);

/* Answers with a failure at once, or held back where that place failed just now. */
void kf_reads_fail(struct kf_reads *reads, struct fuse_req *req, uint32_t node,
                   uint64_t offset, const struct kf_err *failure);

/* The mount was detached: from now on no read waits longer than a second and a half, so
 * that readers of a dead registry do not keep the mount alive. */
void kf_reads_drain(struct kf_reads *reads);

/* Ends all reads. 0 when none is left, -1 when some still were at the deadline. */
int kf_reads_stop(struct kf_reads *reads, int64_t deadline_ns);

#endif
