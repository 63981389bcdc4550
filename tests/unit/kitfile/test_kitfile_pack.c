#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit_file.h"
#include "kitfile/kitfile_pack.h"

static struct kf_err err;
static struct kf_kitfile_plan plan;
static char warnings[4096];

static void note(void *arg, const char *line)
{
    (void)arg;
    (void)snprintf(warnings + strlen(warnings), sizeof(warnings) - strlen(warnings),
                   "%s\n", line);
}

static int make(const char *yaml)
{
    warnings[0] = '\0';
    kf_err_clear(&err);
    return kf_kitfile_plan(&plan, yaml, strlen(yaml), note, NULL, &err);
}

static void expect_config(const char *json)
{
    kf_auto(kf_buf_fini) struct kf_buf buf;

    kf_buf_init(&buf, 1 << 20);
    cr_assert_eq(kf_kitfile_plan_json(&plan, &buf, &err), 0, "%s", err.message);
    cr_assert_str_eq((const char *)buf.data, json, "%s", (const char *)buf.data);
}

static void expect(const char *yaml, const char *json)
{
    cr_assert_eq(make(yaml), 0, "%s: %s", yaml, err.message);
    expect_config(json);
    kf_kitfile_plan_fini(&plan);
}

static void expect_error(const char *yaml, const char *message)
{
    cr_assert_eq(make(yaml), -1, "%s", yaml);
    cr_assert_eq(err.kind, KF_E_ARG, "%s", err.message);
    cr_assert_not_null(strstr(err.message, message), "%s: %s", yaml, err.message);
}

/* --- what kit made --- */

/* Sets for each entry the digests that kit's config has. */
static void set_digests(const struct kf_kitfile *theirs)
{
    size_t at = 0;

    for (size_t i = 0; i < theirs->entry_count; i++) {
        const struct kf_entry *entry = &theirs->entries[i];

        if (!entry->path)
            continue;
        cr_assert_lt(at, plan.entry_count);
        cr_assert_eq(plan.entries[at].kind, entry->kind);
        cr_assert_str_eq(plan.entries[at].path, entry->path);
        cr_assert_eq(plan.entries[at].is_reference, !entry->has_digest);
        if (entry->has_digest)
            cr_assert_eq(
                kf_kitfile_plan_set(&plan, at, &entry->digest, &entry->diff_id, &err), 0);
        at++;
    }
    cr_assert_eq(at, plan.entry_count);
}

/* data/ holds the Kitfiles that kit 1.15 unpacked, byte for byte. */
Test(kitfile_pack, configs_are_those_of_kit)
{
    static const char *const rows[][2] = {
        {"basic", "cfda143f46b53294a824d0640a7d49186ab617e160415824b0fb193ffd56e229"},
        {"basic", "24a94844086b76d0cb5485d59c96f570eb8767e46b532fd693b5c996401f8ace"},
        {"parts", "3bc3ddcf25c57d75ecc03683ebadb84163a175af2ddabb6a421ec88db5aafd53"},
        {"adapter", "ccfeb1a546963ee92160fe3ee25996fcf0eabc9fcfeb3849ee7b1459943fa717"},
        {"adapter2", "968774434c5e026f9288320e9667c789200cdde32adda3f6dfc5b343de5d3100"},
        {"names", "27b2261b79a38ad75a1437bdcf7326fcfef3d31856f95ee915a6de3bf18a5242"},
        {"rootdir", "dd33471408e91f365e6781143c78daca981aeee53213422d687ed6b002f13060"},
        {"files", "bbc97b851315f68b0e4c700ae408466ee5569dd6354be9727c83aeefa0b71d93"},
        {"files", "4e55ec94a99a759afa1a0186d6bf861a129add7bb58092b7a4e5b286e8411f3c"},
        {"prompts", "07e3c37db8fd29fba2d847bab806734b1185784bb6fd293badbfb5ef240c62a9"},
        {"agent", "bcb3ded3d78a755992c2d32234f9fd42a5993afeabe2b9dcd4102d93d1d93236"},
        {"dataset-ref",
         "22f23d6398cd0ef940f1e556eb83ec0cfedf7936a48baffa9acf1f292dcde733"},
        {"nothing", "0032a0fa09a4586d38a7adb15b333eeea9d4424b557bd53cd9470c920380587a"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_buf_fini) struct kf_buf yaml, config;
        struct kf_kitfile theirs;
        char name[64];

        (void)snprintf(name, sizeof(name), "%s.yaml", rows[i][0]);
        load_kit_file(&yaml, TEST_KITFILES, name);
        load_kit_file(&config, TEST_DATA "/kits/kit-1.15/store/blobs/sha256", rows[i][1]);
        cr_assert_eq(
            kf_kitfile_from_json(&theirs, (char *)config.data, config.length, &err), 0);
        cr_assert_eq(make((const char *)yaml.data), 0, "%s: %s", name, err.message);
        cr_assert_str_empty(warnings);
        set_digests(&theirs);
        expect_config((const char *)config.data);
        kf_kitfile_plan_fini(&plan);
        kf_kitfile_fini(&theirs);
    }
}

/* --- fields --- */

#define V "manifestVersion: 1.0.0\n"
#define J "{\"manifestVersion\":\"1.0.0\",\"package\":{}"

Test(kitfile_pack, fields_in_kits_order_empty_ones_left_out)
{
    expect(V, J "}");
    expect(
        V "package: {license: MIT, name: n, authors: [1, ~, b], version: 1.10}\n",
        "{\"manifestVersion\":\"1.0.0\",\"package\":{\"name\":\"n\",\"version\":\"1.10\","
        "\"license\":\"MIT\",\"authors\":[\"1\",\"b\"]}}");
    expect(V "model: {}\ncode: []\ndatasets: [~]\ndocs: ~\n", J ",\"model\":{}}");
    expect(V "model: {name: '', path: ~, parts: [], parameters: {b: 1, a: {}}}\n",
           J ",\"model\":{\"parameters\":{\"a\":{},\"b\":1}}}");
    expect(V "model: {parameters: ''}\n", J ",\"model\":{\"parameters\":\"\"}}");
    expect(V "model: {parameters: []}\n", J ",\"model\":{\"parameters\":[]}}");
    expect(V "model: {parameters: ~}\n", J ",\"model\":{}}");
    expect(V "docs: [{}]\n", J ",\"docs\":[{\"path\":\"\"}]}");
    expect(V "datasets:\n- {license: l, description: d, remoteHash: h, path: p,\n"
             "   remotePath: 's3://b/k', name: n}\n",
           J ",\"datasets\":[{\"name\":\"n\",\"path\":\"p\",\"remotePath\":\"s3://b/k\","
             "\"remoteHash\":\"h\",\"description\":\"d\",\"license\":\"l\"}]}");
}

Test(kitfile_pack, a_version_is_text_as_it_was_written)
{
    expect("manifestVersion: 1.0\n", "{\"manifestVersion\":\"1.0\",\"package\":{}}");
    cr_assert_str_eq(warnings, "manifestVersion '1.0' is read as 1.0.0\n");
    expect("package: {version: 2024-01-01, name: .inf, license: 0x1F}\n",
           "{\"manifestVersion\":\"\",\"package\":{\"name\":\".inf\","
           "\"version\":\"2024-01-01\",\"license\":\"0x1F\"}}");
}

Test(kitfile_pack, unknown_fields_are_kept_and_warned_about)
{
    expect(V "zzz: {b: 1, a: [x]}\npackage: {extra: true, name: n}\naaa: 1\n",
           "{\"manifestVersion\":\"1.0.0\",\"package\":{\"name\":\"n\",\"extra\":true},"
           "\"aaa\":1,\"zzz\":{\"a\":[\"x\"],\"b\":1}}");
    cr_assert_str_eq(warnings, "line 3: unknown field 'extra' in 'package' is kept\n"
                               "line 4: unknown field 'aaa' in 'Kitfile' is kept\n"
                               "line 2: unknown field 'zzz' in 'Kitfile' is kept\n");
}

/* Go matches keys of JSON whatever their case: kit would unpack another path than we. */
Test(kitfile_pack, fields_that_a_reader_would_take_for_others)
{
    expect_error(V "code:\n- path: a\n  Path: b\n",
                 "line 4, column 3: 'Path' in 'code' would be taken for 'path'");
    expect_error(V "docs:\n- digest: x\n", "would be taken for 'digest'");
    expect_error(V "docs:\n- DIFFID: x\n", "would be taken for 'diffId'");
    expect_error(V "model: {licen\xc5\xbf"
                   "e: x}\n",
                 "would be taken for 'license'");
    expect_error(V "pac\xe2\x84\xaa"
                   "age: {}\n",
                 "would be taken for 'package'");
    expect(V "model: {parameters: {Path: a, digest: b}}\n",
           J ",\"model\":{\"parameters\":{\"Path\":\"a\",\"digest\":\"b\"}}}");
    expect(V "codes: 1\n", J ",\"codes\":1}");
}

Test(kitfile_pack, wrong_types)
{
    expect_error("", "it is empty");
    expect_error("[a]", "line 1, column 1: 'Kitfile' must be a map");
    expect_error("text", "'Kitfile' must be a map");
    expect_error(V "package: x\n", "line 2, column 1: 'package' must be a map");
    expect_error(V "model: ''\n", "'model' must be a map");
    expect_error(V "code: {path: a}\n", "'code' must be a list");
    expect_error(V "code: ''\n", "'code' must be a list");
    expect_error(V "code: [a]\n", "line 2, column 8: 'code' must be a map");
    expect_error(V "package: {authors: a}\n", "'authors' must be a list");
    expect_error(V "package: {authors: [[a]]}\n", "'authors' must be text");
    expect_error(V "code:\n- path: [a]\n", "line 3, column 3: 'path' must be text");
    cr_assert_eq(make("a: [\n"), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    cr_assert_not_null(strstr(err.message, "line 2, column 1: "), "%s", err.message);
}

/* --- entries and rules --- */

Test(kitfile_pack, entries_in_layer_order)
{
    static const struct {
        enum kf_entry_kind kind;
        size_t index;
        const char *path, *clean, *name;
    } expected[] = {
        {KF_ENTRY_MODEL, 0, "./m/", "m", "mm"},
        {KF_ENTRY_PART, 0, "p1", "p1", NULL},
        {KF_ENTRY_PART, 1, "p2", "p2", NULL},
        {KF_ENTRY_CODE, 0, "c//d", "c/d", NULL},
        {KF_ENTRY_DATASET, 0, "d", "d", NULL},
        {KF_ENTRY_DOCS, 0, "", ".", NULL},
        {KF_ENTRY_PROMPT, 0, "q", "q", NULL},
        {KF_ENTRY_MCP, 0, "s.mcpb", "s.mcpb", "n"},
    };

    cr_assert_eq(make(V
                      "mcpServers: [{name: n, path: s.mcpb}]\nprompts: [{path: q}]\n"
                      "docs: [{description: all}]\ndatasets: [{path: d}]\n"
                      "code: [{path: c//d}]\n"
                      "model: {name: mm, path: ./m/, parts: [{path: p1}, {path: p2}]}\n"),
                 0, "%s", err.message);
    cr_assert_eq(plan.entry_count, KF_ARRAY_LEN(expected));
    for (size_t i = 0; i < KF_ARRAY_LEN(expected); i++) {
        const struct kf_plan_entry *entry = &plan.entries[i];

        cr_assert_eq(entry->kind, expected[i].kind);
        cr_assert_eq(entry->index, expected[i].index);
        cr_assert_str_eq(entry->path, expected[i].path);
        cr_assert_str_eq(entry->clean, expected[i].clean);
        cr_assert_not(entry->is_reference);
        if (expected[i].name)
            cr_assert_str_eq(entry->name, expected[i].name);
        else
            cr_assert_null(entry->name);
    }
    kf_kitfile_plan_fini(&plan);
}

Test(kitfile_pack, references_have_no_layer)
{
    cr_assert_eq(make(V "model: {path: 'localhost/base:v1'}\n"
                        "datasets: [{path: d, remotePath: 'localhost/d:v1'}]\n"),
                 0, "%s", err.message);
    cr_assert_eq(plan.entry_count, 2);
    cr_assert(plan.entries[0].is_reference);
    cr_assert(plan.entries[1].is_reference);
    kf_kitfile_plan_fini(&plan);
    cr_assert_eq(make(V "model: {path: weights@v2/m.bin}\n"), 0, "%s", err.message);
    cr_assert_not(plan.entries[0].is_reference);
    kf_kitfile_plan_fini(&plan);
}

Test(kitfile_pack, rules_of_paths)
{
    expect_error(V "code: [{path: a}]\ndocs:\n- path: ./a/\n",
                 "line 4: path './a/' is that of line 2 too");
    expect_error(V "prompts: [{path: a}, {path: a}]\n", "is that of line 2 too");
    expect_error(V "code: [{}]\ndocs: [{path: .}]\n", "is that of line 2 too");
    expect_error(V "model: {name: n}\ncode: [{path: .}]\n", "is that of the model");
    expect_error(V "code: [{path: /a}]\n", "path '/a' must be relative");
    expect_error(V "code: [{path: a/../..}]\n", "leads out of the folder");
    expect_error(V "code: [{path: ../a}]\n", "leads out of the folder");
    expect_error(V "code: [{path: 'kit:v1'}]\n", "names another kit");
    expect_error(V "model: {path: m, parts: [{path: 'kit:v1'}]}\n", "names another kit");
    expect_error(V "code: [{path: 's3://b/k'}]\n", "is remote");
    expect_error(V "model: {path: 's3://b/k'}\n", "is remote");
    expect_error(V "model: {path: 'https://h/x'}\n", "is a URL");
    expect(V "code: [{path: ..a}, {path: a/..b}]\n",
           J ",\"code\":[{\"path\":\"..a\"},{\"path\":\"a/..b\"}]}");
}

Test(kitfile_pack, rules_of_remote_datasets)
{
    expect_error(V "datasets: [{path: d, remoteHash: h}]\n", "without 'remotePath'");
    expect_error(V "datasets: [{path: d, remotePath: 's3://b/k'}]\n",
                 "needs a 'remoteHash'");
    expect_error(V "datasets: [{path: d, remotePath: d2}]\n", "neither a kit nor s3://");
    expect_error(V "datasets: [{path: d, remotePath: 'http://h'}]\n", "neither a kit");
    expect_error(V "code: [{path: d/e}]\ndatasets: [{path: d, remotePath: 'k:v'}]\n",
                 "line 2: path 'd/e' lies in the remote dataset of line 3");
    expect_error(V "datasets: [{path: d, remotePath: 'k:v'}, {path: d/e}]\n",
                 "lies in the remote dataset");
    cr_assert_eq(make(V "datasets: [{path: d, remotePath: 'k:v'}, {path: d-e}]\n"), 0);
    kf_kitfile_plan_fini(&plan);
    cr_assert_eq(make(V "datasets: [{path: d, remotePath: 'k:v', remoteHash: h}]\n"), 0);
    cr_assert_str_eq(warnings, "line 2: 'remoteHash' of a kit is ignored\n");
    kf_kitfile_plan_fini(&plan);
}

Test(kitfile_pack, rules_of_parts)
{
    char yaml[256];

    for (int length = 64; length <= 65; length++) {
        (void)snprintf(yaml, sizeof(yaml),
                       V "model: {path: m, parts: [{path: p, type: "
                         "%0*d}]}\n",
                       length, 0);
        cr_assert_eq(make(yaml), length == 64 ? 0 : -1, "%s", err.message);
        kf_kitfile_plan_fini(&plan);
        memset(&plan, 0, sizeof(plan));
    }
    cr_assert_not_null(strstr(err.message, "more than 64 characters"));
    cr_assert_eq(make(V "model: {path: m, parts: [{path: p, type: _a-1.b}]}\n"), 0);
    kf_kitfile_plan_fini(&plan);
    expect_error(V "model: {path: m, parts: [{path: p, type: .a}]}\n", "type '.a' has");
    expect_error(V "model: {path: m, parts: [{path: p, type: a b}]}\n", "type 'a b' has");
    expect_error(V "model: {path: m, parts: [{path: p, type: \xc3\xa9}]}\n",
                 "has more than");
}

Test(kitfile_pack, rules_of_mcp_servers)
{
    expect_error(V "mcpServers: [{path: a.mcpb}]\n", "without a name");
    expect_error(V "mcpServers: [{path: a, name: n}]\n", "must end in .mcpb");
    expect_error(V "mcpServers: [{name: n}]\n", "must end in .mcpb");
    expect_error(V "mcpServers: [{path: a.mcpb, name: n}, {path: b.mcpb, name: n}]\n",
                 "a second MCP server named 'n'");
}

/* --- limits --- */

static int make_repeated(const char *head, const char *text, size_t count)
{
    size_t length = strlen(text), start = strlen(head);
    kf_auto(kf_free) char *yaml = malloc(start + length * count + 1);

    memcpy(yaml, head, start);
    for (size_t i = 0; i < count; i++)
        memcpy(yaml + start + i * length, text, length);
    yaml[start + length * count] = '\0';
    return make(yaml);
}

Test(kitfile_pack, the_number_of_entries_is_limited)
{
    /* One more; at the limit itself the second path is the first complaint. */
    cr_assert_eq(make_repeated(V "code:\n", "- {}\n", KF_KITFILE_ENTRY_LIMIT + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    cr_assert_eq(make_repeated(V "code:\n", "- {}\n", KF_KITFILE_ENTRY_LIMIT), -1);
    cr_assert_eq(err.kind, KF_E_ARG, "%s", err.message);
}

/* '<' is six bytes of JSON: within the limits of YAML, not of a config. */
Test(kitfile_pack, a_config_that_could_not_be_read_is_refused)
{
    kf_auto(kf_buf_fini) struct kf_buf buf;

    cr_assert_eq(make_repeated(V "package:\n  description: '", "<", 1 << 20), -1);
    cr_assert_eq(make_repeated(V "package:\n  description: a", "<", 1 << 20), 0, "%s",
                 err.message);
    kf_buf_init(&buf, 16 << 20);
    cr_assert_eq(kf_kitfile_plan_json(&plan, &buf, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_kitfile_plan_fini(&plan);
}
