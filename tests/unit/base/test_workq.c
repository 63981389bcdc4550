#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"

/* A job that notes when it ran. */
struct noted {
    struct kf_job job;
    int number;
};

static pthread_mutex_t note_lock = PTHREAD_MUTEX_INITIALIZER;
static int notes[1000];
static int note_count;
static sem_t gate, at_gate, ran;

static void init(void)
{
    sem_init(&gate, 0, 0);
    sem_init(&at_gate, 0, 0);
    sem_init(&ran, 0, 0);
}

TestSuite(workq, .init = init, .timeout = 60);

static void run_note(struct kf_job *job)
{
    struct noted *noted = kf_container_of(job, struct noted, job);

    pthread_mutex_lock(&note_lock);
    notes[note_count++] = noted->number;
    pthread_mutex_unlock(&note_lock);
    sem_post(&ran);
}

static void run_gate(struct kf_job *job)
{
    (void)job;
    sem_post(&at_gate);
    sem_wait(&gate);
}

/* Keeps one thread of the queue busy until the gate is opened. */
static struct kf_job gate_job = {.run = run_gate};

static void close_gate(struct kf_workq *queue)
{
    kf_workq_submit(queue, &gate_job, KF_DEMAND);
    sem_wait(&at_gate);
}

static void wait_for(int count)
{
    for (int i = 0; i < count; i++)
        sem_wait(&ran);
}

Test(workq, urgent_first_and_in_order_of_submission)
{
    static const struct {
        enum kf_urgency urgency;
        int number;
    } submitted[] = {{KF_PREFETCH, 6}, {KF_READAHEAD, 4}, {KF_DEMAND, 1},
                     {KF_PREFETCH, 7}, {KF_DEMAND, 2},    {KF_READAHEAD, 5},
                     {KF_DEMAND, 3},   {KF_PREFETCH, 8}};
    struct kf_workq *queue = kf_workq_new(1, NULL);
    struct noted jobs[8];

    close_gate(queue);
    cr_assert_eq(kf_workq_depth(queue), 0);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct noted){{.run = run_note}, submitted[i].number};
        kf_workq_submit(queue, &jobs[i].job, submitted[i].urgency);
    }
    cr_assert_eq(kf_workq_depth(queue), 8);
    sem_post(&gate);
    wait_for(8);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(notes[i], i + 1);
    cr_assert_eq(kf_workq_depth(queue), 0);
    kf_workq_free(queue);
}

Test(workq, free_runs_all_and_joins)
{
    struct kf_workq *queue = kf_workq_new(3, NULL);
    struct noted jobs[200];

    for (int i = 0; i < 200; i++) {
        jobs[i] = (struct noted){{.run = run_note}, i};
        if (i % 4 == 3)
            kf_workq_submit_at(queue, &jobs[i].job, KF_NO_DEADLINE - i);
        else
            kf_workq_submit(queue, &jobs[i].job, (enum kf_urgency)(i % 3));
    }
    kf_workq_free(queue);
    cr_assert_eq(note_count, 200);
    kf_workq_free(NULL);
}

struct again {
    struct kf_job job;
    struct kf_workq *queue;
    int left;
};

static void run_again(struct kf_job *job)
{
    struct again *again = kf_container_of(job, struct again, job);

    if (--again->left > 0)
        kf_workq_submit(again->queue, job, KF_READAHEAD);
    else
        sem_post(&ran);
}

Test(workq, a_job_may_submit_itself_anew)
{
    struct kf_workq *queue = kf_workq_new(2, NULL);
    struct again again = {{.run = run_again}, queue, 1000};

    kf_workq_submit(queue, &again.job, KF_READAHEAD);
    wait_for(1);
    cr_assert_eq(again.left, 0);
    kf_workq_free(queue);
}

static void run_free(struct kf_job *job)
{
    free(job);
    sem_post(&ran);
}

Test(workq, a_job_may_free_itself)
{
    struct kf_workq *queue = kf_workq_new(2, NULL);

    for (int i = 0; i < 50; i++) {
        struct kf_job *job = calloc(1, sizeof(*job));

        job->run = run_free;
        kf_workq_submit(queue, job, KF_DEMAND);
    }
    wait_for(50);
    kf_workq_free(queue);
}

Test(workq, delayed_jobs_follow_the_fake_clock)
{
    struct noted jobs[4] = {{{.run = run_note}, 1},
                            {{.run = run_note}, 2},
                            {{.run = run_note}, 3},
                            {{.run = run_note}, 100}};
    struct kf_workq *queue;

    kf_clock_fake(1000);
    queue = kf_workq_new(1, NULL);
    kf_workq_submit_at(queue, &jobs[2].job, 4000);
    kf_workq_submit_at(queue, &jobs[0].job, 2000);
    kf_workq_submit_at(queue, &jobs[1].job, 2000);
    kf_workq_submit(queue, &jobs[3].job, KF_PREFETCH);
    wait_for(1);
    cr_assert_eq(notes[0], 100);
    cr_assert_eq(kf_workq_depth(queue), 3);
    kf_clock_fake(2000);
    wait_for(2);
    cr_assert_eq(notes[1], 1);
    cr_assert_eq(notes[2], 2);
    cr_assert_eq(kf_workq_depth(queue), 1);
    kf_clock_fake(4001);
    wait_for(1);
    cr_assert_eq(notes[3], 3);
    kf_workq_free(queue);
}

Test(workq, delayed_jobs_follow_the_real_clock)
{
    struct kf_workq *queue = kf_workq_new(2, NULL);
    int64_t when_ns = kf_deadline_ns(20 * KF_NS_PER_MS);
    struct noted jobs[3] = {
        {{.run = run_note}, 1}, {{.run = run_note}, 2}, {{.run = run_note}, 3}};

    kf_workq_submit_at(queue, &jobs[2].job, kf_deadline_ns(3600 * KF_NS_PER_S));
    kf_workq_submit_at(queue, &jobs[1].job, when_ns);
    kf_workq_submit_at(queue, &jobs[0].job, 0);
    wait_for(2);
    cr_assert_geq(kf_now_ns(), when_ns);
    cr_assert_eq(notes[0], 1);
    cr_assert_eq(notes[1], 2);
    kf_workq_free(queue);
    cr_assert_eq(note_count, 3);
}

Test(workq, what_waits_runs_while_delayed_ones_are_not_due)
{
    struct noted late = {{.run = run_note}, 9}, now = {{.run = run_note}, 1};
    struct kf_workq *queue = kf_workq_new(1, NULL);

    close_gate(queue);
    kf_workq_submit_at(queue, &late.job, kf_deadline_ns(3600 * KF_NS_PER_S));
    kf_workq_submit(queue, &now.job, KF_PREFETCH);
    sem_post(&gate);
    wait_for(1);
    cr_assert_eq(notes[0], 1);
    kf_workq_free(queue);
}

Test(workq, threads_run_at_the_same_time)
{
    struct kf_workq *queue = kf_workq_new(3, NULL);
    struct kf_job jobs[3];

    for (int i = 0; i < 3; i++) {
        jobs[i] = (struct kf_job){.run = run_gate};
        kf_workq_submit(queue, &jobs[i], KF_DEMAND);
    }
    for (int i = 0; i < 3; i++)
        sem_wait(&at_gate);
    for (int i = 0; i < 3; i++)
        sem_post(&gate);
    kf_workq_free(queue);
}
