/*
 * Times as others write them. Pure.
 */
#ifndef KF_BASE_RFC3339_H
#define KF_BASE_RFC3339_H

#include <stdbool.h>
#include <stdint.h>

/* RFC 3339 ("2026-02-25T12:00:00.5+01:00") to seconds since the epoch; false when it is
 * something else. */
bool kf_parse_time(const char *text, int64_t *ret);

#endif
