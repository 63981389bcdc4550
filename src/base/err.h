/*
 * The error record: what failed, how, and what each audience is told about it.
 *
 * Owned by the caller, on its stack; nothing here allocates. A function that can fail for
 * more than one reason takes `struct kf_err *err` last, returns 0 (or a count) on success
 * and -1 with the record filled exactly once on failure. A NULL record is allowed: the
 * caller then only learns that it failed.
 *
 * Messages: no capital, no full stop; what failed, subject in single quotes, cause.
 * Callers branch on the kind, never on text. Any thread; a record belongs to one at a
 * time.
 */
#ifndef KF_BASE_ERR_H
#define KF_BASE_ERR_H

#include <errno.h>

/* One row a kind: name, errno shown to a reader of the mount, exit code, worth retrying,
 * plain meaning. Everything else about kinds is generated from this table. */
#define KF_ERR_KINDS(X)                                                     \
    X(KF_E_NONE, 0, 0, 0, "no error")                                       \
    X(KF_E_NOMEM, ENOMEM, 1, 0, "out of memory")                            \
    X(KF_E_IO, EIO, 1, 0, "local input or output failed")                   \
    X(KF_E_ARG, EINVAL, 1, 0, "bad argument")                               \
    X(KF_E_NOTFOUND, ENOENT, 1, 0, "not found")                             \
    X(KF_E_REFUSED, EACCES, 1, 0, "access refused")                         \
    X(KF_E_CREDENTIALS, EACCES, 1, 0, "credentials not accepted")           \
    X(KF_E_UNREACHABLE, ETIMEDOUT, 1, 1, "cannot be reached")               \
    X(KF_E_TIMEOUT, ETIMEDOUT, 1, 1, "timed out")                           \
    X(KF_E_CORRUPT, EIO, 1, 0, "content differs from its digest or length") \
    X(KF_E_MALFORMED, EIO, 1, 0, "malformed")                               \
    X(KF_E_LIMIT, EIO, 1, 0, "over a limit")                                \
    X(KF_E_UNSUPPORTED, ENOTSUP, 1, 0, "not supported")                     \
    X(KF_E_CANCELLED, EINTR, 1, 0, "cancelled")

enum kf_err_kind {
#define KF_ERR_ENUM(name, reader_errno, exit_code, retry, text) name,
    KF_ERR_KINDS(KF_ERR_ENUM)
#undef KF_ERR_ENUM
        KF_ERR_KIND_COUNT
};

#define KF_ERR_MESSAGE_SIZE 512

struct kf_err {
    enum kf_err_kind kind;
    int os_errno; /* 0 when no system call failed */
    char message[KF_ERR_MESSAGE_SIZE];
};

/* Fills the record; a longer message is cut, and a control character (a stranger's name
 * may hold some) becomes '?'. Always returns -1, so failing is one line. */
int kf_fail(struct kf_err *err, enum kf_err_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from errno: the kind follows it (ENOENT, ENOTDIR: not found; EACCES, EPERM:
 * refused; ENOMEM: no memory; ETIMEDOUT: timed out; else local I/O) and its text is
 * appended. */
int kf_fail_errno(struct kf_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts the outer subject in front: "subject: message". Kind and errno stay. */
int kf_fail_wrap(struct kf_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void kf_err_clear(struct kf_err *err);

int kf_err_reader_errno(const struct kf_err *err); /* positive errno for a reader */
int kf_err_exit_code(const struct kf_err *err);
int kf_err_worth_retrying(enum kf_err_kind kind);
const char *kf_err_kind_name(enum kf_err_kind kind); /* static; "KF_E_..." */
const char *kf_err_kind_text(enum kf_err_kind kind); /* static; the plain meaning */

#endif
