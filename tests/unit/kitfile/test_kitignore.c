#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitignore.h"

static struct kf_err err;

static bool is_ignored(const char *text, const char *path)
{
    struct kf_ignore ignore;
    bool answer;

    cr_assert_eq(kf_ignore_parse(&ignore, text, strlen(text), &err), 0, "%s: %s", text,
                 err.message);
    answer = kf_ignore_match(&ignore, path);
    kf_ignore_fini(&ignore);
    return answer;
}

/* What moby/patternmatcher 0.6.0 answers. */
static const struct {
    const char *text, *path;
    bool ignored;
} answers[] = {
    {"*.bin", "w.bin", true},
    {"*.bin", "a/w.bin", false},
    {"**/*.bin", "w.bin", true},
    {"**/*.bin", "a/b/w.bin", true},
    {"a", "a/b/c", true}, /* a parent */
    {"a", "ab", false},
    {"a/*", "a/b/c", true},
    {"a/*/c", "a/b/c", true},
    {"a/*/c", "a/b/b/c", false},
    {"a/**", "a", false},
    {"a/**", "a/b", true},
    {"a/**/c", "a/c", true},
    {"a/**/c", "a/b/b/c", true},
    {"a/**/c", "ac", false},
    {"**", "a/b", true},
    {"**foo", "a/xfoo", true}, /* a suffix ... */
    {"**fo?", "xfoo", false},  /* ... but not with a wildcard behind it */
    {"a**b", "ax/b", true},
    {"a**b", "axb", false},
    {"a**", "abc/d", true},
    {"?", "\xc3\xa9", true}, /* a character, not a byte */
    {"?", "/", false},
    {"[a-c]x", "bx", true},
    {"[a-c]x", "dx", false},
    {"[^a-c]x", "dx", true},
    {"[^a-c]x", "bx", false},
    {"[!a]x", "!x", true}, /* '!' does not negate */
    {"[!a]x", "bx", false},
    {"[\\]\\-]x", "-x", true},
    {"[\xc3\xa9-\xc3\xab]", "\xc3\xaa", true},
    {"\\*x", "*x", true},
    {"\\*x", "ax", false},
    {"a.b+(c)|{d}$", "a.b+(c)|{d}$", true},
    {"  a  ", "a", true},
    {"a\r\nb\r\n", "b", true},
    {"/a", "a", true},
    {"./a/", "a", true},
    {"x/../a", "a", true},
    {"../a", "a", false},
    {"/", "a", false},
    {".", "a", false},
    {"#a", "#a", false},
    {" #a", "#a", true}, /* a comment begins in the first column */
    {"\\#a", "#a", true},
    {"\xef\xbb\xbf"
     "a",
     "a", true},
    {"*\n!a", "a", false},
    {"*\n!a", "a/b", false},
    {"*\n!a/b", "a/b", false},
    {"*\n!a/b", "a/c", true},
    {"!a\n*", "a", true}, /* the last match wins */
    {"a\n! a", "a", false},
    {"a\n/!a", "a", false},
    {"a\n!a\na/b", "a/b", true},
    {"!!a\n", "!a", false},
    {"", "Kitfile", true},
    {"", "kitfile", true},
    {"", ".kitfile", true},
    {"", ".kitignore", true},
    {"", "code/Kitfile", false},
    {"!Kitfile\n!*", "Kitfile", true}, /* nothing takes these back */
    {"", "KITFILE", false},
};

Test(kitignore, as_moby_patternmatcher)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(answers); i++)
        cr_assert_eq(is_ignored(answers[i].text, answers[i].path), answers[i].ignored,
                     "'%s' of '%s'", answers[i].path, answers[i].text);
}

Test(kitignore, malformed_patterns_name_their_line)
{
    static const char *const rows[] = {
        "[a",    "[]",  "[]a]",  "[-a]", "[a-]", "[b-a]", "a\\", "[a\\", "[*]", "[?]",
        "[[a]]", "\\d", "[\\d]", "!",    "! ",   "!/",    "/!",  "[^",   "["};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_ignore ignore;
        char text[32] = "a\n# b\n";

        strncat(text, rows[i], sizeof(text) - 10);
        cr_assert_eq(kf_ignore_parse(&ignore, text, strlen(text), &err), -1, "%s",
                     rows[i]);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
        cr_assert_not_null(strstr(err.message, "line 3: "), "%s", err.message);
    }
}

Test(kitignore, a_nul_is_malformed)
{
    struct kf_ignore ignore;

    cr_assert_eq(kf_ignore_parse(&ignore, "a\0b", 3, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
}

Test(kitignore, has_negated)
{
    struct kf_ignore ignore;

    cr_assert_eq(kf_ignore_parse(&ignore, "a", 1, &err), 0);
    cr_assert_not(ignore.has_negated);
    kf_ignore_fini(&ignore);
    cr_assert_eq(kf_ignore_parse(&ignore, "!a", 2, &err), 0);
    cr_assert(ignore.has_negated);
    kf_ignore_fini(&ignore);
}

/* Length `length` of "a\n" and its pieces. */
static int parse_lines(size_t lines)
{
    kf_auto(kf_free) char *text = malloc(2 * lines);
    struct kf_ignore ignore;
    int rc;

    for (size_t i = 0; i < lines; i++)
        memcpy(text + 2 * i, "a\n", 2);
    rc = kf_ignore_parse(&ignore, text, 2 * lines, &err);
    if (rc == 0)
        kf_ignore_fini(&ignore);
    return rc;
}

static int parse_long(char c, size_t length)
{
    kf_auto(kf_free) char *text = malloc(length);
    struct kf_ignore ignore;
    int rc;

    memset(text, c, length);
    rc = kf_ignore_parse(&ignore, text, length, &err);
    if (rc == 0)
        kf_ignore_fini(&ignore);
    return rc;
}

Test(kitignore, limits)
{
    cr_assert_eq(parse_lines(KF_IGNORE_PATTERNS - 4), 0, "%s", err.message);
    cr_assert_eq(parse_lines(KF_IGNORE_PATTERNS - 3), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(parse_long('a', KF_IGNORE_PATTERN_LENGTH), 0, "%s", err.message);
    cr_assert_eq(parse_long('a', KF_IGNORE_PATTERN_LENGTH + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(parse_long('\n', KF_IGNORE_LIMIT), 0, "%s", err.message);
    cr_assert_eq(parse_long('\n', KF_IGNORE_LIMIT + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

/* A backtracking matcher does not come back from this. */
Test(kitignore, many_stars_are_not_slow)
{
    char text[401], path[2001];

    for (size_t i = 0; i < 400; i += 2)
        memcpy(text + i, "*a", 2);
    text[399] = 'b';
    text[400] = '\0';
    memset(path, 'a', 2000);
    path[2000] = '\0';
    cr_assert_not(is_ignored(text, path));
    for (size_t i = 0; i < 400; i += 4)
        memcpy(text + i, "**/a", 4);
    for (size_t i = 1; i < 2000; i += 2)
        path[i] = '/';
    path[1999] = 'b';
    cr_assert(is_ignored(text, path));
}

/* The longest pattern of the most tokens: "**" is two of them. */
Test(kitignore, the_longest_pattern_fits)
{
    char text[KF_IGNORE_PATTERN_LENGTH + 1];

    for (size_t i = 0; i < KF_IGNORE_PATTERN_LENGTH; i += 4)
        memcpy(text + i, "**/a", 4);
    text[KF_IGNORE_PATTERN_LENGTH] = '\0';
    cr_assert_not(is_ignored(text, "a/a/a"));
    memset(text, '*', KF_IGNORE_PATTERN_LENGTH);
    cr_assert(is_ignored(text, "a/b"));
}
