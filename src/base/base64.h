/*
 * Base64 as RFC 4648 section 4 has it. Pure; any thread.
 */
#ifndef KF_BASE_BASE64_H
#define KF_BASE_BASE64_H

#include <stddef.h>

struct kf_err;

/* Padded; yours to free. NULL: no memory. */
char *kf_base64_encode(const void *data, size_t length);
/* Padded or not, line ends passed over; anything else is KF_E_MALFORMED. A NUL stands
 * behind the bytes, which may hold others; yours to free. */
int kf_base64_decode(char **ret, size_t *ret_length, const char *text,
                     struct kf_err *err);

#endif
