/*
 * What of a kit is seen: filters, the folder that becomes the root, entries of an index;
 * and kits of all ages opened whole.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/open.h"
#include "kit_world.h"
#include "kitfile/filter.h"
#include "layout_maker.h"
#include "oci/media.h"
#include "tar_maker.h"

/* Paths of all nodes but the root, in their order, a space behind each. */
static void expect_names(struct world *world, const char *names)
{
    const struct kf_tree *tree = kf_kit_tree(world->kit);
    char found[512] = "";

    for (uint32_t i = 1; i < tree->count; i++) {
        kf_auto(kf_free) char *path = kf_tree_path(tree, i);
        size_t used = strlen(found);

        (void)snprintf(found + used, sizeof(found) - used, "%s ", path);
    }
    cr_assert_str_eq(found, names);
}

static void expect_content(struct world *world, const char *path, const char *content)
{
    struct collect collect = {0};

    kf_buf_init(&collect.bytes, MIB(1));
    cr_assert_eq(kf_kit_copy(world->kit, kf_tree_find(kf_kit_tree(world->kit), path), 0,
                             strlen(content), collect_take, &collect, &world->err),
                 0, "%s", world->err.message);
    cr_assert_arr_eq(collect.bytes.data, content, strlen(content));
    kf_buf_fini(&collect.bytes);
}

/* Opens with a filter, a subdir or both; NULL: without. */
static int open_part(struct world *world, const char *filter, const char *subdir)
{
    struct kf_filter parsed = {0};
    int rc;

    if (filter)
        cr_assert_eq(kf_filter_add(&parsed, filter, NULL), 0);
    world->opts.filter = filter ? &parsed : NULL;
    world->opts.subdir = subdir;
    rc = world_open(world);
    world->opts.filter = NULL;
    kf_filter_fini(&parsed);
    return rc;
}

static void expect_part(struct world *world, const char *filter, const char *subdir,
                        const char *names)
{
    cr_assert_eq(open_part(world, filter, subdir), 0, "%s", world->err.message);
    expect_names(world, names);
    cr_assert_eq(kf_kit_close(world->kit, INT64_MAX), 0);
    world->kit = NULL;
}

/* The kit of a config and layers. */
static void tag_kit(struct world *world, const char *config, const char *layers)
{
    layout_tag(
        &world->layout,
        layout_manifest(&world->layout, NULL,
                        layout_text(&world->layout, KF_MEDIA_MODELKIT_CONFIG, config),
                        layers, ""));
}

/* ---- filters and folders ---- */

/* A model `a`, and docs d/b and d/e/c. */
static void make_two_layers(struct world *world)
{
    char more[256], layers[1024], digest[KF_DIGEST_TEXT_SIZE];
    const char *model, *docs;
    struct kf_digest parsed;
    struct kf_buf tar;

    world_begin(world);
    model = layout_file_layer(&world->layout, TAR_TYPE("model"), "a", "weights");
    kf_buf_init(&tar, MIB(1));
    tar_add_file(&tar, "d/b", "words", 5);
    tar_add_file(&tar, "d/e/c", "more", 4);
    tar_end(&tar);
    docs = layout_blob(&world->layout, TAR_TYPE("docs"), tar.data, tar.length, "");
    kf_buf_fini(&tar);
    parsed = digest_in(docs);
    (void)snprintf(more, sizeof(more), ",\"docs\":[{\"path\":\"d\",\"digest\":\"%s\"}]",
                   kf_digest_format(&parsed, digest));
    (void)snprintf(layers, sizeof(layers), "[%s,%s]", model, docs);
    layout_tag(&world->layout,
               layout_manifest(&world->layout, KF_MEDIA_MODELKIT_ARTIFACT,
                               layout_config(&world->layout, model, more), layers, ""));
}

Test(selection, filters)
{
    struct world world;

    make_two_layers(&world);
    expect_part(&world, NULL, NULL, "Kitfile a d d/b d/e d/e/c ");
    expect_part(&world, "model", NULL, "a ");
    expect_part(&world, "model,kitfile", NULL, "Kitfile a ");
    expect_part(&world, "docs:d", NULL, "d d/b d/e d/e/c ");
    expect_part(&world, "kitfile", NULL, "Kitfile ");
    expect_part(&world, "docs:./d", NULL, "");
    expect_part(&world, "prompts", NULL, "");
    cr_assert_eq(open_part(&world, "prompts", NULL), 0);
    cr_assert(kf_kit_is_empty(world.kit));
    cr_assert_eq(kf_kit_close(world.kit, INT64_MAX), 0);
    cr_assert_eq(open_part(&world, "kitfile", NULL), 0);
    cr_assert_not(kf_kit_is_empty(world.kit));
    world_end(&world);
}

Test(selection, folders)
{
    struct world world;

    make_two_layers(&world);
    expect_part(&world, NULL, "d", "b e e/c ");
    expect_part(&world, NULL, "./d/e/", "c ");
    expect_part(&world, "docs", "d", "b e e/c ");
    expect_part(&world, NULL, "/", "Kitfile a d d/b d/e d/e/c ");
    cr_assert_eq(open_part(&world, NULL, "d"), 0);
    expect_content(&world, "b", "words");
    expect_content(&world, "e/c", "more");
    world_end(&world);
}

Test(selection, what_is_no_folder)
{
    struct world world;

    make_two_layers(&world);
    cr_assert_eq(open_part(&world, NULL, "x"), -1);
    cr_assert_eq(world.err.kind, KF_E_NOTFOUND);
    cr_assert_not_null(strstr(world.err.message, "there is no folder 'x' in it"));
    cr_assert_eq(open_part(&world, NULL, "d/b"), -1);
    cr_assert_eq(world.err.kind, KF_E_ARG);
    cr_assert_not_null(strstr(world.err.message, "'d/b' is a file, not a folder"));
    cr_assert_eq(open_part(&world, "model", "d"), -1); /* it is filtered out */
    cr_assert_eq(world.err.kind, KF_E_NOTFOUND);
    world_end(&world);
}

/* A layer that cannot be read does not matter to who does not want it. */
Test(selection, broken_layers_that_are_not_wanted)
{
    struct world world;
    const char *model, *broken;
    struct kf_digest digests[2];
    char config[1024], layers[1024], first[KF_DIGEST_TEXT_SIZE],
        second[KF_DIGEST_TEXT_SIZE];

    world_begin(&world);
    model = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "weights");
    broken = layout_text(&world.layout, TAR_TYPE("docs"), "no tar");
    digests[0] = digest_in(model);
    digests[1] = digest_in(broken);
    (void)snprintf(config, sizeof(config),
                   "{\"package\":{},\"model\":{\"path\":\"a\",\"digest\":\"%s\"},"
                   "\"docs\":[{\"path\":\"b\",\"digest\":\"%s\"}]}",
                   kf_digest_format(&digests[0], first),
                   kf_digest_format(&digests[1], second));
    (void)snprintf(layers, sizeof(layers), "[%s,%s]", model, broken);
    tag_kit(&world, config, layers);
    expect_part(&world, "model", NULL, "a ");
    cr_assert_eq(open_part(&world, "docs", NULL), -1);
    world_end(&world);
}

/* ---- before kit 0.5 ---- */

/* Names are relative to the parent of the entry's path; folders are made. */
Test(selection, kit_of_before_0_5)
{
    struct world world;
    char layers[2048];

    world_begin(&world);
    (void)snprintf(
        layers, sizeof(layers), "[%s,%s,%s]",
        layout_file_layer(&world.layout, TAR_TYPE("model"), "w.bin", "weights"),
        layout_file_layer(&world.layout, TAR_TYPE("dataset"), "train/x.csv", "1,2"),
        layout_file_layer(&world.layout, TAR_TYPE("code"), "src/main.py", "pass"));
    tag_kit(&world,
            "{\"manifestVersion\":\"1.0\",\"package\":{},\"model\":{\"path\":"
            "\"./models/w.bin\"},\"code\":[{\"path\":\".\"}],\"datasets\":[{\"path\":"
            "\"data/train\"}]}",
            layers);
    world_expect_open(&world);
    expect_names(&world, "Kitfile data models src data/train models/w.bin src/main.py "
                         "data/train/x.csv ");
    expect_content(&world, "models/w.bin", "weights");
    expect_content(&world, "data/train/x.csv", "1,2");
    cr_assert_eq(kf_kit_close(world.kit, INT64_MAX), 0);
    expect_part(&world, "datasets:data/train", "data", "train train/x.csv ");
    world_end(&world);
}

/* With fields of that time, one of which is gone; the file is as kit of today writes it.
 */
Test(selection, kitfile_of_before_0_5)
{
    static const char kitfile[] =
        "manifestVersion: v1.0.0\n"
        "package:\n"
        "  name: FlightSatML\n"
        "  description: Flight satisfaction and trait analysis model using Kaggle data\n"
        "  authors: [Jozu]\n"
        "model:\n"
        "  name: FlightSat\n"
        "  path: ./model.joblib\n"
        "  license: Apache-2.0\n"
        "  framework: joblib\n"
        "  version: 1.0.0\n"
        "  description: Flight satisfaction and trait analysis model using Scikit-learn\n"
        "code:\n"
        "  - path: ./notebooks\n"
        "    description: Jupyter notebook with model training code in Python\n"
        "datasets:\n"
        "  - name: training data\n"
        "    path: ./data/train.csv\n"
        "    description: Flight traits and traveller satisfaction training data\n";
    struct world world;
    char layers[2048];

    world_begin(&world);
    (void)snprintf(
        layers, sizeof(layers), "[%s,%s,%s]",
        layout_file_layer(&world.layout, TAR_TYPE("model"), "model.joblib", "weights"),
        layout_file_layer(&world.layout, TAR_TYPE("code"), "notebooks/a.ipynb", "{}"),
        layout_file_layer(&world.layout, TAR_TYPE("dataset"), "train.csv", "1,2"));
    tag_kit(
        &world,
        "{\"manifestVersion\":\"v1.0.0\",\"package\":{\"authors\":[\"Jozu\"],"
        "\"description\":\"Flight satisfaction and trait analysis model using Kaggle "
        "data\",\"name\":\"FlightSatML\"},\"code\":[{\"description\":\"Jupyter "
        "notebook with model training code in Python\",\"path\":\"./notebooks\"}],"
        "\"datasets\":[{\"description\":\"Flight traits and traveller satisfaction "
        "training data\",\"name\":\"training data\",\"path\":\"./data/train.csv\","
        "\"preprocessing\":\"none\"}],\"model\":{\"description\":\"Flight satisfaction "
        "and trait analysis model using Scikit-learn\",\"framework\":\"joblib\","
        "\"license\":\"Apache-2.0\",\"name\":\"FlightSat\",\"path\":"
        "\"./model.joblib\",\"version\":\"1.0.0\"}}",
        layers);
    world_expect_open(&world);
    expect_names(&world, "Kitfile data model.joblib notebooks data/train.csv "
                         "notebooks/a.ipynb ");
    expect_content(&world, "data/train.csv", "1,2");
    expect_content(&world, "model.joblib", "weights");
    cr_assert_str_eq(
        kf_kit_bytes(world.kit, kf_tree_find(kf_kit_tree(world.kit), "Kitfile")),
        kitfile);
    world_end(&world);
}

Test(selection, kit_of_before_0_5_that_leads_out)
{
    struct world world;
    char layers[512];

    world_begin(&world);
    (void)snprintf(layers, sizeof(layers), "[%s]",
                   layout_file_layer(&world.layout, TAR_TYPE("model"), "w", "weights"));
    tag_kit(&world, "{\"package\":{},\"model\":{\"path\":\"../x/w\"}}", layers);
    cr_assert_eq(world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED);
    cr_assert_not_null(strstr(world.err.message, "path '../x/w' of model leads out"));
    world_end(&world);
}

/* ---- forms of today ---- */

/* An MCP bundle beside a prompt, and both by filter. */
Test(selection, mcp_servers_and_prompts)
{
    struct world world;
    const char *server, *prompt;
    struct kf_digest digests[2];
    char config[1024], layers[1024], first[KF_DIGEST_TEXT_SIZE],
        second[KF_DIGEST_TEXT_SIZE];

    world_begin(&world);
    prompt = layout_file_layer(&world.layout, TAR_TYPE("code"), "p.md", "be kind");
    server =
        layout_blob(&world.layout, "application/vnd.kitops.modelkit.mcpb.v1.raw", "PK", 2,
                    ",\"annotations\":{\"org.cncf.model.filepath\":\"s.mcpb\"}");
    digests[0] = digest_in(prompt);
    digests[1] = digest_in(server);
    (void)snprintf(config, sizeof(config),
                   "{\"package\":{},\"prompts\":[{\"name\":\"kind\",\"path\":\"p.md\","
                   "\"digest\":\"%s\"}],\"mcpServers\":[{\"name\":\"fs\",\"path\":"
                   "\"s.mcpb\",\"digest\":\"%s\"}]}",
                   kf_digest_format(&digests[0], first),
                   kf_digest_format(&digests[1], second));
    (void)snprintf(layers, sizeof(layers), "[%s,%s]", prompt, server);
    tag_kit(&world, config, layers);
    expect_part(&world, NULL, NULL, "Kitfile p.md s.mcpb ");
    expect_part(&world, "prompts:kind", NULL, "p.md ");
    expect_part(&world, "mcpservers:fs", NULL, "s.mcpb ");
    expect_part(&world, "code", NULL, "");
    cr_assert_eq(open_part(&world, "mcpservers", NULL), 0);
    expect_content(&world, "s.mcpb", "PK");
    world_end(&world);
}

/* Types, annotations and time of model-spec before 0.0.7, and no Kitfile. */
Test(selection, modelpack_by_its_old_names)
{
    static const char extra[] =
        ",\"annotations\":{\"org.cnai.model.filepath\":\"w/m.gguf\","
        "\"org.cnai.model.file.metadata+json\":\"{\\\"mode\\\":384}\"}";
    struct world world;
    const struct kf_node *node;
    char layers[1024];

    world_begin(&world);
    (void)snprintf(layers, sizeof(layers), "[%s,%s]",
                   layout_blob(&world.layout, "application/vnd.cnai.model.weight.v1.raw",
                               "GGUF", 4, extra),
                   layout_file_layer(&world.layout,
                                     "application/vnd.cnai.model.doc.v1.tar", "README.md",
                                     "words"));
    layout_tag(
        &world.layout,
        layout_manifest(
            &world.layout, "application/vnd.cnai.model.manifest.v1+json",
            layout_text(&world.layout, "application/vnd.cnai.model.config.v1+json", "{}"),
            layers,
            ",\"annotations\":{\"org.cnai.model.created\":"
            "\"1970-01-02T00:00:00Z\"}"));
    world_expect_open(&world);
    expect_names(&world, "README.md w w/m.gguf ");
    expect_content(&world, "w/m.gguf", "GGUF");
    node =
        &kf_kit_tree(world.kit)->nodes[kf_tree_find(kf_kit_tree(world.kit), "w/m.gguf")];
    cr_assert_eq(node->mode, 0600);
    cr_assert_eq(kf_kit_tree(world.kit)->nodes[0].mtime, 86400);
    cr_assert_eq(kf_kit_close(world.kit, INT64_MAX), 0);
    expect_part(&world, "model:w/m.gguf", NULL, "w w/m.gguf ");
    expect_part(&world, "kitfile,docs", NULL, "README.md ");
    world_end(&world);
}

/* Nothing says what the manifest is but the config's type; its layers are null. */
Test(selection, nothing_but_a_kitfile)
{
    struct world world;

    world_begin(&world);
    tag_kit(&world, "{\"package\":{\"name\":\"n\"}}", "null");
    expect_part(&world, NULL, NULL, "Kitfile ");
    expect_part(&world, "model", NULL, "");
    world_end(&world);
}

/* ---- indexes ---- */

/* Entries as kit index add writes them: no artifactType, labels. */
static void make_index(struct world *world)
{
    char entries[2048], first[512], second[512], index[4096];
    const char *one, *two;

    world_begin(world);
    one = layout_simple_kit(&world->layout, "one");
    two = layout_simple_kit(&world->layout, "two");
    (void)snprintf(first, sizeof(first), "%.*s,\"modelMetadata\":{\"bits\":4}}",
                   (int)strlen(one) - 1, one);
    (void)snprintf(second, sizeof(second), "%.*s,\"modelMetadata\":{\"bits\":\"8\"}}",
                   (int)strlen(two) - 1, two);
    (void)snprintf(entries, sizeof(entries), "%s,%s", first, second);
    (void)snprintf(index, sizeof(index),
                   "{\"schemaVersion\":2,\"mediaType\":\"" KF_MEDIA_OCI_INDEX
                   "\",\"artifactType\":\"" KF_MEDIA_MODELKIT_INDEX
                   "\",\"manifests\":[%s]}",
                   entries);
    layout_tag(&world->layout, layout_text(&world->layout, KF_MEDIA_OCI_INDEX, index));
}

static int open_labelled(struct world *world, const char *label)
{
    struct kf_strings labels = {0};
    int rc;

    cr_assert_eq(kf_strings_add(&labels, label, NULL), 0);
    world->opts.labels = &labels;
    rc = world_open(world);
    world->opts.labels = NULL;
    kf_strings_fini(&labels);
    return rc;
}

Test(selection, index_by_label)
{
    struct world world;

    make_index(&world);
    cr_assert_eq(open_labelled(&world, "bits=8"), 0, "%s", world.err.message);
    expect_content(&world, "a", "two");
    cr_assert_eq(kf_kit_close(world.kit, INT64_MAX), 0);
    cr_assert_eq(open_labelled(&world, "bits=4"), 0, "%s", world.err.message);
    expect_content(&world, "a", "one");
    world_end(&world);

    make_index(&world);
    cr_assert_eq(open_labelled(&world, "bits=16"), -1);
    cr_assert_not_null(strstr(world.err.message, "(bits=4); sha256:"), "%s",
                       world.err.message);
    cr_assert_eq(world_open(&world), -1);
    world_end(&world);
}

/* As kit, which warns. */
Test(selection, labels_of_what_is_no_index)
{
    struct world world;

    world_begin(&world);
    layout_tag(&world.layout, layout_simple_kit(&world.layout, "one"));
    cr_assert_eq(open_labelled(&world, "bits=8"), 0, "%s", world.err.message);
    expect_content(&world, "a", "one");
    world_end(&world);
}
