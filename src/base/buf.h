/*
 * Growing bytes with a ceiling: there is no unlimited form. Plain data, embedded; one
 * thread. `data` is always NUL-terminated beyond `length` once anything was appended, so
 * a buffer of text can be printed. Appending over the limit fails with KF_E_LIMIT and
 * leaves the content as it was.
 */
#ifndef KF_BASE_BUF_H
#define KF_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;

struct kf_buf {
    uint8_t *data; /* NULL while empty */
    size_t length;
    size_t capacity;
    size_t limit;
};

void kf_buf_init(struct kf_buf *buf, size_t limit_bytes);
void kf_buf_fini(struct kf_buf *buf);
void kf_buf_clear(struct kf_buf *buf); /* length 0; memory stays */
int kf_buf_append(struct kf_buf *buf, const void *data, size_t length,
                  struct kf_err *err);
int kf_buf_append_text(struct kf_buf *buf, const char *text, struct kf_err *err);
int kf_buf_printf(struct kf_buf *buf, struct kf_err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Moves the memory out (NUL-terminated, yours to free; NULL when nothing was ever
 * appended); the buffer is empty afterwards. */
uint8_t *kf_buf_take(struct kf_buf *buf, size_t *ret_length);

#endif
