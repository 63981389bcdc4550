/*
 * Reads of a mount under threads: FUSE threads submit, the kernel interrupts at any
 * moment, others end reads with bytes and failures, and in the midst of it the mount is
 * detached and all is stopped. Every request is answered exactly once, every use of a
 * file given back. Usage: stress_reads [--rounds N] [--seed S]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/workq.h"
#include "fake_session.h"
#include "fs/inode.h"
#include "fs/reads.h"
#include "kit/open.h"
#include "rounds.h"

#define SUBMITTERS 3u
#define ENDERS 2u
#define REQUESTS 300u /* of each submitter */

struct round {
    struct kf_reads *reads;
    struct fuse_req requests[SUBMITTERS][REQUESTS];
    unsigned submitted[SUBMITTERS]; /* atomic */
    bool over;                      /* atomic: the enders stop */
    unsigned seed;
};

struct actor {
    struct round *round;
    unsigned number;
    unsigned seed;
};

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

static void *submit_main(void *arg)
{
    struct actor *actor = arg;
    struct round *round = actor->round;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct fuse_req *req = &round->requests[actor->number][i];
        unsigned dice = (unsigned)rand_r(&actor->seed);

        req->ctx.pid = dice % 2 ? getpid() : 0;
        kf_reads_submit(round->reads, req, dice % FAKE_NODES, dice % 64 << 20, 4096);
        __atomic_store_n(&round->submitted[actor->number], i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *interrupt_main(void *arg)
{
    struct actor *actor = arg;
    struct round *round = actor->round;

    while (!__atomic_load_n(&round->over, __ATOMIC_ACQUIRE)) {
        unsigned dice = (unsigned)rand_r(&actor->seed);
        unsigned who = dice % SUBMITTERS;
        unsigned there = __atomic_load_n(&round->submitted[who], __ATOMIC_ACQUIRE);

        if (there > 0)
            fake_interrupt(&round->requests[who][dice / 8 % there]);
    }
    return NULL;
}

static void *end_main(void *arg)
{
    static const struct kf_err failures[] = {
        {.kind = KF_E_CORRUPT, .message = "digest differs"},
        {.kind = KF_E_TIMEOUT, .message = "no bytes"},
    };
    struct actor *actor = arg;

    while (!__atomic_load_n(&actor->round->over, __ATOMIC_ACQUIRE)) {
        unsigned dice = (unsigned)rand_r(&actor->seed) % 16;

        (void)fake_end_one(dice < 2 ? &failures[dice] : NULL); /* none may wait */
    }
    return NULL;
}

static void start(pthread_t *ret, void *(*main)(void *), struct actor *actor,
                  struct round *round, unsigned number)
{
    *actor = (struct actor){round, number, round->seed++};
    expect(pthread_create(ret, NULL, main, actor) == 0, "a thread starts");
}

static void play(struct round *round)
{
    pthread_t submitters[SUBMITTERS], others[ENDERS + 1];
    struct actor actors[SUBMITTERS + ENDERS + 1];

    for (unsigned i = 0; i < SUBMITTERS; i++)
        start(&submitters[i], submit_main, &actors[i], round, i);
    for (unsigned i = 0; i < ENDERS + 1; i++)
        start(&others[i], i < ENDERS ? end_main : interrupt_main, &actors[SUBMITTERS + i],
              round, i);
    kf_reads_drain(round->reads);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        (void)pthread_join(submitters[i], NULL);
    expect(kf_reads_stop(round->reads, kf_deadline_ns(60 * KF_NS_PER_S)) == 0,
           "all reads end when stopped");
    __atomic_store_n(&round->over, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < ENDERS + 1; i++)
        (void)pthread_join(others[i], NULL);
}

static void run_round(unsigned seed)
{
    struct round *round = calloc(1, sizeof(*round));
    struct kf_workq *queue = kf_workq_new(3, NULL);
    struct kf_trouble trouble;
    struct kf_stats stats = {.values = {0}};
    struct kf_inodes *inodes;

    expect(round && queue, "memory");
    round->seed = seed;
    fake_setup(queue);
    kf_trouble_init(&trouble);
    expect(kf_inodes_new(&inodes, fake_kit(), NULL) == 0, "memory");
    expect(kf_reads_new(&round->reads,
                        &(struct kf_reads_opts){.tree = kf_kit_tree(fake_kit()),
                                                .inodes = inodes,
                                                .workq = queue,
                                                .stats = &stats,
                                                .trouble = &trouble,
                                                .timeout_ns = KF_NS_PER_S},
                        NULL) == 0,
           "memory");
    play(round);
    kf_workq_free(queue); /* held answers come now */
    kf_reads_free(round->reads);
    expect(fake_open_files() == 0, "every file is given back");
    for (unsigned i = 0; i < SUBMITTERS; i++)
        for (unsigned j = 0; j < REQUESTS; j++)
            expect(fake_answers(&round->requests[i][j]) == 1, "one answer a request");
    kf_inodes_free(inodes);
    kf_trouble_fini(&trouble);
    free(round);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("stress_reads --rounds %u --seed %u\n", rounds, seed);
    (void)fflush(stdout);
    kf_log_setup(KF_LOG_ERROR, KF_LOG_TEXT, STDERR_FILENO);
    for (unsigned i = 0; i < rounds; i++)
        run_round(seed + i * 1000);
    return 0;
}
