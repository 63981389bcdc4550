#include "base/clock.h"

#include <errno.h>
#include <time.h>

static int64_t fake_ns = -1; /* atomic; negative: the real clock */

static int64_t real_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail on Linux */
    return (int64_t)now.tv_sec * KF_NS_PER_S + now.tv_nsec;
}

int64_t kf_now_ns(void)
{
    int64_t fake = __atomic_load_n(&fake_ns, __ATOMIC_RELAXED);

    return fake >= 0 ? fake : real_now_ns();
}

int64_t kf_wall_s(void)
{
    return (int64_t)time(NULL);
}

int64_t kf_deadline_ns(int64_t span_ns)
{
    int64_t now = kf_now_ns(), when;

    if (span_ns <= 0)
        return now;
    return __builtin_add_overflow(now, span_ns, &when) ? KF_NO_DEADLINE : when;
}

int kf_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);

    if (rc != 0)
        return rc;
    rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (rc == 0)
        rc = pthread_cond_init(cond, &attributes);
    (void)pthread_condattr_destroy(&attributes); /* never fails on Linux */
    return rc;
}

static int wait_real(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / KF_NS_PER_S),
                             .tv_nsec = (long)(deadline_ns % KF_NS_PER_S)};

    return pthread_cond_timedwait(cond, mutex, &until);
}

int kf_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ns)
{
    if (deadline_ns == KF_NO_DEADLINE)
        return pthread_cond_wait(cond, mutex);
    if (deadline_ns <= kf_now_ns())
        return ETIMEDOUT;
    if (__atomic_load_n(&fake_ns, __ATOMIC_RELAXED) < 0)
        return wait_real(cond, mutex, deadline_ns);
    /* Nobody signals when the fake moves: return soon, like a spurious wake-up. */
    (void)wait_real(cond, mutex, real_now_ns() + KF_NS_PER_MS);
    return 0;
}

void kf_clock_fake(int64_t ns)
{
    __atomic_store_n(&fake_ns, ns < 0 ? -1 : ns, __ATOMIC_RELAXED);
}
