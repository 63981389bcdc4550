#include "kitfile/yaml_scalar.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/value.h"

#define DIGITS "0123456789"
#define JSON_SIZE 64 /* the longest: a time with nine digits of a second and a zone */

/* --- words --- */

static const struct {
    const char *text;
    enum kf_value_kind kind;
    const char *json; /* NULL: there is none */
} words[] = {
    {"", KF_VALUE_NULL, NULL},
    {"~", KF_VALUE_NULL, NULL},
    {"null", KF_VALUE_NULL, NULL},
    {"Null", KF_VALUE_NULL, NULL},
    {"NULL", KF_VALUE_NULL, NULL},
    {"true", KF_VALUE_LITERAL, "true"},
    {"True", KF_VALUE_LITERAL, "true"},
    {"TRUE", KF_VALUE_LITERAL, "true"},
    {"false", KF_VALUE_LITERAL, "false"},
    {"False", KF_VALUE_LITERAL, "false"},
    {"FALSE", KF_VALUE_LITERAL, "false"},
    {".inf", KF_VALUE_LITERAL, NULL},
    {".Inf", KF_VALUE_LITERAL, NULL},
    {".INF", KF_VALUE_LITERAL, NULL},
    {"+.inf", KF_VALUE_LITERAL, NULL},
    {"+.Inf", KF_VALUE_LITERAL, NULL},
    {"+.INF", KF_VALUE_LITERAL, NULL},
    {"-.inf", KF_VALUE_LITERAL, NULL},
    {"-.Inf", KF_VALUE_LITERAL, NULL},
    {"-.INF", KF_VALUE_LITERAL, NULL},
    {".nan", KF_VALUE_LITERAL, NULL},
    {".NaN", KF_VALUE_LITERAL, NULL},
    {".NAN", KF_VALUE_LITERAL, NULL},
};

/* --- whole numbers: Go's ParseInt and ParseUint with base 0, underscores taken out ---
 */

static unsigned base_of(const char **digits)
{
    static const struct {
        char letter;
        unsigned base;
    } prefixes[] = {{'x', 16}, {'X', 16}, {'o', 8}, {'O', 8}, {'b', 2}, {'B', 2}};

    if ((*digits)[0] != '0' || !(*digits)[1])
        return 10;
    for (size_t i = 0; i < KF_ARRAY_LEN(prefixes); i++)
        if ((*digits)[1] == prefixes[i].letter) {
            *digits += 2;
            return prefixes[i].base;
        }
    (*digits)++;
    return 8;
}

static bool parse_digits(const char *digits, unsigned base, uint64_t *ret)
{
    static const char all[] = "0123456789abcdef0123456789ABCDEF";

    *ret = 0;
    if (!*digits)
        return false;
    for (; *digits; digits++) {
        const char *found = strchr(all, *digits);
        unsigned digit = found ? (unsigned)(found - all) % 16 : 16;

        if (found && found - all >= 16 && digit < 10)
            digit = 16;
        if (digit >= base || !kf_mul_u64(*ret, base, ret) ||
            !kf_add_u64(*ret, digit, ret))
            return false;
    }
    return true;
}

static bool is_integer(const char *plain, char json[JSON_SIZE])
{
    bool negative = *plain == '-', is_signed = negative || *plain == '+';
    const char *digits = plain + is_signed;
    unsigned base = base_of(&digits);
    uint64_t value;

    /* yaml.v3 takes a sign behind 0b and 0o, too. */
    if (!is_signed && digits == plain + 2 && (plain[1] == 'b' || plain[1] == 'o')) {
        negative = *digits == '-';
        is_signed = negative || *digits == '+';
        digits += is_signed;
    }
    if (!parse_digits(digits, base, &value) ||
        (is_signed && value > (uint64_t)INT64_MAX + negative))
        return false;
    (void)snprintf(json, JSON_SIZE, "%s%" PRIu64, negative && value ? "-" : "", value);
    return true;
}

/* --- other numbers --- */

/* ^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$ */
static bool looks_like_float(const char *text)
{
    size_t whole, fraction = 0;

    text += *text == '-' || *text == '+';
    whole = strspn(text, DIGITS);
    text += whole;
    if (*text == '.') {
        fraction = strspn(text + 1, DIGITS);
        text += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '-' || text[1] == '+');
        if (!*text)
            return false;
        text += strspn(text, DIGITS);
    }
    return !*text;
}

/* "-1.25e+20" to "-125" and so many zeros. */
static void pad(char json[JSON_SIZE], int zeros)
{
    char *to = json;

    for (const char *from = json; *from != 'e'; from++)
        if (*from != '.')
            *to++ = *from;
    memset(to, '0', (size_t)zeros);
    to[zeros] = '\0';
}

/* Makes the last digit one larger; 9.99 becomes 0.00. */
static void count_up(char *number)
{
    for (char *at = strchr(number, 'e'); at > number;) {
        at--;
        if (*at >= '0' && *at < '9') {
            ++*at;
            return;
        }
        if (*at == '9')
            *at = '0';
    }
}

/* The doubles below a power of 2 are closer than those above it: so the nearest number of
 * so many digits may belong to the double below, when the next larger one does not. */
int kf_yaml_shortest(double real, char ret[KF_YAML_NUMBER_SIZE])
{
    int digits = 0;

    do {
        (void)snprintf(ret, KF_YAML_NUMBER_SIZE, "%.*e", digits++, real);
        if (strtod(ret, NULL) != real)
            count_up(ret);
    } while (digits < 17 && strtod(ret, NULL) != real);
    return digits;
}

/* The fewest digits that give the number back, then zeros; with an exponent, which has no
 * leading zero, outside of [1e-6, 1e21). */
static void format_float(double real, char json[JSON_SIZE])
{
    double size = fabs(real);
    int digits = kf_yaml_shortest(real, json), power, zeros;
    char *exponent = strchr(json, 'e') + 1;

    power = (int)strtol(exponent, NULL, 10);
    zeros = power - (digits - 1);
    if (size != 0 && (size < 1e-6 || size >= 1e21))
        (void)snprintf(exponent, (size_t)(json + JSON_SIZE - exponent), "%+d", power);
    else if (zeros <= 0)
        (void)snprintf(json, JSON_SIZE, "%.*f", -zeros, real);
    else
        pad(json, zeros);
}

static bool is_float(const char *plain, char json[JSON_SIZE])
{
    double real;

    if (!looks_like_float(plain))
        return false;
    real = strtod(plain, NULL);
    if (!isfinite(real))
        return false; /* beyond a double, Go keeps the text */
    format_float(real, json);
    return true;
}

/* --- times: 2006-1-2, with 15:4:5 and a fraction, with 'T' also a zone --- */

struct clock {
    unsigned year, month, day, hour, minute, second;
    char fraction[10]; /* without trailing zeros */
    char zone[8];
};

static bool take_number(const char **text, size_t digits, unsigned low, unsigned high,
                        unsigned *ret)
{
    size_t length = strspn(*text, DIGITS);

    if (length == 0 || length > digits)
        return false;
    *ret = (unsigned)strtoul(*text, NULL, 10);
    *text += length;
    return *ret >= low && *ret <= high;
}

static bool take(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static bool take_date(const char **text, struct clock *clock)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned leap, year;

    if (strspn(*text, DIGITS) != 4 || !take_number(text, 4, 0, 9999, &clock->year) ||
        !take(text, '-') || !take_number(text, 2, 1, 12, &clock->month) ||
        !take(text, '-') || !take_number(text, 2, 1, 31, &clock->day))
        return false;
    year = clock->year;
    leap = clock->month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return clock->day <= days[clock->month - 1] + leap;
}

static bool take_time(const char **text, struct clock *clock)
{
    size_t length;

    if (!take_number(text, 2, 0, 23, &clock->hour) || !take(text, ':') ||
        !take_number(text, 2, 0, 59, &clock->minute) || !take(text, ':') ||
        !take_number(text, 2, 0, 59, &clock->second))
        return false;
    if (**text != '.' && **text != ',')
        return true;
    length = strspn(*text + 1, DIGITS);
    if (length == 0)
        return false;
    /* Go cuts what is finer than a nanosecond. */
    (void)snprintf(clock->fraction, sizeof(clock->fraction), "%.*s",
                   (int)kf_min_u64(length, 9), *text + 1);
    *text += 1 + length;
    for (size_t i = strlen(clock->fraction); i > 0 && clock->fraction[i - 1] == '0'; i--)
        clock->fraction[i - 1] = '\0';
    return true;
}

static bool take_zone(const char **text, struct clock *clock)
{
    const char *start = *text;
    unsigned hours, minutes;

    if (take(text, 'Z'))
        return true;
    if ((*start != '+' && *start != '-') || strspn(start + 1, DIGITS) != 2 ||
        start[3] != ':' || strspn(start + 4, DIGITS) != 2)
        return false;
    (*text)++;
    if (!take_number(text, 2, 0, 23, &hours) || !take(text, ':') ||
        !take_number(text, 2, 0, 59, &minutes))
        return false;
    if (hours + minutes > 0)
        (void)snprintf(clock->zone, sizeof(clock->zone), "%c%02u:%02u", *start, hours,
                       minutes);
    return true;
}

static bool is_time(const char *text, char json[JSON_SIZE])
{
    struct clock clock = {.zone = "Z"};

    if (!take_date(&text, &clock))
        return false;
    if (*text == 'T' || *text == 't') {
        text++;
        if (!take_time(&text, &clock) || !take_zone(&text, &clock))
            return false;
    } else if (take(&text, ' ') && !take_time(&text, &clock)) {
        return false;
    }
    if (*text)
        return false;
    (void)snprintf(json, JSON_SIZE, "\"%04u-%02u-%02uT%02u:%02u:%02u%s%s%s\"", clock.year,
                   clock.month, clock.day, clock.hour, clock.minute, clock.second,
                   clock.fraction[0] ? "." : "", clock.fraction, clock.zone);
    return true;
}

/* --- all of them --- */

/* Go's ParseFloat takes underscores between digits. */
static bool has_stray_underscore(const char *text)
{
    for (const char *at = text; *at; at++)
        if (*at == '_' && (at == text || !isdigit((unsigned char)at[-1]) ||
                           !isdigit((unsigned char)at[1])))
            return true;
    return false;
}

static bool is_number(const char *text, char json[JSON_SIZE])
{
    kf_auto(kf_free) char *plain = strdup(text);
    char *to = plain;

    /* yaml.v3 takes them out, unless the number begins with a point. */
    if (!plain || (*text == '.' && has_stray_underscore(text)))
        return false;
    for (const char *from = text; *from; from++)
        if (*from != '_')
            *to++ = *from;
    *to = '\0';
    return is_integer(plain, json) || is_float(plain, json);
}

int kf_yaml_resolve(struct kf_value *value, struct kf_err *err)
{
    char json[JSON_SIZE];
    const char *found = NULL;

    for (size_t i = 0; i < KF_ARRAY_LEN(words); i++)
        if (strcmp(value->text, words[i].text) == 0) {
            value->kind = words[i].kind;
            found = words[i].json;
        }
    if (value->kind == KF_VALUE_TEXT && value->text[0] &&
        strchr("+-." DIGITS, value->text[0]) &&
        (is_time(value->text, json) || is_number(value->text, json))) {
        value->kind = KF_VALUE_LITERAL;
        found = json;
    }
    if (!found)
        return 0;
    value->json = strdup(found);
    return value->json ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
}
