#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct kind_row {
    const char *name;
    int reader_errno;
    int exit_code;
    int retry;
    const char *text;
};

static const struct kind_row rows[KF_ERR_KIND_COUNT] = {
#define KF_ERR_ROW(name, reader_errno, exit_code, retry, text) \
    [name] = {#name, reader_errno, exit_code, retry, text},
    KF_ERR_KINDS(KF_ERR_ROW)
#undef KF_ERR_ROW
};

static const struct kind_row *row_of(enum kf_err_kind kind)
{
    return &rows[(unsigned)kind < KF_ERR_KIND_COUNT ? kind : KF_E_IO];
}

static void fill(struct kf_err *err, enum kf_err_kind kind, int os_errno,
                 const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static void fill(struct kf_err *err, enum kf_err_kind kind, int os_errno,
                 const char *format, va_list args)
{
    err->kind = kind;
    err->os_errno = os_errno;
    (void)vsnprintf(err->message, sizeof(err->message), format, args); /* cut is fine */
    for (char *c = err->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

int kf_fail(struct kf_err *err, enum kf_err_kind kind, const char *format, ...)
{
    va_list args;

    if (!err)
        return -1;
    va_start(args, format);
    fill(err, kind, 0, format, args);
    va_end(args);
    return -1;
}

static enum kf_err_kind kind_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOENT:
    case ENOTDIR:
        return KF_E_NOTFOUND;
    case EACCES:
    case EPERM:
        return KF_E_REFUSED;
    case ENOMEM:
        return KF_E_NOMEM;
    case ETIMEDOUT:
        return KF_E_TIMEOUT;
    default:
        return KF_E_IO;
    }
}

int kf_fail_errno(struct kf_err *err, const char *format, ...)
{
    int os_errno = errno;
    char text[128];
    size_t used;
    va_list args;

    if (!err)
        return -1;
    va_start(args, format);
    fill(err, kind_of_errno(os_errno), os_errno, format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s",
                   strerror_r(os_errno, text, sizeof(text))); /* cut is fine */
    errno = os_errno;
    return -1;
}

int kf_fail_wrap(struct kf_err *err, const char *format, ...)
{
    char inner[KF_ERR_MESSAGE_SIZE];
    size_t used;
    va_list args;

    if (!err)
        return -1;
    memcpy(inner, err->message, sizeof(inner));
    va_start(args, format);
    fill(err, err->kind, err->os_errno, format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s",
                   inner); /* cut is fine */
    return -1;
}

void kf_err_clear(struct kf_err *err)
{
    memset(err, 0, sizeof(*err));
}

int kf_err_reader_errno(const struct kf_err *err)
{
    return row_of(err->kind)->reader_errno;
}

int kf_err_exit_code(const struct kf_err *err)
{
    return row_of(err->kind)->exit_code;
}

int kf_err_worth_retrying(enum kf_err_kind kind)
{
    return row_of(kind)->retry;
}

const char *kf_err_kind_name(enum kf_err_kind kind)
{
    return row_of(kind)->name;
}

const char *kf_err_kind_text(enum kf_err_kind kind)
{
    return row_of(kind)->text;
}
