#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/channel.h"
#include "fs/creds_channel.h"
#include "fs/device.h"
#include "fs/mount.h"
#include "fs/mountinfo.h"
#include "fs/mountpoint.h"
#include "fs/worker.h"

#define DRAIN_NS (5 * KF_NS_PER_S) /* for readers, after SIGTERM */
#define FAREWELL_NS \
    (3 * KF_NS_PER_S)                /* for the worker, after it failed or was orphaned */
#define SETTLE_NS (KF_NS_PER_S / 10) /* mounts change in bursts: look once */

enum { POLL_SIGNALS, POLL_CHANNEL, POLL_CREDS, POLL_UP, POLL_MOUNTS, POLL_COUNT };

struct keeper {
    const struct kf_mount_opts *opts;
    const char *dir;
    pid_t worker; /* 0: has ended */
    int channel;  /* to the worker; -1: closed */
    int up;       /* to the command; -1: none, or told all */
    struct kf_creds_desk desk;
    int signals;
    int mounts;                  /* /proc/self/mountinfo: says when mounts change */
    int device;                  /* /dev/fuse; -1: not mounted yet */
    struct kf_mount_point point; /* once mounted */
    bool ready;
    bool leaving;
    bool detached;      /* no mount of ours exists any more */
    int64_t look_at_ns; /* look for our mount then; KF_NO_DEADLINE: nothing changed */
    int64_t kill_at_ns; /* end the worker then */
    bool failed;
    struct kf_err failure; /* the first one */
};

static void keep_failure(struct keeper *keeper, const struct kf_err *failure)
{
    if (keeper->failed)
        return;
    keeper->failed = true;
    keeper->failure = *failure;
}

static void kill_by(struct keeper *keeper, int64_t when_ns)
{
    if (when_ns < keeper->kill_at_ns)
        keeper->kill_at_ns = when_ns;
}

static void tell_up(struct keeper *keeper, const struct kf_msg *msg)
{
    if (keeper->up >= 0)
        (void)kf_channel_send(keeper->up, msg, -1, NULL); /* its death is seen by poll */
    else if (msg->type == KF_MSG_LINE && !keeper->opts->quiet)
        (void)fprintf(stderr, "%s\n", msg->text);
}

/* ---- the mount ---- */

static bool is_mounted(struct keeper *keeper)
{
    return keeper->device >= 0 && !keeper->detached &&
           kf_mount_exists(keeper->point.major, keeper->point.minor, NULL) != 0;
}

/* Takes our mount off, if it is what lies on top there. */
static void detach(struct keeper *keeper)
{
    struct kf_mount_point top;
    struct kf_err err;

    if (keeper->device < 0 || keeper->detached)
        return;
    if (kf_mount_at(keeper->dir, &top, NULL) == 1 && top.major == keeper->point.major &&
        top.minor == keeper->point.minor &&
        kf_mountpoint_unmount(keeper->dir, true, &err) != 0)
        kf_log(KF_LOG_ERROR, "fs", "event=detach-failed error=%s", err.message);
}

/* However it was taken off, the worker is told: it then lets no read wait for long. */
static void look_for_mount(struct keeper *keeper)
{
    struct kf_msg msg = {.type = KF_MSG_DETACHED};

    keeper->look_at_ns = KF_NO_DEADLINE;
    if (keeper->device < 0 || keeper->detached || is_mounted(keeper))
        return;
    keeper->detached = true;
    if (keeper->channel >= 0)
        (void)kf_channel_send(keeper->channel, &msg, -1, NULL); /* ended: no matter */
}

static void leave(struct keeper *keeper)
{
    kill_by(keeper, kf_deadline_ns(keeper->leaving || !keeper->ready ? 0 : DRAIN_NS));
    keeper->leaving = true;
    detach(keeper);
    look_for_mount(keeper);
}

/* ---- messages of the worker ---- */

static int on_line(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err)
{
    tell_up(keeper, msg);
    return 0;
}

/* In the foreground nobody waits, and bars would tear the log. */
static int on_progress(struct keeper *keeper, const struct kf_msg *msg,
                       struct kf_err *err)
{
    if (keeper->up >= 0)
        tell_up(keeper, msg);
    return 0;
}

static int on_fail(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err)
{
    struct kf_err failure;

    kf_msg_failure(msg, &failure);
    keep_failure(keeper, &failure);
    kill_by(keeper, kf_deadline_ns(FAREWELL_NS));
    return 0;
}

static int on_opened(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err)
{
    struct kf_msg answer = {.type = KF_MSG_MOUNTED};

    if (keeper->device >= 0)
        return kf_fail(err, KF_E_MALFORMED, "the worker asked to mount twice");
    keeper->device =
        kf_device_mount(keeper->dir, msg->text, keeper->opts->allow_other, err);
    if (keeper->device < 0)
        return -1;
    if (kf_mount_at(keeper->dir, &keeper->point, err) != 1)
        return kf_fail(err, KF_E_IO, "the mount at '%s' is gone at once", keeper->dir);
    return kf_channel_send(keeper->channel, &answer, keeper->device, err);
}

static int on_readahead(struct keeper *keeper, const struct kf_msg *msg,
                        struct kf_err *err)
{
    struct kf_msg answer = {.type = KF_MSG_READAHEAD}, line = {.type = KF_MSG_LINE};

    if (keeper->device < 0)
        return kf_fail(err, KF_E_MALFORMED, "the worker has no mount yet");
    answer.number = kf_device_set_readahead(&keeper->point, msg->number);
    if (answer.number < msg->number) {
        (void)snprintf(line.text, sizeof(line.text),
                       "Readahead stays at %u KiB. To raise it: echo %u | sudo tee "
                       "/sys/class/bdi/%u:%u/read_ahead_kb",
                       answer.number, msg->number, keeper->point.major,
                       keeper->point.minor); /* fits */
        tell_up(keeper, &line);
    }
    return kf_channel_send(keeper->channel, &answer, -1, err);
}

static int on_ready(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err)
{
    if (keeper->device < 0)
        return kf_fail(err, KF_E_MALFORMED, "the worker has no mount yet");
    keeper->ready = true;
    tell_up(keeper, msg);
    kf_close_fd(&keeper->up);
    keeper->up = -1;
    return 0;
}

/* It is left to init: what holds it now may be a disk, for seconds. */
static int on_closed(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err)
{
    keeper->worker = 0;
    return 0;
}

typedef int handler(struct keeper *keeper, const struct kf_msg *msg, struct kf_err *err);
static handler *const handlers[KF_MSG_TYPE_COUNT] = {
    [KF_MSG_LINE] = on_line,     [KF_MSG_FAIL] = on_fail,
    [KF_MSG_OPENED] = on_opened, [KF_MSG_READAHEAD] = on_readahead,
    [KF_MSG_READY] = on_ready,   [KF_MSG_PROGRESS] = on_progress,
    [KF_MSG_CLOSED] = on_closed,
};

#define OF_WORKER                                                                    \
    (KF_MSG_BIT(KF_MSG_LINE) | KF_MSG_BIT(KF_MSG_FAIL) | KF_MSG_BIT(KF_MSG_OPENED) | \
     KF_MSG_BIT(KF_MSG_READAHEAD) | KF_MSG_BIT(KF_MSG_READY) |                       \
     KF_MSG_BIT(KF_MSG_PROGRESS))

/* One message. A worker that does not keep to the rules is ended. */
static void hear_worker(struct keeper *keeper)
{
    struct kf_msg msg;
    struct kf_err err;
    int got = kf_channel_receive(keeper->channel,
                                 keeper->ready ? KF_MSG_BIT(KF_MSG_CLOSED) : OF_WORKER,
                                 KF_NO_DEADLINE, &msg, NULL, &err);

    if (got > 0 && handlers[msg.type](keeper, &msg, &err) == 0)
        return;
    kf_close_fd(&keeper->channel);
    keeper->channel = -1;
    if (got == 0) { /* it is closing down */
        kill_by(keeper, kf_deadline_ns(FAREWELL_NS));
        return;
    }
    keep_failure(keeper, &err);
    kill_by(keeper, 0);
}

static void hear_question(struct keeper *keeper)
{
    struct kf_err err;

    if (kf_creds_desk_hear(&keeper->desk, &err) == 0)
        return;
    keep_failure(keeper, &err);
    kill_by(keeper, 0);
}

/* What the worker said before it ended: chiefly why. */
static void hear_last_words(struct keeper *keeper)
{
    struct kf_msg msg;
    struct kf_err err;

    while (keeper->channel >= 0 &&
           kf_channel_receive(keeper->channel, OF_WORKER, KF_NO_DEADLINE, &msg, NULL,
                              &err) > 0)
        if (msg.type == KF_MSG_LINE || msg.type == KF_MSG_FAIL)
            (void)handlers[msg.type](keeper, &msg, &err); /* these cannot fail */
    kf_close_fd(&keeper->channel);
    keeper->channel = -1;
}

/* ---- processes ---- */

static void reap(struct keeper *keeper)
{
    struct kf_err err;
    int status;

    if (keeper->worker == 0 ||
        waitpid(keeper->worker, &status, WNOHANG) != keeper->worker)
        return;
    keeper->worker = 0;
    hear_last_words(keeper);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || keeper->failed))
        return;
    if (keeper->leaving && keeper->ready)
        return; /* ended because readers did not let go */
    if (WIFSIGNALED(status))
        (void)kf_fail(&err, KF_E_IO, "the worker was ended by signal %d",
                      WTERMSIG(status));
    else
        (void)kf_fail(&err, KF_E_IO, "the worker ended with %d", WEXITSTATUS(status));
    kf_log(KF_LOG_ERROR, "fs", "event=worker-ended dir=%s error=%s", keeper->dir,
           err.message);
    keep_failure(keeper, &err);
}

static void hear_signal(struct keeper *keeper)
{
    struct signalfd_siginfo info;

    if (read(keeper->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo == SIGCHLD) {
        kf_creds_desk_reap(&keeper->desk);
        reap(keeper);
        return;
    }
    kf_log(KF_LOG_INFO, "fs", "event=signal number=%u", info.ssi_signo);
    if (!keeper->ready) {
        struct kf_err err;

        (void)kf_fail(&err, KF_E_CANCELLED, "interrupted");
        keep_failure(keeper, &err);
    }
    leave(keeper);
}

static void orphaned(struct keeper *keeper)
{
    struct kf_err err;

    (void)kf_fail(&err, KF_E_CANCELLED, "interrupted");
    keep_failure(keeper, &err);
    kf_close_fd(&keeper->up);
    keeper->up = -1;
    leave(keeper);
}

/* In the child: the other ends are the worker's. */
__attribute__((noreturn)) static void become_worker(struct keeper *keeper, int channel,
                                                    int creds)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    kf_close_fd(&keeper->up);
    kf_close_fd(&keeper->signals);
    kf_close_fd(&keeper->mounts);
    kf_close_fd(&keeper->channel);
    kf_close_fd(&keeper->desk.fd);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        _exit(1);
    _exit(kf_worker_main(keeper->opts, keeper->dir, channel, creds));
}

static int start_worker(struct keeper *keeper, struct kf_err *err)
{
    int ends[2], creds[2] = {-1, -1};

    if (kf_channel_pair(ends, err) != 0)
        return -1;
    keeper->channel = ends[0];
    kf_auto(kf_close_fd) int own = ends[1];
    if (keeper->opts->kit.net.creds && kf_channel_pair(creds, err) != 0)
        return -1;
    kf_creds_desk_init(&keeper->desk, keeper->opts->kit.net.creds, creds[0]);
    kf_auto(kf_close_fd) int own_creds = creds[1];
    keeper->worker = fork();
    if (keeper->worker == 0)
        become_worker(keeper, own, own_creds);
    if (keeper->worker < 0) {
        keeper->worker = 0;
        return kf_fail_errno(err, "cannot start the worker");
    }
    return 0;
}

/* ---- the loop ---- */

static int timeout_ms(const struct keeper *keeper)
{
    int64_t next_ns =
        keeper->kill_at_ns < keeper->look_at_ns ? keeper->kill_at_ns : keeper->look_at_ns;
    int64_t left_ns;

    if (next_ns == KF_NO_DEADLINE)
        return -1;
    left_ns = next_ns - kf_now_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / KF_NS_PER_MS) + 1;
}

static void wait_and_handle(struct keeper *keeper)
{
    bool settling = keeper->look_at_ns != KF_NO_DEADLINE;
    struct pollfd fds[POLL_COUNT] = {
        [POLL_SIGNALS] = {.fd = keeper->signals, .events = POLLIN},
        [POLL_CHANNEL] = {.fd = keeper->channel, .events = POLLIN},
        [POLL_CREDS] = {.fd = kf_creds_desk_fd(&keeper->desk), .events = POLLIN},
        [POLL_UP] = {.fd = keeper->up}, /* POLLHUP */
        [POLL_MOUNTS] = {.fd = settling ? -1 : keeper->mounts, .events = POLLPRI},
    };

    if (poll(fds, POLL_COUNT, timeout_ms(keeper)) < 0)
        return; /* EINTR; nothing else can happen to these */
    if (fds[POLL_SIGNALS].revents)
        hear_signal(keeper);
    if (fds[POLL_CHANNEL].revents && keeper->channel >= 0) /* reaping closes it */
        hear_worker(keeper);
    if (fds[POLL_CREDS].revents)
        hear_question(keeper);
    if (fds[POLL_UP].revents && keeper->up >= 0)
        orphaned(keeper);
    if (fds[POLL_MOUNTS].revents)
        keeper->look_at_ns = kf_deadline_ns(SETTLE_NS);
    if (kf_now_ns() >= keeper->look_at_ns)
        look_for_mount(keeper);
    if (kf_now_ns() >= keeper->kill_at_ns) {
        (void)kill(keeper->worker, SIGKILL); /* ours until it was waited for */
        keeper->kill_at_ns = KF_NO_DEADLINE;
    }
}

static int prepare(struct keeper *keeper, sigset_t *ret_before, struct kf_err *err)
{
    sigset_t watched;

    (void)signal(SIGCHLD, SIG_DFL); /* an ignored one would never be told */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&watched);
    (void)sigaddset(&watched, SIGCHLD);
    (void)sigaddset(&watched, SIGTERM);
    (void)sigaddset(&watched, SIGINT);
    (void)sigaddset(&watched, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &watched, ret_before) != 0)
        return kf_fail_errno(err, "cannot block signals");
    keeper->signals = signalfd(-1, &watched, SFD_CLOEXEC);
    if (keeper->signals < 0)
        return kf_fail_errno(err, "cannot watch signals");
    keeper->mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (keeper->mounts < 0)
        return kf_fail_errno(err, "cannot watch mounts");
    (void)prctl(PR_SET_NAME, "kitfs-keeper", 0, 0, 0); /* kf_umount knows it by that */
    return start_worker(keeper, err);
}

int kf_keeper_run(const struct kf_mount_opts *opts, const char *dir, int up,
                  struct kf_err *err)
{
    struct keeper keeper = {.opts = opts,
                            .dir = dir,
                            .channel = -1,
                            .up = up,
                            .desk.fd = -1,
                            .signals = -1,
                            .mounts = -1,
                            .device = -1,
                            .look_at_ns = KF_NO_DEADLINE,
                            .kill_at_ns = KF_NO_DEADLINE};
    struct kf_msg msg;
    struct kf_err failure;
    sigset_t before;

    (void)sigprocmask(SIG_BLOCK, NULL, &before); /* for a failure before it is set */
    if (prepare(&keeper, &before, &failure) != 0)
        keep_failure(&keeper, &failure);
    while (keeper.worker != 0)
        wait_and_handle(&keeper);
    kf_creds_desk_fini(&keeper.desk);
    detach(&keeper);
    if (keeper.failed) {
        kf_msg_fail(&msg, &keeper.failure);
        tell_up(&keeper, &msg);
    }
    kf_close_fd(&keeper.up);
    kf_close_fd(&keeper.channel);
    kf_close_fd(&keeper.signals);
    kf_close_fd(&keeper.mounts);
    kf_close_fd(&keeper.device);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    if (keeper.failed && err)
        *err = keeper.failure;
    return keeper.failed ? -1 : 0;
}
