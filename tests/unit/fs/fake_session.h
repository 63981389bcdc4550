/*
 * What fs/reads stands between: libfuse's requests above, a kit's files below. Links in
 * place of both. A request counts its answers; a file keeps reads until the test ends
 * them. Locks itself.
 */
#ifndef KF_FAKE_SESSION_H
#define KF_FAKE_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/fuse.h"
#include "kit/tree.h"
#include "layer/layer.h"

struct kf_workq;

/* A request of the kernel. Under the lock of the fake: */
struct fuse_req {
    struct fuse_ctx ctx;
    unsigned answers;
    int error;     /* of the last answer */
    size_t length; /* the same */
    uint8_t first; /* byte of the answer */
    fuse_interrupt_func_t interrupt;
    void *data;
};

#define FAKE_NODES 4u

/* A kit of FAKE_NODES nodes. Work of the fake's own runs on `queue`. */
void fake_setup(struct kf_workq *queue);
struct kf_kit *fake_kit(void);
/* Gives the files that are open. */
unsigned fake_open_files(void);

/* Reads that wait in the fake. */
unsigned fake_waiting(void);
/* Ends one of them, on this thread: with bytes (their value is the low byte of the
 * offset) or with `failure`. False when none waits. */
bool fake_end_one(const struct kf_err *failure);
/* From now on a cancelled read ends only by fake_end_one. */
void fake_ignore_cancel(bool ignore);

/* What libfuse does when the kernel says that a signal came. */
void fake_interrupt(struct fuse_req *req);
unsigned fake_answers(struct fuse_req *req);

#endif
