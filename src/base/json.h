/*
 * How large a JSON text may become in memory, told from its bytes alone. A parser needs
 * some hundred bytes a value, so that 4 MiB of commas would cost more than a mount may
 * use. Knows no parser; pure; any thread.
 */
#ifndef KF_BASE_JSON_H
#define KF_BASE_JSON_H

#include <stddef.h>

struct kf_err;

/* KF_E_LIMIT when the text is longer than `limit_bytes`, or has more than `limit_values`
 * of the bytes '{', '[' and ',' (at least one a value, some of them inside of strings).
 * `what` is what it is, for messages. */
int kf_json_check_size(const char *json, size_t length, size_t limit_bytes,
                       size_t limit_values, const char *what, struct kf_err *err);

#endif
