#include "net/header.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

/* Reads digits at *text and moves it behind them; false when there are none or too many.
 */
static bool take_number(const char **text, uint64_t *ret)
{
    const char *at = *text;
    uint64_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');

        if (!kf_mul_u64(value, 10, &value) || !kf_add_u64(value, digit, &value))
            return false;
    }
    if (at == *text || value > INT64_MAX)
        return false;
    *text = at;
    *ret = value;
    return true;
}

static bool take_char(const char **text, char wanted)
{
    if (**text != wanted)
        return false;
    (*text)++;
    return true;
}

static bool parse_range(struct kf_content_range *range, const char *at)
{
    uint64_t first, last;

    if (strncasecmp(at, "bytes ", 6) != 0)
        return false;
    at += 6;
    if (!take_number(&at, &first) || !take_char(&at, '-') || !take_number(&at, &last) ||
        !take_char(&at, '/') || last < first)
        return false;
    range->offset = first;
    range->length = last - first + 1;
    range->has_total = *at != '*';
    range->total = 0;
    if (!range->has_total)
        at++;
    else if (!take_number(&at, &range->total) || last >= range->total)
        return false;
    return *at == '\0';
}

int kf_header_content_range(struct kf_content_range *ret, const char *value,
                            struct kf_err *err)
{
    struct kf_content_range range;

    if (!parse_range(&range, value))
        return kf_fail(err, KF_E_MALFORMED, "malformed Content-Range");
    *ret = range;
    return 0;
}

int kf_header_length(uint64_t *ret, const char *value, struct kf_err *err)
{
    uint64_t length;

    if (!take_number(&value, &length) || *value != '\0')
        return kf_fail(err, KF_E_MALFORMED, "malformed Content-Length");
    *ret = length;
    return 0;
}

/*
 * Link = link-value *( "," link-value ),  link-value = "<" URI ">" *( ";" name [ "="
 * value ] ) A value is a token or a quoted string; commas and semicolons within quotes do
 * not count.
 */
struct param {
    const char *name;
    size_t name_length;
    const char *value; /* without quotes; backslashes as they stand */
    size_t value_length;
};

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* The value of a parameter and what follows it; NULL when a quote is not closed. */
static const char *take_value(const char *at, struct param *param)
{
    if (*at != '"') {
        param->value = at;
        param->value_length = strcspn(at, ";, \t");
        return at + param->value_length;
    }
    param->value = ++at;
    while (*at != '"') {
        if (*at == '\\')
            at++;
        if (*at == '\0')
            return NULL;
        at++;
    }
    param->value_length = (size_t)(at - param->value);
    return at + 1;
}

/* One parameter behind its ';' and what follows it; NULL when malformed. */
static const char *take_param(const char *at, struct param *param)
{
    at = skip_space(at);
    param->name = at;
    param->name_length = strcspn(at, "=;, \t\"");
    param->value = at;
    param->value_length = 0;
    at = skip_space(at + param->name_length);
    if (*at == '=') {
        at = take_value(skip_space(at + 1), param);
        if (!at)
            return NULL;
    }
    return skip_space(at);
}

/* Whether one of the blank-separated words of the value is "next". */
static bool is_next(const struct param *param)
{
    const char *at = param->value, *end = param->value + param->value_length;

    if (param->name_length != 3 || strncasecmp(param->name, "rel", 3) != 0)
        return false;
    while (at < end) {
        size_t word = 0;

        while (at + word < end && at[word] != ' ')
            word++;
        if (word == 4 && strncasecmp(at, "next", 4) == 0)
            return true;
        at += word + 1;
    }
    return false;
}

int kf_header_link_next(char **ret, const char *value, struct kf_err *err)
{
    const char *at = skip_space(value);

    while (*at != '\0') {
        const char *target = at + 1;
        size_t target_length = strcspn(target, ">");
        bool next = false;

        if (*at != '<' || target[target_length] != '>')
            return kf_fail(err, KF_E_MALFORMED, "malformed Link");
        at = skip_space(target + target_length + 1);
        while (*at == ';') {
            struct param param;

            at = take_param(at + 1, &param);
            if (!at)
                return kf_fail(err, KF_E_MALFORMED, "malformed Link");
            next = next || is_next(&param);
        }
        if (*at != '\0' && *at != ',')
            return kf_fail(err, KF_E_MALFORMED, "malformed Link");
        if (next) {
            char *copy = strndup(target, target_length);

            if (!copy)
                return kf_fail(err, KF_E_NOMEM, "out of memory");
            *ret = copy;
            return 0;
        }
        while (*at == ',' || *at == ' ' || *at == '\t')
            at++;
    }
    *ret = NULL;
    return 0;
}
