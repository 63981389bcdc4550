/*
 * What kit prints of a config. The expected text of each row is what yaml.v3 3.0.1 with
 * kit's structs gave.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit_file.h"
#include "kitfile/kitfile.h"
#include "kitfile/kitfile_emit.h"

static struct kf_err err;

static void expect(const char *json, const char *yaml)
{
    kf_auto(kf_buf_fini) struct kf_buf text;

    kf_buf_init(&text, KF_KITFILE_TEXT_LIMIT);
    cr_assert_eq(kf_kitfile_emit(&text, json, strlen(json), &err), 0, "%s: %s", json,
                 err.message);
    cr_assert_str_eq((const char *)text.data, yaml, "%s gives:\n%s", json,
                     (const char *)text.data);
}

/* A value in `parameters`, below "    v:" of a kit that has nothing else. */
static void expect_value(const char *value, const char *yaml)
{
    char json[4096], text[4096];

    (void)snprintf(json, sizeof(json), "{\"model\":{\"parameters\":{\"v\":%s}}}", value);
    (void)snprintf(text, sizeof(text),
                   "manifestVersion: \"\"\nmodel:\n  parameters:\n    v:%s\n", yaml);
    expect(json, text);
}

static void expect_refused(const char *json, enum kf_err_kind kind)
{
    kf_auto(kf_buf_fini) struct kf_buf text;

    kf_buf_init(&text, KF_KITFILE_TEXT_LIMIT);
    cr_assert_eq(kf_kitfile_emit(&text, json, strlen(json), &err), -1, "%s", json);
    cr_assert_eq(err.kind, kind, "%s: %s", json, err.message);
}

/* --- what the real kit wrote --- */

Test(emit, kitfiles_of_kit)
{
    static const char *const rows[][2] = {
        {"basic.yaml",
         "cfda143f46b53294a824d0640a7d49186ab617e160415824b0fb193ffd56e229"},
        {"parts.yaml",
         "3bc3ddcf25c57d75ecc03683ebadb84163a175af2ddabb6a421ec88db5aafd53"},
        {"adapter.yaml",
         "ccfeb1a546963ee92160fe3ee25996fcf0eabc9fcfeb3849ee7b1459943fa717"},
        {"adapter2.yaml",
         "968774434c5e026f9288320e9667c789200cdde32adda3f6dfc5b343de5d3100"},
        {"names.yaml",
         "27b2261b79a38ad75a1437bdcf7326fcfef3d31856f95ee915a6de3bf18a5242"},
        {"rootdir.yaml",
         "dd33471408e91f365e6781143c78daca981aeee53213422d687ed6b002f13060"},
        {"files.yaml",
         "bbc97b851315f68b0e4c700ae408466ee5569dd6354be9727c83aeefa0b71d93"},
        {"prompts.yaml",
         "07e3c37db8fd29fba2d847bab806734b1185784bb6fd293badbfb5ef240c62a9"},
        {"agent.yaml",
         "bcb3ded3d78a755992c2d32234f9fd42a5993afeabe2b9dcd4102d93d1d93236"},
        {"dataset-ref.yaml",
         "22f23d6398cd0ef940f1e556eb83ec0cfedf7936a48baffa9acf1f292dcde733"},
        {"nothing.yaml",
         "0032a0fa09a4586d38a7adb15b333eeea9d4424b557bd53cd9470c920380587a"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_buf_fini) struct kf_buf yaml;
        kf_auto(kf_buf_fini) struct kf_buf config;

        load_kit_file(&yaml, TEST_KITFILES, rows[i][0]);
        load_kit_file(&config, TEST_DATA "/kits/kit-1.15/store/blobs/sha256", rows[i][1]);
        expect((const char *)config.data, (const char *)yaml.data);
    }
}

/* A config and what yaml.v3 gave for it, a line each: borders of numbers (exponents of
 * Go's %g, 2 to the 53, the least and the largest, -0), words that YAML 1.1 or 1.2 reads
 * as something else (truths, null, numbers of every base, base 60, dates), indicators,
 * spaces, line breaks of every kind and what cannot be printed, each as a value, a key
 * and in brackets; then values at random, nested. */
Test(emit, table_of_yaml_v3)
{
    kf_auto(kf_buf_fini) struct kf_buf rows;
    size_t count = 0;
    char *line, *rest;

    load_kit_file(&rows, TEST_KITFILES, "emit.jsonl");
    rest = (char *)rows.data;
    while ((line = strsep(&rest, "\n")) && *line) {
        json_t *row = json_loads(line, 0, NULL);

        cr_assert_eq(json_array_size(row), 2, "%s", line);
        expect(json_string_value(json_array_get(row, 0)),
               json_string_value(json_array_get(row, 1)));
        json_decref(row);
        count++;
    }
    cr_assert_eq(count, 751);
}

/* --- structs --- */

Test(emit, what_is_empty_is_left_out)
{
    expect("{}", "manifestVersion: \"\"\n");
    expect("{\"manifestVersion\":\"1.0.0\",\"package\":{}}", "manifestVersion: 1.0.0\n");
    expect("{\"package\":{\"name\":\"\",\"authors\":[]},\"code\":[],\"docs\":null}",
           "manifestVersion: \"\"\n");
    expect("{\"model\":{}}", "manifestVersion: \"\"\nmodel: {}\n");
    expect("{\"model\":null}", "manifestVersion: \"\"\n");
    expect("{\"model\":{\"parameters\":null}}", "manifestVersion: \"\"\nmodel: {}\n");
    expect("{\"model\":{\"parameters\":{}}}",
           "manifestVersion: \"\"\nmodel:\n  parameters: {}\n");
    expect("{\"model\":{\"parameters\":false}}",
           "manifestVersion: \"\"\nmodel:\n  parameters: false\n");
}

Test(emit, items_of_lists)
{
    expect("{\"code\":[{},{\"path\":\"a\"}],\"docs\":[{}]}",
           "manifestVersion: \"\"\ncode:\n  - {}\n  - path: a\ndocs:\n  - path: \"\"\n");
    expect("{\"code\":[null]}", "manifestVersion: \"\"\ncode:\n  - {}\n");
}

Test(emit, order_is_that_of_kit)
{
    expect("{\"docs\":[{\"diffId\":\"y\",\"description\":\"d\",\"path\":\"p\"}],"
           "\"x\":1,\"package\":{\"license\":\"l\",\"digest\":\"x\",\"name\":\"n\"},"
           "\"manifestVersion\":\"1.0.0\"}",
           "manifestVersion: 1.0.0\npackage:\n  name: \"n\"\n  license: l\n"
           "docs:\n  - path: p\n    description: d\n");
}

Test(emit, authors_in_brackets)
{
    expect("{\"package\":{\"authors\":[\"A B <a@b>\",\"n\",\"\",\"a,b\",\"it's\","
           "\"x\\ny\",null]}}",
           "manifestVersion: \"\"\npackage:\n"
           "  authors: [A B <a@b>, \"n\", \"\", 'a,b', it's, \"x\\ny\", \"\"]\n");
    /* However long the line. */
    expect("{\"package\":{\"authors\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
           "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",\"c\"]}}",
           "manifestVersion: \"\"\npackage:\n  authors: "
           "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, "
           "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, c]\n");
}

/* --- values --- */

Test(emit, numbers_are_doubles)
{
    static const char *const rows[][2] = {
        {"0", " 0"},
        {"-0", " -0"},
        {"1.50", " 1.5"},
        {"999999", " 999999"},
        {"1000000", " 1e+06"},
        {"1234567.5", " 1.2345675e+06"},
        {"123456.75", " 123456.75"},
        {"0.0001", " 0.0001"},
        {"0.00001", " 1e-05"},
        {"-0.00012345", " -0.00012345"},
        {"18446744073709551615", " 1.8446744073709552e+19"},
        {"123456789012345678901234567890", " 1.2345678901234568e+29"},
        {"7.174648137343064e-43", " 7.174648137343064e-43"}, /* 2 to the -140 */
        {"5e-324", " 5e-324"},
        {"1.7976931348623157e308", " 1.7976931348623157e+308"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        expect_value(rows[i][0], rows[i][1]);
}

Test(emit, words)
{
    expect_value("null", " null");
    expect_value("true", " true");
    expect_value("[]", " []");
    expect_value("{}", " {}");
}

/* What another reader, one of YAML 1.1 too, would take for something else is quoted. */
Test(emit, quotes)
{
    static const char *const rows[][2] = {
        {"\"\"", " \"\""},
        {"\"plain text\"", " plain text"},
        {"\"yes\"", " \"yes\""},
        {"\"Off\"", " \"Off\""},
        {"\"null\"", " \"null\""},
        {"\"True\"", " \"True\""},
        {"\"1.0\"", " \"1.0\""},
        {"\"1.0.0\"", " 1.0.0"},
        {"\"0x1F\"", " \"0x1F\""},
        {"\"0b-1\"", " \"0b-1\""},
        {"\".9_1\"", " \".9_1\""},
        {"\"._9\"", " ._9"},
        {"\"1_000\"", " \"1_000\""},
        {"\"12:30\"", " \"12:30\""},
        {"\"12:60\"", " 12:60"},
        {"\"+1_1:5._\"", " \"+1_1:5._\""},
        {"\"1:5:\"", " '1:5:'"},
        {"\"2020-01-01\"", " \"2020-01-01\""},
        {"\"2020-13-01\"", " 2020-13-01"},
        {"\"~\"", " \"~\""},
        {"\"<<\"", " <<"},
        {"\"-\"", " '-'"},
        {"\"-a\"", " -a"},
        {"\"- a\"", " '- a'"},
        {"\"? a\"", " '? a'"},
        {"\":a\"", " :a"},
        {"\"a: b\"", " 'a: b'"},
        {"\"a:b\"", " a:b"},
        {"\"a #b\"", " 'a #b'"},
        {"\"a#b\"", " a#b"},
        {"\"#a\"", " '#a'"},
        {"\"it's: a\"", " 'it''s: a'"},
        {"\"'a\"", " '''a'"},
        {"\"@a\"", " '@a'"},
        {"\"a,b[c]\"", " a,b[c]"},
        {"\"---a\"", " '---a'"},
        {"\" a\"", " ' a'"},
        {"\"a \"", " 'a '"},
        {"\"a\\tb\"", " \"a\\tb\""},
        {"\"a\\\\b\"", " a\\b"},
        {"\"\\u0001\\\"\\\\\"", " \"\\x01\\\"\\\\\""},
        {"\"\\u0085\\u00a0\"", " \"\\N\xc2\xa0\""},
        {"\"\\u00e9\\u6a21\"", " \xc3\xa9\xe6\xa8\xa1"},
        {"\"\\ud83d\\ude00\"", " \"\\U0001F600\""},
        {"\"a\\ufeff\"", " \"a\\uFEFF\""},
        {"\"\\ufeffab\"", " \"\\uFEFF\\x61\\x62\""},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        expect_value(rows[i][0], rows[i][1]);
}

Test(emit, lines)
{
    static const char *const rows[][2] = {
        {"\"a\\nb\"", " |-\n      a\n      b"},
        {"\"a\\nb\\n\"", " |\n      a\n      b"},
        {"\"a\\n\\n\"", " |+\n      a\n"},
        {"\"a\\n\\nb\"", " |-\n      a\n\n      b"},
        {"\" a\\nb\"", " |2-\n       a\n      b"},
        {"\"\\n\"", " |2+"},
        {"\"\\na\"", " |2-\n      a"},
        {"\"a\\tb\\n\"", " |\n      a\tb"},
        {"\"a\\n b\"", " |-\n      a\n       b"},
        {"\"a \\nb\"", " \"a \\nb\""},
        {"\"a\\nb \"", " \"a\\nb \""},
        {"\"a\\r\\nb\"", " \"a\\r\\nb\""},
        {"\"a\\u2028b\"", " 'a\xe2\x80\xa8      b'"},
        {"[\"a\\nb\"]", "\n      - |-\n        a\n        b"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        expect_value(rows[i][0], rows[i][1]);
}

Test(emit, nested)
{
    expect_value("[1,[2,[3]],{\"a\":{\"b\":[{}]}},[]]",
                 "\n      - 1\n      - - 2\n        - - 3\n      - a:\n          b:\n"
                 "            - {}\n      - []");
}

/* A key of several lines, or of more than 128 bytes, has a mark before it. */
Test(emit, keys)
{
    char json[512], yaml[512], key[130];

    expect_value("{\"y\":1,\"\":2,\"a b\":3,\"#\":4}",
                 "\n      \"\": 2\n      '#': 4\n      a b: 3\n      \"y\": 1");
    expect_value("{\"a\\nb\":{\"c\":1}}",
                 "\n      ? |-\n        a\n        b\n      : c: 1");
    for (size_t length = 128; length <= 129; length++) {
        memset(key, 'k', length);
        key[length] = '\0';
        (void)snprintf(json, sizeof(json), "{\"%s\":[1]}", key);
        (void)snprintf(yaml, sizeof(yaml),
                       length == 128 ? "\n      %s:\n        - 1"
                                     : "\n      ? %s\n      : - 1",
                       key);
        expect_value(json, yaml);
    }
}

/* Numbers in keys by value, letters behind other characters. */
Test(emit, order_of_keys)
{
    static const char *const rows[][2] = {
        {"a10 a9 a1 a", "a a1 a9 a10"},
        {"a_ aa a- a", "a a- a_ aa"},
        {"1a 1- 12 1", "1 1a 1- 12"},
        {"a01 a1 a001", "a1 a01 a001"},
        {"a10 a100 a1000", "a10 a100 a1000"},
        {"B a A b", "A B a b"},
        {"\xc3\xa9 z _ \xc2\xb7", "_ \xc2\xb7 z \xc3\xa9"},
        {"a\xd9\xa3 a9 aa", "a9 a\xd9\xa3 aa"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        char json[256] = "{", yaml[256] = "", words[2][64], *at, *rest;

        for (size_t side = 0; side < 2; side++)
            (void)snprintf(words[side], sizeof(words[side]), "%s", rows[i][side]);
        for (rest = words[0]; (at = strsep(&rest, " "));)
            (void)snprintf(json + strlen(json), sizeof(json) - strlen(json),
                           "%s\"%s\":{}", at == words[0] ? "" : ",", at);
        for (rest = words[1]; (at = strsep(&rest, " "));)
            (void)snprintf(yaml + strlen(yaml), sizeof(yaml) - strlen(yaml),
                           at[strspn(at, "0123456789")] ? "\n      %s: {}"
                                                        : "\n      \"%s\": {}",
                           at);
        (void)strncat(json, "}", 2);
        expect_value(json, yaml);
    }
}

/* --- what is refused --- */

Test(emit, wrong_types)
{
    static const char *const rows[] = {"[]",
                                       "1",
                                       "{\"manifestVersion\":1}",
                                       "{\"package\":1}",
                                       "{\"package\":{\"authors\":\"a\"}}",
                                       "{\"package\":{\"authors\":[1]}}",
                                       "{\"model\":[]}",
                                       "{\"model\":{\"parts\":{}}}",
                                       "{\"code\":[1]}",
                                       "{\"docs\":[{\"path\":{}}]}",
                                       "{",
                                       "",
                                       "{\"a\":1,\"a\":2}",
                                       "{\"a\":\"\\u0000\"}",
                                       "{\"a\":\"\xff\"}",
                                       "{\"model\":{\"parameters\":1e400}}"};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        expect_refused(rows[i], KF_E_MALFORMED);
}

/* Indentation makes more of what is deep: the text has its own limit. */
Test(emit, limits)
{
    static const char open[] = "{\"model\":{\"parameters\":", close[] = "}}";
    kf_auto(kf_buf_fini) struct kf_buf json, text;

    kf_buf_init(&json, KF_KITFILE_LIMIT + 1);
    kf_buf_init(&text, KF_KITFILE_TEXT_LIMIT);
    cr_assert_eq(kf_buf_append_text(&json, open, NULL), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(kf_buf_append_text(&json, "[", NULL), 0);
    for (int i = 0; i < 20000; i++)
        cr_assert_eq(kf_buf_append_text(&json, "1,", NULL), 0);
    cr_assert_eq(kf_buf_append_text(&json, "1", NULL), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(kf_buf_append_text(&json, "]", NULL), 0);
    cr_assert_eq(kf_buf_append_text(&json, close, NULL), 0);
    cr_assert_eq(kf_kitfile_emit(&text, json.data, json.length, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    while (json.length <= KF_KITFILE_LIMIT)
        cr_assert_eq(kf_buf_append(&json, " ", 1, NULL), 0);
    cr_assert_eq(kf_kitfile_emit(&text, json.data, json.length, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
}
