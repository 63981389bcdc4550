#include <criterion/criterion.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"

Test(clock, real_time_moves_on)
{
    int64_t before = kf_now_ns(), after;

    do
        after = kf_now_ns();
    while (after == before);
    cr_assert_gt(after, before);
    cr_assert_leq(kf_wall_s(), (int64_t)time(NULL));
}

Test(clock, fake_stands_still_until_moved)
{
    kf_clock_fake(5);
    cr_assert_eq(kf_now_ns(), 5);
    cr_assert_eq(kf_now_ns(), 5);
    kf_clock_fake(0);
    cr_assert_eq(kf_now_ns(), 0);
    kf_clock_fake(-1);
    cr_assert_gt(kf_now_ns(), 5);
}

Test(clock, deadlines_saturate)
{
    kf_clock_fake(100);
    cr_assert_eq(kf_deadline_ns(50), 150);
    cr_assert_eq(kf_deadline_ns(0), 100);
    cr_assert_eq(kf_deadline_ns(-50), 100);
    cr_assert_eq(kf_deadline_ns(KF_NO_DEADLINE), KF_NO_DEADLINE);
    cr_assert_eq(kf_deadline_ns(INT64_MAX - 100), INT64_MAX);
    cr_assert_eq(kf_deadline_ns(INT64_MAX - 101), INT64_MAX - 1);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int64_t deadline_ns;
    bool awaited;
    bool happened;
    int rc;
};

static void *wait_main(void *arg)
{
    struct waiting *waiting = arg;

    pthread_mutex_lock(&waiting->lock);
    waiting->awaited = true;
    pthread_cond_broadcast(&waiting->cond);
    while (!waiting->happened && waiting->rc == 0)
        waiting->rc =
            kf_cond_wait_until(&waiting->cond, &waiting->lock, waiting->deadline_ns);
    pthread_mutex_unlock(&waiting->lock);
    return NULL;
}

/* Starts a thread that waits, and returns when it does. */
static pthread_t start(struct waiting *waiting, int64_t deadline_ns)
{
    pthread_t thread;

    *waiting = (struct waiting){.deadline_ns = deadline_ns};
    pthread_mutex_init(&waiting->lock, NULL);
    cr_assert_eq(kf_cond_init(&waiting->cond), 0);
    cr_assert_eq(pthread_create(&thread, NULL, wait_main, waiting), 0);
    pthread_mutex_lock(&waiting->lock);
    while (!waiting->awaited)
        pthread_cond_wait(&waiting->cond, &waiting->lock);
    pthread_mutex_unlock(&waiting->lock);
    return thread;
}

static void signal_it(struct waiting *waiting)
{
    pthread_mutex_lock(&waiting->lock);
    waiting->happened = true;
    pthread_cond_broadcast(&waiting->cond);
    pthread_mutex_unlock(&waiting->lock);
}

static int finish(struct waiting *waiting, pthread_t thread)
{
    pthread_join(thread, NULL);
    pthread_cond_destroy(&waiting->cond);
    pthread_mutex_destroy(&waiting->lock);
    return waiting->rc;
}

Test(clock, a_signal_ends_the_wait)
{
    static const int64_t spans_ns[] = {3600 * KF_NS_PER_S, KF_NO_DEADLINE};

    for (size_t i = 0; i < 2; i++) {
        struct waiting waiting;
        pthread_t thread = start(&waiting, kf_deadline_ns(spans_ns[i]));

        signal_it(&waiting);
        cr_assert_eq(finish(&waiting, thread), 0);
    }
}

Test(clock, a_passed_deadline_ends_the_wait)
{
    static const int64_t deadlines_ns[] = {0, -5, INT64_MIN};
    struct waiting waiting;

    for (size_t i = 0; i < 3; i++) {
        pthread_t thread = start(&waiting, deadlines_ns[i]);

        cr_assert_eq(finish(&waiting, thread), ETIMEDOUT);
    }
    cr_assert_eq(finish(&waiting, start(&waiting, kf_deadline_ns(KF_NS_PER_MS))),
                 ETIMEDOUT);
}

Test(clock, the_fake_that_moves_ends_the_wait)
{
    struct waiting waiting;
    pthread_t thread;

    kf_clock_fake(1000);
    thread = start(&waiting, 2000);
    kf_clock_fake(1999);
    pthread_mutex_lock(&waiting.lock);
    cr_assert_eq(waiting.rc, 0);
    pthread_mutex_unlock(&waiting.lock);
    kf_clock_fake(2000);
    cr_assert_eq(finish(&waiting, thread), ETIMEDOUT);
}

Test(clock, a_signal_ends_a_wait_under_the_fake)
{
    struct waiting waiting;
    pthread_t thread;

    kf_clock_fake(1000);
    thread = start(&waiting, 2000);
    signal_it(&waiting);
    cr_assert_eq(finish(&waiting, thread), 0);
}
