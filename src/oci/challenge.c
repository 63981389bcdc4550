#include "oci/challenge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"

/*
 * list      = challenge *( "," challenge )        with empty elements
 * challenge = scheme [ 1*SP ( token68 / param *( "," param ) ) ]
 * param     = token "=" ( token / quoted-string ) with blanks around "="
 *
 * Behind a comma, a token with "=" behind it is one more parameter, any other the scheme
 * of the next challenge.
 */
#define TOKEN                    \
    "abcdefghijklmnopqrstuvwxyz" \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
    "0123456789!#$%&'*+-.^_`|~"
#define TOKEN_68 TOKEN "/"

struct parser {
    const char *at;
    bool broken; /* the grammar is */
    bool no_memory;
};

/* The challenge being read. */
struct candidate {
    struct kf_challenge challenge;
    bool unusable; /* a value is over the limit */
};

static void skip(struct parser *parser, const char *chars)
{
    parser->at += strspn(parser->at, chars);
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* Where a parameter's value goes; NULL: nowhere. */
static char **slot_of(struct kf_challenge *challenge, const char *name, size_t length)
{
    const struct {
        const char *name;
        char **slot;
    } rows[] = {
        {"realm", &challenge->realm},
        {"service", &challenge->service},
        {"scope", &challenge->scope},
        {"error", &challenge->error},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        if (is_word(name, length, rows[i].name))
            return rows[i].slot;
    return NULL;
}

static void keep_value(struct parser *parser, struct candidate *candidate, char **slot,
                       const char *value, size_t length)
{
    if (!slot || *slot)
        return;
    if (length > KF_CHALLENGE_VALUE_LIMIT) {
        candidate->unusable = true;
        return;
    }
    *slot = strndup(value, length);
    if (!*slot)
        parser->no_memory = true;
}

/* Behind the opening quote. What is longer than the limit is cut one byte above it. */
static size_t take_quoted(struct parser *parser, char out[KF_CHALLENGE_VALUE_LIMIT + 1])
{
    size_t length = 0;

    for (; *parser->at != '"'; parser->at++) {
        unsigned char c = (unsigned char)*parser->at;

        if (c == '\\')
            c = (unsigned char)*++parser->at;
        if (c < 0x20 || c == 0x7f) { /* the end, too */
            parser->broken = true;
            return 0;
        }
        if (length <= KF_CHALLENGE_VALUE_LIMIT)
            out[length++] = (char)c;
    }
    parser->at++;
    return length;
}

/* The parser stands at the '='. */
static void take_value(struct parser *parser, struct candidate *candidate, char **slot)
{
    char text[KF_CHALLENGE_VALUE_LIMIT + 1];
    size_t length;

    parser->at++;
    skip(parser, " \t");
    if (*parser->at == '"') {
        parser->at++;
        length = take_quoted(parser, text);
        if (!parser->broken)
            keep_value(parser, candidate, slot, text, length);
        return;
    }
    length = strspn(parser->at, TOKEN_68 ":"); /* some leave the quotes away */
    if (length == 0)
        parser->broken = true;
    else
        keep_value(parser, candidate, slot, parser->at, length);
    parser->at += length;
}

/* One parameter, if there is one; false: the next challenge or the end follows. */
static bool take_param(struct parser *parser, struct candidate *candidate)
{
    const char *name = parser->at;
    size_t length = strspn(name, TOKEN);
    struct parser ahead = {.at = name + length};

    skip(&ahead, " \t");
    if (length == 0 || *ahead.at != '=')
        return false;
    parser->at = ahead.at;
    take_value(parser, candidate, slot_of(&candidate->challenge, name, length));
    return true;
}

/* "scheme dG9rZW4=": text of no parameters. */
static void skip_token_68(struct parser *parser)
{
    size_t length = strspn(parser->at, TOKEN_68);
    size_t pad = strspn(parser->at + length, "=");
    const char *end = parser->at + length + pad;

    end += strspn(end, " \t");
    if (length > 0 && (*end == ',' || *end == '\0'))
        parser->at = end;
}

static void take_challenge(struct parser *parser, struct candidate *candidate)
{
    const char *scheme = parser->at;
    size_t length = strspn(scheme, TOKEN);

    parser->at += length;
    parser->broken = length == 0 || (*parser->at && !strchr(" \t,", *parser->at));
    if (is_word(scheme, length, "basic"))
        candidate->challenge.scheme = KF_CHALLENGE_BASIC;
    else if (is_word(scheme, length, "bearer"))
        candidate->challenge.scheme = KF_CHALLENGE_BEARER;
    skip(parser, " \t");
    skip_token_68(parser);
    while (!parser->broken && take_param(parser, candidate)) {
        skip(parser, " \t");
        if (*parser->at && *parser->at != ',')
            parser->broken = true;
        else
            skip(parser, ", \t");
    }
}

/* Whether it is better than what is there. */
static bool is_better(const struct candidate *candidate, const struct kf_challenge *best)
{
    const struct kf_challenge *challenge = &candidate->challenge;

    return !candidate->unusable && challenge->scheme > best->scheme &&
           (challenge->scheme != KF_CHALLENGE_BEARER || challenge->realm);
}

int kf_challenge_parse(struct kf_challenge *ret, const char *value, struct kf_err *err)
{
    struct parser parser = {.at = value};
    struct kf_challenge best = {0};

    skip(&parser, ", \t");
    for (unsigned i = 0; *parser.at && !parser.broken && i < KF_CHALLENGE_LIMIT; i++) {
        struct candidate candidate = {0};

        take_challenge(&parser, &candidate);
        if (!parser.broken && is_better(&candidate, &best)) {
            kf_challenge_fini(&best);
            best = candidate.challenge;
        } else {
            kf_challenge_fini(&candidate.challenge);
        }
        skip(&parser, ", \t");
    }
    if (parser.no_memory) {
        kf_challenge_fini(&best);
        return kf_fail(err, KF_E_NOMEM, "no memory for a challenge");
    }
    *ret = best;
    return 0;
}

void kf_challenge_fini(struct kf_challenge *challenge)
{
    free(challenge->realm);
    free(challenge->service);
    free(challenge->scope);
    free(challenge->error);
    *challenge = (struct kf_challenge){0};
}
