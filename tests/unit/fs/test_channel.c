#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "fs/channel.h"

static int ends[2];

static void init(void)
{
    cr_assert_eq(kf_channel_pair(ends, NULL), 0);
}

TestSuite(channel, .init = init, .timeout = 20);

static int receive(unsigned accepted, struct kf_msg *ret, int *ret_passed,
                   struct kf_err *err)
{
    return kf_channel_receive(ends[1], accepted, kf_deadline_ns(5 * KF_NS_PER_S), ret,
                              ret_passed, err);
}

/* Sends anything, with `count` descriptors. */
static void send_raw(const void *data, size_t length, const int *fds, size_t count)
{
    union {
        char bytes[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } control = {.bytes = {0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.align), fds, count * sizeof(int));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    cr_assert_eq(sendmsg(ends[0], &header, 0), (ssize_t)length);
}

static int lowest_free_fd(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

Test(channel, text_arrives)
{
    struct kf_msg msg, got;

    kf_msg_text(&msg, KF_MSG_LINE, "hello");
    cr_assert_eq(kf_channel_send(ends[0], &msg, -1, NULL), 0);
    cr_assert_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, NULL, NULL), 1);
    cr_expect_eq(got.type, KF_MSG_LINE);
    cr_expect_str_eq(got.text, "hello");
}

Test(channel, long_text_is_cut)
{
    char text[3000];
    struct kf_msg msg;

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    kf_msg_text(&msg, KF_MSG_LINE, text);
    cr_expect_eq(strlen(msg.text), KF_MSG_TEXT_SIZE - 1);
}

Test(channel, error_record_arrives)
{
    struct kf_msg msg, got;
    struct kf_err err, back;

    errno = EBUSY;
    (void)kf_fail_errno(&err, "no");
    kf_msg_fail(&msg, &err);
    cr_assert_eq(kf_channel_send(ends[0], &msg, -1, NULL), 0);
    cr_assert_eq(receive(KF_MSG_BIT(KF_MSG_FAIL), &got, NULL, NULL), 1);
    kf_msg_failure(&got, &back);
    cr_expect_eq(back.kind, err.kind);
    cr_expect_eq(back.os_errno, EBUSY);
    cr_expect_str_eq(back.message, err.message);
}

Test(channel, descriptor_arrives)
{
    struct kf_msg msg = {.type = KF_MSG_MOUNTED}, got;
    int pipe_ends[2], passed = -1;
    char byte = 0;

    cr_assert_eq(pipe(pipe_ends), 0);
    cr_assert_eq(kf_channel_send(ends[0], &msg, pipe_ends[1], NULL), 0);
    cr_assert_eq(receive(KF_MSG_BIT(KF_MSG_MOUNTED), &got, &passed, NULL), 1);
    cr_assert_geq(passed, 0);
    cr_expect(fcntl(passed, F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(write(passed, "x", 1), 1);
    cr_assert_eq(read(pipe_ends[0], &byte, 1), 1);
    cr_expect_eq(byte, 'x');
}

Test(channel, no_descriptor_is_minus_one)
{
    struct kf_msg msg = {.type = KF_MSG_MOUNTED}, got;
    int passed = 99;

    cr_assert_eq(kf_channel_send(ends[0], &msg, -1, NULL), 0);
    cr_assert_eq(receive(KF_MSG_BIT(KF_MSG_MOUNTED), &got, &passed, NULL), 1);
    cr_expect_eq(passed, -1);
}

Test(channel, unwanted_descriptors_are_closed)
{
    struct kf_msg msg, got;
    int fds[3] = {0, 1, 2}, passed = -1;
    int lowest = lowest_free_fd();

    kf_msg_text(&msg, KF_MSG_LINE, "");
    send_raw(&msg, sizeof(msg), fds, 1);
    cr_expect_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, NULL, NULL), 1);
    cr_expect_eq(lowest_free_fd(), lowest);
    send_raw(&msg, sizeof(msg), fds, 3);
    cr_expect_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, &passed, NULL), 1);
    cr_expect_eq(passed, lowest, "one is given, the others were not let in");
    close(passed);
    cr_expect_eq(lowest_free_fd(), lowest);
    send_raw("short", 5, fds, 1);
    cr_expect_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, &passed, NULL), -1);
    cr_expect_eq(lowest_free_fd(), lowest);
}

static void expect_malformed(const void *data, size_t length, const char *what)
{
    struct kf_msg got = {.number = 77};
    struct kf_err err = {0};

    send_raw(data, length, NULL, 0);
    cr_expect_eq(receive(~0u, &got, NULL, &err), -1, "%s", what);
    cr_expect_eq(err.kind, KF_E_MALFORMED, "%s", what);
    cr_expect_eq(got.number, 77, "%s: result untouched", what);
}

Test(channel, hostile_messages_are_refused)
{
    struct {
        struct kf_msg msg;
        char more;
    } big = {.msg = {.type = KF_MSG_LINE}};
    struct kf_msg msg = {.type = KF_MSG_LINE};

    expect_malformed(&msg, sizeof(msg) - 1, "short");
    expect_malformed(&big, sizeof(msg) + 1, "long");
    msg.type = KF_MSG_TYPE_COUNT;
    expect_malformed(&msg, sizeof(msg), "unknown type");
    msg.type = UINT32_MAX;
    expect_malformed(&msg, sizeof(msg), "huge type");
    msg = (struct kf_msg){.type = KF_MSG_LINE};
    memset(msg.text, 'x', sizeof(msg.text));
    expect_malformed(&msg, sizeof(msg), "endless text");
    msg = (struct kf_msg){.type = KF_MSG_FAIL, .kind = KF_ERR_KIND_COUNT};
    expect_malformed(&msg, sizeof(msg), "unknown kind");
    msg.kind = KF_E_NONE;
    expect_malformed(&msg, sizeof(msg), "failure without a kind");
    msg = (struct kf_msg){.type = KF_MSG_READY, .kind = KF_E_IO};
    expect_malformed(&msg, sizeof(msg), "kind without a failure");
}

Test(channel, only_accepted_types_come_through)
{
    struct kf_msg msg = {.type = KF_MSG_READY}, got;
    struct kf_err err = {0};

    cr_assert_eq(kf_channel_send(ends[0], &msg, -1, NULL), 0);
    cr_expect_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, NULL, &err), -1);
    cr_expect_eq(err.kind, KF_E_MALFORMED);
}

Test(channel, text_becomes_printable)
{
    struct kf_msg msg, got;

    kf_msg_text(&msg, KF_MSG_LINE,
                "a\033[2Jb\nc\x7f"
                "d\xc2\x9b"
                "e\xc3\xa4");
    cr_assert_eq(kf_channel_send(ends[0], &msg, -1, NULL), 0);
    cr_assert_eq(receive(KF_MSG_BIT(KF_MSG_LINE), &got, NULL, NULL), 1);
    cr_expect_str_eq(got.text, "a?[2Jb?c?d?\x9b"
                               "e\xc3\xa4");
}

Test(channel, absurd_errno_is_dropped)
{
    struct kf_msg msg = {.type = KF_MSG_FAIL, .kind = KF_E_IO, .number = UINT32_MAX};
    struct kf_err err;

    kf_msg_failure(&msg, &err);
    cr_expect_eq(err.os_errno, 0);
}

Test(channel, closed_end_and_deadline)
{
    struct kf_msg msg = {.type = KF_MSG_READY}, got;
    struct kf_err err = {0};

    cr_expect_eq(kf_channel_receive(ends[1], ~0u, kf_now_ns(), &got, NULL, &err), -1);
    cr_expect_eq(err.kind, KF_E_TIMEOUT);
    close(ends[0]);
    cr_expect_eq(receive(~0u, &got, NULL, &err), 0);
    cr_expect_eq(kf_channel_send(ends[1], &msg, -1, &err), -1, "and no SIGPIPE");
    cr_expect_eq(err.os_errno, EPIPE);
}
