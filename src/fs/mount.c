#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/channel.h"
#include "fs/keeper.h"
#include "fs/mountpoint.h"

#define LINE_NS (5 * KF_NS_PER_S)     /* between lines about progress */
#define GOODBYE_NS (10 * KF_NS_PER_S) /* for the keeper to clean up after a failure */

/* A bar on a terminal, else a plain line every few seconds. */
struct bar {
    bool terminal;
    bool drawn;
    int64_t next_ns;
};

static void show_progress(struct bar *bar, const char *text)
{
    if (!bar->terminal && kf_now_ns() < bar->next_ns)
        return;
    bar->next_ns = kf_deadline_ns(LINE_NS);
    bar->drawn = bar->terminal;
    (void)fprintf(stderr, bar->terminal ? "\r%s\033[K" : "%s\n", text);
}

static void clear(struct bar *bar)
{
    if (bar->drawn)
        (void)fprintf(stderr, "\r\033[K");
    bar->drawn = false;
}

static void say(const struct kf_mount_opts *opts, const char *text)
{
    if (!opts->quiet)
        (void)fprintf(stderr, "%s\n", text);
}

/* A daemon has no terminal: its log lines go where KITFS_LOG says, or nowhere. */
static int leave_terminal(const struct kf_mount_opts *opts)
{
    const char *path = getenv("KITFS_LOG");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = path && path[0]
                  ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0600)
                  : -1;

    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
        dup2(log >= 0 ? log : null, 2) < 0)
        return -1;
    kf_close_fd(&null);
    kf_close_fd(&log);
    kf_log_setup(opts->log_level, opts->log_format, STDERR_FILENO);
    return 0;
}

/* In the child: a session of its own, and no process of ours as its parent. */
__attribute__((noreturn)) static void become_keeper(const struct kf_mount_opts *opts,
                                                    const char *dir, int up)
{
    if (setsid() < 0)
        _exit(1);
    switch (fork()) {
    case 0:
        if (leave_terminal(opts) != 0)
            _exit(1);
        _exit(kf_keeper_run(opts, dir, up, NULL) == 0 ? 0 : 1);
    case -1:
        _exit(1);
    default:
        _exit(0);
    }
}

/* Until the mount can be read, or the keeper has cleaned up after a failure. */
static int wait_for_keeper(const struct kf_mount_opts *opts, int keeper,
                           struct kf_err *err)
{
    const unsigned all = KF_MSG_BIT(KF_MSG_LINE) | KF_MSG_BIT(KF_MSG_FAIL) |
                         KF_MSG_BIT(KF_MSG_READY) | KF_MSG_BIT(KF_MSG_PROGRESS);
    struct bar bar = {.terminal = isatty(STDERR_FILENO) == 1,
                      .next_ns = kf_deadline_ns(LINE_NS)};
    int64_t deadline_ns = KF_NO_DEADLINE;
    bool failed = false;
    struct kf_msg msg;
    int got;

    while ((got = kf_channel_receive(keeper, all, deadline_ns, &msg, NULL,
                                     failed ? NULL : err)) > 0) {
        if (msg.type == KF_MSG_PROGRESS) {
            show_progress(&bar, msg.text);
            continue;
        }
        clear(&bar);
        if (msg.type == KF_MSG_READY)
            return 0;
        if (msg.type == KF_MSG_LINE) {
            say(opts, msg.text);
        } else if (!failed) {
            failed = true;
            kf_msg_failure(&msg, err);
            deadline_ns = kf_deadline_ns(GOODBYE_NS);
        }
    }
    clear(&bar);
    if (got == 0 && !failed)
        return kf_fail(err, KF_E_IO, "the keeper ended unexpectedly");
    return -1;
}

static int mount_in_background(const struct kf_mount_opts *opts, const char *dir,
                               struct kf_err *err)
{
    int ends[2], status;
    pid_t child;

    if (kf_channel_pair(ends, err) != 0)
        return -1;
    (void)fflush(NULL); /* or the child would write it again */
    child = fork();
    if (child == 0) {
        kf_close_fd(&ends[0]);
        become_keeper(opts, dir, ends[1]);
    }
    kf_close_fd(&ends[1]);
    kf_auto(kf_close_fd) int keeper = ends[0];
    if (child < 0)
        return kf_fail_errno(err, "cannot start the keeper");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return wait_for_keeper(opts, keeper, err);
}

int kf_mount(const struct kf_mount_opts *opts, struct kf_err *err)
{
    bool cleared = false;
    kf_auto(kf_free) char *dir = NULL;

    if (kf_mountpoint_prepare(opts->dir, &dir, &cleared, err) != 0)
        return -1;
    if (cleared)
        say(opts, "Cleared a dead mount that was there.");
    if (!opts->foreground)
        return mount_in_background(opts, dir, err);
    kf_log_setup(opts->log_level, opts->log_format, STDERR_FILENO);
    return kf_keeper_run(opts, dir, -1, err);
}
