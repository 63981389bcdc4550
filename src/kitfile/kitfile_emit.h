/*
 * A Kitfile as `kit info` prints it and `kit unpack` writes it: the config's JSON read
 * into kit's structs and written by yaml.v3. What kit drops is dropped: digests, unknown
 * fields, how numbers were typed (all are doubles), the order of maps. Pure.
 */
#ifndef KF_KITFILE_KITFILE_EMIT_H
#define KF_KITFILE_KITFILE_EMIT_H

#include <stddef.h>

struct kf_buf;
struct kf_err;

#define KF_KITFILE_TEXT_LIMIT ((size_t)16 << 20)

/* Appends to `ret`, within its limit. What is read is limited as in kitfile/kitfile.h. */
int kf_kitfile_emit(struct kf_buf *ret, const void *json, size_t length,
                    struct kf_err *err);

#endif
