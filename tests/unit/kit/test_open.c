#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/rfc3339.h"
#include "kit/open.h"
#include "kit/resolve.h"
#include "kit_world.h"
#include "layout_maker.h"
#include "oci/media.h"

static void expect_refused(struct world *world, enum kf_err_kind kind, const char *words)
{
    cr_assert_eq(world_open(world), -1, "%s", words);
    cr_assert_eq(world->err.kind, kind, "%s", world->err.message);
    cr_assert_not_null(strstr(world->err.message, words), "%s", world->err.message);
    cr_assert_eq(strncmp(world->err.message, "cannot open 'oci:", 17), 0, "%s",
                 world->err.message);
}

/* ---- manifests and indexes ---- */

Test(open, manifest)
{
    struct world world;
    const char *manifest;
    struct kf_digest digest;

    world_begin(&world);
    manifest = layout_simple_kit(&world.layout, "one");
    digest = digest_in(manifest);
    layout_tag(&world.layout, manifest);
    world_expect_open(&world);
    cr_assert(kf_digest_equal(kf_kit_digest(world.kit), &digest));
    cr_assert_neq(kf_tree_find(kf_kit_tree(world.kit), "a"), KF_NODE_NONE);
    cr_assert_eq(kf_kit_tree(world.kit)->nodes[0].mtime, 0);
    world_end(&world);
}

Test(open, index_of_one)
{
    struct world world;
    struct kf_digest digest;
    const char *manifest;

    world_begin(&world);
    manifest = layout_simple_kit(&world.layout, "one");
    digest = digest_in(manifest);
    layout_tag(&world.layout,
               layout_index(&world.layout, layout_index(&world.layout, manifest)));
    world_expect_open(&world);
    cr_assert(kf_digest_equal(kf_kit_digest(world.kit), &digest));
    world_end(&world);
}

Test(open, index_with_one_kit_among_others)
{
    struct world world;
    const char *kit, *other, *config;
    char entries[2048];

    world_begin(&world);
    kit = layout_simple_kit(&world.layout, "one");
    config = layout_text(&world.layout, "application/vnd.oci.image.config.v1+json", "{}");
    other = layout_manifest(&world.layout, NULL, config, "[]", "");
    (void)snprintf(entries, sizeof(entries), "%s,%s,%s", other, kit, other);
    layout_tag(&world.layout, layout_index(&world.layout, entries));
    world_expect_open(&world);
    world_end(&world);

    world_begin(&world);
    config = layout_text(&world.layout, "application/vnd.oci.image.config.v1+json", "{}");
    other = layout_manifest(&world.layout, NULL, config, "[]", "");
    (void)snprintf(entries, sizeof(entries), "%s,%s", other, other);
    layout_tag(&world.layout, layout_index(&world.layout, entries));
    expect_refused(&world, KF_E_UNSUPPORTED,
                   "an index without any ModelKit that is named as one; it has: sha256:");
    world_end(&world);
}

Test(open, index_of_several_kits)
{
    struct world world;
    char entries[2048], expected[256], first[KF_DIGEST_TEXT_SIZE],
        second[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digests[2];
    const char *kit, *other;

    world_begin(&world);
    kit = layout_simple_kit(&world.layout, "one");
    other = layout_simple_kit(&world.layout, "two");
    digests[0] = digest_in(kit);
    digests[1] = digest_in(other);
    (void)snprintf(entries, sizeof(entries), "%s,%s", kit, other);
    layout_tag(&world.layout, layout_index(&world.layout, entries));
    (void)snprintf(
        expected, sizeof(expected), "or by digest: %s (no labels); %s (no labels)",
        kf_digest_format(&digests[0], first), kf_digest_format(&digests[1], second));
    expect_refused(&world, KF_E_ARG, expected);
    world_end(&world);
}

Test(open, index_nesting)
{
    struct world world;
    const char *index;

    world_begin(&world);
    index = layout_index(&world.layout, layout_simple_kit(&world.layout, "one"));
    index = layout_index(&world.layout, index);
    layout_tag(&world.layout, layout_index(&world.layout, index));
    expect_refused(&world, KF_E_LIMIT, "nested more than 2 deep");
    world_end(&world);
}

Test(open, not_a_modelkit)
{
    struct world world;
    const char *config;

    world_begin(&world);
    config = layout_text(&world.layout, "application/vnd.oci.image.config.v1+json", "{}");
    layout_tag(&world.layout, layout_manifest(&world.layout, NULL, config, "[]", ""));
    expect_refused(
        &world, KF_E_UNSUPPORTED,
        "is not a ModelKit (config type 'application/vnd.oci.image.config.v1+json')");
    world_end(&world);
}

/* Before kit 1.10 nothing but the config's type told. */
Test(open, config_type_alone_makes_a_modelkit)
{
    struct world world;
    const char *config;

    world_begin(&world);
    config = layout_text(&world.layout, KF_MEDIA_MODELKIT_CONFIG,
                         "{\"manifestVersion\":\"1.0.0\",\"package\":{}}");
    layout_tag(&world.layout, layout_manifest(&world.layout, NULL, config, "null", ""));
    world_expect_open(&world);
    cr_assert_eq(kf_kit_tree(world.kit)->count, 2);
    cr_assert_eq(kf_kit_layer_count(world.kit), 0);
    world_end(&world);
}

Test(open, missing_tag)
{
    struct world world;

    world_begin(&world);
    layout_tag(&world.layout, layout_simple_kit(&world.layout, "one"));
    world.layout.ref[strlen(world.layout.ref) - 1] = '2';
    expect_refused(&world, KF_E_NOTFOUND, "tag 'v2'");
    world_end(&world);
}

Test(open, bad_reference)
{
    struct kf_kit *kit;
    struct kf_err err;
    struct kf_kit_opts opts = {.ref = "Example.com/UPPER:v1"};

    cr_assert_eq(kf_kit_open(&kit, &opts, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
}

/* ---- the file Kitfile ---- */

Test(open, kitfile_lies_in_the_root)
{
    static const char text[] = "manifestVersion: 1.0.0\nmodel:\n  path: a\n";
    struct collect collect = {0};
    const struct kf_node *node;
    struct world world;

    world_begin(&world);
    layout_tag(&world.layout, layout_simple_kit(&world.layout, "one"));
    world_expect_open(&world);
    cr_assert_eq(kf_kit_layer_count(world.kit), 1);
    cr_assert_eq(kf_tree_find(kf_kit_tree(world.kit), "Kitfile"), 1);
    node = &kf_kit_tree(world.kit)->nodes[1];
    cr_assert_eq(node->type, KF_TYPE_FILE);
    cr_assert_eq(node->mode, 0644);
    cr_assert_eq(node->layer, KF_NODE_NONE);
    cr_assert_eq(node->size, sizeof(text) - 1);
    cr_assert_str_eq(kf_kit_bytes(world.kit, 1), text);
    cr_assert_null(kf_kit_bytes(world.kit, 0));
    cr_assert_null(kf_kit_bytes(world.kit, FILE_NODE));
    cr_assert_null(kf_kit_bytes(world.kit, 3));
    cr_assert_null(kf_kit_file(world.kit, 1, &world.err));
    cr_assert_eq(world.err.kind, KF_E_ARG);
    kf_buf_init(&collect.bytes, MIB(1));
    cr_assert_eq(kf_kit_copy(world.kit, 1, 8, 7, collect_take, &collect, &world.err), 0);
    cr_assert_str_eq((const char *)collect.bytes.data, "Version");
    cr_assert_eq(
        kf_kit_copy(world.kit, 1, 1, node->size, collect_take, &collect, &world.err), -1);
    kf_buf_fini(&collect.bytes);
    world_end(&world);
}

/* As kit, which does not write over a file that it wrote. */
Test(open, kitfile_of_a_layer_is_refused)
{
    static const char *const names[] = {"Kitfile", "Kitfile/a"};

    for (size_t i = 0; i < 2; i++) {
        struct world world;
        const char *model, *config;
        char layers[512];

        world_begin(&world);
        model = layout_file_layer(&world.layout, TAR_TYPE("model"), names[i], "mine");
        config = layout_config(&world.layout, model, "");
        (void)snprintf(layers, sizeof(layers), "[%s]", model);
        layout_tag(&world.layout,
                   layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT, config,
                                   layers, ""));
        expect_refused(&world, KF_E_MALFORMED, "path 'Kitfile");
        world_end(&world);
    }
}

/* ---- layers and entries ---- */

/* Two layers, and a config that names them in the other order. */
Test(open, entries_are_paired_by_digest)
{
    struct world world;
    const char *model, *docs, *config;
    char more[256], layers[1024], digest[KF_DIGEST_TEXT_SIZE];
    struct kf_digest docs_digest;

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "weights");
    docs = layout_file_layer(&world.layout, TAR_TYPE("docs"), "b", "words");
    docs_digest = digest_in(docs);
    (void)snprintf(more, sizeof(more), ",\"docs\":[{\"path\":\"b\",\"digest\":\"%s\"}]",
                   kf_digest_format(&docs_digest, digest));
    config = layout_config(&world.layout, model, more);
    (void)snprintf(layers, sizeof(layers), "[%s,%s]", docs, model);
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                                              config, layers, ""));
    world_expect_open(&world);
    cr_assert_eq(kf_kit_layer_count(world.kit), 2);
    cr_assert_str_eq(kf_kit_layer(world.kit, 0)->kind, "model");
    cr_assert_str_eq(kf_kit_layer(world.kit, 1)->kind, "docs");
    cr_assert(kf_digest_equal(&kf_kit_layer(world.kit, 1)->digest, &docs_digest));
    world_end(&world);
}

Test(open, layer_without_entry_is_left_out)
{
    struct world world;
    const char *model, *extra, *unknown, *config;
    char layers[2048];

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "weights");
    extra = layout_file_layer(&world.layout, TAR_TYPE("docs"), "b", "words");
    unknown = layout_text(&world.layout, "application/x-unknown", "?");
    config = layout_config(&world.layout, model, "");
    (void)snprintf(layers, sizeof(layers), "[%s,%s,%s]", unknown, extra, model);
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                                              config, layers, ""));
    world_expect_open(&world);
    cr_assert_eq(kf_kit_layer_count(world.kit), 1);
    cr_assert_eq(kf_tree_find(kf_kit_tree(world.kit), "b"), KF_NODE_NONE);
    world_end(&world);
}

Test(open, entry_without_layer)
{
    struct world world;
    const char *model, *config;

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "weights");
    config = layout_config(&world.layout, model, "");
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                                              config, "[]", ""));
    expect_refused(&world, KF_E_MALFORMED, "no layer for model 'a'");
    world_end(&world);
}

Test(open, modelpack_without_kitfile)
{
    struct world world;
    const char *weights, *docs, *unknown, *config;
    char layers[2048];

    world_begin(&world);
    weights = layout_file_layer(&world.layout, PACK_TYPE("weight"), "w", "weights");
    docs = layout_file_layer(&world.layout, PACK_TYPE("doc"), "d/b", "words");
    unknown = layout_text(&world.layout, "application/x-unknown", "?");
    config = layout_text(&world.layout, KF_MEDIA_MODELPACK_CONFIG, "{}");
    (void)snprintf(layers, sizeof(layers), "[%s,%s,%s]", weights, unknown, docs);
    layout_tag(&world.layout,
               layout_manifest(&world.layout, KF_MEDIA_MODELPACK_ARTIFACT, config, layers,
                               ",\"annotations\":{\"org.opencontainers.image.created\":"
                               "\"1970-01-02T00:00:00Z\"}"));
    world_expect_open(&world);
    cr_assert_eq(kf_kit_layer_count(world.kit), 2);
    cr_assert_str_eq(kf_kit_layer(world.kit, 0)->kind, "model");
    cr_assert_neq(kf_tree_find(kf_kit_tree(world.kit), "d/b"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(kf_kit_tree(world.kit), "Kitfile"), KF_NODE_NONE);
    /* What has no time of its own has the manifest's. */
    cr_assert_eq(kf_kit_tree(world.kit)->nodes[0].mtime, 86400);
    world_end(&world);
}

Test(open, layers_that_contradict)
{
    struct world world;
    const char *model, *docs, *config;
    char more[256], layers[1024], digest[KF_DIGEST_TEXT_SIZE];
    struct kf_digest docs_digest;

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "same", "weights");
    docs = layout_file_layer(&world.layout, TAR_TYPE("docs"), "same", "words");
    docs_digest = digest_in(docs);
    (void)snprintf(more, sizeof(more), ",\"docs\":[{\"path\":\"b\",\"digest\":\"%s\"}]",
                   kf_digest_format(&docs_digest, digest));
    config = layout_config(&world.layout, model, more);
    (void)snprintf(layers, sizeof(layers), "[%s,%s]", model, docs);
    layout_tag(&world.layout, layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                                              config, layers, ""));
    expect_refused(&world, KF_E_MALFORMED, "path 'same': it comes twice");
    world_end(&world);
}

/* The first bad layer's message is told; the others are closed again. */
Test(open, broken_layer_among_many)
{
    struct world world;
    char layers[4096] = "[", docs[2048] = ",\"docs\":[";
    const char *model;
    static const char junk[] = "this is no tar archive";

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "weights");
    (void)snprintf(layers, sizeof(layers), "[%s", model);
    for (unsigned i = 0; i < 7; i++) {
        char name[16], digest[KF_DIGEST_TEXT_SIZE];
        const char *desc;
        struct kf_digest parsed;
        size_t used = strlen(layers), docs_used = strlen(docs);

        (void)snprintf(name, sizeof(name), "doc%u", i);
        desc = i == 4
                   ? layout_blob(&world.layout, TAR_TYPE("docs"), junk, sizeof(junk), "")
                   : layout_file_layer(&world.layout, TAR_TYPE("docs"), name, name);
        parsed = digest_in(desc);
        (void)snprintf(layers + used, sizeof(layers) - used, ",%s", desc);
        (void)snprintf(docs + docs_used, sizeof(docs) - docs_used,
                       "%s{\"path\":\"%s\",\"digest\":\"%s\"}", i ? "," : "", name,
                       kf_digest_format(&parsed, digest));
    }
    (void)snprintf(layers + strlen(layers), 2, "]");
    (void)snprintf(docs + strlen(docs), 2, "]");
    layout_tag(&world.layout,
               layout_manifest(&world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                               layout_config(&world.layout, model, docs), layers, ""));
    expect_refused(&world, KF_E_MALFORMED, "the layer ends inside a header");
    world_end(&world);
}

/* ---- times ---- */

Test(created, rfc_3339)
{
    static const struct {
        const char *text;
        bool good;
        int64_t seconds;
    } times[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"2026-02-25T12:00:00Z", true, 1772020800},
        {"2026-02-25T12:00:00.123456789Z", true, 1772020800},
        {"2026-02-25T13:30:00+01:30", true, 1772020800},
        {"2026-02-25T04:00:00-08:00", true, 1772020800},
        {"1969-12-31T23:59:59Z", true, -1},
        {"2026-02-25", false, 0},
        {"2026-02-25T12:00:00", false, 0},
        {"2026-02-25T12:00:00+1:00", false, 0},
        {"2026-02-25T12:00:00Zx", false, 0},
        {"2026-13-25T12:00:00Z", false, 0},
        {"", false, 0},
        {"now", false, 0},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(times); i++) {
        int64_t seconds = 0;

        cr_assert_eq(kf_parse_time(times[i].text, &seconds), times[i].good, "%s",
                     times[i].text);
        cr_assert_eq(seconds, times[i].seconds, "%s", times[i].text);
    }
}
