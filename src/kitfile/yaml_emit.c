#include "kitfile/yaml_emit.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kitfile/unicode.h"
#include "kitfile/value.h"
#include "kitfile/yaml_scalar.h"

#define INDENT 2
#define SIMPLE_KEY_LENGTH 128u /* a longer one, or one of several lines, needs a '?' */
#define BYTE_ORDER_MARK 0xfeffu

enum style { PLAIN, SINGLE_QUOTED, DOUBLE_QUOTED, LITERAL };

/* --- characters --- */

static bool is_break(uint32_t c)
{
    return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/* Nothing beyond 16 bits is. */
static bool is_printable(uint32_t c)
{
    return c == '\n' || (c >= 0x20 && c <= 0x7e) || (c >= 0xa0 && c <= 0xd7ff) ||
           (c >= 0xe000 && c <= 0xfffd && c != BYTE_ORDER_MARK);
}

static bool is_blank(uint32_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_one_of(uint32_t c, const char *set)
{
    return c != 0 && c < 0x80 && strchr(set, (int)c);
}

/* --- what a text allows --- */

struct shape {
    bool several_lines;
    bool flow_plain, block_plain; /* without quotes in a flow list, in a block */
    bool single_quoted;
    bool literal;
};

/* What has a meaning in YAML at that place of a text. */
static void look_for_indicator(struct shape *shape, uint32_t c, bool first,
                               bool after_blank, bool before_blank)
{
    bool flow, block;

    if (first) {
        block =
            is_one_of(c, "#,[]{}&*!|>'\"%@`") || (is_one_of(c, "?:-") && before_blank);
        flow = block || is_one_of(c, "?:");
    } else {
        block = (c == ':' && before_blank) || (c == '#' && after_blank);
        flow = block || is_one_of(c, ",?[]{}:");
    }
    shape->block_plain &= !block;
    shape->flow_plain &= !flow;
}

/* What spaces and line breaks, odd characters and places of them rule out. */
static void look_for_blanks(struct shape *shape, uint32_t c, uint32_t before,
                            bool at_an_end, bool last)
{
    bool edge = at_an_end && (c == ' ' || is_break(c));
    bool break_space = c == ' ' && is_break(before);
    bool space_break = is_break(c) && before == ' ';
    bool special = c != '\t' && !is_printable(c);

    shape->several_lines |= is_break(c);
    if (edge || break_space || space_break || special || c == '\t' || is_break(c))
        shape->flow_plain = shape->block_plain = false;
    if (break_space || space_break || special || c == '\t')
        shape->single_quoted = false;
    if (space_break || special || (last && c == ' '))
        shape->literal = false;
}

static struct shape shape_of(const char *text)
{
    struct shape shape = {
        .flow_plain = true, .block_plain = true, .single_quoted = true, .literal = true};
    uint32_t before = 0;

    if (strncmp(text, "---", 3) == 0 || strncmp(text, "...", 3) == 0)
        shape.flow_plain = shape.block_plain = false;
    for (const char *at = text; *at;) {
        bool first = at == text;
        uint32_t c = kf_utf8_next(&at);
        bool last = !*at;

        look_for_indicator(&shape, c, first, is_blank(before) || is_break(before),
                           last || is_blank((unsigned char)*at));
        look_for_blanks(&shape, c, before, first || last, last);
        before = c;
    }
    return shape;
}

/* ^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$: a number to base 60 in YAML 1.1. */
static bool is_base60(const char *text)
{
    static const char digits[] = "0123456789";
    size_t length;

    text += *text == '-' || *text == '+';
    if (strspn(text, digits) == 0)
        return false;
    text += strspn(text, "0123456789_");
    if (*text != ':')
        return false;
    while (*text == ':') {
        length = strspn(++text, digits);
        if (length == 0 || length > 2 || (length == 2 && *text > '5'))
            return false;
        text += length;
    }
    if (*text == '.')
        text += 1 + strspn(text + 1, "0123456789_");
    return !*text;
}

/* True and false in YAML 1.1. */
static bool is_old_bool(const char *text)
{
    static const char *const words[] = {"y",  "Y",   "yes", "Yes", "YES", "on",
                                        "On", "ON",  "n",   "N",   "no",  "No",
                                        "NO", "off", "Off", "OFF"};

    for (size_t i = 0; i < KF_ARRAY_LEN(words); i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

/* Whether a reader takes it for a text when it has no quotes. */
static bool reads_as_text(struct kf_yaml_out *out, const char *text)
{
    struct kf_value value = {0};
    bool result;

    if (is_base60(text) || is_old_bool(text))
        return false;
    if (kf_value_set_text(&value, text, strlen(text), out->err) != 0 ||
        kf_yaml_resolve(&value, out->err) != 0)
        out->failed = true;
    result = value.kind == KF_VALUE_TEXT;
    kf_value_fini(&value);
    return result;
}

static enum style style_of(struct kf_yaml_out *out, const char *text,
                           const struct shape *shape)
{
    if (strchr(text, '\n'))
        return shape->literal && !out->in_flow ? LITERAL : DOUBLE_QUOTED;
    if (!reads_as_text(out, text))
        return DOUBLE_QUOTED;
    if (out->in_flow ? shape->flow_plain : shape->block_plain)
        return PLAIN;
    return shape->single_quoted ? SINGLE_QUOTED : DOUBLE_QUOTED;
}

/* --- writing --- */

static void put(struct kf_yaml_out *out, const char *bytes, size_t length)
{
    if (!out->failed && kf_buf_append(out->to, bytes, length, out->err) != 0)
        out->failed = true;
    out->column++;
}

static void end_line(struct kf_yaml_out *out)
{
    out->column = 0;
    out->fresh = true;
}

/* Into a column: on this line when nothing stands in the way, else on a new one. */
static void put_indent(struct kf_yaml_out *out, int indent)
{
    size_t column = indent > 0 ? (size_t)indent : 0;

    if (!out->fresh || out->column > column) {
        put(out, "\n", 1);
        end_line(out);
    }
    while (!out->failed && out->column < column)
        put(out, " ", 1);
    out->spaced = true;
}

/* A text of ASCII, with a space before it where one is needed. */
static void put_word(struct kf_yaml_out *out, const char *word)
{
    if (!out->spaced)
        put(out, " ", 1);
    for (; *word; word++)
        put(out, word, 1);
    out->spaced = false;
    out->fresh = false;
}

/* '-', '?' or ':' of a block: what follows may begin its own block on the same line. */
static void put_mark(struct kf_yaml_out *out, const char *mark)
{
    bool fresh = out->fresh;

    put_word(out, mark);
    out->fresh = fresh;
}

/* Right behind what there is. */
static void put_behind(struct kf_yaml_out *out, const char *word)
{
    out->spaced = true;
    put_word(out, word);
}

/* The text as it is, every line of it indented. `fresh`: the first one, too. yaml.v3 ends
 * a line at any kind of break, without writing LF for the others. */
static void put_lines(struct kf_yaml_out *out, const char *text, int indent, bool fresh,
                      bool doubles_quotes)
{
    while (*text) {
        const char *start = text;
        uint32_t c = kf_utf8_next(&text);

        if (is_break(c)) {
            put(out, start, (size_t)(text - start));
            end_line(out);
            fresh = true;
            continue;
        }
        if (fresh)
            put_indent(out, indent);
        if (c == '\'' && doubles_quotes)
            put(out, "'", 1);
        put(out, start, (size_t)(text - start));
        out->fresh = false;
        fresh = false;
    }
}

static void put_single_quoted(struct kf_yaml_out *out, const char *text, int indent)
{
    put_word(out, "'");
    put_lines(out, text, indent, false, true);
    put_behind(out, "'");
}

static void put_escape(struct kf_yaml_out *out, uint32_t c)
{
    static const struct {
        uint32_t c;
        char letter;
    } letters[] = {{0x07, 'a'}, {0x08, 'b'}, {'\t', 't'},   {'\n', 'n'},  {0x0b, 'v'},
                   {0x0c, 'f'}, {'\r', 'r'}, {0x1b, 'e'},   {'"', '"'},   {'\\', '\\'},
                   {0x85, 'N'}, {0xa0, '_'}, {0x2028, 'L'}, {0x2029, 'P'}};
    char text[16];

    (void)snprintf(text, sizeof(text),
                   c <= 0xff     ? "\\x%02X"
                   : c <= 0xffff ? "\\u%04X"
                                 : "\\U%08X",
                   (unsigned)c);
    for (size_t i = 0; i < KF_ARRAY_LEN(letters); i++)
        if (letters[i].c == c)
            (void)snprintf(text, sizeof(text), "\\%c", letters[i].letter);
    put_behind(out, text);
}

/* yaml.v3 looks for a byte order mark at the beginning of the text, at every character:
 * behind one all is escaped. */
static void put_double_quoted(struct kf_yaml_out *out, const char *text)
{
    const char *at = text;
    bool all = kf_utf8_next(&at) == BYTE_ORDER_MARK;

    put_word(out, "\"");
    while (*text) {
        const char *start = text;
        uint32_t c = kf_utf8_next(&text);

        if (all || !is_printable(c) || is_break(c) || c == '"' || c == '\\')
            put_escape(out, c);
        else
            put(out, start, (size_t)(text - start));
    }
    put_behind(out, "\"");
}

/* The last character but `skip`, or 0. */
static uint32_t last_char(const char *text, size_t skip)
{
    size_t length = strlen(text);
    const char *at;

    for (;; skip--) {
        if (length == 0)
            return 0;
        do
            length--;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80);
        if (skip == 0)
            break;
    }
    at = text + length;
    return kf_utf8_next(&at);
}

/* The header says how far it is indented, when the text cannot show it, and whether it
 * ends with no line break, or with more than one. */
static void put_literal(struct kf_yaml_out *out, const char *text, int indent)
{
    const char *at = text;
    uint32_t first = kf_utf8_next(&at);

    put_word(out, "|");
    if (first == ' ' || is_break(first))
        put_behind(out, "2");
    if (!is_break(last_char(text, 0)))
        put_behind(out, "-");
    else if (!*at || is_break(last_char(text, 1)))
        put_behind(out, "+");
    put_lines(out, text, indent, true, false);
}

void kf_yaml_text(struct kf_yaml_out *out, const char *text)
{
    const struct shape shape = shape_of(text);
    int indent = out->indent + (out->in_flow ? 2 * INDENT : INDENT);

    switch (style_of(out, text, &shape)) {
    case PLAIN:
        if (!out->spaced)
            put(out, " ", 1);
        put_lines(out, text, indent, false, false);
        out->spaced = false;
        break;
    case SINGLE_QUOTED:
        put_single_quoted(out, text, indent);
        break;
    case DOUBLE_QUOTED:
        put_double_quoted(out, text);
        break;
    case LITERAL:
        put_literal(out, text, indent);
        break;
    }
}

void kf_yaml_word(struct kf_yaml_out *out, const char *word)
{
    put_word(out, word);
}

/* --- collections --- */

void kf_yaml_begin(struct kf_yaml_out *out, struct kf_buf *to, struct kf_err *err)
{
    *out = (struct kf_yaml_out){
        .to = to, .err = err, .spaced = true, .fresh = true, .indent = -INDENT};
}

int kf_yaml_end(struct kf_yaml_out *out)
{
    put_indent(out, 0);
    return out->failed ? -1 : 0;
}

void kf_yaml_open(struct kf_yaml_out *out)
{
    out->indent += INDENT;
}

void kf_yaml_close(struct kf_yaml_out *out)
{
    out->indent -= INDENT;
}

void kf_yaml_item(struct kf_yaml_out *out)
{
    put_indent(out, out->indent);
    put_mark(out, "-");
}

void kf_yaml_key(struct kf_yaml_out *out, const char *key)
{
    put_indent(out, out->indent);
    if (strlen(key) <= SIMPLE_KEY_LENGTH && !shape_of(key).several_lines) {
        kf_yaml_text(out, key);
        put_behind(out, ":");
        return;
    }
    put_mark(out, "?");
    kf_yaml_text(out, key);
    put_indent(out, out->indent);
    put_mark(out, ":");
}

void kf_yaml_flow_open(struct kf_yaml_out *out)
{
    put_word(out, "[");
    out->spaced = true;
    out->in_flow = true;
}

void kf_yaml_flow_next(struct kf_yaml_out *out)
{
    put_behind(out, ",");
}

void kf_yaml_flow_close(struct kf_yaml_out *out)
{
    put_behind(out, "]");
    out->in_flow = false;
}
