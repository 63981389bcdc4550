#include "oci/survey.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rfc3339.h"
#include "oci/call.h"

#define S_PER_MIN INT64_C(60)
#define S_PER_H INT64_C(3600)
#define S_PER_DAY INT64_C(86400)

#define LOAD_LEAST (UINT64_C(8) << 20)
#define LOAD_MOST (UINT64_C(32) << 20)
#define SMALL_PIECE (UINT64_C(1) << 20)
#define LARGE_PIECE (UINT64_C(4) << 20)

/* An Expires before this is no time, but a number of something. */
#define EXPIRES_LEAST INT64_C(1000000000)
#define NUMBER_LIMIT (INT64_MAX / 16)

static void add(char out[KF_SURVEY_TEXT_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(char out[KF_SURVEY_TEXT_SIZE], const char *format, ...)
{
    size_t length = strlen(out);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(out + length, KF_SURVEY_TEXT_SIZE - length, format,
                    args); /* cut is fine */
    va_end(args);
}

/* Digits at *text, moved behind them; false: none, or too many. */
static bool take_number(const char **text, int64_t *ret)
{
    const char *at = *text;
    int64_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (*at - '0');
        if (value > NUMBER_LIMIT)
            return false;
    }
    if (at == *text)
        return false;
    *text = at;
    *ret = value;
    return true;
}

/* ---- how long a signed URL is good ------------------------------------------------- */

static bool read_seconds(const char *value, int64_t now_s, int64_t *ret_s)
{
    int64_t seconds;

    (void)now_s; /* its own clock counts */
    if (!take_number(&value, &seconds) || *value)
        return false;
    *ret_s = seconds;
    return true;
}

static bool read_unix_time(const char *value, int64_t now_s, int64_t *ret_s)
{
    int64_t end_s;

    if (!take_number(&value, &end_s) || *value || end_s < EXPIRES_LEAST)
        return false;
    *ret_s = end_s - now_s;
    return true;
}

static bool read_date(const char *value, int64_t now_s, int64_t *ret_s)
{
    int64_t end_s;

    if (!kf_parse_time(value, &end_s))
        return false;
    *ret_s = end_s - now_s;
    return true;
}

static const struct {
    const char *name;
    bool (*read)(const char *value, int64_t now_s, int64_t *ret_s);
} lives[] = {
    {"X-Amz-Expires", read_seconds},
    {"X-Goog-Expires", read_seconds},
    {"Expires", read_unix_time},
    {"se", read_date},
};

static int hex_of(char digit)
{
    const char *digits = "0123456789abcdef", *at;

    if (digit >= 'A' && digit <= 'F')
        digit = (char)(digit - 'A' + 'a');
    at = digit ? strchr(digits, digit) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The value that ends at '&' or with the text, decoded; false: too long, or broken. */
static bool decode(const char *value, char *ret, size_t size)
{
    size_t length = 0;

    for (; *value && *value != '&'; value++) {
        char byte = *value;

        if (byte == '%') {
            int high = hex_of(value[1]), low = high < 0 ? -1 : hex_of(value[2]);

            if (low < 0)
                return false;
            byte = (char)(high * 16 + low);
            value += 2;
        }
        if (byte == '\0' || length + 1 == size)
            return false;
        ret[length++] = byte;
    }
    ret[length] = '\0';
    return true;
}

/* The value of the query's first parameter of that name. */
static const char *find_parameter(const char *query, const char *name)
{
    size_t length = strlen(name);

    while (query) {
        if (strncmp(query, name, length) == 0 && query[length] == '=')
            return query + length + 1;
        query = strchr(query, '&');
        if (query)
            query++;
    }
    return NULL;
}

bool kf_survey_url_life(const char *url, int64_t now_s, int64_t *ret_s)
{
    const char *query = strchr(url, '?');
    char text[64];

    for (size_t i = 0; query && i < KF_ARRAY_LEN(lives); i++) {
        const char *value = find_parameter(query + 1, lives[i].name);

        if (value && decode(value, text, sizeof(text)) &&
            lives[i].read(text, now_s, ret_s))
            return true;
    }
    return false;
}

char *kf_survey_span(int64_t seconds, char out[32])
{
    static const struct {
        int64_t below, unit;
        const char *name;
    } units[] = {{2 * S_PER_MIN, 1, "s"},
                 {2 * S_PER_H, S_PER_MIN, "min"},
                 {2 * S_PER_DAY, S_PER_H, "h"},
                 {INT64_MAX, S_PER_DAY, "days"}};
    size_t i = 0;

    while (i + 1 < KF_ARRAY_LEN(units) && seconds >= units[i].below)
        i++;
    (void)snprintf(out, 32, "%lld %s", (long long)(seconds / units[i].unit),
                   units[i].name); /* fits */
    return out;
}

/* ---- ranges ------------------------------------------------------------------------ */

enum kf_survey_ranges kf_survey_ranges_of(const struct kf_exchange *exchange)
{
    if (exchange->range_ignored)
        return KF_SURVEY_WHOLE;
    if (exchange->end == KF_HTTP_COMPLETE)
        return exchange->status == 206 ? KF_SURVEY_YES : KF_SURVEY_AS_200;
    if (exchange->end == KF_HTTP_STATUS)
        return KF_SURVEY_REFUSED;
    return exchange->end == KF_HTTP_BAD ? KF_SURVEY_WRONG : KF_SURVEY_SILENT;
}

const char *kf_survey_ranges_name(enum kf_survey_ranges ranges)
{
    static const char *const names[] = {
        [KF_SURVEY_UNASKED] = "unasked", [KF_SURVEY_YES] = "206",
        [KF_SURVEY_AS_200] = "200",      [KF_SURVEY_WHOLE] = "whole",
        [KF_SURVEY_REFUSED] = "refused", [KF_SURVEY_WRONG] = "wrong",
        [KF_SURVEY_SILENT] = "silent",
    };

    return names[ranges];
}

bool kf_survey_can_read(enum kf_survey_ranges ranges)
{
    return ranges == KF_SURVEY_YES || ranges == KF_SURVEY_AS_200 ||
           ranges == KF_SURVEY_WHOLE;
}

/* ---- throughput -------------------------------------------------------------------- */

size_t kf_survey_steps(unsigned connections, unsigned ret[KF_SURVEY_STEPS])
{
    size_t count = 0;

    for (unsigned next = 1; next <= KF_SURVEY_LANES; next *= 2) {
        ret[count++] = next < connections ? next : connections;
        if (next >= connections)
            break;
    }
    return count;
}

bool kf_survey_load_of(uint64_t size, struct kf_survey_load *ret)
{
    if (size < LOAD_LEAST)
        return false;
    ret->piece = size < LOAD_MOST ? SMALL_PIECE : LARGE_PIECE;
    ret->count = (size < LOAD_MOST ? size : LOAD_MOST) / ret->piece;
    ret->whole = size / ret->piece;
    return true;
}

uint64_t kf_survey_piece(const struct kf_survey_load *load, size_t step, uint64_t index)
{
    return (step * load->count + index) % load->whole * load->piece;
}

/* ---- what one host has shown ------------------------------------------------------- */

static const struct {
    enum kf_http_field field;
    const char *name, *before, *behind;
} limits[KF_SURVEY_LIMITS] = {
    {KF_HTTP_RATE_LIMIT, "ratelimit-limit", "", ""},
    {KF_HTTP_RATE_REMAINING, "ratelimit-remaining", "", " left"},
    {KF_HTTP_RATE_RESET, "ratelimit-reset", "reset ", ""},
    {KF_HTTP_X_RATE_LIMIT, "x-ratelimit-limit", "", ""},
    {KF_HTTP_X_RATE_REMAINING, "x-ratelimit-remaining", "", " left"},
    {KF_HTTP_X_RATE_RESET, "x-ratelimit-reset", "reset ", ""},
    {KF_HTTP_RATE_POLICY, "ratelimit-policy", "policy ", ""},
    {KF_HTTP_RATE, "ratelimit", "now ", ""},
    {KF_HTTP_DOCKER_RATE_SOURCE, "docker-ratelimit-source", "counted for ", ""},
};

static void copy_plain(char *ret, size_t size, const char *text)
{
    (void)snprintf(ret, size, "%s", text); /* cut is fine */
    for (; *ret; ret++)
        if ((unsigned char)*ret < 0x20 || (unsigned char)*ret > 0x7e)
            *ret = '?';
}

static void note_limits(struct kf_survey *survey, const struct kf_exchange *exchange)
{
    for (size_t i = 0; i < KF_SURVEY_LIMITS; i++) {
        const char *value = exchange->fields[limits[i].field];

        if (value)
            copy_plain(survey->limits[i], KF_SURVEY_VALUE_SIZE, value);
    }
    if (exchange->status == 429) {
        survey->limited = true;
        survey->retry_after_ns = exchange->retry_after_ns;
    }
}

static bool is_relative(const char *location)
{
    return strncasecmp(location, "http://", 7) != 0 &&
           strncasecmp(location, "https://", 8) != 0;
}

/* Where a redirection led is told by the answer that comes from there. */
static void note_hops(struct kf_survey *survey, const struct kf_call *call, int64_t now_s)
{
    size_t count = call->hops.count;

    if (count == 0) {
        survey->hop_count = 0;
        survey->has_life = false;
    } else if (count <= survey->hop_count) {
        copy_plain(survey->hops[count - 1].to, KF_SURVEY_ORIGIN_SIZE, call->hops.origin);
        survey->has_life |= kf_survey_url_life(call->hops.url, now_s, &survey->life_s);
    }
    if (!kf_hops_is_redirect(&call->exchange) || count >= KF_HOPS_LIMIT)
        return;
    survey->hops[count] = (struct kf_survey_hop){
        .status = call->exchange.status,
        .relative = is_relative(call->exchange.fields[KF_HTTP_LOCATION])};
    survey->hop_count = count + 1;
}

void kf_survey_note(struct kf_survey *survey, const struct kf_call *call, int64_t now_s)
{
    note_limits(survey, &call->exchange);
    note_hops(survey, call, now_s);
}

const char *kf_survey_limit_name(size_t index)
{
    return limits[index].name;
}

bool kf_survey_has_limits(const struct kf_survey *survey)
{
    for (size_t i = 0; i < KF_SURVEY_LIMITS; i++)
        if (survey->limits[i][0])
            return true;
    return false;
}

bool kf_survey_is_spent(const struct kf_survey *survey)
{
    for (size_t i = 0; i < KF_SURVEY_LIMITS; i++) {
        enum kf_http_field field = limits[i].field;
        const char *text = survey->limits[i];
        int64_t left;

        if (field == KF_HTTP_RATE && (text = strstr(text, ";r=")))
            text += 3;
        else if (field != KF_HTTP_RATE_REMAINING && field != KF_HTTP_X_RATE_REMAINING)
            continue;
        if (take_number(&text, &left) && left == 0)
            return true;
    }
    return false;
}

/* ---- words ------------------------------------------------------------------------- */

/* "100;w=21600", as Docker Hub writes it, is 100 per 6 h; anything else stands as it is.
 * What is left of it needs no time. */
static void add_amount(char out[KF_SURVEY_TEXT_SIZE], const char *value, bool with_time)
{
    const char *at = value;
    int64_t count, seconds;
    char span[32];

    if (take_number(&at, &count) && strncmp(at, ";w=", 3) == 0 && (at += 3) &&
        take_number(&at, &seconds) && !*at) {
        add(out, "%lld", (long long)count);
        if (with_time)
            add(out, " per %s", kf_survey_span(seconds, span));
    } else {
        add(out, "%s", value);
    }
}

char *kf_survey_limits_words(const struct kf_survey *survey,
                             char out[KF_SURVEY_TEXT_SIZE])
{
    char span[32];

    out[0] = '\0';
    if (survey->limited)
        add(out, "answers 429, too many requests");
    if (survey->limited && survey->retry_after_ns > 0)
        add(out, ", again in %s",
            kf_survey_span(survey->retry_after_ns / KF_NS_PER_S, span));
    if (!kf_survey_has_limits(survey)) {
        if (!survey->limited)
            add(out, "says nothing of limits to requests");
        return out;
    }
    add(out, "%slimits requests", survey->limited ? "; it " : "");
    for (size_t i = 0, said = 0; i < KF_SURVEY_LIMITS; i++) {
        if (!survey->limits[i][0])
            continue;
        add(out, "%s%s", said++ ? ", " : ": ", limits[i].before);
        add_amount(out, survey->limits[i], !limits[i].behind[0]);
        add(out, "%s", limits[i].behind);
    }
    return out;
}

static void add_life(const struct kf_survey *survey, char out[KF_SURVEY_TEXT_SIZE])
{
    char span[32];

    if (!survey->has_life)
        add(out, "; how long that URL is good is not said");
    else if (survey->life_s <= 0)
        add(out, "; that URL ended %s ago by this machine's clock",
            kf_survey_span(-survey->life_s, span));
    else
        add(out, "; that URL is good for %s", kf_survey_span(survey->life_s, span));
}

char *kf_survey_hops_words(const struct kf_survey *survey, char out[KF_SURVEY_TEXT_SIZE])
{
    size_t count = survey->hop_count;

    if (count == 0) {
        (void)snprintf(out, KF_SURVEY_TEXT_SIZE,
                       "gives blobs itself, without redirecting");
        return out;
    }
    (void)snprintf(out, KF_SURVEY_TEXT_SIZE, "redirects");
    if (count > 1)
        add(out, " %zu times", count);
    for (size_t i = 0; i < count; i++) {
        const struct kf_survey_hop *hop = &survey->hops[i];

        add(out, "%s to %s (%d%s)", i ? ", then" : "", hop->to[0] ? hop->to : "nowhere",
            hop->status, hop->relative ? ", relative" : "");
    }
    add_life(survey, out);
    return out;
}
