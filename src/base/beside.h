/*
 * A thread that does one piece of work at a time beside its owner's. One owner.
 */
#ifndef KF_BASE_BESIDE_H
#define KF_BASE_BESIDE_H

#include <pthread.h>
#include <stdbool.h>

struct kf_beside {
    pthread_t thread;
    bool started; /* else work is done at once, by the owner */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    void (*work)(void *arg); /* lock; NULL: idle */
    void *arg;
    bool stopping; /* lock */
};

/* Without a thread everything still works, one after the other. */
void kf_beside_init(struct kf_beside *beside);
void kf_beside_fini(struct kf_beside *beside); /* waits first */
/* What it was doing is over when this returns; then it does `work`. */
void kf_beside_start(struct kf_beside *beside, void (*work)(void *arg), void *arg);
void kf_beside_wait(struct kf_beside *beside);

#endif
