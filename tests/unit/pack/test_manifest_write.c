#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "pack/manifest_write.h"

#define BLOBS TEST_DATA "/kits/kit-1.15/store/blobs/sha256"

static struct kf_err err;

static void load(struct kf_buf *buf, const char *hex)
{
    char path[512];

    kf_buf_init(buf, 1 << 20);
    (void)snprintf(path, sizeof(path), BLOBS "/%s", hex);
    cr_assert_eq(kf_load_file(AT_FDCWD, path, buf, &err), 0, "%s", err.message);
}

static struct kf_digest digest_of(const char *hex)
{
    char text[80];
    struct kf_digest digest;

    (void)snprintf(text, sizeof(text), "sha256:%s", hex);
    cr_assert_eq(kf_digest_parse(&digest, text, strlen(text), &err), 0);
    return digest;
}

static void expect(const struct kf_out_manifest *manifest, const char *json)
{
    kf_auto(kf_buf_fini) struct kf_buf buf;

    kf_buf_init(&buf, 1 << 20);
    cr_assert_eq(kf_out_manifest(manifest, &buf, &err), 0, "%s", err.message);
    cr_assert_str_eq((const char *)buf.data, json);
}

/* --- the manifests that kit 1.15 made --- */

Test(manifest_write, a_modelkit_is_kits_byte_for_byte)
{
    static const char *const paths[] = {"m.bin", "code", "system.prompt", "prompts"};
    static const char *const digests[] = {
        "967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360",
        "201d8fd94cdcb54c943637362d439e801cb2e72e5d9d3376dde5948b54aafd38",
        "319b74abf21087a4e17233c0ee70eb8efda92a02c0542e22dd704e4eaa14330e",
        "5139f4d07cf9fa9a69193937205d9e1ea9e095988250fc6037efb0adce89ccaa"};
    static const uint64_t sizes[] = {6656, 2560, 2048, 6656};
    kf_auto(kf_buf_fini) struct kf_buf theirs;
    struct kf_out_layer layers[4] = {0};
    struct kf_out_manifest manifest = {
        .config_digest =
            digest_of("07e3c37db8fd29fba2d847bab806734b1185784bb6fd293badbfb5ef240c62a9"),
        .config_size = 872,
        .layers = layers,
        .layer_count = 4,
        .version = "unknown",
        .created = "2026-11-23T20:38:20Z",
    };

    for (size_t i = 0; i < 4; i++) {
        (void)snprintf(layers[i].media_type, sizeof(layers[i].media_type),
                       "application/vnd.kitops.modelkit.%s.v1.tar",
                       i == 0 ? "model" : "code");
        layers[i].digest = digest_of(digests[i]);
        layers[i].size = sizes[i];
        layers[i].filepath = (char *)(uintptr_t)paths[i];
        layers[i].is_prompt = i >= 2;
    }
    load(&theirs, "a3b16033d00cac3f26bf690e17cc4e6a0d2a2fff15cb622f39a9c0d4dfc136c2");
    expect(&manifest, (const char *)theirs.data);
}

Test(manifest_write, a_modelpack_with_metadata_and_its_kitfile)
{
    static char metadata[] = "{\"name\":\"w\",\"mode\":420}";
    struct kf_out_layer layer = {
        .media_type = "application/vnd.cncf.model.weight.v1.raw",
        .digest =
            digest_of("967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360"),
        .size = UINT64_MAX,
        .filepath = (char[]){"a/w"},
        .metadata = metadata,
    };
    struct kf_out_manifest manifest = {
        .model_pack = true,
        .config_digest = layer.digest,
        .config_size = 1,
        .layers = &layer,
        .layer_count = 1,
        .version = "1",
        .kitfile = "{\"package\":{}}",
    };

    expect(&manifest,
           "{\"schemaVersion\":2,"
           "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
           "\"artifactType\":\"application/vnd.cncf.model.manifest.v1+json\","
           "\"config\":{\"mediaType\":\"application/vnd.cncf.model.config.v1+json\","
           "\"digest\":\"sha256:"
           "967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360\","
           "\"size\":1},\"layers\":[{"
           "\"mediaType\":\"application/vnd.cncf.model.weight.v1.raw\","
           "\"digest\":\"sha256:"
           "967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360\","
           "\"size\":18446744073709551615,\"annotations\":{"
           "\"org.cncf.model.file.metadata+json\":"
           "\"{\\\"name\\\":\\\"w\\\",\\\"mode\\\":420}\","
           "\"org.cncf.model.filepath\":\"a/w\"}}],\"annotations\":{"
           "\"ml.kitops.modelkit.cli-version\":\"1\","
           "\"ml.kitops.modelkit.kitfile\":\"{\\\"package\\\":{}}\"}}");
}

#define HEAD                                                                          \
    "{\"schemaVersion\":2,"                                                           \
    "\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","                   \
    "\"artifactType\":\"application/vnd.kitops.modelkit.manifest.v1+json\","          \
    "\"config\":{\"mediaType\":\"application/vnd.kitops.modelkit.config.v1+json\","   \
    "\"digest\":\"sha256:"                                                            \
    "0000000000000000000000000000000000000000000000000000000000000000\",\"size\":0}," \
    "\"layers\":["

Test(manifest_write, no_layers_are_an_empty_list)
{
    struct kf_out_manifest manifest = {.version = "1"};

    expect(&manifest,
           HEAD "],\"annotations\":{\"ml.kitops.modelkit.cli-version\":\"1\"}}");
}

Test(manifest_write, a_toc_layer_has_no_annotations_and_a_layer_names_its_toc)
{
    struct kf_out_layer layers[2] = {
        {.media_type = "a", .toc = (char[]){"1;x"}},
        {.media_type = "b"},
    };
    struct kf_out_manifest manifest = {
        .layers = layers, .layer_count = 2, .version = "1"};

    expect(&manifest, HEAD
           "{\"mediaType\":\"a\",\"digest\":\"sha256:"
           "0000000000000000000000000000000000000000000000000000000000000000\","
           "\"size\":0,\"annotations\":{\"org.kitfs.toc\":\"1;x\"}},"
           "{\"mediaType\":\"b\",\"digest\":\"sha256:"
           "0000000000000000000000000000000000000000000000000000000000000000\","
           "\"size\":0}],\"annotations\":{\"ml.kitops.modelkit.cli-version\":\"1\"}}");
}

Test(manifest_write, own_annotations_are_sorted_in_and_win)
{
    static const char *const own[] = {
        "z=1", "a=b=c", "org.opencontainers.image.created=x", "empty=", "z=2"};
    struct kf_out_manifest manifest = {.version = "1",
                                       .created = "2026-11-23T20:38:20Z",
                                       .annotations = own,
                                       .annotation_count = KF_ARRAY_LEN(own)};

    expect(&manifest, HEAD "],\"annotations\":{\"a\":\"b=c\",\"empty\":\"\","
                           "\"ml.kitops.modelkit.cli-version\":\"1\","
                           "\"org.opencontainers.image.created\":\"x\",\"z\":\"2\"}}");
}

Test(manifest_write, annotations_that_are_no_pairs)
{
    static const char *const rows[] = {"a", "", "=b"};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_buf_fini) struct kf_buf buf;
        struct kf_out_manifest manifest = {
            .version = "1", .annotations = &rows[i], .annotation_count = 1};

        kf_buf_init(&buf, 1 << 20);
        cr_assert_eq(kf_out_manifest(&manifest, &buf, &err), -1);
        cr_assert_eq(err.kind, KF_E_ARG);
    }
}

/* As kit's of files-raw. */
Test(manifest_write, metadata_of_a_raw_file)
{
    kf_auto(kf_free) char *json =
        kf_out_metadata(&(struct kf_file_metadata){.name = "run <1>.sh",
                                                   .mode = 0755,
                                                   .size = 19,
                                                   .mtime = "1970-01-01T00:00:00Z",
                                                   .typeflag = '0'},
                        &err);

    cr_assert_str_eq(json, "{\"name\":\"run \\u003c1\\u003e.sh\",\"mode\":493,\"uid\":0,"
                           "\"gid\":0,\"size\":19,"
                           "\"mtime\":\"1970-01-01T00:00:00Z\",\"typeflag\":48}");
}

/* --- ModelPack's config --- */

static void expect_config(const char *yaml, const char *created, size_t layer_count,
                          const char *json)
{
    struct kf_out_layer layers[2] = {
        {.diff_id = digest_of(
             "967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360")},
        {.diff_id = digest_of(
             "201d8fd94cdcb54c943637362d439e801cb2e72e5d9d3376dde5948b54aafd38")},
    };
    kf_auto(kf_buf_fini) struct kf_buf buf;
    struct kf_kitfile_plan plan;

    kf_buf_init(&buf, 1 << 20);
    cr_assert_eq(kf_kitfile_plan(&plan, yaml, strlen(yaml), NULL, NULL, &err), 0, "%s",
                 err.message);
    cr_assert_eq(kf_out_model_config(&plan, layers, layer_count, created, &buf, &err), 0);
    cr_assert_str_eq((const char *)buf.data, json, "%s", (const char *)buf.data);
    kf_kitfile_plan_fini(&plan);
}

/* As the config of basic-modelpack, which has a time of its own. */
Test(manifest_write, model_config)
{
    expect_config("package:\n  name: n\n  version: 1.2.3\n  license: Z\n"
                  "  description: d\n  authors: [A, B]\n"
                  "model: {path: m, license: Apache-2.0, format: gguf,\n"
                  "        parts: [{path: p, license: Z}]}\n"
                  "code: [{path: c, license: Apache-2.0}]\n"
                  "datasets: [{path: d, license: CC-BY-4.0}]\n"
                  "docs: [{path: o}]\n",
                  "2026-11-23T20:38:18Z", 2,
                  "{\"descriptor\":{\"createdAt\":\"2026-11-23T20:38:18Z\","
                  "\"authors\":[\"A\",\"B\"],\"name\":\"n\",\"version\":\"1.2.3\","
                  "\"licenses\":[\"Apache-2.0\",\"CC-BY-4.0\",\"Z\"],\"title\":\"n\","
                  "\"description\":\"d\"},\"modelfs\":{\"type\":\"layers\",\"diffIds\":["
                  "\"sha256:"
                  "967f5132977a22290344276d550473acecbca4f1b6b1f8e31f42fab0b0e5c360\","
                  "\"sha256:"
                  "201d8fd94cdcb54c943637362d439e801cb2e72e5d9d3376dde5948b54aafd38\"]},"
                  "\"config\":{\"format\":\"gguf\"}}");
    expect_config("package: {}\n", NULL, 0,
                  "{\"descriptor\":{},\"modelfs\":{\"type\":\"layers\",\"diffIds\":[]},"
                  "\"config\":{}}");
}

/* --- SOURCE_DATE_EPOCH --- */

Test(manifest_write, source_date_epoch)
{
    static const char *const rows[][2] = {
        {"0", "1970-01-01T00:00:00Z"},
        {"00", "1970-01-01T00:00:00Z"},
        {"1700000000", "2023-11-14T22:13:20Z"},
        {"253402300799", "9999-12-31T23:59:59Z"},
    };
    static const char *const bad[] = {
        "253402300800", "-1", "+1", " 1", "1 ", "1.5", "x", "99999999999999999999"};
    char out[KF_OUT_TIME_SIZE] = "old";
    bool is_set = true;

    cr_assert_eq(unsetenv("SOURCE_DATE_EPOCH"), 0);
    cr_assert_eq(kf_out_created(out, &is_set, &err), 0);
    cr_assert_not(is_set);
    cr_assert_eq(setenv("SOURCE_DATE_EPOCH", "", 1), 0);
    cr_assert_eq(kf_out_created(out, &is_set, &err), 0);
    cr_assert_not(is_set);
    cr_assert_str_eq(out, "old");
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        cr_assert_eq(setenv("SOURCE_DATE_EPOCH", rows[i][0], 1), 0);
        cr_assert_eq(kf_out_created(out, &is_set, &err), 0, "%s", err.message);
        cr_assert(is_set);
        cr_assert_str_eq(out, rows[i][1]);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        cr_assert_eq(setenv("SOURCE_DATE_EPOCH", bad[i], 1), 0);
        cr_assert_eq(kf_out_created(out, &is_set, &err), -1, "%s", bad[i]);
        cr_assert_eq(err.kind, KF_E_ARG);
    }
}
