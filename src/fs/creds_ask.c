#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fs/creds_channel.h"
#include "oci/creds.h"

#define ANSWER_SIZE (sizeof(struct kf_creds_answer) + KF_CREDS_ANSWER_LIMIT)

struct ask {
    struct kf_creds creds;
    int fd;
    uint32_t id; /* of whose turn it is */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool busy; /* somebody's turn */
    bool stopped;
};

static int stopped(struct kf_err *err)
{
    return kf_fail(err, KF_E_CANCELLED, "the keeper gives no credentials any more");
}

static int take_turn(struct ask *ask, int64_t deadline_ns, struct kf_err *err)
{
    int rc = 0;

    (void)pthread_mutex_lock(&ask->lock);
    while (ask->busy && !ask->stopped && rc == 0)
        rc = kf_cond_wait_until(&ask->cond, &ask->lock, deadline_ns);
    if (ask->stopped)
        rc = stopped(err);
    else if (rc != 0)
        rc = kf_fail(err, KF_E_TIMEOUT, "the keeper gives no credentials in time");
    else
        ask->busy = true;
    (void)pthread_mutex_unlock(&ask->lock);
    return rc;
}

static void leave_turn(struct ask *ask)
{
    (void)pthread_mutex_lock(&ask->lock);
    ask->busy = false;
    (void)pthread_cond_signal(&ask->cond);
    (void)pthread_mutex_unlock(&ask->lock);
}

static int send_question(struct ask *ask, const char *host, const char *repository,
                         struct kf_err *err)
{
    struct kf_creds_question question = {.id = ++ask->id};

    if (strlen(host) >= KF_CREDS_NAME_SIZE || strlen(repository) >= KF_CREDS_NAME_SIZE)
        return kf_fail(err, KF_E_LIMIT, "no credentials for a name of over %u bytes",
                       KF_CREDS_NAME_SIZE - 1);
    memcpy(question.host, host, strlen(host));
    memcpy(question.repository, repository, strlen(repository));
    if (send(ask->fd, &question, sizeof(question), MSG_NOSIGNAL) ==
        (ssize_t)sizeof(question))
        return 0;
    return stopped(err);
}

/* Its bytes; of one that was given up before, nothing but that it came. */
static ssize_t receive(struct ask *ask, struct kf_creds_answer *answer,
                       int64_t deadline_ns, struct kf_err *err)
{
    for (;;) {
        struct pollfd fd = {.fd = ask->fd, .events = POLLIN};
        int64_t left_ns = deadline_ns - kf_now_ns();
        ssize_t got;

        if (left_ns <= 0)
            return kf_fail(err, KF_E_TIMEOUT, "the keeper gives no credentials in time");
        if (poll(&fd, 1, (int)(left_ns / KF_NS_PER_MS) + 1) <= 0)
            continue;
        got = recv(ask->fd, answer, ANSWER_SIZE, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < (ssize_t)sizeof(*answer))
            return stopped(err);
        if (answer->id == ask->id)
            return got;
    }
}

static int take_part(char **ret, const char **at, size_t size, struct kf_err *err)
{
    if (size == 0)
        return 0;
    *ret = strndup(*at, size - 1);
    *at += size;
    return *ret ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

static int take_parts(struct kf_cred *cred, const struct kf_creds_answer *answer,
                      size_t size, struct kf_err *err)
{
    char **const parts[KF_CREDS_PART_COUNT] = {
        [KF_CREDS_USERNAME] = &cred->username,
        [KF_CREDS_PASSWORD] = &cred->password,
        [KF_CREDS_IDENTITY] = &cred->identity_token,
        [KF_CREDS_REGISTRY] = &cred->registry_token,
        [KF_CREDS_FROM] = &cred->from,
    };
    const char *at = answer->texts;
    size_t left = size - sizeof(*answer);

    for (size_t i = 0; i < KF_CREDS_PART_COUNT; i++) {
        if (answer->sizes[i] > left)
            return kf_fail(err, KF_E_MALFORMED, "the keeper's answer is cut off");
        left -= answer->sizes[i];
        if (take_part(parts[i], &at, answer->sizes[i], err) != 0)
            return -1;
    }
    return 0;
}

static int understand(struct kf_cred *ret, const struct kf_creds_answer *answer,
                      size_t size, struct kf_err *err)
{
    struct kf_cred cred = {0};

    if (answer->kind >= KF_ERR_KIND_COUNT)
        return kf_fail(err, KF_E_MALFORMED, "the keeper's answer has no such kind");
    if (answer->kind != KF_E_NONE) {
        (void)kf_fail(err, (enum kf_err_kind)answer->kind, "%.*s",
                      (int)sizeof(answer->text), answer->text);
        if (err)
            err->os_errno = answer->os_errno;
        return -1;
    }
    if (take_parts(&cred, answer, size, err) != 0) {
        kf_cred_fini(&cred);
        return -1;
    }
    *ret = cred;
    return 0;
}

static int find(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err)
{
    struct ask *ask = kf_container_of(creds, struct ask, creds);
    int64_t deadline_ns = kf_deadline_ns(KF_CREDS_WAIT_S * KF_NS_PER_S);
    struct kf_creds_answer *answer = malloc(ANSWER_SIZE);
    ssize_t got;
    int rc = -1;

    if (!answer)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (take_turn(ask, deadline_ns, err) == 0) {
        if (send_question(ask, host, repository ? repository : "", err) == 0 &&
            (got = receive(ask, answer, deadline_ns, err)) >= 0)
            rc = understand(ret, answer, (size_t)got, err);
        leave_turn(ask);
    }
    explicit_bzero(answer, ANSWER_SIZE);
    free(answer);
    return rc;
}

struct kf_creds *kf_creds_ask_new(int fd, struct kf_err *err)
{
    struct ask *ask = calloc(1, sizeof(*ask));

    if (!ask) {
        kf_close_fd(&fd);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for credentials"); /* NULL says it */
        return NULL;
    }
    ask->creds.find = find;
    ask->fd = fd;
    (void)pthread_mutex_init(&ask->lock, NULL); /* default attributes: cannot fail */
    (void)kf_cond_init(&ask->cond);
    return &ask->creds;
}

void kf_creds_ask_stop(struct kf_creds *creds)
{
    struct ask *ask = creds ? kf_container_of(creds, struct ask, creds) : NULL;

    if (!ask)
        return;
    (void)pthread_mutex_lock(&ask->lock);
    ask->stopped = true;
    (void)pthread_cond_broadcast(&ask->cond);
    (void)pthread_mutex_unlock(&ask->lock);
    (void)shutdown(ask->fd,
                   SHUT_RDWR); /* ends who waits; fails when the keeper is gone */
}

void kf_creds_ask_free(struct kf_creds *creds)
{
    struct ask *ask = creds ? kf_container_of(creds, struct ask, creds) : NULL;

    if (!ask)
        return;
    kf_close_fd(&ask->fd);
    (void)pthread_cond_destroy(&ask->cond);
    (void)pthread_mutex_destroy(&ask->lock);
    free(ask);
}
