#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "fs/mount.h"
#include "fs/mountinfo.h"
#include "fs/mountpoint.h"
#include "fs/proc.h"
#include "fs/status.h"

#define LOOK_NS KF_NS_PER_S           /* for status.json, which may hang */
#define END_NS (5 * KF_NS_PER_S)      /* for keeper and worker to end by themselves */
#define LAZY_NS (3 * KF_NS_PER_S / 2) /* the same when files may still be open */
#define REST_NS (KF_NS_PER_S / 2)     /* for a worker that its keeper waits for no more */
#define SIGNAL_NS (8 * KF_NS_PER_S)   /* the same after a signal */

/* A process that serves the mount, held by descriptor: its number may become another's.
 */
struct server {
    int pidfd; /* -1: not known */
};

/* Only a process that bears the name of ours: the status may be a kit's own file. */
static struct server hold(pid_t pid, const char *name)
{
    struct server server = {.pidfd = (int)syscall(SYS_pidfd_open, pid, 0)};
    char actual[16];

    if (server.pidfd >= 0 && (!kf_proc_name(pid, actual) || strcmp(actual, name) != 0)) {
        kf_close_fd(&server.pidfd);
        server.pidfd = -1;
    }
    return server;
}

static void find_servers(const char *dir, struct server *ret_keeper,
                         struct server *ret_worker)
{
    kf_auto(kf_buf_fini) struct kf_buf text;
    pid_t keeper, worker;

    ret_keeper->pidfd = ret_worker->pidfd = -1;
    kf_buf_init(&text, KF_STATUS_LIMIT);
    if (kf_status_ask(dir, LOOK_NS, &text, NULL) != 0 ||
        kf_status_pids((const char *)text.data, text.length, &keeper, &worker, NULL) != 0)
        return; /* then nobody is waited for */
    *ret_keeper = hold(keeper, "kitfs-keeper");
    *ret_worker = hold(worker, "kitfs-worker");
}

static bool ended(struct server server, int64_t deadline_ns)
{
    struct pollfd poll_fd = {.fd = server.pidfd, .events = POLLIN};
    int64_t left_ns;

    if (server.pidfd < 0)
        return true;
    do {
        left_ns = deadline_ns - kf_now_ns();
        if (left_ns < 0)
            left_ns = 0;
        if (poll(&poll_fd, 1, (int)((left_ns + KF_NS_PER_MS - 1) / KF_NS_PER_MS)) > 0)
            return true;
    } while (left_ns > 0);
    return false;
}

/* Ends the connection: requests fail, mappings too. The kernel's own forced unmount does
 * both at once; users have the file in /sys that is theirs. */
static int abort_connection(const char *path, const struct kf_mount_point *point,
                            struct kf_err *err)
{
    char control[64];

    if (umount2(path, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        return 0;
    (void)snprintf(control, sizeof(control), "/sys/fs/fuse/connections/%u/abort",
                   point->minor); /* fits */
    kf_auto(kf_close_fd) int fd = open(control, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return kf_fail_errno(err, "cannot abort the connection: '%s'", control);
    return kf_write_all(fd, "1", 1, err);
}

static bool is_there(const char *path, const struct kf_mount_point *point)
{
    struct kf_mount_point top;

    return kf_mount_at(path, &top, NULL) == 1 && top.major == point->major &&
           top.minor == point->minor;
}

static int detach(const char *path, const struct kf_mount_point *point, bool lazy,
                  struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf users;

    kf_buf_init(&users, KF_ERR_MESSAGE_SIZE);
    if (!is_there(path, point)) /* aborting did it, or its keeper */
        return 0;
    if (kf_mountpoint_unmount(path, lazy, err) == 0 || !is_there(path, point))
        return 0;
    if (!err || err->os_errno != EBUSY || kf_proc_users(path, &users, NULL) != 0)
        return -1;
    (void)kf_fail(err, KF_E_IO, "used by %s",
                  users.length > 0 ? (const char *)users.data : "somebody");
    err->os_errno = EBUSY;
    return -1;
}

static int find_mount(const char *dir, char **ret_path, struct kf_mount_point *ret,
                      struct kf_err *err)
{
    kf_auto(kf_free) char *path = kf_mountpoint_resolve(dir, err);
    int found = path ? kf_mount_at(path, ret, err) : -1;

    if (found == 0) { /* perhaps the last part is a link: only now, since it may hang */
        free(path);
        path = realpath(dir, NULL);
        found = path ? kf_mount_at(path, ret, err) : 0;
    }
    if (found < 0)
        return -1;
    if (found == 0 || strcmp(ret->type, KF_MOUNT_TYPE) != 0)
        return kf_fail(err, KF_E_ARG, "'%s' is no mount of kitfs", dir);
    *ret_path = kf_steal(path);
    return 0;
}

int kf_umount(const char *dir, bool lazy, bool abort_connection_first, struct kf_err *err)
{
    struct kf_mount_point point;
    struct server keeper, worker;
    kf_auto(kf_free) char *path = NULL;
    int rc = 0;

    if (find_mount(dir, &path, &point, err) != 0)
        return -1;
    find_servers(path, &keeper, &worker);
    if (abort_connection_first)
        rc = abort_connection(path, &point, err);
    if (rc == 0)
        rc = detach(path, &point, lazy || abort_connection_first, err);
    if (rc == 0) {
        int64_t deadline_ns = kf_deadline_ns(lazy ? LAZY_NS : END_NS);
        bool has_keeper = keeper.pidfd >= 0;

        /* A lazily detached mount is served as long as somebody reads. Else a copy in
         * another mount namespace may keep it alive: the keeper must be told. */
        if (!ended(keeper, deadline_ns) && !lazy) {
            (void)syscall(SYS_pidfd_send_signal, keeper.pidfd, SIGTERM, NULL, 0);
            deadline_ns = kf_deadline_ns(SIGNAL_NS);
            (void)ended(keeper, deadline_ns);
        }
        if (has_keeper && ended(keeper, 0))
            (void)ended(worker, kf_deadline_ns(REST_NS)); /* a busy disk may hold it */
        else if (!ended(worker, deadline_ns) && !lazy)
            rc = kf_fail(err, KF_E_TIMEOUT, "unmounted, but the worker does not end");
    }
    kf_close_fd(&keeper.pidfd);
    kf_close_fd(&worker.pidfd);
    return rc;
}
