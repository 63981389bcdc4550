/*
 * Three lists, most urgent first, and a list of delayed jobs in order of time (few:
 * retries and held answers). Threads wait on the real clock.
 */
#include "base/workq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"

struct list {
    struct kf_job *first, **last;
};

struct kf_workq {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct list ready[KF_URGENCY_COUNT];
    struct kf_job *delayed; /* soonest first */
    unsigned waiting;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[];
};

static void append(struct list *list, struct kf_job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct kf_job *pop_ready(struct kf_workq *queue)
{
    for (int urgency = 0; urgency < KF_URGENCY_COUNT; urgency++) {
        struct list *list = &queue->ready[urgency];
        struct kf_job *job = list->first;

        if (!job)
            continue;
        list->first = job->next;
        if (!list->first)
            list->last = &list->first;
        return job;
    }
    return NULL;
}

/* The next job to run, or NULL and how long to wait for one. */
static struct kf_job *pop_locked(struct kf_workq *queue, int64_t *ret_wait_until)
{
    struct kf_job *job = queue->delayed;

    *ret_wait_until = KF_NO_DEADLINE;
    if (job && (queue->stopping || job->not_before_ns <= kf_now_ns())) {
        queue->delayed = job->next;
        return job;
    }
    if (job)
        *ret_wait_until = job->not_before_ns;
    return pop_ready(queue);
}

static void *thread_main(void *arg)
{
    struct kf_workq *queue = arg;

    (void)pthread_mutex_lock(&queue->lock);
    for (;;) {
        int64_t wait_until;
        struct kf_job *job = pop_locked(queue, &wait_until);

        if (job) {
            queue->waiting--;
            (void)pthread_mutex_unlock(&queue->lock);
            job->run(job);
            (void)pthread_mutex_lock(&queue->lock);
        } else if (queue->stopping) {
            break;
        } else {
            (void)kf_cond_wait_until(&queue->cond, &queue->lock,
                                     wait_until); /* looks again */
        }
    }
    (void)pthread_mutex_unlock(&queue->lock);
    return NULL;
}

static struct kf_workq *fail(struct kf_workq *queue, struct kf_err *err)
{
    (void)kf_fail(err, KF_E_NOMEM, "cannot start work-queue threads"); /* NULL says it */
    kf_workq_free(queue);
    return NULL;
}

struct kf_workq *kf_workq_new(unsigned thread_count, struct kf_err *err)
{
    struct kf_workq *queue =
        calloc(1, sizeof(*queue) + thread_count * sizeof(queue->threads[0]));

    if (!queue)
        return fail(NULL, err);
    for (int urgency = 0; urgency < KF_URGENCY_COUNT; urgency++)
        queue->ready[urgency].last = &queue->ready[urgency].first;
    if (pthread_mutex_init(&queue->lock, NULL) != 0) {
        free(queue);
        return fail(NULL, err);
    }
    if (kf_cond_init(&queue->cond) != 0) {
        (void)pthread_mutex_destroy(&queue->lock);
        free(queue);
        return fail(NULL, err);
    }
    for (unsigned i = 0; i < thread_count; i++) {
        if (pthread_create(&queue->threads[i], NULL, thread_main, queue) != 0)
            return fail(queue, err);
        queue->thread_count++;
    }
    return queue;
}

void kf_workq_free(struct kf_workq *queue)
{
    if (!queue)
        return;
    (void)pthread_mutex_lock(&queue->lock);
    queue->stopping = true;
    (void)pthread_cond_broadcast(&queue->cond);
    (void)pthread_mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->thread_count; i++)
        (void)pthread_join(queue->threads[i], NULL); /* ours, joinable */
    (void)pthread_cond_destroy(&queue->cond);
    (void)pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void kf_workq_submit(struct kf_workq *queue, struct kf_job *job, enum kf_urgency urgency)
{
    (void)pthread_mutex_lock(&queue->lock);
    append(&queue->ready[urgency], job);
    queue->waiting++;
    (void)pthread_cond_signal(&queue->cond);
    (void)pthread_mutex_unlock(&queue->lock);
}

void kf_workq_submit_at(struct kf_workq *queue, struct kf_job *job, int64_t when_ns)
{
    struct kf_job **place;

    job->not_before_ns = when_ns;
    (void)pthread_mutex_lock(&queue->lock);
    place = &queue->delayed;
    while (*place && (*place)->not_before_ns <= when_ns)
        place = &(*place)->next;
    job->next = *place;
    *place = job;
    queue->waiting++;
    /* All: a thread that sleeps until a later job must look again. */
    (void)pthread_cond_broadcast(&queue->cond);
    (void)pthread_mutex_unlock(&queue->lock);
}

unsigned kf_workq_depth(struct kf_workq *queue)
{
    unsigned depth;

    (void)pthread_mutex_lock(&queue->lock);
    depth = queue->waiting;
    (void)pthread_mutex_unlock(&queue->lock);
    return depth;
}
