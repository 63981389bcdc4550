#include "fs/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/fuse.h"
#include "fs/ops.h"
#include "fs/view.h"
#include "fs/wire.h"

#define MIN_THREADS 4
#define MAX_THREADS 16

struct kf_session {
    struct fuse_session *fuse;
    struct kf_view *view;
    uint32_t readahead_kib;
    kf_set_readahead *set_readahead;
    void *arg;
    /* Of the answer to INIT; constant once it was sent, before other threads exist. */
    uint64_t init_unique;
    bool init_seen;
    bool init_answered;
};

/* libfuse hands its hooks the session's user data, which is the view; there is one
 * session in a worker. */
static struct kf_session *the_session;

static ssize_t read_hook(int fd, void *data, size_t length, void *userdata)
{
    struct kf_session *session = the_session;
    ssize_t got = read(fd, data, length);

    if (!session->init_seen && got > 0)
        session->init_seen =
            kf_wire_init_request(data, (size_t)got, &session->init_unique);
    return got;
}

static ssize_t answer_init(struct kf_session *session, int fd, const struct iovec *parts)
{
    uint8_t body[KF_WIRE_INIT_OUT_MAX];
    struct iovec edited[2] = {parts[0], {.iov_base = body, .iov_len = parts[1].iov_len}};
    struct kf_view *view = session->view;
    ssize_t sent;

    view->readahead_kib = session->set_readahead(session->arg, session->readahead_kib);
    memcpy(body, parts[1].iov_base, parts[1].iov_len);
    if (!kf_wire_init_set_readahead(body, parts[1].iov_len, session->readahead_kib << 10))
        return writev(fd, parts, 2);
    sent = writev(fd, edited, 2);
    session->init_answered = sent >= 0;
    return sent;
}

static ssize_t writev_hook(int fd, struct iovec *parts, int count, void *userdata)
{
    struct kf_session *session = the_session;

    if (session->init_seen && !session->init_answered && count == 2 &&
        parts[1].iov_len <= KF_WIRE_INIT_OUT_MAX &&
        kf_wire_reply_ok(parts[0].iov_base, parts[0].iov_len, session->init_unique))
        return answer_init(session, fd, parts);
    return writev(fd, parts, count);
}

__attribute__((format(printf, 2, 0))) static void
log_of_fuse(enum fuse_log_level level, const char *format, va_list args)
{
    char text[512];

    (void)vsnprintf(text, sizeof(text), format, args); /* cut is fine */
    text[strcspn(text, "\n")] = '\0';
    kf_log(level <= FUSE_LOG_WARNING ? KF_LOG_WARN : KF_LOG_DEBUG, "fs",
           "event=libfuse message=%s", text);
}

static int handle_init(struct kf_session *session, struct kf_err *err)
{
    struct fuse_buf request = {.mem = NULL};
    int got = 0;

    while (!session->init_answered && !fuse_session_exited(session->fuse)) {
        got = fuse_session_receive_buf(session->fuse, &request);
        if (got > 0)
            fuse_session_process_buf(session->fuse, &request);
        else if (got != -EINTR)
            break;
    }
    free(request.mem);
    if (session->init_answered)
        return 0;
    errno = got < 0 ? -got : EPROTO;
    return kf_fail_errno(err, "the kernel does not begin the session");
}

int kf_session_open(struct kf_session **ret, int device, struct kf_view *view,
                    uint32_t readahead_kib, kf_set_readahead *set_readahead, void *arg,
                    struct kf_err *err)
{
    static const struct fuse_custom_io hooks = {.read = read_hook, .writev = writev_hook};
    char name[] = "kitfs";
    char *arguments[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, arguments);
    kf_auto(kf_close_fd) int fd = device;
    struct kf_session *session = calloc(1, sizeof(*session));

    if (!session)
        return kf_fail(err, KF_E_NOMEM, "no memory for a session");
    *session = (struct kf_session){.view = view,
                                   .readahead_kib = readahead_kib,
                                   .set_readahead = set_readahead,
                                   .arg = arg};
    the_session = session;
    fuse_set_log_func(log_of_fuse);
    session->fuse = fuse_session_new(&args, &kf_ops, sizeof(kf_ops), view);
    if (!session->fuse || fuse_session_custom_io(session->fuse, &hooks, fd) != 0) {
        kf_session_close(session);
        return kf_fail(err, KF_E_NOMEM, "cannot make a session");
    }
    fd = -1; /* the session's now */
    if (handle_init(session, err) != 0) {
        kf_session_close(session);
        return -1;
    }
    *ret = session;
    return 0;
}

int kf_session_serve(struct kf_session *session, struct kf_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int rc;

    if (!config)
        return kf_fail(err, KF_E_NOMEM, "no memory to serve");
    if (cores < MIN_THREADS)
        cores = MIN_THREADS;
    if (cores > MAX_THREADS)
        cores = MAX_THREADS;
    fuse_loop_cfg_set_max_threads(config, (unsigned)cores);
    fuse_loop_cfg_set_clone_fd(config, 0);
    rc = fuse_session_loop_mt(session->fuse, config);
    fuse_loop_cfg_destroy(config);
    if (rc == 0)
        return 0;
    errno = rc < 0 ? -rc : EINTR;
    return kf_fail_errno(err, "cannot serve the mount");
}

void kf_session_close(struct kf_session *session)
{
    if (!session)
        return;
    if (session->fuse)
        fuse_session_destroy(session->fuse);
    the_session = NULL;
    free(session);
}
