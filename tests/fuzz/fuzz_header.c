/*
 * Values of header fields: a range that is accepted lies within numbers and total, and a
 * link's target is a piece of the value.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "net/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_range(const char *value)
{
    struct kf_content_range range;

    if (kf_header_content_range(&range, value, NULL) != 0)
        return;
    if (range.length == 0 || range.offset > INT64_MAX ||
        range.length - 1 > INT64_MAX - range.offset)
        abort();
    if (range.has_total && (range.total > INT64_MAX || range.length > range.total ||
                            range.offset > range.total - range.length))
        abort();
}

static void check_link(const char *value)
{
    char *target = NULL;

    if (kf_header_link_next(&target, value, NULL) == 0 && target &&
        (strchr(target, '>') || !strstr(value, target)))
        abort();
    free(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *value = strndup((const char *)data, size);
    uint64_t length;

    if (!value)
        abort();
    check_range(value);
    check_link(value);
    if (kf_header_length(&length, value, NULL) == 0 && length > INT64_MAX)
        abort();
    free(value);
    return 0;
}
