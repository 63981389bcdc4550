#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/toml.h"

static struct kf_err err;

static struct kf_toml *parse(const char *text)
{
    struct kf_toml *root = NULL;

    kf_err_clear(&err);
    return kf_toml_parse(&root, text, strlen(text), &err) == 0 ? root : NULL;
}

/* "a.b=text;..." in the order of the text, so that one line says what was understood. */
static void tell(const struct kf_toml *node, char *text, size_t size)
{
    size_t used = strlen(text);

    if (node->key)
        (void)snprintf(text + used, size - used, "%s=", node->key);
    used = strlen(text);
    switch (node->type) {
    case KF_TOML_STRING:
        (void)snprintf(text + used, size - used, "'%s'", node->text);
        break;
    case KF_TOML_BOOL:
        (void)snprintf(text + used, size - used, "%s", node->truth ? "true" : "false");
        break;
    case KF_TOML_INTEGER:
        (void)snprintf(text + used, size - used, "%lld", (long long)node->number);
        break;
    case KF_TOML_TABLE:
    case KF_TOML_ARRAY:
        (void)strncat(text, node->type == KF_TOML_TABLE ? "{" : "[", 2);
        for (const struct kf_toml *child = node->first; child; child = child->next) {
            if (child != node->first)
                (void)strncat(text, " ", 2);
            tell(child, text, size);
        }
        (void)strncat(text, node->type == KF_TOML_TABLE ? "}" : "]", 2);
        break;
    }
}

Test(toml, what_is_understood)
{
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"", "{}"},
        {"\n\r\n \t\n# x\n", "{}"},
        {"a = 1", "{a=1}"},
        {"a=1 # x\nb=-2\r\nc=+3\n", "{a=1 b=-2 c=3}"},
        {"a = 9223372036854775807\nb = -9223372036854775808\nc = 0\nd = -0",
         "{a=9223372036854775807 b=-9223372036854775808 c=0 d=0}"},
        {"a = true\nb=false", "{a=true b=false}"},
        {"a = \"x\"\nb = 'y\\n'", "{a='x' b='y\\n'}"},
        {"a = \"\"\nb = ''", "{a='' b=''}"},
        {"a = \"\\\"\\\\\\t\\n\"", "{a='\"\\\t\n'}"},
        {"a = \"\\u00e9\\u20ac\\U0001F600\\u0041\"",
         "{a='\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
         "A'}"},
        {"a = \"# no comment\" # one", "{a='# no comment'}"},
        {"a = '\xc3\xa9\xef\xbf\xbd\xf4\x8f\xbf\xbf'",
         "{a='\xc3\xa9\xef\xbf\xbd\xf4\x8f\xbf\xbf'}"},
        {"a = []\nb = [ ]\nc = [1,2]\nd = [ 'x' , \"y\", ]",
         "{a=[] b=[] c=[1 2] d=['x' 'y']}"},
        {"a = [ # x\n 'y'\n , # z\n\n ['p', 'q'],\r\n]\nb=1", "{a=['y' ['p' 'q']] b=1}"},
        {"\"a b\" = 1\n'c.d' = 2\n\"\" = 3\n1 = 4\n-_ = 5", "{a b=1 c.d=2 =3 1=4 -_=5}"},
        {"a.b = 1\na . 'c' = 2\nd = 3", "{a={b=1 c=2} d=3}"},
        {"[a]\nb=1\n[c]\nb=2", "{a={b=1} c={b=2}}"},
        {"[ a . \"b.c\" ] # x\nd=1", "{a={b.c={d=1}}}"},
        {"[a.b]\nx=1\n[a]\ny=2", "{a={b={x=1} y=2}}"},
        {"[a.b.c]\n[a.b]\n[a]", "{a={b={c={}}}}"},
        {"[a]\nb.c=1\n[a.d]\ne=2", "{a={b={c=1} d={e=2}}}"},
        {"[fruit]\napple.color=1\n[fruit.apple.taste]\nsweet=true",
         "{fruit={apple={color=1 taste={sweet=true}}}}"},
        {"z=1\na=2\n[y]\n[b]", "{z=1 a=2 y={} b={}}"},
        {"server = \"https://x\"\n[host.\"https://m:1\"]\n  capabilities = [\"pull\"]\n"
         "  [host.\"https://m:1\".header]\n    x-a = [\"b\"]\n",
         "{server='https://x' host={https://m:1={capabilities=['pull'] "
         "header={x-a=['b']}}}}"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_toml *root = parse(rows[i].text);
        char told[512] = "";

        cr_assert_not_null(root, "%s: %s", rows[i].text, err.message);
        tell(root, told, sizeof(told));
        cr_expect_str_eq(told, rows[i].told, "%s", rows[i].text);
        kf_toml_free(root);
    }
}

struct refused {
    const char *text, *said;
};

static void expect_refused(const struct refused *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cr_expect_null(parse(rows[i].text), "%s", rows[i].text);
        cr_expect(strncmp(err.message, rows[i].said, strlen(rows[i].said)) == 0, "%s: %s",
                  rows[i].text, err.message);
    }
}

Test(toml, values_that_are_refused)
{
    static const struct refused rows[] = {
        {"a", "line 1: an equals sign is missing"},
        {"\na =", "line 2: neither a string"},
        {"a = b", "line 1: neither a string"},
        {"= 1", "line 1: a name is missing"},
        {"a. = 1", "line 1: a name is missing"},
        {"\xc3\xa9 = 1", "line 1: a name is missing, or needs quotes"},
        {"a = 1 b = 2", "line 1: something behind the value"},
        {"a = 1\rb = 2", "line 1: something behind the value"},
        {"a = truex", "line 1: neither true nor false"},
        {"a = True", "line 1: neither a string"},
        {"a = 01", "line 1: a number that begins with 0"},
        {"a = 1.5", "line 1: neither a string"},
        {"a = 1e5", "line 1: neither a string"},
        {"a = 0x10", "line 1: neither a string"},
        {"a = 1_000", "line 1: neither a string"},
        {"a = 1979-05-27", "line 1: neither a string"},
        {"a = 07:32:00", "line 1: neither a string"},
        {"a = 9223372036854775808", "line 1: a number that is too large"},
        {"a = -9223372036854775809", "line 1: a number that is too large"},
        {"a = -", "line 1: neither a string"},
        {"a = inf", "line 1: neither a string"},
    };

    expect_refused(rows, KF_ARRAY_LEN(rows));
}

Test(toml, strings_that_are_refused)
{
    static const struct refused rows[] = {
        {"a = \"x", "line 1: a string without its closing quote"},
        {"a = 'x\ny'", "line 1: a string without its closing quote"},
        {"a = \"\\x41\"", "line 1: no such escape"},
        {"a = \"\\", "line 1: no such escape"},
        {"a = \"\\u12\"", "line 1: an escape with too few digits"},
        {"a = \"\\ud800\"", "line 1: an escape that is no character"},
        {"a = \"\\U00110000\"", "line 1: an escape that is no character"},
        {"a = \"\\u0000\"", "line 1: a control character in a string"},
        {"a = \"\\r\"", "line 1: a control character in a string"},
        {"a = \"\x01\"", "line 1: a control character in a string"},
        {"a = '\x7f'", "line 1: a control character in a string"},
        {"# \x02", "line 1: a control character in a comment"},
        {"a = \"\"\"x\"\"\"", "line 1: strings of several lines are not supported"},
        {"a = '''x'''", "line 1: strings of several lines are not supported"},
        {"a = {b = 1}", "line 1: inline tables are not supported"},
    };

    expect_refused(rows, KF_ARRAY_LEN(rows));
}

Test(toml, tables_that_are_refused)
{
    static const struct refused rows[] = {
        {"[[a]]", "line 1: arrays of tables are not supported"},
        {"[a", "line 1: a table without its closing bracket"},
        {"[]", "line 1: a name is missing"},
        {"[a]b=1", "line 1: something behind the value"},
        {"a = [1", "line 1: an array without its closing bracket"},
        {"a = [\n1\n2]", "line 3: a comma is missing in an array"},
        {"a = [,]", "line 1: neither a string"},
        {"a = [[[1]]]", "line 1: arrays within more than 1 others"},
        {"a = 1\n\na = 2", "line 3: 'a' is in line 1 already"},
        {"a = 1\n\"a\" = 2", "line 2: 'a' is in line 1 already"},
        {"[a]\n[b]\n[a]", "line 3: 'a' is in line 1 already"},
        {"a = 1\n[a]", "line 2: 'a' is in line 1 already"},
        {"[a]\nb = 1\n[a.b]", "line 3: 'b' is in line 2 already"},
        {"a.b = 1\n[a]", "line 2: 'a' is in line 1 already"},
        {"a.b = 1\na = 2", "line 2: 'a' is in line 1 already"},
        {"a = 1\na.b = 2", "line 2: 'a' is in line 1 already"},
        {"[a.b.c]\n[a]\nb.d = 1", "line 3: 'b' is in line 1 already"},
        {"a = '\xff'", "line 1: this is no UTF-8 text"},
        {"a = 1\n# \xc0\xaf", "line 2: this is no UTF-8 text"},
        {"a = '\xed\xa0\x80'", "line 1: this is no UTF-8 text"},
        {"a = '\xf4\x90\x80\x80'", "line 1: this is no UTF-8 text"},
        {"a = '\xe2\x82", "line 1: this is no UTF-8 text"},
        {"\xef\xbb\xbf", "line 1: a name is missing"},
    };

    expect_refused(rows, KF_ARRAY_LEN(rows));
}

Test(toml, a_nul)
{
    struct kf_toml *root;

    cr_expect_eq(kf_toml_parse(&root, "a = 1\n\0", 7, &err), -1);
    cr_expect_str_eq(err.message, "line 2: this is no UTF-8 text");
}

/* ---- limits, and one above ---- */

static void expect_limit(const char *text, bool fits)
{
    struct kf_toml *root = parse(text);

    cr_expect_eq(root != NULL, fits, "%s", err.message);
    if (!fits)
        cr_expect_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    kf_toml_free(root);
}

Test(toml, size_limit)
{
    char *text = malloc(KF_TOML_SIZE_LIMIT + 2);

    cr_assert_not_null(text);
    memset(text, '#', KF_TOML_SIZE_LIMIT + 1);
    text[KF_TOML_SIZE_LIMIT + 1] = '\0';
    expect_limit(text, false);
    text[KF_TOML_SIZE_LIMIT] = '\0';
    expect_limit(text, true);
    free(text);
}

Test(toml, depth_limit)
{
    expect_limit("[a.b.c.d.e.f.g.h]", true);
    expect_limit("[a.b.c.d.e.f.g.h.i]", false);
    expect_limit("[a.b.c.d.e.f.g]\nh=1", true);
    expect_limit("[a.b.c.d.e.f.g]\nh.i=1", false);
    expect_limit("a = [[1]]", true);
    expect_limit("a = [[[1]]]", false);
}

Test(toml, count_limit)
{
    char text[4 * KF_TOML_COUNT_LIMIT];
    size_t used = (size_t)snprintf(text, sizeof(text), "a = [");

    for (unsigned i = 0; i < KF_TOML_COUNT_LIMIT - 1; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "1,");
    (void)snprintf(text + used, sizeof(text) - used, "]");
    expect_limit(text, true);
    (void)snprintf(text + used, sizeof(text) - used, "1]");
    expect_limit(text, false);
}
