#include "fs/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

int kf_channel_pair(int ret[2], struct kf_err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) != 0)
        return kf_fail_errno(err, "cannot make a channel");
    return 0;
}

int kf_channel_send(int fd, const struct kf_msg *msg, int passed, struct kf_err *err)
{
    union control control = {.bytes = {0}};
    struct kf_msg copy = *msg;
    struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (passed >= 0) {
        struct cmsghdr *part = &control.align;

        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &passed, sizeof(passed));
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof(control.bytes);
    }
    do
        sent = sendmsg(fd, &header, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return kf_fail_errno(err, "cannot send a message");
    return 0;
}

static int wait_readable(int fd, int64_t deadline_ns, struct kf_err *err)
{
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int timeout_ms = -1;

        if (deadline_ns != KF_NO_DEADLINE) {
            int64_t left_ns = deadline_ns - kf_now_ns();

            if (left_ns <= 0)
                return kf_fail(err, KF_E_TIMEOUT, "no answer in time");
            if (left_ns > KF_NS_PER_S) /* in steps: the clock may be a test's */
                left_ns = KF_NS_PER_S;
            timeout_ms = (int)((left_ns + KF_NS_PER_MS - 1) / KF_NS_PER_MS);
        }
        int ready = poll(&poll_fd, 1, timeout_ms);

        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return kf_fail_errno(err, "cannot wait for a message");
    }
}

/* The attached descriptor, or -1. */
static int attached(struct msghdr *header)
{
    int fd = -1;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part;
         part = CMSG_NXTHDR(header, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
            part->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    return fd;
}

/* No control characters: neither ASCII nor C1 as UTF-8 (0xc2 0x80 to 0xc2 0x9f). */
static void make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
            *c = '?';
}

static int check(struct kf_msg *msg, unsigned accepted, struct kf_err *err)
{
    if (msg->type >= KF_MSG_TYPE_COUNT || !(accepted & KF_MSG_BIT(msg->type)))
        return kf_fail(err, KF_E_MALFORMED, "unexpected message %u", msg->type);
    if (!memchr(msg->text, '\0', sizeof(msg->text)))
        return kf_fail(err, KF_E_MALFORMED, "message %u has endless text", msg->type);
    if (msg->kind >= KF_ERR_KIND_COUNT ||
        (msg->type == KF_MSG_FAIL) != (msg->kind != KF_E_NONE))
        return kf_fail(err, KF_E_MALFORMED, "message %u has no such kind %u", msg->type,
                       msg->kind);
    make_printable(msg->text);
    return 0;
}

int kf_channel_receive(int fd, unsigned accepted, int64_t deadline_ns, struct kf_msg *ret,
                       int *ret_passed, struct kf_err *err)
{
    union control control;
    struct kf_msg msg;
    struct iovec iov = {.iov_base = &msg, .iov_len = sizeof(msg)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen =
                                CMSG_LEN(sizeof(int))}; /* not a second one */
    ssize_t got;

    if (wait_readable(fd, deadline_ns, err) != 0)
        return -1;
    do
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return 0;
    if (got < 0)
        return kf_fail_errno(err, "cannot receive a message");

    kf_auto(kf_close_fd) int passed = attached(&header);
    if (got != (ssize_t)sizeof(msg) || (header.msg_flags & MSG_TRUNC) != 0)
        return kf_fail(err, KF_E_MALFORMED, "message of a wrong size");
    if (check(&msg, accepted, err) != 0)
        return -1;
    *ret = msg;
    if (ret_passed) {
        *ret_passed = passed;
        passed = -1;
    }
    return 1;
}

void kf_msg_text(struct kf_msg *ret, enum kf_msg_type type, const char *text)
{
    *ret = (struct kf_msg){.type = type};
    (void)snprintf(ret->text, sizeof(ret->text), "%s", text); /* cut is fine */
}

void kf_msg_fail(struct kf_msg *ret, const struct kf_err *failure)
{
    kf_msg_text(ret, KF_MSG_FAIL, failure->message);
    ret->kind = failure->kind;
    ret->number = (uint32_t)failure->os_errno;
}

void kf_msg_failure(const struct kf_msg *msg, struct kf_err *ret)
{
    (void)kf_fail(ret, (enum kf_err_kind)msg->kind, "%s", msg->text);
    if (ret)
        ret->os_errno = msg->number < 4096 ? (int)msg->number : 0;
}
