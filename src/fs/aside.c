#include "fs/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* Whether there is something to read before the deadline. */
static bool readable(int fd, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int64_t left_ns = deadline_ns - kf_now_ns();
        int ready;

        if (left_ns <= 0)
            return false;
        ready = poll(&poll_fd, 1, (int)(left_ns / KF_NS_PER_MS) + 1);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

static void collect(int fd, int64_t deadline_ns, struct kf_buf *ret)
{
    char chunk[4096];

    while (readable(fd, deadline_ns)) {
        ssize_t got = read(fd, chunk, sizeof(chunk));

        if (got <= 0 || kf_buf_append(ret, chunk, (size_t)got, NULL) != 0)
            return;
    }
}

int kf_aside(void (*task)(const void *arg, int out), const void *arg, int64_t limit_ns,
             struct kf_buf *ret, struct kf_err *err)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return kf_fail_errno(err, "cannot make a pipe");
    child = fork();
    if (child == 0) {
        task(arg, ends[1]);
        _exit(0);
    }
    (void)close(ends[1]); /* a pipe: nothing to lose */
    kf_auto(kf_close_fd) int from = ends[0];
    if (child < 0)
        return kf_fail_errno(err, "cannot start a process");
    collect(from, kf_deadline_ns(limit_ns), ret);
    (void)kill(child, SIGKILL); /* it may have ended */
    /* A child that the kernel holds fast must not hold us: it is left to init. */
    for (int i = 0; i < 10 && waitpid(child, NULL, WNOHANG) == 0; i++)
        (void)usleep(10000);
    return 0;
}
