#include "kitfile/kitignore.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitfile_path.h"
#include "kitfile/unicode.h"

/*
 * A pattern is a regular expression of few kinds, run over the path once with the set of
 * all places in the pattern that may be meant: no backtracking, so no pattern is slow.
 */
enum token_kind {
    T_CHAR,   /* this one */
    T_ANY,    /* one, but no '/' */
    T_CLASS,  /* one of a class */
    T_STAR,   /* any number, but no '/' */
    T_ALL,    /* any number */
    T_DEEP,   /* nothing, or what T_FOLDER takes, which is the next token */
    T_FOLDER, /* any number that end in '/' */
};

struct kf_ignore_token {
    enum token_kind kind;
    uint32_t c;
    const char *class; /* after its '[' or "[^" */
    bool negated;      /* the class */
};

/* --- classes: ranges up to ']' --- */

/* One end of a range; false where Go's filepath.Match, or we, refuse it. */
static bool class_char(const char **text, uint32_t *ret)
{
    if (!**text || strchr("-]*?[", **text))
        return false;
    if (**text == '\\' && (!*++*text || isalnum((unsigned char)**text)))
        return false;
    *ret = kf_utf8_next(text);
    return true;
}

static bool class_range(const char **text, uint32_t *low, uint32_t *high)
{
    if (!class_char(text, low))
        return false;
    *high = *low;
    if (**text != '-')
        return true;
    (*text)++;
    return class_char(text, high) && *low <= *high;
}

static bool in_class(const struct kf_ignore_token *token, uint32_t c)
{
    const char *text = token->class;
    uint32_t low, high;
    bool found = false;

    while (*text != ']' && class_range(&text, &low, &high))
        found |= low <= c && c <= high;
    return found != token->negated;
}

/* --- patterns into tokens --- */

static bool take_class(struct kf_ignore_token *token, const char **text)
{
    uint32_t low, high;

    (*text)++;
    token->kind = T_CLASS;
    token->negated = **text == '^';
    *text += token->negated;
    token->class = *text;
    do
        if (!class_range(text, &low, &high))
            return false;
    while (**text != ']');
    (*text)++;
    return true;
}

/* "**": at the end everything; "**" and a name without wildcards at the beginning what
 * ends so; else any number of folders. A slash after it belongs to it. */
static void take_deep(struct kf_ignore_pattern *pattern, const char **text)
{
    struct kf_ignore_token *token = &pattern->tokens[pattern->token_count];
    bool is_first = pattern->token_count == 0;

    *text += 2;
    if (is_first && **text != '/' && !strpbrk(*text, "*?[]\\")) {
        token->kind = T_ALL;
        pattern->token_count++;
        return;
    }
    *text += **text == '/';
    if (!**text) {
        token->kind = T_ALL;
        pattern->token_count++;
        return;
    }
    token[0].kind = T_DEEP;
    token[1].kind = T_FOLDER;
    pattern->token_count += 2;
}

static bool take_token(struct kf_ignore_pattern *pattern, const char **text)
{
    struct kf_ignore_token *token = &pattern->tokens[pattern->token_count];

    if (strncmp(*text, "**", 2) == 0) {
        take_deep(pattern, text);
        return true;
    }
    pattern->token_count++;
    if (**text == '[')
        return take_class(token, text);
    if (**text == '*' || **text == '?') {
        token->kind = **text == '*' ? T_STAR : T_ANY;
        (*text)++;
        return true;
    }
    if (**text == '\\' && (!*++*text || isalnum((unsigned char)**text)))
        return false;
    token->kind = T_CHAR;
    token->c = kf_utf8_next(text);
    return true;
}

/* --- matching --- */

/* What is reached without a character; all of it lies further on. */
static void reach(const struct kf_ignore_pattern *pattern, bool *places)
{
    for (size_t i = 0; i < pattern->token_count; i++) {
        enum token_kind kind = pattern->tokens[i].kind;

        if (!places[i])
            continue;
        if (kind == T_STAR || kind == T_ALL || kind == T_DEEP)
            places[i + 1] = true;
        if (kind == T_DEEP)
            places[i + 2] = true;
    }
}

static bool takes(const struct kf_ignore_token *token, uint32_t c)
{
    switch (token->kind) {
    case T_CHAR:
        return token->c == c;
    case T_CLASS:
        return in_class(token, c);
    case T_ANY:
    case T_STAR:
        return c != '/';
    case T_ALL:
    case T_FOLDER:
        return true;
    case T_DEEP:
        break;
    }
    return false;
}

/* Over one character; false when nothing can match any more. */
static bool step(const struct kf_ignore_pattern *pattern, bool *places, uint32_t c)
{
    bool is_alive = false, next[KF_IGNORE_PATTERN_LENGTH + 1];

    memset(next, 0, pattern->token_count + 1);
    for (size_t i = 0; i < pattern->token_count; i++) {
        enum token_kind kind = pattern->tokens[i].kind;
        bool is_loop = kind == T_STAR || kind == T_ALL || kind == T_FOLDER;

        if (!places[i] || !takes(&pattern->tokens[i], c))
            continue;
        is_alive = true;
        next[is_loop ? i : i + 1] = true;
        if (kind == T_FOLDER && c == '/')
            next[i + 1] = true;
    }
    memcpy(places, next, pattern->token_count + 1);
    return is_alive;
}

/* The path or one of its parents. */
static bool matches(const struct kf_ignore_pattern *pattern, const char *path)
{
    bool places[KF_IGNORE_PATTERN_LENGTH + 1];

    memset(places, 0, pattern->token_count + 1);
    places[0] = true;
    for (;;) {
        reach(pattern, places);
        if ((*path == '/' || !*path) && places[pattern->token_count])
            return true;
        if (!*path || !step(pattern, places, kf_utf8_next(&path)))
            return false;
    }
}

/* --- the file --- */

static int compile(struct kf_ignore_pattern *pattern, struct kf_err *err)
{
    const char *text = pattern->text;
    size_t length = strlen(text);

    if (length > KF_IGNORE_PATTERN_LENGTH)
        return kf_fail(err, KF_E_LIMIT, "a pattern of more than %u bytes",
                       KF_IGNORE_PATTERN_LENGTH);
    pattern->tokens = calloc(length + 1, sizeof(*pattern->tokens));
    if (!pattern->tokens)
        return kf_fail(err, KF_E_NOMEM, "no memory for .kitignore");
    while (*text)
        if (!take_token(pattern, &text))
            return kf_fail(err, KF_E_MALFORMED, "malformed pattern '%s'", pattern->text);
    return 0;
}

static void cut_first(char *text)
{
    memmove(text, text + 1, strlen(text));
}

static int add(struct kf_ignore *ignore, const char *text, struct kf_err *err)
{
    struct kf_ignore_pattern *grown, *pattern;

    if (ignore->count == KF_IGNORE_PATTERNS)
        return kf_fail(err, KF_E_LIMIT, "more than %u patterns", KF_IGNORE_PATTERNS);
    grown = reallocarray(ignore->patterns, ignore->count + 1, sizeof(*grown));
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for .kitignore");
    ignore->patterns = grown;
    pattern = &grown[ignore->count++];
    *pattern = (struct kf_ignore_pattern){.negated = *text == '!'};
    text += pattern->negated;
    while (isspace((unsigned char)*text))
        text++;
    pattern->text = kf_path_clean(text);
    if (!pattern->text)
        return kf_fail(err, KF_E_NOMEM, "no memory for .kitignore");
    if (pattern->text[0] == '/' && pattern->text[1])
        cut_first(pattern->text);
    if (!pattern->negated && pattern->text[0] == '!') { /* "/!a" is "!a" to moby */
        pattern->negated = true;
        cut_first(pattern->text);
    }
    if (pattern->negated && (!*text || !pattern->text[strspn(pattern->text, "/")]))
        return kf_fail(err, KF_E_MALFORMED, "a '!' without a pattern");
    ignore->has_negated |= pattern->negated;
    return compile(pattern, err);
}

static int add_line(struct kf_ignore *ignore, const char *start, size_t length,
                    struct kf_err *err)
{
    kf_auto(kf_free) char *line = NULL;

    if (memchr(start, '\0', length))
        return kf_fail(err, KF_E_MALFORMED, "a NUL character");
    if (length > 0 && *start == '#')
        return 0;
    while (length > 0 && isspace((unsigned char)start[length - 1]))
        length--;
    while (length > 0 && isspace((unsigned char)*start)) {
        start++;
        length--;
    }
    if (length == 0)
        return 0;
    line = strndup(start, length);
    return line ? add(ignore, line, err)
                : kf_fail(err, KF_E_NOMEM, "no memory for .kitignore");
}

static int add_lines(struct kf_ignore *ignore, const char *text, size_t length,
                     struct kf_err *err)
{
    static const char bom[] = "\xef\xbb\xbf";

    if (length >= sizeof(bom) - 1 && memcmp(text, bom, sizeof(bom) - 1) == 0) {
        text += sizeof(bom) - 1;
        length -= sizeof(bom) - 1;
    }
    for (unsigned number = 1; length > 0; number++) {
        const char *end = memchr(text, '\n', length);
        size_t line = end ? (size_t)(end - text) : length;

        if (add_line(ignore, text, line, err) != 0)
            return kf_fail_wrap(err, "line %u", number);
        line += end != NULL;
        text += line;
        length -= line;
    }
    return 0;
}

int kf_ignore_parse(struct kf_ignore *ret, const char *text, size_t length,
                    struct kf_err *err)
{
    static const char *const implied[] = {"Kitfile", "kitfile", ".kitfile", ".kitignore"};
    struct kf_ignore ignore = {0};
    int rc;

    if (length > KF_IGNORE_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "larger than %zu bytes", KF_IGNORE_LIMIT);
    rc = add_lines(&ignore, text, length, err);
    for (size_t i = 0; rc == 0 && i < KF_ARRAY_LEN(implied); i++)
        rc = add(&ignore, implied[i], err);
    if (rc != 0) {
        kf_ignore_fini(&ignore);
        return -1;
    }
    *ret = ignore;
    return 0;
}

void kf_ignore_fini(struct kf_ignore *ignore)
{
    for (size_t i = 0; i < ignore->count; i++) {
        free(ignore->patterns[i].text);
        free(ignore->patterns[i].tokens);
    }
    free(ignore->patterns);
    *ignore = (struct kf_ignore){0};
}

bool kf_ignore_match(const struct kf_ignore *ignore, const char *path)
{
    bool ignored = false;

    for (size_t i = 0; i < ignore->count; i++) {
        const struct kf_ignore_pattern *pattern = &ignore->patterns[i];

        /* Only a pattern that would change the answer is looked at. */
        if (pattern->negated == ignored && matches(pattern, path))
            ignored = !pattern->negated;
    }
    return ignored;
}
