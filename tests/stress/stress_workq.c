/*
 * The work queue under threads. Each round some producers submit jobs of every urgency,
 * now and delayed; each job submits itself anew a few times, while it passes a block of
 * shared memory on; then the queue is freed in the midst of it. In the end every job ran
 * as often as it was submitted, none of them twice at a time, no delayed one too early,
 * and all memory went back to the budget. Usage: stress_workq [--rounds N] [--seed N]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "rounds.h"

#define PRODUCERS 4u
#define JOBS 500u /* of each producer */
#define BLOCK_BYTES ((size_t)1 << 20)
#define BUDGET_BYTES ((uint64_t)3 << 20) /* less than all threads may want */

struct task {
    struct kf_job job;
    struct round *round;
    unsigned seed;
    unsigned left; /* runs */
    unsigned ran;
    bool running; /* atomic */
    int64_t not_before_ns;
};

struct round {
    struct kf_workq *queue;
    struct kf_budget budget;
    bool stopping; /* atomic: delayed jobs may be early */
    struct task tasks[PRODUCERS][JOBS];
};

struct producer {
    struct round *round;
    struct task *tasks;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

static void submit(struct task *task)
{
    unsigned dice = (unsigned)rand_r(&task->seed);

    task->not_before_ns = 0;
    if (dice % 8 == 0) {
        task->not_before_ns = kf_deadline_ns((int64_t)(dice / 8 % 2000) * 1000);
        kf_workq_submit_at(task->round->queue, &task->job, task->not_before_ns);
    } else {
        kf_workq_submit(task->round->queue, &task->job,
                        (enum kf_urgency)(dice % KF_URGENCY_COUNT));
    }
}

static void use_memory(struct task *task)
{
    unsigned dice = (unsigned)rand_r(&task->seed);
    size_t length = dice % 4 ? 4096u : BLOCK_BYTES;
    struct kf_block *block = kf_block_new(&task->round->budget, length, dice % 16 == 1);

    if (!block)
        return;
    block->data[0] = block->data[length - 1] = (uint8_t)dice;
    kf_block_unref(kf_block_ref(block));
    if (block->data[0] != (uint8_t)dice || block->data[length - 1] != (uint8_t)dice)
        die("somebody else wrote into the block");
    kf_block_unref(block);
}

static void run(struct kf_job *job)
{
    struct task *task = kf_container_of(job, struct task, job);

    if (__atomic_exchange_n(&task->running, true, __ATOMIC_RELAXED))
        die("a job runs twice at a time");
    if (kf_now_ns() < task->not_before_ns &&
        !__atomic_load_n(&task->round->stopping, __ATOMIC_RELAXED))
        die("a delayed job ran too early");
    use_memory(task);
    task->ran++;
    task->left--;
    __atomic_store_n(&task->running, false, __ATOMIC_RELAXED);
    if (task->left > 0)
        submit(task);
}

static void *produce(void *arg)
{
    struct producer *producer = arg;

    for (unsigned i = 0; i < JOBS; i++)
        submit(&producer->tasks[i]);
    return NULL;
}

static void run_round(unsigned *seed)
{
    struct round *round = calloc(1, sizeof(*round));
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    unsigned wanted[PRODUCERS][JOBS];

    if (!round)
        die("no memory");
    kf_budget_init(&round->budget, BUDGET_BYTES, NULL, NULL);
    round->queue = kf_workq_new(1 + (unsigned)rand_r(seed) % 6, NULL);
    if (!round->queue)
        die("no queue");
    for (unsigned i = 0; i < PRODUCERS; i++) {
        for (unsigned j = 0; j < JOBS; j++) {
            wanted[i][j] = 1 + (unsigned)rand_r(seed) % 5;
            round->tasks[i][j] = (struct task){.job = {.run = run},
                                               .round = round,
                                               .seed = (unsigned)rand_r(seed),
                                               .left = wanted[i][j]};
        }
        producers[i] = (struct producer){round, round->tasks[i]};
        if (pthread_create(&threads[i], NULL, produce, &producers[i]) != 0)
            die("no thread");
    }
    for (unsigned i = 0; i < PRODUCERS; i++)
        (void)pthread_join(threads[i], NULL); /* ours, joinable */
    __atomic_store_n(&round->stopping, true, __ATOMIC_RELAXED);
    kf_workq_free(round->queue);
    for (unsigned i = 0; i < PRODUCERS; i++)
        for (unsigned j = 0; j < JOBS; j++)
            if (round->tasks[i][j].ran != wanted[i][j])
                die("a job did not run as often as it was submitted");
    if (kf_budget_used(&round->budget) != 0)
        die("memory did not come back to the budget");
    free(round);
}

int main(int argc, char **argv)
{
    unsigned rounds = 5, seed;

    take_rounds(argc, argv, &rounds, &seed);
    printf("seed %u, %u rounds\n", seed, rounds);
    (void)fflush(stdout); /* the seed must be seen even if we crash */
    for (unsigned round = 0; round < rounds; round++)
        run_round(&seed);
    return 0;
}
