/*
 * A fixed number of threads and a queue of jobs with three urgencies. Locks itself. A job
 * is embedded in its owner's struct: submitting allocates nothing and cannot fail. Jobs
 * of one urgency start in order of submission. A job may do disk I/O, hash and decode; it
 * must not wait for another job.
 */
#ifndef KF_BASE_WORKQ_H
#define KF_BASE_WORKQ_H

#include <stdint.h>

struct kf_err;
struct kf_workq;

enum kf_urgency { KF_DEMAND, KF_READAHEAD, KF_PREFETCH, KF_URGENCY_COUNT };

struct kf_job {
    /* Runs on a work-queue thread, no lock held. The job is the callee's again: it may be
     * freed or submitted anew. */
    void (*run)(struct kf_job *job);
    struct kf_job *next;   /* the queue's while it is submitted */
    int64_t not_before_ns; /* the queue's */
};

struct kf_workq *kf_workq_new(unsigned thread_count, struct kf_err *err);
/* Runs what was submitted and is due, drops nothing; delayed jobs run at once. Then joins
 * the threads. Not from a job. */
void kf_workq_free(struct kf_workq *queue);
void kf_workq_submit(struct kf_workq *queue, struct kf_job *job, enum kf_urgency urgency);
/* Not before the given monotonic time, then ahead of what waits: delayed jobs are retries
 * and held answers, of which there are few (a sorted list). */
void kf_workq_submit_at(struct kf_workq *queue, struct kf_job *job, int64_t when_ns);
unsigned kf_workq_depth(struct kf_workq *queue); /* waiting, not running */

#endif
