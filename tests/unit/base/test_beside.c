#include "base/beside.h"

#include <criterion/criterion.h>

struct job {
    int runs;
    pthread_t thread;
};

static void count(void *arg)
{
    struct job *job = arg;

    job->runs++;
    job->thread = pthread_self();
}

Test(beside, does_each_piece_once_on_its_own_thread)
{
    struct kf_beside beside;
    struct job job = {0};

    kf_beside_init(&beside);
    kf_beside_wait(&beside); /* nothing to wait for */
    for (int i = 1; i <= 1000; i++) {
        kf_beside_start(&beside, count, &job);
        if (i % 2 == 0)
            continue; /* the next one waits */
        kf_beside_wait(&beside);
        cr_assert_eq(job.runs, i);
    }
    kf_beside_fini(&beside);
    cr_assert_eq(job.runs, 1000);
    cr_assert_not(pthread_equal(job.thread, pthread_self()));
}

Test(beside, works_without_a_thread)
{
    struct kf_beside beside;
    struct job job = {0};

    kf_beside_init(&beside);
    kf_beside_fini(&beside);
    kf_beside_init(&beside);
    kf_beside_fini(&beside);
    beside.started = false;
    kf_beside_start(&beside, count, &job);
    cr_assert_eq(job.runs, 1);
}
