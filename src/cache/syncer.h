/*
 * The thread that makes complete objects durable. It is not the writer's work: syncing
 * gigabytes takes seconds, and chunks that arrive meanwhile must not be turned away.
 */
#ifndef KF_CACHE_SYNCER_H
#define KF_CACHE_SYNCER_H

#include <pthread.h>
#include <stdbool.h>

struct kf_err;
struct kf_object;

struct kf_syncer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct kf_object *queue; /* each referenced */
    struct kf_object **queue_end;
    bool stopping; /* atomic; set under the lock */
};

int kf_syncer_start(struct kf_syncer *syncer, struct kf_err *err);
/* Ends within the time of syncing 64 MiB; objects not yet durable stay so. */
void kf_syncer_stop(struct kf_syncer *syncer);
/* Queues the object when it is complete, not durable and not queued. Any thread. */
void kf_syncer_submit(struct kf_syncer *syncer, struct kf_object *object);

#endif
