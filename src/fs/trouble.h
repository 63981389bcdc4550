/*
 * Reads that failed: what went wrong last, for `status`, and where, so that a client that
 * repeats a failing read (a page fault in a loop made 28,000 a second) is answered at
 * most once a second for one place. Embedded; locks itself; time comes from the caller.
 */
#ifndef KF_FS_TROUBLE_H
#define KF_FS_TROUBLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define KF_TROUBLE_PLACES 64u
#define KF_TROUBLE_PATH_SIZE 256u
#define KF_TROUBLE_PLACE_SIZE (UINT64_C(1) << 20) /* reads within one are one place */
#define KF_TROUBLE_PERIOD_NS INT64_C(1000000000)

struct kf_trouble_last {
    int64_t when_s; /* wall clock */
    int64_t when_ns;
    char path[KF_TROUBLE_PATH_SIZE];
    struct kf_err err;
};

struct kf_trouble {
    pthread_mutex_t lock;
    struct {
        int64_t answered_ns; /* 0: never; may lie ahead: an answer is held until then */
        uint64_t place;
        uint32_t node;
    } places[KF_TROUBLE_PLACES]; /* by hash; a newcomer takes the slot */
    struct kf_trouble_last last;
};

void kf_trouble_init(struct kf_trouble *trouble);
void kf_trouble_fini(struct kf_trouble *trouble);

/* When to answer a read that has just failed there: now, or up to a second later. All
 * that are held for one place are answered together. */
int64_t kf_trouble_answer_at(struct kf_trouble *trouble, uint32_t node, uint64_t offset,
                             int64_t now_ns);

void kf_trouble_record(struct kf_trouble *trouble, const char *path,
                       const struct kf_err *err);
/* The last one recorded; false when there was none. */
bool kf_trouble_last(struct kf_trouble *trouble, struct kf_trouble_last *ret);

#endif
