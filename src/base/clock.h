/*
 * Time, monotonic, in nanoseconds. Tests replace it by a fake that only moves when told.
 * Any thread. Every wait in kitfs has a deadline or ends with unmount.
 */
#ifndef KF_BASE_CLOCK_H
#define KF_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>

#define KF_NS_PER_MS INT64_C(1000000)
#define KF_NS_PER_S INT64_C(1000000000)
#define KF_NO_DEADLINE INT64_MAX

int64_t kf_now_ns(void);

/* Seconds since the epoch; for what people see, never for decisions. */
int64_t kf_wall_s(void);

/* now + span, saturating; a negative span gives now. */
int64_t kf_deadline_ns(int64_t span_ns);

/* A condition variable that kf_cond_wait_until can wait on (CLOCK_MONOTONIC). */
int kf_cond_init(pthread_cond_t *cond);

/* Waits until signalled (0), or the deadline passed (ETIMEDOUT). The mutex is held. As
 * with every condition variable, 0 may mean nothing: look at the condition again. */
int kf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ns);

/* Tests only: from now on kf_now_ns() returns `ns`; a negative value restores the clock.
 * Set the fake before anything waits; those who wait until a deadline (delayed jobs of
 * the work queue, too) notice within about a real millisecond that it moved past theirs.
 */
void kf_clock_fake(int64_t ns);

#endif
