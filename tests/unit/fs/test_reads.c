#include <criterion/criterion.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/stats.h"
#include "base/workq.h"
#include "fake_session.h"
#include "fs/inode.h"
#include "fs/reads.h"
#include "kit/open.h"

#define S KF_NS_PER_S

static struct kf_workq *queue;
static struct kf_inodes *inodes;
static struct kf_trouble trouble;
static struct kf_stats stats;
static struct kf_reads *reads;

static void init(void)
{
    kf_clock_fake(100 * S);
    queue = kf_workq_new(2, NULL);
    cr_assert(queue);
    fake_setup(queue);
    cr_assert_eq(kf_inodes_new(&inodes, fake_kit(), NULL), 0);
    kf_trouble_init(&trouble);
    cr_assert_eq(kf_reads_new(&reads,
                              &(struct kf_reads_opts){.tree = kf_kit_tree(fake_kit()),
                                                      .inodes = inodes,
                                                      .workq = queue,
                                                      .stats = &stats,
                                                      .trouble = &trouble,
                                                      .timeout_ns = 60 * S},
                              NULL),
                 0);
}

static void fini(void)
{
    if (queue) {
        cr_expect_eq(kf_reads_stop(reads, KF_NO_DEADLINE), 0);
        kf_workq_free(queue);
    }
    kf_reads_free(reads);
    cr_expect_eq(fake_open_files(), 0, "every use of a file was given back");
    kf_inodes_free(inodes);
    kf_trouble_fini(&trouble);
    kf_clock_fake(-1);
}

TestSuite(reads, .init = init, .fini = fini, .timeout = 20);

static void submit(struct fuse_req *req, uint32_t node, uint64_t offset, size_t length)
{
    kf_reads_submit(reads, req, node, offset, length);
}

/* Lets the work queue go on, for half a second of real time at most. */
static bool answered(struct fuse_req *req, unsigned times)
{
    for (int i = 0; i < 5000 && fake_answers(req) < times; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    return fake_answers(req) == times;
}

Test(reads, bytes_are_the_answer)
{
    struct fuse_req req = {.answers = 0};

    submit(&req, 1, 4096, 1000);
    cr_expect_eq(fake_answers(&req), 0, "nothing waits on this thread");
    cr_assert(fake_end_one(NULL));
    cr_expect_eq(req.answers, 1);
    cr_expect_eq(req.error, 0);
    cr_expect_eq(req.length, 1000);
    cr_expect_eq(kf_stats_get(&stats, KF_STAT_READ_BYTES), 1000);
    cr_expect_eq(kf_stats_get(&stats, KF_STAT_READ_ERRORS), 0);
}

static int error_of(enum kf_err_kind kind, uint32_t node)
{
    struct fuse_req req = {.answers = 0};
    struct kf_err err;

    (void)kf_fail(&err, kind, "for a test");
    submit(&req, node, 0, 10);
    cr_assert(fake_end_one(&err));
    cr_expect_eq(req.answers, 1);
    return req.error;
}

Test(reads, failures_become_errnos_of_a_read)
{
    static const struct {
        enum kf_err_kind kind;
        int error;
    } rows[] = {
        {KF_E_CORRUPT, EIO},     {KF_E_IO, EIO},
        {KF_E_REFUSED, EACCES},  {KF_E_TIMEOUT, ETIMEDOUT},
        {KF_E_NOMEM, ENOMEM},    {KF_E_NOTFOUND, EIO},
        {KF_E_ARG, EIO},         {KF_E_CANCELLED, EIO},
        {KF_E_UNSUPPORTED, EIO}, {KF_E_UNREACHABLE, ETIMEDOUT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kf_clock_fake((200 + 10 * (int64_t)i) * S); /* not held */
        cr_expect_eq(error_of(rows[i].kind, 1), rows[i].error, "%s",
                     kf_err_kind_name(rows[i].kind));
    }
}

Test(reads, the_failure_is_kept)
{
    struct kf_trouble_last last;

    cr_expect_eq(error_of(KF_E_CORRUPT, 2), EIO);
    cr_assert(kf_trouble_last(&trouble, &last));
    cr_expect_str_eq(last.path, "some/file");
    cr_expect_eq(last.err.kind, KF_E_CORRUPT);
    cr_expect_eq(kf_stats_get(&stats, KF_STAT_READ_ERRORS), 1);
}

Test(reads, a_repeated_failure_is_held_for_a_second)
{
    struct fuse_req first = {.answers = 0}, again = {.answers = 0};
    const struct kf_err err = {.kind = KF_E_CORRUPT, .message = "bad"};

    submit(&first, 1, 0, 10);
    cr_assert(fake_end_one(&err));
    cr_expect_eq(first.answers, 1);
    submit(&again, 1, 4096, 10);
    cr_assert(fake_end_one(&err));
    cr_expect_eq(fake_answers(&again), 0);
    kf_clock_fake(100 * S + S / 2);
    (void)usleep(5000);
    cr_expect_eq(fake_answers(&again), 0);
    kf_clock_fake(101 * S);
    cr_expect(answered(&again, 1));
    cr_expect_eq(again.error, EIO);
}

Test(reads, a_harmless_signal_changes_nothing)
{
    struct fuse_req req = {.ctx.pid = getpid()};

    submit(&req, 1, 0, 10);
    fake_interrupt(&req);
    kf_clock_fake(200 * S);
    (void)usleep(5000); /* sweeps go by */
    cr_expect_eq(fake_answers(&req), 0);
    cr_assert(fake_end_one(NULL));
    cr_expect_eq(req.error, 0);
    cr_expect_eq(req.length, 10);
    fake_interrupt(&req); /* too late: nobody is found */
    cr_expect_eq(req.answers, 1);
}

Test(reads, a_detached_mount_lets_nobody_wait)
{
    struct fuse_req old = {.answers = 0}, young = {.answers = 0};

    submit(&old, 1, 0, 10);
    kf_clock_fake(150 * S);
    kf_reads_drain(reads);
    kf_clock_fake(150 * S + S / 2);
    (void)usleep(5000);
    cr_expect_eq(fake_answers(&old), 0, "half a second is granted");
    kf_clock_fake(151 * S + S / 2);
    cr_expect(answered(&old, 1));
    cr_expect_eq(old.error, EIO, "not EINTR: it would be tried again");
    submit(&young, 1, 0, 10);
    kf_clock_fake(151 * S + 3 * S / 4);
    cr_expect(answered(&young, 1), "the registry is dead, as was seen");
}

Test(reads, a_detached_mount_serves_who_can_be_served)
{
    struct fuse_req req[20];

    memset(req, 0, sizeof(req));
    kf_reads_drain(reads);
    for (size_t i = 0; i < 20; i++) {
        submit(&req[i], 1, 0, 10);
        kf_clock_fake((101 + (int64_t)i) * S - S / 2);
        cr_assert(fake_end_one(NULL));
        cr_expect_eq(req[i].error, 0);
    }
}

Test(reads, stopping_ends_all)
{
    struct fuse_req req[200];

    memset(req, 0, sizeof(req));
    for (size_t i = 0; i < 200; i++)
        submit(&req[i], (uint32_t)(i % FAKE_NODES), i, 10);
    cr_expect_eq(kf_reads_stop(reads, KF_NO_DEADLINE), 0);
    for (size_t i = 0; i < 200; i++) {
        cr_expect_eq(req[i].answers, 1);
        cr_expect_eq(req[i].error, EIO);
    }
}

Test(reads, stopping_gives_up_at_the_deadline)
{
    struct fuse_req req = {.answers = 0};

    fake_ignore_cancel(true);
    submit(&req, 1, 0, 10);
    cr_expect_eq(kf_reads_stop(reads, kf_now_ns()), -1);
    cr_expect_eq(fake_answers(&req), 0);
    cr_assert(fake_end_one(NULL));
    cr_expect_eq(req.answers, 1);
}

Test(reads, held_answers_come_when_the_queue_ends)
{
    struct fuse_req req[2] = {{.answers = 0}};
    const struct kf_err err = {.kind = KF_E_CORRUPT, .message = "bad"};

    for (int i = 0; i < 2; i++) {
        submit(&req[i], 1, 0, 10);
        cr_assert(fake_end_one(&err));
    }
    cr_expect_eq(kf_reads_stop(reads, KF_NO_DEADLINE), 0, "they are no reads any more");
    kf_workq_free(queue);
    queue = NULL;
    cr_expect_eq(req[1].answers, 1);
}

Test(reads, files_are_shared_while_open)
{
    struct kf_file *file;

    cr_assert_eq(kf_inodes_get(inodes, 2, NULL), 0);
    file = kf_inodes_file(inodes, 2);
    cr_assert(file);
    cr_assert_eq(kf_inodes_get(inodes, 2, NULL), 0);
    cr_expect_eq(kf_inodes_file(inodes, 2), file);
    cr_expect_eq(fake_open_files(), 1);
    kf_inodes_put(inodes, 2);
    cr_expect_eq(kf_inodes_file(inodes, 2), file);
    kf_inodes_put(inodes, 2);
    cr_expect_null(kf_inodes_file(inodes, 2));
    cr_expect_eq(fake_open_files(), 0);
}
