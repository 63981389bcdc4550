/*
 * Kits that the real kit packed, opened from copies of its store: tree, modes, sizes and
 * bytes are what `kit unpack` wrote (umask 022; kit before 1.15 kept set-id bits).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "kit/open.h"
#include "kit/scan.h"
#include "kit/verify.h"

#define KITS TEST_DATA "/kits"

struct fixture {
    const char *dir;
    const char *name;
    const char *digest; /* of the manifest, without "sha256:" */
};

static const struct fixture plain[] = {
    {"kit-1.7", "basic-tar",
     "b340b40a34f6fd1eccd150c00a7b193cfa753ab06eb29f8bcb81ee56cf0c8623"},
    {"kit-1.7", "names-tar",
     "917d5dc190f5e60078abe8f76332b0b1271c926e177154b17026998475c746c9"},
    {"kit-1.7", "parts",
     "ff9907d3183e841e15cdaa383ba4075bfa3e9031aa5e9b2eb49a7f5eaf65459d"},
    {"kit-1.7", "root-dir",
     "98ea49e04b9f31fe06c05b4e2aedd2fb90871516fe0a7eac8aa9972fd299b812"},
    {"kit-1.11", "basic-tar",
     "47ad9fc990755bc8178e811753aaee98164adbc7fd303480cbb3f3116759d23c"},
    {"kit-1.11", "basic-modelpack",
     "b395ef13687e987806c677186931c457a36d7761937f93252c04af3706ae95bc"},
    {"kit-1.11", "names-tar",
     "4c951e66e7832a2d8bec3e87dde3cc75ae99c5cd3145bcdc73747154646ae53a"},
    {"kit-1.11", "parts",
     "87a94036bae8954ecebf066ac52f1e22d164e2b5eda8dd147a2b340673a15441"},
    {"kit-1.11", "root-dir",
     "11386554b75c75b15ae719d6361113f98f2dd27336617597bb15e9ea4a099c48"},
    {"kit-1.15", "basic-tar",
     "f232319b572dfcf99f8b9414de2f7f4c4f0d06697268d36043c4fded012a5101"},
    {"kit-1.15", "basic-modelpack",
     "8a5234a36118ea0cc7e93fca92447a61b3f341bce420d11a459a8dab73554929"},
    {"kit-1.15", "parts",
     "698c771f9c0e56b9b5880f1ab2b7d44d3abf831944db4ca2a4dec63bd2ae4dce"},
    {"kit-1.15", "prompts",
     "a3b16033d00cac3f26bf690e17cc4e6a0d2a2fff15cb622f39a9c0d4dfc136c2"},
    {"kit-1.15", "prompts-modelpack",
     "0617a95df99548c5c551d894b55800aea70efe67fb83511597505776e92fe918"},
    {"kit-1.15", "files-raw",
     "ded843ca36a533c5acf595bec5a150f56edab4f97b8599c1cc3ed86cef651af6"},
    {"kit-1.15", "nothing",
     "6edcf3020c6761825f157352ca3ea949b563f2431117f14c992432c8d73d3e84"},
};

static const struct fixture packed[] = {
    {"kit-1.7", "basic-gzip",
     "852179814644af6eb3064553b72cdc5716af4ea362ee8d1c3444f9cd22927c37"},
    {"kit-1.15", "basic-zstd",
     "cd2f3730ea3342c55a269930617b3ff50ccffabeb23da13f7d2dba0be8af69de"},
};

static int open_fixture(struct kf_kit **ret, const struct fixture *fixture,
                        struct kf_workq *workq, struct kf_err *err)
{
    char ref[512];
    struct kf_kit_opts opts = {.ref = ref, .workq = workq};

    (void)snprintf(ref, sizeof(ref), "oci:" KITS "/%s/store@sha256:%s", fixture->dir,
                   fixture->digest);
    return kf_kit_open(ret, &opts, err);
}

static int hash_bytes(void *arg, const void *data, size_t length, struct kf_err *err)
{
    return kf_hasher_update(arg, data, length, err);
}

static void expect_content(struct kf_kit *kit, uint32_t node, const char *hex,
                           const char *path)
{
    struct kf_hasher *hasher = kf_hasher_new(NULL);
    struct kf_digest digest;
    struct kf_err err = {0};
    char found[65];

    cr_assert_eq(kf_kit_copy(kit, node, 0, kf_kit_tree(kit)->nodes[node].size, hash_bytes,
                             hasher, &err),
                 0, "%s: %s", path, err.message);
    cr_assert_eq(kf_hasher_finish(hasher, &digest, NULL), 0);
    cr_assert_str_eq(kf_digest_hex(&digest, found), hex, "%s", path);
    kf_hasher_free(hasher);
}

/* One line: type, mode, size, sha256, path; tabs between. */
static void expect_line(struct kf_kit *kit, char *line)
{
    const struct kf_tree *tree = kf_kit_tree(kit);
    char *rest = line;
    const char *type = strsep(&rest, "\t");
    unsigned long mode = strtoul(strsep(&rest, "\t"), NULL, 8);
    const char *size = strsep(&rest, "\t");
    const char *hex = strsep(&rest, "\t");
    const struct kf_node *found;
    uint32_t node;

    cr_assert_not_null(rest);
    node = kf_tree_find(tree, rest);
    cr_assert_neq(node, KF_NODE_NONE, "%s is missing", rest);
    found = &tree->nodes[node];
    cr_assert_eq(found->type, *type == 'd' ? KF_TYPE_DIR : KF_TYPE_FILE, "%s", rest);
    cr_assert_eq(found->mode & ~022, mode & 0777, "%s", rest);
    if (found->type == KF_TYPE_DIR)
        return;
    cr_assert_eq(found->size, strtoull(size, NULL, 10), "%s", rest);
    expect_content(kit, node, hex, rest);
}

static void expect_fixture(struct kf_kit *kit, const struct fixture *fixture)
{
    char path[512], line[8192];
    uint32_t lines = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), KITS "/%s/expected/%s.tsv", fixture->dir,
                   fixture->name);
    file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        expect_line(kit, line);
        lines++;
    }
    (void)fclose(file);
    cr_assert_eq(kf_kit_tree(kit)->count, lines + 1, "%s: %u nodes, %u lines",
                 fixture->name, kf_kit_tree(kit)->count, lines);
}

static void expect_fixtures(const struct fixture *fixtures, size_t count)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);

    for (size_t i = 0; i < count; i++) {
        struct kf_kit *kit;
        struct kf_err err = {0};

        cr_assert_eq(open_fixture(&kit, &fixtures[i], workq, &err), 0, "%s", err.message);
        cr_assert_str_eq(kf_kit_origin(kit), "the layout");
        expect_fixture(kit, &fixtures[i]);
        cr_assert_eq(kf_kit_close(kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    }
    kf_workq_free(workq);
}

Test(fixtures, plain_tar)
{
    expect_fixtures(plain, KF_ARRAY_LEN(plain));
}

Test(fixtures, gzip_and_zstd_without_a_cache)
{
    expect_fixtures(packed, KF_ARRAY_LEN(packed));
}

static int count_bytes(void *arg, const void *data, size_t length, struct kf_err *err)
{
    *(uint64_t *)arg += length;
    return 0;
}

/* Deferred, its files are not in the tree, and each is found all the same. */
static void expect_scanned(const struct fixture *fixture, struct kf_workq *workq)
{
    char ref[512], path[512];
    struct kf_kit_opts opts = {.ref = ref, .workq = workq, .defer = true};
    struct kf_kit *kit, *whole;
    struct kf_err err = {0};
    bool found;

    (void)snprintf(ref, sizeof(ref), "oci:" KITS "/%s/store@sha256:%s", fixture->dir,
                   fixture->digest);
    cr_assert_eq(kf_kit_open(&kit, &opts, &err), 0, "%s", err.message);
    cr_assert_eq(open_fixture(&whole, fixture, workq, &err), 0, "%s", err.message);
    cr_assert_eq(kf_kit_tree(kit)->count, 2, "the root and the Kitfile");
    for (uint32_t i = 1; i < kf_kit_tree(whole)->count; i++) {
        const struct kf_node *node = &kf_kit_tree(whole)->nodes[i];
        kf_auto(kf_free) char *name = kf_tree_path(kf_kit_tree(whole), i);
        uint64_t bytes = 0;

        if (node->type == KF_TYPE_DIR || node->layer == KF_NODE_NONE)
            continue;
        (void)snprintf(path, sizeof(path), "/%s/", name);
        cr_assert_eq(
            kf_kit_scan(kit, path, 0, UINT64_MAX, count_bytes, &bytes, &found, &err), 0,
            "%s", err.message);
        cr_assert(found, "%s", name);
        cr_assert_eq(bytes, node->size, "%s", name);
    }
    cr_assert_eq(kf_kit_scan(kit, "no/such", 0, 1, count_bytes, NULL, &found, &err), 0);
    cr_assert_not(found);
    cr_assert_eq(kf_kit_close(kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    cr_assert_eq(kf_kit_close(whole, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
}

Test(fixtures, looked_into_without_streaming)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);

    for (size_t i = 0; i < KF_ARRAY_LEN(packed); i++)
        expect_scanned(&packed[i], workq);
    kf_workq_free(workq);
}

Test(fixtures, lazy_ones_are_wanted)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);
    char ref[512];
    struct kf_kit_opts opts = {.ref = ref, .workq = workq, .require_lazy = true};
    struct kf_kit *kit;
    struct kf_err err = {0};

    for (size_t i = 0; i < KF_ARRAY_LEN(packed); i++) {
        (void)snprintf(ref, sizeof(ref), "oci:" KITS "/%s/store@sha256:%s", packed[i].dir,
                       packed[i].digest);
        cr_assert_eq(kf_kit_open(&kit, &opts, &err), -1);
        cr_assert_eq(err.kind, KF_E_UNSUPPORTED);
        cr_assert_not_null(strstr(err.message, "(model, tar+"), "%s", err.message);
    }
    (void)snprintf(ref, sizeof(ref), "oci:" KITS "/%s/store@sha256:%s", plain[0].dir,
                   plain[0].digest);
    cr_assert_eq(kf_kit_open(&kit, &opts, &err), 0, "%s", err.message);
    cr_assert_eq(kf_kit_close(kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_workq_free(workq);
}

Test(fixtures, what_is_said_about_a_kit)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);
    static const char *const kinds[] = {"model", "code", "dataset", "docs"};
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_kit *kit;

    cr_assert_eq(open_fixture(&kit, &plain[4], workq, NULL), 0);
    cr_assert_eq(kf_kit_layer_count(kit), 4);
    for (size_t i = 0; i < 4; i++) {
        const struct kf_kit_layer *layer = kf_kit_layer(kit, i);

        cr_assert_str_eq(layer->kind, kinds[i]);
        cr_assert_str_eq(layer->form, "tar");
        cr_assert_gt(layer->size, 1024);
        cr_assert(kf_digest_equal(&layer->digest, kf_layer_digest(layer->layer)));
    }
    cr_assert_str_eq(kf_digest_format(kf_kit_digest(kit), text) + 7, plain[4].digest);
    cr_assert_eq(strncmp(kf_kit_name(kit), "oci:", 4), 0);
    cr_assert_eq(kf_kit_close(kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_workq_free(workq);
}

static void on_problem(void *arg, const char *blob, const char *line)
{
    cr_log_error("%s: %s: %s", (const char *)arg, blob, line);
}

/* The diffIds that kit 1.11 wrote into ModelPacks are wrong, and nothing is damaged. */
Test(fixtures, nothing_is_wrong_with_them)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);

    for (size_t i = 0; i < KF_ARRAY_LEN(plain); i++) {
        char name[64];
        const struct kf_kit_verify_opts opts = {
            .timeout_ns = 10 * KF_NS_PER_S, .problem = on_problem, .arg = name};
        struct kf_kit *kit;

        (void)snprintf(name, sizeof(name), "%s %s", plain[i].dir, plain[i].name);
        cr_assert_eq(open_fixture(&kit, &plain[i], workq, NULL), 0, "%s", name);
        cr_assert_eq(kf_kit_verify(kit, &opts), 0, "%s", name);
        cr_assert_eq(kf_kit_close(kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    }
    kf_workq_free(workq);
}
