/*
 * Messages between keeper, worker and the command that waits for the mount: one
 * fixed-size record each, over a SOCK_SEQPACKET pair, with at most one descriptor
 * attached. The worker parses foreign data, so whoever receives distrusts: the size must
 * be exact, the type one of those accepted now, text terminated, error kinds known; a
 * descriptor that was not expected is closed. Text is flattened to printable characters
 * on receipt, so that it can be shown on a terminal.
 *
 * The calls block; one thread a side at a time.
 */
#ifndef KF_FS_CHANNEL_H
#define KF_FS_CHANNEL_H

#include <stdint.h>

struct kf_err;

#define KF_MSG_TEXT_SIZE 1024u

/* name, who to whom, meaning of `number`, of `text` */
enum kf_msg_type {
    KF_MSG_LINE = 1,  /* worker -> keeper -> command: - , a line for people */
    KF_MSG_FAIL,      /* worker -> keeper -> command: errno, the error's message */
    KF_MSG_OPENED,    /* worker -> keeper: - , fsname; please mount */
    KF_MSG_MOUNTED,   /* keeper -> worker: - , - ; carries /dev/fuse */
    KF_MSG_READAHEAD, /* worker -> keeper: wanted KiB; the answer: KiB in effect */
    KF_MSG_READY,     /* worker -> keeper -> command: the mount can be read */
    KF_MSG_PROGRESS,  /* worker -> keeper -> command: - , how far it has come */
    KF_MSG_DETACHED,  /* keeper -> worker: no path leads to the mount any more */
    KF_MSG_CLOSED,    /* worker -> keeper: at most its disk has still to do */
    KF_MSG_TYPE_COUNT
};
#define KF_MSG_BIT(type) (1u << (type))

struct kf_msg {
    uint32_t type;   /* enum kf_msg_type */
    uint32_t kind;   /* FAIL: enum kf_err_kind; else 0 */
    uint32_t number; /* see above */
    char text[KF_MSG_TEXT_SIZE];
};

/* Both ends close-on-exec. */
int kf_channel_pair(int ret[2], struct kf_err *err);

/* `passed` is a descriptor to attach, or -1; it stays the caller's. A closed other end is
 * KF_E_IO with EPIPE, never SIGPIPE. */
int kf_channel_send(int fd, const struct kf_msg *msg, int passed, struct kf_err *err);

/* The next message: 1; 0 when the other end is closed; -1 on failure (KF_E_TIMEOUT at the
 * deadline, KF_E_MALFORMED for what must not come). `accepted` is a set of KF_MSG_BIT.
 * `ret_passed` may be NULL: no descriptor is wanted; else it gets one, or -1. */
int kf_channel_receive(int fd, unsigned accepted, int64_t deadline_ns, struct kf_msg *ret,
                       int *ret_passed, struct kf_err *err);

/* A message of text (cut if too long), of an error record; and the record back. */
void kf_msg_text(struct kf_msg *ret, enum kf_msg_type type, const char *text);
void kf_msg_fail(struct kf_msg *ret, const struct kf_err *failure);
void kf_msg_failure(const struct kf_msg *msg, struct kf_err *ret);

#endif
