/*
 * Values of options from text, and the nearest word to a mistyped one.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "options.h"

#define WORD_LIMIT 63u

static int parse_u64(const char *text, const char **ret_rest, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return -1;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    *ret_rest = end;
    return errno == 0 ? 0 : -1;
}

/* 1048576, 10K, 10M, 10G, 10T; the letters also as KiB, kb ...: powers of 1024. */
static int parse_size(const char *text, uint64_t *ret)
{
    static const char letters[] = "kmgt";
    const char *rest, *letter;
    uint64_t value;

    if (parse_u64(text, &rest, &value) != 0)
        return -1;
    if (*rest) {
        letter = strchr(letters, tolower((unsigned char)*rest));
        if (!letter)
            return -1;
        if (!kf_mul_u64(value, UINT64_C(1) << (10 * (letter - letters + 1)), &value))
            return -1;
        rest++;
        if (*rest && strcasecmp(rest, "b") != 0 && strcasecmp(rest, "ib") != 0)
            return -1;
    }
    *ret = value;
    return 0;
}

static int parse_percent(const char *text, unsigned *ret)
{
    const char *rest;
    uint64_t value;

    if (parse_u64(text, &rest, &value) != 0 || value > 100 ||
        (*rest && strcmp(rest, "%") != 0))
        return -1;
    *ret = (unsigned)value;
    return 0;
}

static int parse_space(const char *text, struct kf_space *ret)
{
    struct kf_space space = {0};

    if (strchr(text, '%') ? parse_percent(text, &space.percent)
                          : parse_size(text, &space.bytes))
        return -1;
    *ret = space;
    return 0;
}

static int parse_count(const char *text, unsigned *ret)
{
    const char *rest;
    uint64_t value;

    if (parse_u64(text, &rest, &value) != 0 || *rest || value == 0 || value > 1024)
        return -1;
    *ret = (unsigned)value;
    return 0;
}

/* 30, 30s, 5m, 2h, 500ms */
static int parse_duration(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"", KF_NS_PER_S},
                 {"ms", KF_NS_PER_MS},
                 {"s", KF_NS_PER_S},
                 {"m", 60 * KF_NS_PER_S},
                 {"h", 3600 * KF_NS_PER_S}};
    const char *rest;
    uint64_t value;

    if (parse_u64(text, &rest, &value) != 0 || value == 0 || value > 1000000)
        return -1;
    for (size_t i = 0; i < KF_ARRAY_LEN(units); i++) {
        if (strcmp(rest, units[i].unit) == 0) {
            *ret = (int64_t)value * units[i].ns;
            return 0;
        }
    }
    return -1;
}

static int parse_mode(const char *text, mode_t *ret)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 8);
    if (errno != 0 || end == text || *end || value > 0777)
        return -1;
    *ret = (mode_t)value;
    return 0;
}

static int parse_id(const struct kf_option *option, const char *text, uint64_t *ret)
{
    const char *rest;

    if (parse_u64(text, &rest, ret) == 0 && !*rest)
        return *ret < UINT32_MAX ? 0 : -1;
    if (strcmp(option->name, "gid") == 0) {
        const struct group *group = getgrnam(text);

        if (group)
            *ret = group->gr_gid;
        return group ? 0 : -1;
    }
    const struct passwd *user = getpwnam(text);
    if (user)
        *ret = user->pw_uid;
    return user ? 0 : -1;
}

static int parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < KF_ARRAY_LEN(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *ret = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return -1;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    while (*choices) {
        size_t choice = strcspn(choices, "|");

        if (choice == length && memcmp(choices, text, length) == 0)
            return true;
        choices += choice + (choices[choice] == '|');
    }
    return false;
}

static int parse_text(const struct kf_option *option, const char *text, char **ret,
                      struct kf_err *err)
{
    char *copy;

    if (option->choices && !is_choice(option->choices, text))
        return kf_fail(err, KF_E_ARG, "'%s' is none of %s", text, option->choices);
    copy = strdup(text);
    if (!copy)
        return kf_fail(err, KF_E_NOMEM, "no memory for options");
    free(*ret);
    *ret = copy;
    return 0;
}

int kf_option_parse_value(const struct kf_option *option, const char *text, void *target,
                          struct kf_err *err)
{
    static const char *const wanted[] = {
        [KF_OPT_FLAG] = "true or false",
        [KF_OPT_TEXT] = "text",
        [KF_OPT_SIZE] = "a size, as 10M or 50G",
        [KF_OPT_SPACE] = "a size or a percentage, as 50G or 20%",
        [KF_OPT_PERCENT] = "a percentage, as 10%",
        [KF_OPT_COUNT] = "a number from 1 to 1024",
        [KF_OPT_DURATION] = "a time, as 30s or 5m",
        [KF_OPT_MODE] = "an octal mode, as 022",
        [KF_OPT_ID] = "a number or a name that exists",
        [KF_OPT_TEXTS] = "text",
    };
    int rc = -1;

    switch (option->type) {
    case KF_OPT_FLAG:
        rc = parse_bool(text, target);
        break;
    case KF_OPT_TEXT:
        return parse_text(option, text, target, err);
    case KF_OPT_TEXTS:
        return kf_strings_add(target, text, err);
    case KF_OPT_SIZE:
        rc = parse_size(text, target);
        break;
    case KF_OPT_SPACE:
        rc = parse_space(text, target);
        break;
    case KF_OPT_PERCENT:
        rc = parse_percent(text, target);
        break;
    case KF_OPT_COUNT:
        rc = parse_count(text, target);
        break;
    case KF_OPT_DURATION:
        rc = parse_duration(text, target);
        break;
    case KF_OPT_MODE:
        rc = parse_mode(text, target);
        break;
    case KF_OPT_ID:
        rc = parse_id(option, text, target);
        break;
    }
    return rc == 0 ? 0
                   : kf_fail(err, KF_E_ARG, "'%s' is not %s", text, wanted[option->type]);
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein's distance by one row. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_LIMIT + 1];
    size_t length_a = strlen(a), length_b = strlen(b);

    if (length_a > WORD_LIMIT || length_b > WORD_LIMIT)
        return WORD_LIMIT;
    for (unsigned k = 0; k <= length_b; k++)
        row[k] = k;
    for (unsigned i = 1; i <= length_a; i++) {
        unsigned diagonal = row[0];

        row[0] = i;
        for (unsigned k = 1; k <= length_b; k++) {
            unsigned above = row[k];

            row[k] = min3(above + 1, row[k - 1] + 1, diagonal + (a[i - 1] != b[k - 1]));
            diagonal = above;
        }
    }
    return row[length_b];
}

const char *kf_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    unsigned least = (unsigned)strlen(word) / 3 + 1;

    for (size_t i = 0; i < count; i++) {
        unsigned d = distance(word, words[i]);

        if (d <= least && (!best || d < least)) {
            best = words[i];
            least = d;
        }
    }
    return best;
}
