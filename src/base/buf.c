#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define FIRST_CAPACITY 256u

void kf_buf_init(struct kf_buf *buf, size_t limit_bytes)
{
    *buf = (struct kf_buf){.limit = limit_bytes};
}

void kf_buf_fini(struct kf_buf *buf)
{
    free(buf->data);
    *buf = (struct kf_buf){.limit = buf->limit};
}

void kf_buf_clear(struct kf_buf *buf)
{
    buf->length = 0;
    if (buf->data)
        buf->data[0] = 0;
}

/* Room for `more` bytes and the NUL behind them. */
static int reserve(struct kf_buf *buf, size_t more, struct kf_err *err)
{
    size_t wanted, capacity;
    uint8_t *grown;

    if (more > buf->limit - buf->length)
        return kf_fail(err, KF_E_LIMIT, "more than %zu bytes", buf->limit);
    if (__builtin_add_overflow(buf->length, more, &wanted) ||
        __builtin_add_overflow(wanted, (size_t)1, &wanted))
        return kf_fail(err, KF_E_LIMIT, "more than %zu bytes", buf->limit);
    if (wanted <= buf->capacity)
        return 0;
    capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY;
    while (capacity < wanted)
        capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    if (buf->limit < SIZE_MAX && capacity > buf->limit + 1)
        capacity = buf->limit + 1;
    grown = realloc(buf->data, capacity);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu bytes", capacity);
    buf->data = grown;
    buf->capacity = capacity;
    return 0;
}

int kf_buf_append(struct kf_buf *buf, const void *data, size_t length, struct kf_err *err)
{
    if (reserve(buf, length, err) != 0)
        return -1;
    if (length > 0)
        memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    buf->data[buf->length] = 0;
    return 0;
}

int kf_buf_append_text(struct kf_buf *buf, const char *text, struct kf_err *err)
{
    return kf_buf_append(buf, text, strlen(text), err);
}

int kf_buf_printf(struct kf_buf *buf, struct kf_err *err, const char *format, ...)
{
    va_list args, again;
    int length;

    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || reserve(buf, (size_t)length, err) != 0) {
        va_end(again);
        return length < 0 ? kf_fail(err, KF_E_ARG, "cannot format text") : -1;
    }
    (void)vsnprintf((char *)buf->data + buf->length, (size_t)length + 1, format, again);
    va_end(again);
    buf->length += (size_t)length;
    return 0;
}

uint8_t *kf_buf_take(struct kf_buf *buf, size_t *ret_length)
{
    uint8_t *data = buf->data;

    if (ret_length)
        *ret_length = buf->length;
    *buf = (struct kf_buf){.limit = buf->limit};
    return data;
}
