#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitfile.h"

#define HEX "74fe57de5f642b904f00589c094eaf57503b8fc042e844a1dd5c5b3c86551ea0"

static struct kf_kitfile kitfile;
static struct kf_err err;

static int parse(const char *json)
{
    memset(&kitfile, 0x5a, sizeof(kitfile)); /* what is not set shows */
    kf_err_clear(&err);
    return kf_kitfile_from_json(&kitfile, json, strlen(json), &err);
}

/* As kit 1.7 and 1.11 write it. */
Test(kitfile, the_config_of_a_small_kit)
{
    cr_assert_eq(parse("{\"manifestVersion\":\"1.0.0\",\"package\":{\"name\":\"gv\"},"
                       "\"model\":{\"path\":\"model/a.txt\",\"digest\":\"sha256:" HEX
                       "\",\"diffId\":\"sha256:" HEX "\"}}"),
                 0, "%s", err.message);
    cr_assert_str_eq(kitfile.manifest_version, "1.0.0");
    cr_assert_str_eq(kitfile.package_name, "gv");
    cr_assert_null(kitfile.package_version);
    cr_assert_eq(kitfile.entry_count, 1);
    cr_assert_eq(kitfile.entries[0].kind, KF_ENTRY_MODEL);
    cr_assert_null(kitfile.entries[0].name);
    cr_assert_str_eq(kitfile.entries[0].path, "model/a.txt");
    cr_assert(kitfile.entries[0].has_digest && kitfile.entries[0].has_diff_id);
    cr_assert_eq(kitfile.entries[0].digest.bytes[0], 0x74);
    cr_assert_eq(kitfile.entries[0].diff_id.bytes[31], 0xa0);
    kf_kitfile_fini(&kitfile);
}

/* Whatever the order of keys, entries come in the order of kit's layers. */
Test(kitfile, entries_in_layer_order)
{
    static const struct {
        enum kf_entry_kind kind;
        const char *path, *name;
    } expected[] = {
        {KF_ENTRY_MODEL, "m", "model"},     {KF_ENTRY_PART, "p1", "modelpart"},
        {KF_ENTRY_PART, "p2", "modelpart"}, {KF_ENTRY_CODE, "c", "code"},
        {KF_ENTRY_DATASET, "d", "dataset"}, {KF_ENTRY_DOCS, "o", "docs"},
        {KF_ENTRY_PROMPT, "q", "prompt"},   {KF_ENTRY_MCP, "s", "mcp"},
    };

    cr_assert_eq(
        parse("{\"mcpServers\":[{\"name\":\"n\",\"path\":\"s\"}],"
              "\"prompts\":[{\"path\":\"q\"}],\"docs\":[{\"path\":\"o\"}],"
              "\"datasets\":[{\"path\":\"d\",\"parameters\":{\"x\":[1,2.5,null]}}],"
              "\"code\":[{\"path\":\"c\"}],"
              "\"model\":{\"parts\":[{\"path\":\"p1\"},{\"path\":\"p2\"}],"
              "\"path\":\"m\"},\"package\":{},\"new in 2030\":true}"),
        0, "%s", err.message);
    cr_assert_eq(kitfile.entry_count, KF_ARRAY_LEN(expected));
    for (size_t i = 0; i < KF_ARRAY_LEN(expected); i++) {
        cr_assert_eq(kitfile.entries[i].kind, expected[i].kind, "%zu", i);
        cr_assert_str_eq(kitfile.entries[i].path, expected[i].path);
        cr_assert_str_eq(kf_entry_kind_name(kitfile.entries[i].kind), expected[i].name);
    }
    cr_assert_str_eq(kitfile.entries[7].name, "n");
    kf_kitfile_fini(&kitfile);
}

Test(kitfile, where_a_dataset_is_instead)
{
    cr_assert_eq(
        parse("{\"code\":[{\"remotePath\":\"x:v1\"}],\"datasets\":[{\"path\":\"d\","
              "\"remotePath\":\"x:v1\",\"remoteHash\":\"h\"},{\"path\":\"e\"}]}"),
        0, "%s", err.message);
    cr_assert_null(kitfile.entries[0].remote_path); /* of datasets alone */
    cr_assert_str_eq(kitfile.entries[1].remote_path, "x:v1");
    cr_assert_null(kitfile.entries[2].remote_path);
    kf_kitfile_fini(&kitfile);
}

Test(kitfile, what_may_be_absent)
{
    static const struct {
        const char *json;
        size_t entries;
    } cases[] = {
        {"{}", 0},
        {"{\"package\":null,\"model\":null,\"code\":null}", 0},
        {"{\"model\":{}}", 1},
        {"{\"code\":[]}", 0},
        {"{\"docs\":[{\"path\":null,\"digest\":null,\"diffId\":\"\"}]}", 1},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(cases[i].json), 0, "%s: %s", cases[i].json, err.message);
        cr_assert_eq(kitfile.entry_count, cases[i].entries, "%s", cases[i].json);
        for (size_t k = 0; k < kitfile.entry_count; k++) {
            cr_assert_null(kitfile.entries[k].path);
            cr_assert_not(kitfile.entries[k].has_digest);
            cr_assert_not(kitfile.entries[k].has_diff_id);
        }
        kf_kitfile_fini(&kitfile);
    }
}

Test(kitfile, malformed)
{
    static const char *const cases[] = {
        "",
        "[]",
        "null",
        "{",
        "{}x",
        "{\"manifestVersion\":1}",
        "{\"package\":{\"name\":[]}}",
        "{\"model\":[]}",
        "{\"model\":\"m\"}",
        "{\"model\":{\"path\":7}}",
        "{\"model\":{\"parts\":{}}}",
        "{\"code\":{}}",
        "{\"datasets\":[{\"remotePath\":1}]}",
        "{\"code\":[\"c\"]}",
        "{\"code\":[null]}",
        "{\"code\":[{\"digest\":\"sha256:12\"}]}",
        "{\"code\":[{\"digest\":1}]}",
        "{\"code\":[{\"diffId\":\"../x\"}]}",
        "{\"code\":[{\"path\":\"a\",\"path\":\"b\"}]}",
        "{\"code\":[{\"path\":\"a\\u0000b\"}]}",
        "{\"code\":[{\"path\":\"\xff\"}]}",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(cases[i]), -1, "%s", cases[i]);
        cr_assert_eq(err.kind, KF_E_MALFORMED, "%s: %s", cases[i], err.message);
    }
    cr_assert_eq(kf_kitfile_from_json(&kitfile, "[]", 2, NULL), -1,
                 "no record is needed");
}

static int parse_many(const char *before, const char *item, size_t count,
                      const char *after)
{
    struct kf_buf json;
    int rc;

    kf_buf_init(&json, 64u << 20);
    cr_assert_eq(kf_buf_append_text(&json, before, NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(&json, NULL, "%s%s", i ? "," : "", item), 0);
    cr_assert_eq(kf_buf_append_text(&json, after, NULL), 0);
    kf_err_clear(&err);
    rc = kf_kitfile_from_json(&kitfile, json.data, json.length, &err);
    kf_buf_fini(&json);
    return rc;
}

Test(kitfile, limit_of_entries)
{
    cr_assert_eq(parse_many("{\"docs\":[", "{}", KF_KITFILE_ENTRY_LIMIT, "]}"), 0, "%s",
                 err.message);
    cr_assert_eq(kitfile.entry_count, KF_KITFILE_ENTRY_LIMIT);
    kf_kitfile_fini(&kitfile);
    cr_assert_eq(parse_many("{\"docs\":[", "{}", KF_KITFILE_ENTRY_LIMIT + 1, "]}"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    /* Across two lists, too. */
    cr_assert_eq(
        parse_many("{\"code\":[{}],\"docs\":[", "{}", KF_KITFILE_ENTRY_LIMIT, "]}"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

/* Small text, large in memory. */
Test(kitfile, limit_of_values)
{
    size_t count = KF_KITFILE_VALUE_LIMIT - 1; /* '{', '[' and a comma less than items */

    cr_assert_eq(parse_many("{\"x\":[", "1", count, "]}"), 0, "%s", err.message);
    kf_kitfile_fini(&kitfile);
    cr_assert_eq(parse_many("{\"x\":[", "1", count + 1, "]}"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(kitfile, limit_of_bytes)
{
    char *json = malloc(KF_KITFILE_LIMIT + 1);

    cr_assert_not_null(json);
    memset(json, ' ', KF_KITFILE_LIMIT + 1);
    memcpy(json, "{}", 2);
    cr_assert_eq(kf_kitfile_from_json(&kitfile, json, KF_KITFILE_LIMIT, &err), 0, "%s",
                 err.message);
    kf_kitfile_fini(&kitfile);
    cr_assert_eq(kf_kitfile_from_json(&kitfile, json, KF_KITFILE_LIMIT + 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    free(json);
}
