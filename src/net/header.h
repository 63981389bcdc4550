/*
 * Values of HTTP header fields, parsed: Content-Range (RFC 9110 section 14.4) and Link
 * (RFC 8288, as the distribution spec pages tag lists with it). Pure; any thread. Input
 * is a stranger's; a value that is not exactly of the form is KF_E_MALFORMED.
 */
#ifndef KF_NET_HEADER_H
#define KF_NET_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;

struct kf_content_range {
    uint64_t offset;
    uint64_t length; /* > 0; offset + length <= total where that is known */
    bool has_total;  /* false where a star stands for it */
    uint64_t total;
};

/* "bytes 0-1023/4096". "bytes *", which only a 416 carries after the unit, is malformed:
 * it names no range. */
int kf_header_content_range(struct kf_content_range *ret, const char *value,
                            struct kf_err *err);

/* Decimal digits alone, at most 2^63 - 1. */
int kf_header_length(uint64_t *ret, const char *value, struct kf_err *err);

/* The target of the first link whose relation types include "next", yours to free.
 * Returns 0 with NULL when there is none. The target is as written: it may be relative.
 */
int kf_header_link_next(char **ret, const char *value, struct kf_err *err);

#endif
