#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/creds_channel.h"
#include "oci/creds.h"

#define MINUTE_NS (60 * KF_NS_PER_S)
#define BUFFER_BYTES (2 * KF_CREDS_ANSWER_LIMIT) /* of the socket: an answer fits */
#define CHILD_FD 3

void kf_creds_desk_init(struct kf_creds_desk *desk, struct kf_creds *creds, int fd)
{
    const int size = BUFFER_BYTES;

    *desk = (struct kf_creds_desk){.creds = creds, .fd = fd};
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); /* may do so */
}

void kf_creds_desk_fini(struct kf_creds_desk *desk)
{
    if (desk->child > 0) {
        (void)kill(desk->child, SIGKILL); /* ours until it was waited for */
        (void)waitpid(desk->child, NULL, 0);
    }
    desk->child = 0;
    kf_close_fd(&desk->fd);
    desk->fd = -1;
}

int kf_creds_desk_fd(const struct kf_creds_desk *desk)
{
    return desk->child > 0 ? -1 : desk->fd;
}

/* ---- answers ----------------------------------------------------------------------- */

/* Of the keeper itself, who does not wait: a worker that leaves answers lie gets none. */
static void send_failure(int fd, uint32_t id, const struct kf_err *failure)
{
    struct kf_creds_answer answer = {
        .id = id, .kind = failure->kind, .os_errno = failure->os_errno};

    (void)snprintf(answer.text, sizeof(answer.text), "%s", failure->message); /* cut */
    (void)send(fd, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int send_cred(int fd, uint32_t id, const struct kf_cred *cred, struct kf_err *err)
{
    const char *const parts[KF_CREDS_PART_COUNT] = {
        [KF_CREDS_USERNAME] = cred->username,
        [KF_CREDS_PASSWORD] = cred->password,
        [KF_CREDS_IDENTITY] = cred->identity_token,
        [KF_CREDS_REGISTRY] = cred->registry_token,
        [KF_CREDS_FROM] = cred->from,
    };
    struct kf_creds_answer *answer = calloc(1, sizeof(*answer) + KF_CREDS_ANSWER_LIMIT);
    size_t length = 0;

    if (!answer)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    answer->id = id;
    for (size_t i = 0; i < KF_CREDS_PART_COUNT; i++) {
        size_t size = parts[i] ? strlen(parts[i]) + 1 : 0;

        if (size > KF_CREDS_ANSWER_LIMIT - length) {
            free(answer);
            return kf_fail(err, KF_E_LIMIT, "'%s' gives credentials of over %u bytes",
                           cred->from, KF_CREDS_ANSWER_LIMIT);
        }
        if (size > 0)
            memcpy(answer->texts + length, parts[i], size);
        answer->sizes[i] = (uint32_t)size;
        length += size;
    }
    (void)send(fd, answer, sizeof(*answer) + length, MSG_NOSIGNAL); /* none: no matter */
    explicit_bzero(answer, sizeof(*answer) + length);
    free(answer);
    return 0;
}

/* The child: nothing of the keeper's but the socket, and no trace when it is over. */
__attribute__((noreturn)) static void
answer_and_end(struct kf_creds *creds, int fd, const struct kf_creds_question *asked)
{
    struct kf_cred cred = {0};
    struct kf_err err = {0};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "kitfs-creds", 0, 0, 0); /* a name: for people */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(KF_CREDS_CHILD_S);
    if (fd != CHILD_FD && dup3(fd, CHILD_FD, O_CLOEXEC) < 0)
        _exit(1);
    closefrom(CHILD_FD + 1); /* /dev/fuse, and who waits for the mount */
    if (creds->find(creds, asked->host, *asked->repository ? asked->repository : NULL,
                    &cred, &err) != 0 ||
        send_cred(CHILD_FD, asked->id, &cred, &err) != 0)
        send_failure(CHILD_FD, asked->id, &err);
    _exit(0);
}

/* ---- questions --------------------------------------------------------------------- */

static bool is_name(const char *text, const char *marks)
{
    for (; *text; text++)
        if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
            !(*text >= '0' && *text <= '9') && !strchr(marks, *text))
            return false;
    return true;
}

static int check_form(const struct kf_creds_question *asked, size_t size,
                      struct kf_err *err)
{
    if (size == sizeof(*asked) && memchr(asked->host, '\0', sizeof(asked->host)) &&
        memchr(asked->repository, '\0', sizeof(asked->repository)))
        return 0;
    return kf_fail(err, KF_E_MALFORMED, "the worker's question is none");
}

static int check_names(const struct kf_creds_question *asked, struct kf_err *err)
{
    if (*asked->host && is_name(asked->host, "._-:[]%") &&
        is_name(asked->repository, "._-/"))
        return 0;
    return kf_fail(err, KF_E_ARG, "there are no credentials for such a name");
}

static int check_often(struct kf_creds_desk *desk, struct kf_err *err)
{
    int64_t now_ns = kf_now_ns();

    if (desk->minute_ns == 0 || now_ns - desk->minute_ns >= MINUTE_NS) {
        desk->minute_ns = now_ns;
        desk->count = 0;
    }
    if (desk->count == KF_CREDS_A_MINUTE)
        return kf_fail(err, KF_E_LIMIT,
                       "credentials are asked for over %u times a minute",
                       KF_CREDS_A_MINUTE);
    desk->count++;
    return 0;
}

/* A worker that a stranger took over cannot ask for everything that there is. */
static int check_host(struct kf_creds_desk *desk, const char *host, struct kf_err *err)
{
    for (unsigned i = 0; i < desk->host_count; i++)
        if (strcasecmp(desk->hosts[i], host) == 0)
            return 0;
    if (desk->host_count == KF_CREDS_HOSTS)
        return kf_fail(err, KF_E_LIMIT, "credentials are asked for of over %u hosts",
                       KF_CREDS_HOSTS);
    memcpy(desk->hosts[desk->host_count++], host, strlen(host) + 1);
    kf_log(KF_LOG_INFO, "fs", "event=credentials host=%s", host);
    return 0;
}

static int start_child(struct kf_creds_desk *desk, const struct kf_creds_question *asked,
                       struct kf_err *err)
{
    desk->id = asked->id;
    desk->child = fork();
    if (desk->child == 0)
        answer_and_end(desk->creds, desk->fd, asked);
    if (desk->child > 0)
        return 0;
    desk->child = 0;
    return kf_fail_errno(err, "cannot look for credentials");
}

int kf_creds_desk_hear(struct kf_creds_desk *desk, struct kf_err *err)
{
    struct kf_creds_question asked;
    struct kf_err failure = {0};
    ssize_t got = recv(desk->fd, &asked, sizeof(asked), MSG_DONTWAIT | MSG_TRUNC);

    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0) { /* the worker is closing down */
        kf_close_fd(&desk->fd);
        desk->fd = -1;
        return 0;
    }
    if (check_form(&asked, (size_t)got, err) != 0)
        return -1;
    if (check_often(desk, &failure) != 0 || check_names(&asked, &failure) != 0 ||
        check_host(desk, asked.host, &failure) != 0 ||
        start_child(desk, &asked, &failure) != 0)
        send_failure(desk->fd, asked.id, &failure);
    return 0;
}

void kf_creds_desk_reap(struct kf_creds_desk *desk)
{
    struct kf_err err;
    int status;

    if (desk->child <= 0 || waitpid(desk->child, &status, WNOHANG) != desk->child)
        return;
    desk->child = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    (void)kf_fail(&err, KF_E_IO, "looking for credentials took too long, or broke down");
    if (desk->fd >= 0)
        send_failure(desk->fd, desk->id, &err);
}
