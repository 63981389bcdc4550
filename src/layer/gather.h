/*
 * Reads a range of a feed's object that is too long for one read, or touches too many
 * chunks: by one read after the other, into the caller's memory. No thread waits.
 *
 * Where a foreign TOC cuts tiny chunks, what comes next is wanted in stretches, so that
 * a request brings many of them; a stretch is short, so that memory stays bounded.
 */
#ifndef KF_LAYER_GATHER_H
#define KF_LAYER_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "fetch/feed.h"

struct kf_gather {
    /* The caller's, from start to the end; all else 0. */
    struct kf_feed *feed; /* borrowed */
    uint64_t offset;      /* in the object */
    uint64_t length;      /* > 0, inside the object */
    uint8_t *bytes;       /* of that length */
    int64_t deadline_ns;  /* 0: the fetch's own */
    enum kf_urgency urgency;
    /* On a work-queue thread, no lock held; may free it. */
    void (*done)(struct kf_gather *gather);
    /* How it ended. */
    bool failed;
    struct kf_err error;

    /* private */
    uint64_t have;
    uint64_t wanted; /* chunks below were wanted */
    int phase;       /* atomic */
    struct kf_read part;
};

/* True: it has ended, and `done` does not run. False: `done` runs, exactly once, and may
 * have run already. */
bool kf_gather_start(struct kf_gather *gather);
/* It ends soon, with KF_E_CANCELLED unless it had ended otherwise; also before it is
 * started. The caller keeps it alive until this has returned. */
void kf_gather_cancel(struct kf_gather *gather);

#endif
