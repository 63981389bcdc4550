/*
 * .kitignore: the rules of .dockerignore (moby/patternmatcher), as kit applies them. Each
 * line a pattern; '#' in its first column a comment; '!' takes back; the last pattern
 * that matches a path or one of its parents decides. '*' and '?' stay in a component,
 * '**' crosses them, "[a-z]" and "[^a-z]" are classes, '\' takes the next character as it
 * is. What moby turns into another regular expression than its syntax says ('*', '?' or
 * '[' in a class, '\' before a letter or digit) is refused, as is what Go's
 * filepath.Match refuses. Immutable after parsing; any thread.
 *
 * Limits: 1 MiB, 10,000 patterns, 4096 bytes a pattern.
 */
#ifndef KF_KITFILE_KITIGNORE_H
#define KF_KITFILE_KITIGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct kf_err;
struct kf_ignore_token;

#define KF_IGNORE_LIMIT ((size_t)1 << 20)
#define KF_IGNORE_PATTERNS 10000u
#define KF_IGNORE_PATTERN_LENGTH 4096u

struct kf_ignore_pattern {
    char *text;
    struct kf_ignore_token *tokens;
    size_t token_count;
    bool negated;
};

struct kf_ignore {
    struct kf_ignore_pattern *patterns;
    size_t count;
    bool has_negated;
};

/* The file's text (may be empty), followed by what kit ignores by itself at the root,
 * whatever the text says: Kitfile, kitfile, .kitfile and .kitignore. Errors name the
 * line, not the file. */
int kf_ignore_parse(struct kf_ignore *ret, const char *text, size_t length,
                    struct kf_err *err);
void kf_ignore_fini(struct kf_ignore *ignore);

/* A path relative to the root, without leading slash. */
bool kf_ignore_match(const struct kf_ignore *ignore, const char *path);

#endif
