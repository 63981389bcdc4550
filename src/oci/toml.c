#include "oci/toml.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct parser {
    const char *at, *end;
    unsigned line;
    unsigned count;
    struct kf_err *err;
};

KF_DEFINE_AUTO(toml, struct kf_toml *, kf_toml_free)

#define NOT_SUPPORTED(p, what) \
    kf_fail((p)->err, KF_E_MALFORMED, "line %u: %s are not supported", (p)->line, what)
#define WRONG(p, what) kf_fail((p)->err, KF_E_MALFORMED, "line %u: %s", (p)->line, what)

static int no_memory(const struct parser *p)
{
    return kf_fail(p->err, KF_E_NOMEM, "line %u: no memory", p->line);
}

/* ---- the tree ---------------------------------------------------------------------- */

void kf_toml_free(struct kf_toml *root)
{
    struct kf_toml *child, *next;

    if (!root)
        return;
    for (child = root->first; child; child = next) { /* bounded depth */
        next = child->next;
        kf_toml_free(child);
    }
    free(root->key);
    free(root->text);
    free(root);
}

static struct kf_toml *new_node(struct parser *p, enum kf_toml_type type)
{
    struct kf_toml *node;

    if (p->count == KF_TOML_COUNT_LIMIT) {
        (void)kf_fail(p->err, KF_E_LIMIT, "line %u: more than %u keys and values",
                      p->line, KF_TOML_COUNT_LIMIT); /* NULL says it */
        return NULL;
    }
    node = calloc(1, sizeof(*node));
    if (!node) {
        (void)no_memory(p); /* NULL says it */
        return NULL;
    }
    p->count++;
    node->type = type;
    node->line = p->line;
    return node;
}

static void add(struct kf_toml *parent, struct kf_toml *child)
{
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static struct kf_toml *find(const struct kf_toml *table, const char *key)
{
    struct kf_toml *child = table->first;

    while (child && strcmp(child->key, key) != 0)
        child = child->next;
    return child;
}

/* ---- characters -------------------------------------------------------------------- */

static bool at_end(const struct parser *p)
{
    return p->at == p->end;
}

static char peek(const struct parser *p)
{
    return at_end(p) ? '\0' : *p->at; /* the text has no NUL */
}

static bool take(struct parser *p, char c)
{
    if (peek(p) != c)
        return false;
    p->at++;
    return true;
}

static bool has(const struct parser *p, const char *text)
{
    size_t length = strlen(text);

    return (size_t)(p->end - p->at) >= length && memcmp(p->at, text, length) == 0;
}

static void skip_blanks(struct parser *p)
{
    while (peek(p) == ' ' || peek(p) == '\t')
        p->at++;
}

static bool take_newline(struct parser *p)
{
    if (has(p, "\r\n"))
        p->at += 2;
    else if (!take(p, '\n'))
        return false;
    p->line++;
    return true;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static int skip_comment(struct parser *p)
{
    if (peek(p) != '#')
        return 0;
    while (!at_end(p) && peek(p) != '\n' && !has(p, "\r\n")) {
        if (is_control(peek(p)))
            return WRONG(p, "a control character in a comment");
        p->at++;
    }
    return 0;
}

static int end_line(struct parser *p)
{
    skip_blanks(p);
    if (skip_comment(p) != 0)
        return -1;
    return at_end(p) || take_newline(p) ? 0 : WRONG(p, "something behind the value");
}

/* Blanks, newlines and comments, as they may be within an array. */
static int skip_lines(struct parser *p)
{
    do {
        skip_blanks(p);
        if (skip_comment(p) != 0)
            return -1;
    } while (take_newline(p));
    return 0;
}

/* ---- strings ----------------------------------------------------------------------- */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int append_rune(struct parser *p, struct kf_buf *text, uint32_t rune)
{
    char bytes[4];
    size_t length = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = length; i-- > 1; rune >>= 6)
        bytes[i] = (char)(0x80 | (rune & 0x3f));
    bytes[0] = (char)(leads[length] | rune);
    return kf_buf_append(text, bytes, length, p->err);
}

static int take_rune(struct parser *p, struct kf_buf *text, unsigned digits)
{
    uint32_t rune = 0;

    for (unsigned i = 0; i < digits; i++) {
        int digit = digit_of(peek(p));

        if (digit < 0)
            return WRONG(p, "an escape with too few digits");
        rune = rune << 4 | (uint32_t)digit;
        p->at++;
    }
    if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return WRONG(p, "an escape that is no character");
    if (rune < 0x80 && is_control((char)rune) && rune != '\n')
        return WRONG(p, "a control character in a string");
    return append_rune(p, text, rune);
}

static int take_escape(struct parser *p, struct kf_buf *text)
{
    static const char names[] = "tn\"\\", values[] = "\t\n\"\\";
    char name = peek(p);
    const char *found = name ? strchr(names, name) : NULL;

    if (found) {
        p->at++;
        return kf_buf_append(text, &values[found - names], 1, p->err);
    }
    if (name != 'u' && name != 'U')
        return name && strchr("bfr", name) ? WRONG(p, "a control character in a string")
                                           : WRONG(p, "no such escape");
    p->at++;
    return take_rune(p, text, name == 'u' ? 4 : 8);
}

/* The quote is taken already. */
static int take_quoted(struct parser *p, char quote, struct kf_buf *text)
{
    while (!take(p, quote)) {
        char c = peek(p);

        if (at_end(p) || c == '\n' || c == '\r')
            return WRONG(p, "a string without its closing quote");
        if (is_control(c))
            return WRONG(p, "a control character in a string");
        p->at++;
        if (c == '\\' && quote == '"' ? take_escape(p, text) != 0
                                      : kf_buf_append(text, &c, 1, p->err) != 0)
            return -1;
    }
    return 0;
}

static int take_string(struct parser *p, char **ret)
{
    kf_auto(kf_buf_fini) struct kf_buf text;
    char quote = peek(p);

    kf_buf_init(&text, KF_TOML_SIZE_LIMIT);
    if (has(p, "\"\"\"") || has(p, "'''"))
        return NOT_SUPPORTED(p, "strings of several lines");
    p->at++;
    if (take_quoted(p, quote, &text) != 0)
        return -1;
    *ret = text.length > 0 ? (char *)kf_buf_take(&text, NULL) : strdup("");
    return *ret ? 0 : no_memory(p);
}

/* ---- keys -------------------------------------------------------------------------- */

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-';
}

static int take_name(struct parser *p, char **ret)
{
    const char *from = p->at;

    if (peek(p) == '"' || peek(p) == '\'')
        return take_string(p, ret);
    while (is_bare(peek(p)))
        p->at++;
    if (p->at == from)
        return WRONG(p, "a name is missing, or needs quotes");
    *ret = strndup(from, (size_t)(p->at - from));
    return *ret ? 0 : no_memory(p);
}

struct key {
    char *names[KF_TOML_DEPTH_LIMIT];
    unsigned count;
};

static void key_fini(struct key *key)
{
    while (key->count > 0)
        free(key->names[--key->count]);
}

static int take_key(struct parser *p, struct key *key)
{
    do {
        if (key->count == KF_TOML_DEPTH_LIMIT)
            return kf_fail(p->err, KF_E_LIMIT, "line %u: a key of more than %u names",
                           p->line, KF_TOML_DEPTH_LIMIT);
        skip_blanks(p);
        if (take_name(p, &key->names[key->count]) != 0)
            return -1;
        key->count++;
        skip_blanks(p);
    } while (take(p, '.'));
    return 0;
}

static int twice(const struct parser *p, const struct kf_toml *found)
{
    return kf_fail(p->err, KF_E_MALFORMED, "line %u: '%s' is in line %u already", p->line,
                   found->key, found->line);
}

/* The table `name` of `parent`, made where there is none. */
static int enter(struct parser *p, struct kf_toml **table, char **name, bool by_key)
{
    struct kf_toml *found = find(*table, *name);

    if (found && (found->type != KF_TOML_TABLE || (by_key && !found->dotted)))
        return twice(p, found);
    if (!found) {
        found = new_node(p, KF_TOML_TABLE);
        if (!found)
            return -1;
        found->key = kf_steal(*name);
        found->dotted = by_key;
        add(*table, found);
    }
    *table = found;
    return 0;
}

/* ---- values ------------------------------------------------------------------------ */

static int take_value(struct parser *p, unsigned arrays, struct kf_toml **ret);

static int take_integer(struct parser *p, struct kf_toml *node)
{
    bool negative = peek(p) == '-';
    int64_t number = 0;
    const char *from;

    if (peek(p) == '+' || peek(p) == '-')
        p->at++;
    from = p->at;
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++) {
        int digit = *p->at - '0';

        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, digit, &number))
            return WRONG(p, "a number that is too large");
    }
    if (p->at == from || is_bare(peek(p)) || (peek(p) && strchr(".:+", peek(p))))
        return WRONG(p, "neither a string, true, false, an array nor a decimal number");
    if (*from == '0' && p->at - from > 1)
        return WRONG(p, "a number that begins with 0");
    if (!negative && number == INT64_MIN)
        return WRONG(p, "a number that is too large");
    node->number = negative ? number : -number;
    return 0;
}

static int take_array(struct parser *p, unsigned arrays, struct kf_toml *node)
{
    p->at++;
    if (arrays == KF_TOML_ARRAY_DEPTH_LIMIT)
        return kf_fail(p->err, KF_E_LIMIT, "line %u: arrays within more than %u others",
                       p->line, KF_TOML_ARRAY_DEPTH_LIMIT - 1);
    for (;;) {
        struct kf_toml *value;

        if (skip_lines(p) != 0)
            return -1;
        if (take(p, ']'))
            return 0;
        if (take_value(p, arrays + 1, &value) != 0)
            return -1;
        add(node, value);
        if (skip_lines(p) != 0)
            return -1;
        if (!take(p, ',') && peek(p) != ']')
            return at_end(p) ? WRONG(p, "an array without its closing bracket")
                             : WRONG(p, "a comma is missing in an array");
    }
}

static bool take_word(struct parser *p, const char *word)
{
    size_t length = strlen(word);

    if (!has(p, word) || (p->end - p->at > (ptrdiff_t)length && is_bare(p->at[length])))
        return false;
    p->at += length;
    return true;
}

static enum kf_toml_type type_of(char c)
{
    return c == '"' || c == '\''  ? KF_TOML_STRING
           : c == '['             ? KF_TOML_ARRAY
           : c == 't' || c == 'f' ? KF_TOML_BOOL
                                  : KF_TOML_INTEGER;
}

static int take_value(struct parser *p, unsigned arrays, struct kf_toml **ret)
{
    kf_auto(kf_auto_toml) struct kf_toml *node = new_node(p, type_of(peek(p)));
    int rc = 0;

    if (!node)
        return -1;
    if (peek(p) == '{')
        return NOT_SUPPORTED(p, "inline tables");
    if (node->type == KF_TOML_STRING)
        rc = take_string(p, &node->text);
    else if (node->type == KF_TOML_ARRAY)
        rc = take_array(p, arrays, node);
    else if (node->type == KF_TOML_INTEGER)
        rc = take_integer(p, node);
    else if (take_word(p, "true"))
        node->truth = true;
    else if (!take_word(p, "false"))
        rc = WRONG(p, "neither true nor false, and no string without quotes");
    if (rc != 0)
        return -1;
    *ret = kf_steal(node);
    return 0;
}

/* ---- lines ------------------------------------------------------------------------- */

/* "name = value", "a.b = value" */
static int take_pair(struct parser *p, struct kf_toml *table, unsigned depth)
{
    kf_auto(key_fini) struct key key = {.count = 0};
    const struct kf_toml *same;
    struct kf_toml *value;

    if (take_key(p, &key) != 0)
        return -1;
    if (depth + key.count > KF_TOML_DEPTH_LIMIT)
        return kf_fail(p->err, KF_E_LIMIT, "line %u: more than %u tables in one another",
                       p->line, KF_TOML_DEPTH_LIMIT);
    for (unsigned i = 0; i + 1 < key.count; i++)
        if (enter(p, &table, &key.names[i], true) != 0)
            return -1;
    same = find(table, key.names[key.count - 1]);
    if (same)
        return twice(p, same);
    if (!take(p, '='))
        return WRONG(p, "an equals sign is missing");
    skip_blanks(p);
    if (take_value(p, 0, &value) != 0)
        return -1;
    value->key = kf_steal(key.names[key.count - 1]);
    add(table, value);
    return end_line(p);
}

/* "[name]", "[a.b]" */
static int take_header(struct parser *p, struct kf_toml *root, struct kf_toml **ret,
                       unsigned *ret_depth)
{
    kf_auto(key_fini) struct key key = {.count = 0};
    struct kf_toml *table = root;

    p->at++;
    if (peek(p) == '[')
        return NOT_SUPPORTED(p, "arrays of tables");
    if (take_key(p, &key) != 0)
        return -1;
    if (!take(p, ']'))
        return WRONG(p, "a table without its closing bracket");
    for (unsigned i = 0; i < key.count; i++)
        if (enter(p, &table, &key.names[i], false) != 0)
            return -1;
    if (table->opened || table->dotted)
        return twice(p, table);
    table->opened = true;
    *ret = table;
    *ret_depth = key.count;
    return end_line(p);
}

/* ---- the text ---------------------------------------------------------------------- */

/* How many bytes the UTF-8 character at `at` has; 0: it is none. */
static size_t rune_length(const unsigned char *at, size_t left)
{
    size_t length = at[0] < 0x80   ? 1
                    : at[0] < 0xc2 ? 0
                    : at[0] < 0xe0 ? 2
                    : at[0] < 0xf0 ? 3
                    : at[0] < 0xf5 ? 4
                                   : 0;

    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

static int check_text(const char *text, size_t length, struct kf_err *err)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned line = 1;

    if (length > KF_TOML_SIZE_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "line 1: more than %u bytes", KF_TOML_SIZE_LIMIT);
    for (size_t i = 0; i < length;) {
        size_t step = rune_length(bytes + i, length - i);

        if (step == 0 || bytes[i] == '\0')
            return kf_fail(err, KF_E_MALFORMED, "line %u: this is no UTF-8 text", line);
        line += bytes[i] == '\n';
        i += step;
    }
    return 0;
}

int kf_toml_parse(struct kf_toml **ret, const char *text, size_t length,
                  struct kf_err *err)
{
    struct parser p = {.at = text, .end = text + length, .line = 1, .err = err};
    kf_auto(kf_auto_toml) struct kf_toml *root = NULL;
    struct kf_toml *table;
    unsigned depth = 0;

    if (check_text(text, length, err) != 0)
        return -1;
    root = new_node(&p, KF_TOML_TABLE);
    if (!root)
        return -1;
    p.count = 0;
    table = root;
    for (;;) {
        if (skip_lines(&p) != 0)
            return -1;
        if (at_end(&p))
            break;
        if (peek(&p) == '[' ? take_header(&p, root, &table, &depth) != 0
                            : take_pair(&p, table, depth) != 0)
            return -1;
    }
    *ret = kf_steal(root);
    return 0;
}
