/*
 * Which layer belongs to which entry of the Kitfile, and which of them are wanted.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/pair.h"
#include "kitfile/filter.h"
#include "kitfile/kitfile.h"
#include "oci/manifest.h"

#define KIT "application/vnd.kitops.modelkit."
#define CNCF "application/vnd.cncf.model."
#define CNAI "application/vnd.cnai.model."
#define PATH "org.cncf.model.filepath"
#define OLD_PATH "org.cnai.model.filepath"
#define SUBTYPE "ml.kitops.modelkit.layer-subtype"

/* A layer whose digest has but that digit, and annotations: key, value, key, value. */
struct layer {
    const char *type;
    char digit; /* 0 ends a list */
    const char *annotations[4];
};

/* A list of them. */
#define LAYERS(...)        \
    (const struct layer[]) \
    {                      \
        __VA_ARGS__,       \
        {                  \
            0              \
        }                  \
    }
#define TAR(base, digit)           \
    {                              \
        KIT base ".v1.tar", digit, \
        {                          \
            0                      \
        }                          \
    }

struct world {
    struct kf_manifest manifest;
    struct kf_kitfile kitfile;
    struct kf_filter filter;
    struct kf_pair *pairs;
    size_t count;
    struct kf_err err;
};

/* Text with "$1" for the digest of ones, and so on. */
static void add(struct kf_buf *to, const char *text)
{
    for (; *text; text++) {
        char hex[65] = "";

        if (*text != '$') {
            cr_assert_eq(kf_buf_append(to, text, 1, NULL), 0);
            continue;
        }
        memset(hex, *++text, 64);
        cr_assert_eq(kf_buf_printf(to, NULL, "sha256:%s", hex), 0);
    }
}

static void add_layer(struct kf_buf *to, const struct layer *layer)
{
    const char digest[] = {'$', layer->digit, '\0'};

    cr_assert_eq(
        kf_buf_printf(to, NULL, "{\"mediaType\":\"%s\",\"digest\":\"", layer->type), 0);
    add(to, digest);
    add(to, "\",\"size\":5000,\"annotations\":{");
    for (size_t i = 0; i < 4 && layer->annotations[i]; i += 2)
        cr_assert_eq(kf_buf_printf(to, NULL, "%s\"%s\":\"%s\"", i ? "," : "",
                                   layer->annotations[i], layer->annotations[i + 1]),
                     0);
    add(to, "}}");
}

static void parse(struct world *world, const struct layer *layers, const char *config)
{
    struct kf_buf json;

    kf_buf_init(&json, 1u << 20);
    add(&json, "{\"schemaVersion\":2,\"config\":{\"digest\":\"$0\",\"size\":2},"
               "\"layers\":[");
    for (size_t i = 0; layers[i].digit; i++) {
        add(&json, i ? "," : "");
        add_layer(&json, &layers[i]);
    }
    add(&json, "]}");
    cr_assert_eq(kf_manifest_parse(&world->manifest, json.data, json.length, &world->err),
                 0, "%s", world->err.message);
    kf_buf_clear(&json);
    add(&json, config ? config : "{}");
    cr_assert_eq(
        kf_kitfile_from_json(&world->kitfile, json.data, json.length, &world->err), 0,
        "%s", world->err.message);
    kf_buf_fini(&json);
}

/* `filter` may be NULL, `config` too: no Kitfile. */
static int pair(struct world *world, const struct layer *layers, const char *config,
                const char *filter, bool is_early)
{
    const struct kf_pair_from from = {.manifest = &world->manifest,
                                      .kitfile = config ? &world->kitfile : NULL,
                                      .filter = filter ? &world->filter : NULL,
                                      .is_early = is_early};

    memset(world, 0, sizeof(*world));
    parse(world, layers, config);
    if (filter)
        cr_assert_eq(kf_filter_add(&world->filter, filter, &world->err), 0);
    return kf_pair_layers(&world->pairs, &world->count, &from, &world->err);
}

static void unpair(struct world *world)
{
    free(world->pairs);
    kf_filter_fini(&world->filter);
    kf_kitfile_fini(&world->kitfile);
    kf_manifest_fini(&world->manifest);
}

/* Of each pair the kind, the first digit of the digest, the path of a raw layer, and the
 * path that names are relative to: "model:a docs:b=f code:c<d/e". */
static void expect(const struct layer *layers, const char *config, const char *filter,
                   const char *pairs)
{
    char found[512] = "";
    struct world world;

    cr_assert_eq(pair(&world, layers, config, filter, false), 0, "%s", world.err.message);
    for (size_t i = 0; i < world.count; i++) {
        const struct kf_pair *at = &world.pairs[i];
        size_t used = strlen(found);

        (void)snprintf(found + used, sizeof(found) - used, "%s%s:%x%s%s%s%s",
                       i ? " " : "", at->kind, at->desc->digest.bytes[0] & 15,
                       at->raw_path ? "=" : "", at->raw_path ? at->raw_path : "",
                       at->parent_of ? "<" : "", at->parent_of ? at->parent_of : "");
    }
    cr_assert_str_eq(found, pairs);
    unpair(&world);
}

static void expect_refused(const struct layer *layers, const char *config,
                           const char *words)
{
    struct world world;

    cr_assert_eq(pair(&world, layers, config, NULL, false), -1, "%s", words);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED, "%s", world.err.message);
    cr_assert_not_null(strstr(world.err.message, words), "%s", world.err.message);
    unpair(&world);
}

/* ---- by digest ---- */

static const struct layer all_layers[] = {
    TAR("model", '1'),
    TAR("modelpart", '2'),
    TAR("code", '3'),
    TAR("dataset", '4'),
    TAR("docs", '5'),
    {KIT "code.v1.tar", '6', {SUBTYPE, "prompt"}},
    {KIT "mcpb.v1.raw", '7', {PATH, "s.mcpb"}},
    {0},
};
static const char all_entries[] =
    "{\"package\":{},\"model\":{\"name\":\"m\",\"path\":\"./m\",\"digest\":\"$1\","
    "\"parts\":[{\"path\":\"p\",\"digest\":\"$2\"}]},"
    "\"code\":[{\"path\":\"c\",\"digest\":\"$3\"}],"
    "\"datasets\":[{\"path\":\"d\",\"digest\":\"$4\"}],"
    "\"docs\":[{\"path\":\"o\",\"digest\":\"$5\"}],"
    "\"prompts\":[{\"path\":\"r\",\"digest\":\"$6\"}],"
    "\"mcpServers\":[{\"path\":\"s.mcpb\",\"digest\":\"$7\"}]}";
#define ALL_PAIRS "model:1 modelpart:2 code:3 dataset:4 docs:5 prompt:6 mcp:7=s.mcpb"

Test(pair_entries, all_kinds)
{
    expect(all_layers, all_entries, NULL, ALL_PAIRS);
}

Test(pair_entries, diff_ids_with_and_without)
{
    struct world world;

    cr_assert_eq(pair(&world, LAYERS(TAR("docs", '1'), TAR("docs", '2')),
                      "{\"docs\":[{\"path\":\"a\",\"digest\":\"$1\"},{\"path\":\"b\","
                      "\"digest\":\"$2\",\"diffId\":\"$e\"}]}",
                      NULL, false),
                 0, "%s", world.err.message);
    cr_assert_not(world.pairs[0].has_diff_id);
    cr_assert(world.pairs[1].has_diff_id);
    cr_assert_eq(world.pairs[1].diff_id.bytes[0], 0xee);
    unpair(&world);
}

/* Two files of equal bytes: by path, and without paths in the order that kit writes. */
Test(pair_entries, equal_bytes)
{
    static const char two[] = "{\"docs\":[{\"path\":\"./a\",\"digest\":\"$1\"},"
                              "{\"path\":\"b\",\"digest\":\"$1\"}]}";
    static const struct layer a_b[] = {{KIT "docs.v1.raw", '1', {PATH, "a"}},
                                       {KIT "docs.v1.raw", '1', {PATH, "b"}},
                                       {0}};
    const struct layer b_a[] = {a_b[1], a_b[0], {0}}, a[] = {a_b[0], {0}};

    expect(a_b, two, NULL, "docs:1=a docs:1=b");
    expect(a_b, two, "docs:b", "docs:1=b");
    expect(a_b, two, "docs:./a", "docs:1=a");
    expect(b_a, two, "docs:b", "docs:1=b");
    expect(b_a, two, NULL, "docs:1=a docs:1=b");
    expect(LAYERS(TAR("docs", '1'), TAR("docs", '1')), two, NULL, "docs:1 docs:1");
    expect_refused(a, two, "no layer for docs 'b'");
}

/* Of very many layers of equal bytes only some are looked through: in time, and by order.
 */
Test(pair_entries, very_many_of_equal_bytes)
{
    enum { COUNT = 2000 };
    static struct layer layers[COUNT + 1];
    static char names[COUNT][8];
    struct kf_buf config;
    struct world world;

    kf_buf_init(&config, 1u << 20);
    cr_assert_eq(kf_buf_append_text(&config, "{\"docs\":[", NULL), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "a%u", i);
        layers[i] = (struct layer){KIT "docs.v1.raw", '1', {PATH, names[i]}};
        cr_assert_eq(kf_buf_printf(&config, NULL,
                                   "%s{\"path\":\"b%u\",\"digest\":\"$1\"}", i ? "," : "",
                                   i),
                     0);
    }
    cr_assert_eq(kf_buf_append_text(&config, "]}", NULL), 0);
    cr_assert_eq(pair(&world, layers, (const char *)config.data, NULL, false), 0);
    cr_assert_eq(world.count, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_str_eq(world.pairs[i].raw_path, names[i]);
    unpair(&world);
    kf_buf_fini(&config);
}

Test(pair_entries, layers_that_nobody_has)
{
    struct layer more[16] = {{"application/x-new", '9', {0}}};

    memcpy(&more[1], all_layers, sizeof(all_layers) - sizeof(all_layers[0]));
    more[KF_ARRAY_LEN(all_layers)] = (struct layer)TAR("docs", '8');
    expect(more, all_entries, NULL, ALL_PAIRS);
    expect(LAYERS(TAR("docs", '8')), "{\"package\":{}}", NULL, "");
    expect(LAYERS({0}), "{\"package\":{}}", NULL, "");
}

Test(pair_entries, entries_that_have_no_layer)
{
    expect(LAYERS(TAR("modelpart", '2')),
           "{\"model\":{\"name\":\"n\",\"parts\":[{\"path\":\"p\",\"digest\":\"$2\"}]},"
           "\"datasets\":[{\"path\":\"d\",\"remotePath\":\"s3://bucket/key\"}]}",
           NULL, "modelpart:2");
    expect_refused(LAYERS(TAR("model", '1')),
                   "{\"model\":{\"path\":\"m\",\"digest\":\"$2\"}}",
                   "no layer for model 'm'");
}

Test(pair_entries, digests_of_some)
{
    expect_refused(LAYERS(TAR("docs", '1'), TAR("docs", '2')),
                   "{\"docs\":[{\"path\":\"a\",\"digest\":\"$1\"},{\"path\":\"b\"}]}",
                   "only some entries of the Kitfile have the digest of a layer");
}

/* ---- filters ---- */

Test(pair_entries, filters)
{
    expect(all_layers, all_entries, "model", "model:1 modelpart:2");
    expect(all_layers, all_entries, "model:m", "model:1");
    expect(all_layers, all_entries, "model:p", "modelpart:2");
    expect(all_layers, all_entries, "code", "code:3"); /* a prompt is none */
    expect(all_layers, all_entries, "prompts", "prompt:6");
    expect(all_layers, all_entries, "mcpservers,docs", "docs:5 mcp:7=s.mcpb");
    expect(all_layers, all_entries, "kitfile", "");
    expect(all_layers, all_entries, "docs:nothing", "");
}

/* What is wrong with it does not matter: no such layer, an unknown type, no way to read
 * it, a reference that nobody follows. */
Test(pair_entries, what_is_not_wanted_is_not_looked_at)
{
    expect(LAYERS({"application/x-new", '2', {0}}, {KIT "dataset.v1.raw+gzip", '3', {0}},
                  TAR("docs", '4')),
           "{\"model\":{\"path\":\"registry.example.com/a/b:v1\"},"
           "\"code\":[{\"path\":\"a\",\"digest\":\"$1\"},"
           "{\"path\":\"b\",\"digest\":\"$2\"}],"
           "\"datasets\":[{\"path\":\"d\",\"digest\":\"$3\"}],"
           "\"docs\":[{\"path\":\"c\",\"digest\":\"$4\"}]}",
           "docs", "docs:4");
}

Test(pair_entries, while_the_kitfile_is_to_come)
{
    static const struct {
        const char *filter, *digits;
    } rows[] = {{NULL, "1234567"}, {"model", "12"}, {"code", "3"},
                {"prompts", "6"},  {"model:m", ""}, {"kitfile", ""}};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        char found[16] = "";
        struct world world;

        cr_assert_eq(pair(&world, all_layers, NULL, rows[i].filter, true), 0);
        for (size_t k = 0; k < world.count; k++)
            found[k] = (char)('0' + (world.pairs[k].desc->digest.bytes[0] & 15));
        cr_assert_str_eq(found, rows[i].digits, "%s", rows[i].filter);
        unpair(&world);
    }
}

/* ---- before kit 0.5 ---- */

static const char old_entries[] =
    "{\"model\":{\"path\":\"./w/m.bin\",\"parts\":[{\"path\":\"p/q\"}]},"
    "\"code\":[{\"path\":\".\"},{\"path\":\"x/y\"}],\"datasets\":[{\"path\":\"d\"}],"
    "\"docs\":[{\"path\":\"o/\"}]}";
static const struct layer old_layers[] = {
    TAR("docs", '5'),
    TAR("code", '3'),
    TAR("model", '1'),
    TAR("code", '4'),
    TAR("dataset", '6'),
    TAR("modelpart", '2'),
    {0},
};

/* The layers of a kind, in their order. */
Test(pair_entries, before_0_5)
{
    expect(old_layers, old_entries, NULL,
           "docs:5<o/ code:3<. model:1<./w/m.bin code:4<x/y dataset:6<d modelpart:2<p/q");
}

/* A filter does not move what belongs together, and asks for nothing else to be there. */
Test(pair_entries, before_0_5_filtered)
{
    expect(old_layers, old_entries, "code:x/y", "code:4<x/y");
    expect(old_layers, old_entries, "datasets", "dataset:6<d");
    expect(LAYERS(TAR("docs", '1')),
           "{\"model\":{\"path\":\"m\"},\"docs\":[{\"path\":"
           "\"a\"}]}",
           "docs", "docs:1<a");
}

Test(pair_entries, before_0_5_without_a_model_path)
{
    expect(LAYERS(TAR("model", '1')), "{\"model\":{\"name\":\"n\"}}", NULL, "");
    expect(LAYERS(TAR("model", '1'), TAR("docs", '2')),
           "{\"model\":{\"name\":\"n\"},\"docs\":[{\"path\":\"a\"}]}", NULL,
           "model:1< docs:2<a");
}

Test(pair_entries, before_0_5_counts_differ)
{
    static const char one[] = "{\"docs\":[{\"path\":\"a\"}]}";

    expect_refused(LAYERS(TAR("docs", '1'), TAR("docs", '2')), one,
                   "more layers of kind docs than the Kitfile entries");
    expect_refused(LAYERS(TAR("docs", '1'), TAR("model", '2')), one,
                   "more layers of kind model than the Kitfile entries");
    expect_refused(LAYERS(TAR("docs", '1')),
                   "{\"docs\":[{\"path\":\"a\"},{\"path\":\"b\"}]}",
                   "no layer for docs 'b'");
    expect_refused(LAYERS({0}), "{\"model\":{\"path\":\"m\"}}", "no layer for model 'm'");
}

/* An unknown kind between them counts for nothing. */
Test(pair_entries, before_0_5_with_an_unknown_kind)
{
    expect(LAYERS({"application/x-new", '9', {0}}, TAR("docs", '1')),
           "{\"docs\":[{\"path\":\"a\"}]}", NULL, "docs:1<a");
}

Test(pair_entries, what_names_are_relative_to)
{
    static const char *const rows[][2] = {
        {"w/m.bin", "w"}, {"./w/x//m.bin", "w/x"},
        {"w/", ""},       {"m.bin", ""},
        {".", ""},        {"", ""},
        {"w/..", ""},
    };
    static const char *const outside[] = {"..", "../a", "/a", "/", "a/../../b"};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        const struct kf_pair pair = {.kind = "docs", .parent_of = rows[i][0]};
        kf_auto(kf_free) char *prefix = NULL;

        cr_assert_eq(kf_pair_prefix(&prefix, "", &pair, NULL), 0);
        cr_assert_str_eq(prefix, rows[i][1], "%s", rows[i][0]);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(outside); i++) {
        const struct kf_pair pair = {.kind = "docs", .parent_of = outside[i]};
        struct kf_err err;
        char *prefix;

        cr_assert_eq(kf_pair_prefix(&prefix, "", &pair, &err), -1, "%s", outside[i]);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
        cr_assert_not_null(strstr(err.message, "of docs leads out of the kit"));
    }
}

/* ---- without a Kitfile ---- */

/* The first weights are the model, further ones its parts. */
Test(pair_entries, modelpack_without_kitfile)
{
    static const struct layer layers[] = {
        {CNCF "weight.config.v1.raw", '1', {PATH, "config.json"}},
        {CNCF "weight.v1.raw", '2', {PATH, "a.bin"}},
        {CNCF "weight.v1.raw", '3', {PATH, "b.bin"}},
        {"application/x-new", '9', {0}},
        {CNCF "doc.v1.tar", '4', {PATH, "README.md"}},
        {0},
    };

    expect(layers, NULL, NULL,
           "modelpart:1=config.json model:2=a.bin modelpart:3=b.bin docs:4");
    expect(layers, NULL, "model",
           "modelpart:1=config.json model:2=a.bin modelpart:3=b.bin");
    expect(layers, NULL, "model,docs:b.bin,README.md", "modelpart:3=b.bin docs:4");
    expect(layers, NULL, "kitfile", "");
}

/* Types and annotations of model-spec before 0.0.7; today's annotation counts if both are
 * there. */
Test(pair_entries, modelpack_by_its_old_names)
{
    const struct layer old[] = {{CNAI "weight.v1.raw", '1', {OLD_PATH, "a/old.bin"}},
                                {CNAI "doc.v1.raw", '2', {OLD_PATH, "o", PATH, "new"}},
                                {0}};

    expect(old, NULL, NULL, "model:1=a/old.bin docs:2=new");
    expect(old, NULL, "model:a/old.bin", "model:1=a/old.bin");
    expect(LAYERS({CNAI "doc.v1.raw", '1', {OLD_PATH, "a"}},
                  {CNAI "doc.v1.raw", '1', {OLD_PATH, "b"}}),
           "{\"docs\":[{\"path\":\"b\",\"digest\":\"$1\"},"
           "{\"path\":\"a\",\"digest\":\"$1\"}]}",
           NULL, "docs:1=b docs:1=a");
}

Test(pair_entries, raw_without_a_path)
{
    expect_refused(LAYERS({CNCF "weight.v1.raw", '1', {0}}), NULL, "has no file path");
}
