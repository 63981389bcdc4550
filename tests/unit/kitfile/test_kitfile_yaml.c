#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitfile_yaml.h"

static struct kf_err err;
static struct kf_value value;

static int parse(const char *yaml)
{
    memset(&value, 0x5a, sizeof(value)); /* what is not set shows */
    kf_err_clear(&err);
    return kf_yaml_parse(&value, yaml, strlen(yaml), &err);
}

static void expect(const char *yaml, const char *json)
{
    kf_auto(kf_buf_fini) struct kf_buf buf;

    kf_buf_init(&buf, 1 << 20);
    cr_assert_eq(parse(yaml), 0, "%s: %s", yaml, err.message);
    cr_assert_eq(kf_value_to_json(&value, &buf, &err), 0, "%s", err.message);
    cr_assert_str_eq((const char *)buf.data, json, "%s: %s", yaml,
                     (const char *)buf.data);
    kf_value_fini(&value);
}

static void expect_error(const char *yaml, enum kf_err_kind kind, const char *message)
{
    cr_assert_eq(parse(yaml), -1, "%s", yaml);
    cr_assert_eq(err.kind, kind, "%s: %s", yaml, err.message);
    cr_assert_not_null(strstr(err.message, message), "%s: %s", yaml, err.message);
}

/* What yaml.v3 3.0.1 and encoding/json make of them. */
static const char *const scalars[][2] = {
    {"1", "1"},
    {"-1", "-1"},
    {"+1", "1"},
    {"-0", "0"},
    {"-0.0", "-0"},
    {"007", "7"},
    {"08", "8"},
    {"-08", "-8"},
    {"-0777", "-511"},
    {"0o17", "15"},
    {"0O17", "15"},
    {"-0o17", "-15"},
    {"0b101", "5"},
    {"-0b11", "-3"},
    {"0b-11", "-3"},
    {"0o+17", "15"},
    {"-0b-1", "\"-0b-1\""},
    {"0b2", "\"0b2\""},
    {"0b", "\"0b\""},
    {"0xFF", "255"},
    {"0XfF", "255"},
    {"-0x10", "-16"},
    {"0xg", "\"0xg\""},
    {"0x", "\"0x\""},
    {"0x_1", "1"},
    {"0x0x1", "\"0x0x1\""},
    {"1_000", "1000"},
    {"1_000.5", "1000.5"},
    {"_1", "\"_1\""},
    {"1_", "1"},
    {"._5", "\"._5\""},
    {".5", "0.5"},
    {".9_1", "0.91"},
    {".9_", "\".9_\""},
    {"7.174648137343064e-43", "7.174648137343064e-43"},
    {"5.", "5"},
    {"+.5", "0.5"},
    {".", "\".\""},
    {"+", "\"+\""},
    {"--1", "\"--1\""},
    {"1e3", "1000"},
    {"1e20", "100000000000000000000"},
    {"1e21", "1e+21"},
    {"123456789012345678901", "123456789012345680000"},
    {"-1234567890123456789.5", "-1234567890123456800"},
    {"9223372036854775808", "9223372036854775808"},
    {"18446744073709551615", "18446744073709551615"},
    {"18446744073709551616", "18446744073709552000"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"-9223372036854775809", "-9223372036854776000"},
    {"+9223372036854775808", "9223372036854776000"},
    {"1e-6", "0.000001"},
    {"1e-7", "1e-7"},
    {"1.5e-10", "1.5e-10"},
    {"0.000001234", "0.000001234"},
    {"0.30000000000000004", "0.30000000000000004"},
    {"1e999", "\"1e999\""},
    {"1e-999", "0"},
    {"5e-324", "5e-324"},
    {"1.7976931348623157e308", "1.7976931348623157e+308"},
    {"1e", "\"1e\""},
    {"1e+", "\"1e+\""},
    {"1.0", "1"},
    {"2.50", "2.5"},
    {"yes", "\"yes\""},
    {"on", "\"on\""},
    {"n", "\"n\""},
    {"true", "true"},
    {"TRUE", "true"},
    {"tRue", "\"tRue\""},
    {"False", "false"},
    {"null", "null"},
    {"~", "null"},
    {"Null", "null"},
    {"", "null"},
    {"\"1\"", "\"1\""},
    {"'true'", "\"true\""},
    {"\"\"", "\"\""},
    {"!!str 1", "\"1\""},
    {"! 12", "12"},
    {"!!str", "\"\""},
    {"2024-01-01", "\"2024-01-01T00:00:00Z\""},
    {"2024-1-1", "\"2024-01-01T00:00:00Z\""},
    {"2024-02-30", "\"2024-02-30\""},
    {"2024-02-29", "\"2024-02-29T00:00:00Z\""},
    {"2023-02-29", "\"2023-02-29\""},
    {"2001-12-14t21:59:43.10-05:00", "\"2001-12-14T21:59:43.1-05:00\""},
    {"2001-12-14 21:59:43.10", "\"2001-12-14T21:59:43.1Z\""},
    {"2001-12-14 21:59:43.10 -5", "\"2001-12-14 21:59:43.10 -5\""},
    {"2001-12-14T1:2:3+00:00", "\"2001-12-14T01:02:03Z\""},
    {"2001-12-14T21:59:43.1234567899Z", "\"2001-12-14T21:59:43.123456789Z\""},
    {"2001-12-14T24:00:00Z", "\"2001-12-14T24:00:00Z\""},
    {"2001-12-14T21:59:43", "\"2001-12-14T21:59:43\""},
    {"20010-12-14", "\"20010-12-14\""},
    {"1:20", "\"1:20\""},
    {"a#b", "\"a#b\""},
    {"a # b", "\"a\""},
};

Test(kitfile_yaml, scalars_are_typed_as_yaml_v3)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(scalars); i++) {
        char yaml[128], json[128];

        (void)snprintf(yaml, sizeof(yaml), "p: %s\n", scalars[i][0]);
        (void)snprintf(json, sizeof(json), "{\"p\":%s}", scalars[i][1]);
        expect(yaml, json);
    }
}

Test(kitfile_yaml, numbers_that_json_has_not)
{
    static const char *const rows[] = {".inf", "-.Inf", "+.INF", ".nan", ".NaN"};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_buf_fini) struct kf_buf buf;

        kf_buf_init(&buf, 1024);
        cr_assert_eq(parse(rows[i]), 0);
        cr_assert_str_eq(value.text, rows[i]); /* still good where text is wanted */
        cr_assert_eq(kf_value_to_json(&value, &buf, &err), -1);
        cr_assert_eq(err.kind, KF_E_ARG);
        cr_assert_not_null(strstr(err.message, "line 1, column 1: "), "%s", err.message);
        kf_value_fini(&value);
    }
}

Test(kitfile_yaml, what_was_written_stays_beside_its_type)
{
    cr_assert_eq(parse("manifestVersion: 1.0\n"), 0);
    cr_assert_str_eq(kf_value_get(&value, "manifestVersion")->text, "1.0");
    cr_assert_eq(kf_value_get(&value, "manifestVersion")->kind, KF_VALUE_LITERAL);
    kf_value_fini(&value);
}

Test(kitfile_yaml, lists_maps_and_texts)
{
    expect("b: [1, {c: d}, [], {}]\na:\n- x\n- y: 2\n  z:\n",
           "{\"a\":[\"x\",{\"y\":2,\"z\":null}],\"b\":[1,{\"c\":\"d\"},[],{}]}");
    expect(
        "f: >\n  folded\n  text\n\n  more\ns: >-\n  stripped\n  end\nl: |\n  a\n   b\n",
        "{\"f\":\"folded text\\nmore\\n\",\"l\":\"a\\n b\\n\",\"s\":\"stripped end\"}");
    expect("a: plain\n  over lines\nb: \"\\u00e9\\x41\\n\"\nc: 'it''s'\n",
           "{\"a\":\"plain over lines\",\"b\":\"\xc3\xa9"
           "A\\n\",\"c\":\"it's\"}");
    expect("\xef\xbb\xbf# comment\n%YAML 1.1\n---\na: 1\n...\n", "{\"a\":1}");
    expect("", "null");
    cr_assert_eq(kf_yaml_parse(&value, NULL, 0, &err), 0);
    cr_assert_eq(value.kind, KF_VALUE_NULL);
    expect("# nothing\n", "null");
}

Test(kitfile_yaml, aliases_are_copies_and_the_last_anchor_counts)
{
    expect("x: &a 1\ny: *a\nz: &a [2]\nw: *a\n", "{\"w\":[2],\"x\":1,\"y\":1,\"z\":[2]}");
    expect("&k key: &v {a: *k}\nx: *v\n",
           "{\"key\":{\"a\":\"key\"},\"x\":{\"a\":\"key\"}}");
}

Test(kitfile_yaml, merged_maps)
{
    expect("x: &a {k: 1, j: 2}\ny: {<<: *a, k: 3}\n",
           "{\"x\":{\"j\":2,\"k\":1},\"y\":{\"j\":2,\"k\":3}}");
    expect("x: &a {k: 1}\nz: &b {k: 2, l: 3}\ny: {<<: [*a, *b], m: 4}\n",
           "{\"x\":{\"k\":1},\"y\":{\"k\":1,\"l\":3,\"m\":4},\"z\":{\"k\":2,\"l\":3}}");
    expect("y: {\"<<\": 1}\n", "{\"y\":{\"\\u003c\\u003c\":1}}");
    expect_error("y: {<<: 1}\n", KF_E_MALFORMED, "line 1, column 5: only maps");
    expect_error("y: {<<: [{a: 1}, b]}\n", KF_E_MALFORMED, "only maps");
    expect_error("x: &a {b: 1}\ny: {<<: *a, <<: *a}\n", KF_E_MALFORMED,
                 "line 2, column 13: key '<<' is there already");
}

Test(kitfile_yaml, errors_name_line_and_column)
{
    expect_error("a: 1\nb: [1\n", KF_E_MALFORMED, "line 3, column 1: ");
    expect_error("a: 1\n b: 2\n", KF_E_MALFORMED, "line 2, column 3: ");
    expect_error("a: \"x\n", KF_E_MALFORMED, "line 2, column 1: ");
    expect_error("a: 1\nc: 2\nb: 3\na: 2\n", KF_E_MALFORMED,
                 "line 4, column 1: key 'a' is there already");
    expect_error("a: 1\n1: 2\n", KF_E_MALFORMED, "line 2, column 1: a key that is not");
    expect_error("a: {true: 2}\n", KF_E_MALFORMED, "line 1, column 5: a key that is not");
    expect_error("? [a]\n: b\n", KF_E_MALFORMED, "line 1, column 3: a key that is not");
    expect_error("a: *b\n", KF_E_MALFORMED, "line 1, column 4: an alias of no anchor");
    expect_error("a: &a [*a]\n", KF_E_MALFORMED, "line 1, column 8: an alias of no");
    expect_error("a: !!int 3\n", KF_E_MALFORMED, "line 1, column 4: a tag");
    expect_error("a: !x [3]\n", KF_E_MALFORMED, "line 1, column 4: a tag");
    expect_error("a: !x {b: 3}\n", KF_E_MALFORMED, "line 1, column 4: a tag");
    expect_error("a: \"\\0\"\n", KF_E_MALFORMED, "line 1, column 4: a NUL");
    expect_error("a: 1\n---\nb: 1\n", KF_E_MALFORMED, "line 2, column 1: a second");
    expect_error("a: \xff\n", KF_E_MALFORMED, "byte 4: ");
    expect_error("a: @x\n", KF_E_MALFORMED, "line 1, column 4: ");
}

static char *repeat(const char *head, const char *text, size_t count, const char *tail)
{
    size_t length = strlen(text), start = strlen(head);
    char *all = malloc(start + length * count + strlen(tail) + 1);

    memcpy(all, head, start);
    for (size_t i = 0; i < count; i++)
        memcpy(all + start + i * length, text, length);
    memcpy(all + start + length * count, tail, strlen(tail) + 1);
    return all;
}

static void expect_limit(char *yaml, int rc, const char *message)
{
    cr_assert_eq(parse(yaml), rc, "%s", err.message);
    if (rc == 0)
        kf_value_fini(&value);
    else
        cr_assert_not_null(strstr(err.message, message), "%s", err.message);
    free(yaml);
}

Test(kitfile_yaml, limits)
{
    expect_limit(repeat("", "[", KF_YAML_LIMIT, ""), -1, "nested too deeply");
    expect_limit(repeat("", "- ", KF_YAML_DEPTH, "a"), 0, "");
    expect_limit(repeat("", "- ", KF_YAML_DEPTH + 1, "a"), -1, "nested too deeply");
    expect_limit(repeat("", "- \n", KF_YAML_VALUES - 1, ""), 0, "");
    expect_limit(repeat("", "- \n", KF_YAML_VALUES, ""), -1, "more than 262144 values");
    expect_limit(repeat("", "#", KF_YAML_LIMIT, ""), 0, "");
    expect_limit(repeat("", "#", KF_YAML_LIMIT + 1, ""), -1, "larger than 4194304");
    expect_limit(repeat("", "- &a x\n", KF_YAML_ANCHORS, ""), 0, "");
    expect_limit(repeat("", "- &a x\n", KF_YAML_ANCHORS + 1, ""), -1, "1024 anchors");
}

/* 1 MiB of text: the anchor and its copy, and an alias each. */
Test(kitfile_yaml, text_is_counted_after_aliases)
{
    kf_auto(kf_free) char *text = repeat("- &a ", "x", 1 << 20, "\n");

    expect_limit(repeat(text, "- *a\n", 6, ""), 0, "");
    expect_limit(repeat(text, "- *a\n", 7, ""), -1, "more than 8388608 bytes of text");
}

Test(kitfile_yaml, bombs_are_refused)
{
    char yaml[4096];
    int used = snprintf(yaml, sizeof(yaml), "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");

    for (int i = 1; i < 20; i++)
        used +=
            snprintf(yaml + used, sizeof(yaml) - (size_t)used,
                     "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                     i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    expect_error(yaml, KF_E_LIMIT, "more than 262144 values");
    /* Deep only through aliases. */
    used = snprintf(yaml, sizeof(yaml), "a0: &a0 [x]\n");
    for (int i = 1; i < 64; i++)
        used += snprintf(yaml + used, sizeof(yaml) - (size_t)used, "a%d: &a%d [*a%d]\n",
                         i, i, i - 1);
    expect_error(yaml, KF_E_MALFORMED, "nested too deeply");
}

Test(kitfile_yaml, every_beginning_of_a_document_is_an_error_or_a_value)
{
    static const char yaml[] =
        "a: &x [1, 'b', \"c\\u00e9\"]\nb: {<<: {k: *x}, d: >-\n   e\n"
        "  }\nf: 2024-01-01\n";

    for (size_t i = 0; i < sizeof(yaml); i++) {
        kf_auto(kf_free) char *copy = malloc(i + 1);

        memcpy(copy, yaml, i);
        if (kf_yaml_parse(&value, copy, i, &err) == 0)
            kf_value_fini(&value);
        else
            cr_assert_neq(err.kind, KF_E_NONE);
    }
}
