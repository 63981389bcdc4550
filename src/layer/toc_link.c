/*
 * The annotation that binds a TOC to its layer: docs/formats/layer.md section 5.
 */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/toc.h"
#include "layer/toc_private.h"

#define FIELDS 6u

struct field {
    const char *text;
    size_t length;
};

static int bad(struct kf_err *err)
{
    return kf_fail(err, KF_E_MALFORMED, "malformed annotation '%s'", KF_TOC_ANNOTATION);
}

/* Decimal, no sign, no leading zero. */
static int parse_number(const char *text, size_t length, uint64_t *ret)
{
    uint64_t value = 0;

    if (length == 0 || length > 20 || (length > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' ||
            __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return -1;
    }
    *ret = value;
    return 0;
}

int kf_toc_check_link(const struct kf_toc_link *link, const struct kf_toc_limits *limits,
                      struct kf_err *err)
{
    uint64_t end;

    if (link->root_stored > limits->root_stored_bytes ||
        link->root_raw > limits->root_raw_bytes || link->area_length > limits->area_bytes)
        return kf_fail(err, KF_E_LIMIT, "table of contents over a limit of its size");
    if (link->root_stored == 0 || link->root_stored > link->area_length)
        return kf_toc_broken(err, "its root is not within its area");
    if (link->embedded && link->area_offset < KF_TOC_FRAME_HEADER)
        return kf_toc_broken(err, "its area begins before its frame");
    if (!kf_add_u64(link->area_offset, link->area_length, &end))
        return kf_toc_broken(err, "its area has no end");
    return 0;
}

/* What stands between the semicolons; -1 unless there are exactly FIELDS. */
static int split(const char *text, struct field *ret)
{
    for (size_t i = 0; i < FIELDS; i++) {
        ret[i] = (struct field){text, strcspn(text, ";")};
        text += ret[i].length;
        if (*text != (i + 1 < FIELDS ? ';' : '\0'))
            return -1;
        text++;
    }
    return 0;
}

static int parse_fields(struct kf_toc_link *ret, const char *text)
{
    struct field fields[FIELDS];
    uint64_t *const numbers[] = {&ret->area_offset, &ret->root_stored, &ret->root_raw,
                                 &ret->area_length};

    if (split(text, fields) != 0 ||
        kf_digest_parse(&ret->root_digest, fields[0].text, fields[0].length, NULL) != 0)
        return -1;
    ret->embedded = fields[1].length == 1 && fields[1].text[0] == '-';
    if (!ret->embedded &&
        kf_digest_parse(&ret->blob, fields[1].text, fields[1].length, NULL) != 0)
        return -1;
    for (size_t i = 0; i < KF_ARRAY_LEN(numbers); i++)
        if (parse_number(fields[i + 2].text, fields[i + 2].length, numbers[i]) != 0)
            return -1;
    return 0;
}

/* "N;..." with another number than 1. */
static bool is_other_version(const char *text)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && text[digits] == ';' && (digits == 1 || text[0] != '0');
}

int kf_toc_link_parse(struct kf_toc_link *ret, const char *text, struct kf_err *err)
{
    struct kf_toc_link link = {0};

    if (strncmp(text, "1;", 2) != 0)
        return is_other_version(text) ? 1 : bad(err);
    if (parse_fields(&link, text + 2) != 0)
        return bad(err);
    if (kf_toc_check_link(&link, &kf_toc_limits, err) != 0)
        return kf_fail_wrap(err, "annotation '%s'", KF_TOC_ANNOTATION);
    *ret = link;
    return 0;
}

int kf_toc_link_format(const struct kf_toc_link *link, struct kf_buf *ret,
                       struct kf_err *err)
{
    char root[KF_DIGEST_TEXT_SIZE], blob[KF_DIGEST_TEXT_SIZE];

    return kf_buf_printf(ret, err, "1;%s;%s;%" PRIu64 ";%" PRIu64 ";%" PRIu64 ";%" PRIu64,
                         kf_digest_format(&link->root_digest, root),
                         link->embedded ? "-" : kf_digest_format(&link->blob, blob),
                         link->area_offset, link->root_stored, link->root_raw,
                         link->area_length);
}
