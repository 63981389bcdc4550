/*
 * Credentials for the worker. It parses what strangers send, so the user's files and
 * helper programs are not for it: it asks the keeper, over a pair of sockets of their
 * own, one question at a time. The keeper looks at the question alone (a host and a
 * repository, as they are written in references; so many a minute, about so many hosts)
 * and has a child of its own find the answer and send it, so that its loop never waits
 * and no secret is ever in its memory.
 */
#ifndef KF_FS_CREDS_CHANNEL_H
#define KF_FS_CREDS_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

struct kf_creds;
struct kf_err;

#define KF_CREDS_NAME_SIZE 256u
#define KF_CREDS_TEXT_SIZE 512u
#define KF_CREDS_ANSWER_LIMIT (160u << 10) /* bytes of all texts of an answer */
#define KF_CREDS_A_MINUTE 120u
#define KF_CREDS_HOSTS 32u    /* in the life of a mount */
#define KF_CREDS_CHILD_S 60u  /* a child that takes longer is ended */
#define KF_CREDS_WAIT_S (70u) /* and the worker waits no longer */

enum kf_creds_part {
    KF_CREDS_USERNAME,
    KF_CREDS_PASSWORD,
    KF_CREDS_IDENTITY,
    KF_CREDS_REGISTRY,
    KF_CREDS_FROM,
    KF_CREDS_PART_COUNT
};

struct kf_creds_question {
    uint32_t id; /* of the answer to it, too */
    char host[KF_CREDS_NAME_SIZE], repository[KF_CREDS_NAME_SIZE];
};

struct kf_creds_answer {
    uint32_t id;
    uint32_t kind; /* enum kf_err_kind */
    int32_t os_errno;
    char text[KF_CREDS_TEXT_SIZE]; /* the error's */
    uint32_t
        sizes[KF_CREDS_PART_COUNT]; /* with their NUL, one behind the other; 0: NULL */
    char texts[];
};

/* ---- the worker's side (fs/creds_ask.c) ---- */

/* Takes `fd`, also on failure, which is NULL. Its `find` may be called on any thread. */
struct kf_creds *kf_creds_ask_new(int fd, struct kf_err *err);
/* Whoever waits, and who comes later, fails with KF_E_CANCELLED. NULL is fine. */
void kf_creds_ask_stop(struct kf_creds *creds);
void kf_creds_ask_free(struct kf_creds *creds); /* nobody asks any more */

/* ---- the keeper's side (fs/creds_desk.c): one thread ---- */

struct kf_creds_desk {
    struct kf_creds *creds; /* borrowed */
    int fd;                 /* -1: nobody asks */
    pid_t child;            /* 0: none; it answers `id` */
    uint32_t id;
    int64_t minute_ns; /* when this one began */
    unsigned count;    /* in it */
    unsigned host_count;
    char hosts[KF_CREDS_HOSTS][KF_CREDS_NAME_SIZE];
};

/* Takes `fd`, which may be -1. */
void kf_creds_desk_init(struct kf_creds_desk *desk, struct kf_creds *creds, int fd);
void kf_creds_desk_fini(struct kf_creds_desk *desk); /* ends the child */
/* What to poll for POLLIN now; -1: nothing. */
int kf_creds_desk_fd(const struct kf_creds_desk *desk);
/* One question. KF_E_MALFORMED: it has not the form of one. */
int kf_creds_desk_hear(struct kf_creds_desk *desk, struct kf_err *err);
void kf_creds_desk_reap(struct kf_creds_desk *desk); /* after SIGCHLD */

#endif
