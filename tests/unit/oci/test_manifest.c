#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/manifest.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DESC(size) "{\"digest\":\"sha256:" HEX "\",\"size\":" size "}"
#define MANIFEST(layers) "{\"schemaVersion\":2,\"config\":" DESC("2") "," layers "}"

static struct kf_manifest manifest;
static struct kf_index list;
static struct kf_err err;

static int parse(const char *json)
{
    memset(&manifest, 0, sizeof(manifest));
    kf_err_clear(&err);
    return kf_manifest_parse(&manifest, json, strlen(json), &err);
}

static int parse_index(const char *json)
{
    memset(&list, 0, sizeof(list));
    kf_err_clear(&err);
    return kf_index_parse(&list, json, strlen(json), &err);
}

Test(manifest, all_fields)
{
    cr_assert_eq(
        parse(
            "{\"schemaVersion\":2,\"mediaType\":\"m\",\"artifactType\":\"a\",\"config\":"
            "{\"mediaType\":\"c\",\"digest\":\"sha256:" HEX
            "\",\"size\":9223372036854775807},\"layers\":["
            "{\"mediaType\":\"l\",\"digest\":\"sha256:" HEX "\",\"size\":0,"
            "\"annotations\":{\"x\":\"1\",\"y\":\"\"}}],"
            "\"annotations\":{\"k\":\"v\"},\"unknown\":[1,{}]}"),
        0, "%s", err.message);
    cr_assert_str_eq(manifest.media_type, "m");
    cr_assert_str_eq(manifest.artifact_type, "a");
    cr_assert_str_eq(manifest.config.media_type, "c");
    cr_assert_eq(manifest.config.size, INT64_MAX);
    cr_assert_eq(manifest.config.digest.bytes[1], 0x23);
    cr_assert_eq(manifest.layer_count, 1);
    cr_assert_str_eq(manifest.layers[0].media_type, "l");
    cr_assert_null(manifest.layers[0].artifact_type);
    cr_assert_str_eq(kf_annotation_get(manifest.layers[0].annotations,
                                       manifest.layers[0].annotation_count, "y"),
                     "");
    cr_assert_str_eq(
        kf_annotation_get(manifest.annotations, manifest.annotation_count, "k"), "v");
    cr_assert_null(
        kf_annotation_get(manifest.annotations, manifest.annotation_count, "x"));
    kf_manifest_fini(&manifest);
}

/* kit <= 1.14 writes no mediaType, and null for no layers. */
Test(manifest, what_older_kits_leave_out)
{
    static const char *const cases[] = {
        MANIFEST("\"layers\":null"),
        MANIFEST("\"layers\":[]"),
        MANIFEST("\"annotations\":null"),
        MANIFEST("\"mediaType\":null,\"artifactType\":null"),
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(cases[i]), 0, "%s: %s", cases[i], err.message);
        cr_assert_str_eq(manifest.media_type, "");
        cr_assert_null(manifest.artifact_type);
        cr_assert_eq(manifest.layer_count, 0);
        cr_assert_str_eq(manifest.config.media_type, "");
        kf_manifest_fini(&manifest);
    }
}

Test(manifest, malformed)
{
    static const char *const cases[] = {
        "",
        "{",
        "[]",
        "null",
        "\"text\"",
        "{}",
        MANIFEST("\"layers\":[]") "x",
        "{\"schemaVersion\":1,\"config\":" DESC("2") "}",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"config\":null}",
        "{\"schemaVersion\":2,\"config\":{}}",
        "{\"schemaVersion\":2,\"config\":" DESC("-1") "}",
        "{\"schemaVersion\":2,\"config\":" DESC("1.0") "}",
        "{\"schemaVersion\":2,\"config\":" DESC("\"1\"") "}",
        "{\"schemaVersion\":2,\"config\":" DESC("9223372036854775808") "}",
        "{\"schemaVersion\":2,\"config\":" DESC("1e3") "}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"../../etc\",\"size\":1}}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:" HEX "0\",\"size\":1}}",
        "{\"schemaVersion\":2,\"config\":{\"digest\":1,\"size\":1}}",
        MANIFEST("\"layers\":{}"),
        MANIFEST("\"layers\":[1]"),
        MANIFEST("\"layers\":[null]"),
        MANIFEST("\"mediaType\":7"),
        MANIFEST("\"artifactType\":[]"),
        MANIFEST("\"annotations\":[]"),
        MANIFEST("\"annotations\":{\"a\":1}"),
        MANIFEST("\"annotations\":{\"a\":\"\\u0000\"}"),
        MANIFEST("\"annotations\":{\"a\":\"\xff\"}"),
        /* Two readers could take either. */
        MANIFEST("\"layers\":[],\"layers\":[]"),
        MANIFEST("\"layers\":[{\"digest\":\"sha256:" HEX "\",\"size\":1,\"size\":2}]"),
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(parse(cases[i]), -1, "%s", cases[i]);
        cr_assert(err.kind == KF_E_MALFORMED, "%s: %s", cases[i], err.message);
    }
    cr_assert_eq(kf_manifest_parse(&manifest, "{}", 2, NULL), -1, "no record is needed");
}

Test(manifest, other_digest_algorithms_are_said_to_be_unsupported)
{
    cr_assert_eq(parse("{\"schemaVersion\":2,\"config\":{\"digest\":\"sha512:" HEX HEX
                       "\",\"size\":1}}"),
                 -1);
    cr_assert_eq(err.kind, KF_E_UNSUPPORTED, "%s", err.message);
}

/* A manifest with `count` times `item`, and what follows. */
static void repeat(struct kf_buf *json, const char *before, const char *item,
                   size_t count, const char *after)
{
    kf_buf_init(json, 64u << 20);
    cr_assert_eq(kf_buf_append_text(json, before, NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(json, NULL, "%s%s", i ? "," : "", item), 0);
    cr_assert_eq(kf_buf_append_text(json, after, NULL), 0);
}

static int parse_repeated(const char *before, const char *item, size_t count,
                          const char *after)
{
    struct kf_buf json;
    int rc;

    repeat(&json, before, item, count, after);
    kf_err_clear(&err);
    rc = kf_manifest_parse(&manifest, json.data, json.length, &err);
    kf_buf_fini(&json);
    return rc;
}

#define LAYERS "{\"schemaVersion\":2,\"config\":" DESC("2") ",\"layers\":["

Test(manifest, limit_of_layers)
{
    cr_assert_eq(parse_repeated(LAYERS, DESC("1"), KF_MANIFEST_LAYER_LIMIT, "]}"), 0,
                 "%s", err.message);
    cr_assert_eq(manifest.layer_count, KF_MANIFEST_LAYER_LIMIT);
    kf_manifest_fini(&manifest);
    cr_assert_eq(parse_repeated(LAYERS, DESC("1"), KF_MANIFEST_LAYER_LIMIT + 1, "]}"),
                 -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

static int parse_annotations(size_t count)
{
    struct kf_buf json;
    int rc;

    kf_buf_init(&json, 1u << 20);
    cr_assert_eq(kf_buf_append_text(&json, LAYERS "],\"annotations\":{", NULL), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(&json, NULL, "%s\"%zu\":\"\"", i ? "," : "", i), 0);
    cr_assert_eq(kf_buf_append_text(&json, "}}", NULL), 0);
    kf_err_clear(&err);
    rc = kf_manifest_parse(&manifest, json.data, json.length, &err);
    kf_buf_fini(&json);
    return rc;
}

Test(manifest, limit_of_annotations)
{
    cr_assert_eq(parse_annotations(KF_MANIFEST_ANNOTATION_LIMIT), 0, "%s", err.message);
    cr_assert_eq(manifest.annotation_count, KF_MANIFEST_ANNOTATION_LIMIT);
    kf_manifest_fini(&manifest);
    cr_assert_eq(parse_annotations(KF_MANIFEST_ANNOTATION_LIMIT + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

static int parse_tags(size_t count)
{
    struct kf_buf json;
    int rc;

    kf_buf_init(&json, 4u << 20);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(&json, NULL, "%s\"%zu\":" DESC("1"), i ? "," : "{", i),
                     0);
    cr_assert_eq(kf_buf_append_text(&json, "}", NULL), 0);
    kf_err_clear(&err);
    memset(&list, 0, sizeof(list));
    rc = kf_index_parse_tags(&list, json.data, json.length, &err);
    kf_buf_fini(&json);
    return rc;
}

Test(manifest, limit_of_tags)
{
    cr_assert_eq(parse_tags(KF_MANIFEST_LAYER_LIMIT), 0, "%s", err.message);
    cr_assert_eq(list.entry_count, KF_MANIFEST_LAYER_LIMIT);
    kf_index_fini(&list);
    cr_assert_eq(parse_tags(KF_MANIFEST_LAYER_LIMIT + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

/* kit's own list of tags. */
Test(manifest, tags)
{
    static const char json[] =
        "{\"v1\":{\"mediaType\":\"m\",\"digest\":\"sha256:" HEX "\",\"size\":7,"
        "\"annotations\":{\"org.opencontainers.image.ref.name\":\"other\",\"x\":\"y\"}}}";
    static const char *const wrong[] = {"[]", "{\"v1\":null}", "{\"v1\":{}}", "",
                                        "{\"v1\":" DESC("1") ",\"v1\":" DESC("1") "}"};

    cr_assert_eq(kf_index_parse_tags(&list, json, strlen(json), &err), 0, "%s",
                 err.message);
    cr_assert_eq(list.entry_count, 1);
    cr_assert_str_eq(kf_desc_tag(&list.entries[0]), "v1");
    cr_assert_eq(list.entries[0].annotation_count, 1);
    cr_assert_eq(list.entries[0].size, 7);
    cr_assert_str_eq(list.entries[0].media_type, "m");
    kf_index_fini(&list);
    cr_assert_eq(kf_index_parse_tags(&list, "{}", 2, &err), 0, "none");
    cr_assert_eq(list.entry_count, 0);
    kf_index_fini(&list);
    for (size_t i = 0; i < KF_ARRAY_LEN(wrong); i++) {
        kf_err_clear(&err);
        cr_expect_eq(kf_index_parse_tags(&list, wrong[i], strlen(wrong[i]), &err), -1);
        cr_expect_eq(err.kind, KF_E_MALFORMED, "'%s': %s", wrong[i], err.message);
    }
}

Test(manifest, limit_of_bytes)
{
    char *json = malloc(KF_MANIFEST_LIMIT + 1);
    const char text[] = MANIFEST("\"layers\":[]");

    cr_assert_not_null(json);
    memset(json, ' ', KF_MANIFEST_LIMIT + 1);
    memcpy(json, text, sizeof(text) - 1);
    cr_assert_eq(kf_manifest_parse(&manifest, json, KF_MANIFEST_LIMIT, &err), 0, "%s",
                 err.message);
    kf_manifest_fini(&manifest);
    cr_assert_eq(kf_manifest_parse(&manifest, json, KF_MANIFEST_LIMIT + 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    free(json);
}

/* Small text, large in memory. */
Test(manifest, limit_of_values)
{
    const char before[] = LAYERS "],\"x\":[";
    size_t others = 0, count;

    for (size_t i = 0; before[i]; i++)
        others += before[i] == '{' || before[i] == '[' || before[i] == ',';
    count = KF_MANIFEST_VALUE_LIMIT - others + 1; /* the first has no comma */
    cr_assert_eq(parse_repeated(before, "1", count, "]}"), 0, "%s", err.message);
    kf_manifest_fini(&manifest);
    cr_assert_eq(parse_repeated(before, "1", count + 1, "]}"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(manifest, deep_nesting_is_refused)
{
    size_t depth = 1u << 20;
    char *json = malloc(depth);

    cr_assert_not_null(json);
    memset(json, '[', depth);
    cr_assert_eq(kf_manifest_parse(&manifest, json, depth, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    free(json);
}

Test(manifest, kinds)
{
    static const struct {
        const char *json;
        int rc;
        enum kf_manifest_kind kind;
    } cases[] = {
        {"{\"config\":{}}", 0, KF_KIND_MANIFEST},
        {"{\"manifests\":[]}", 0, KF_KIND_INDEX},
        {"{\"manifests\":null}", 0, KF_KIND_INDEX},
        {"{\"layers\":[]}", -1, KF_KIND_MANIFEST},
        {"[]", -1, KF_KIND_MANIFEST},
        {"<html>", -1, KF_KIND_MANIFEST},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        enum kf_manifest_kind kind;

        cr_assert_eq(kf_manifest_kind(cases[i].json, strlen(cases[i].json), &kind, &err),
                     cases[i].rc, "%s", cases[i].json);
        if (cases[i].rc == 0)
            cr_assert_eq(kind, cases[i].kind, "%s", cases[i].json);
    }
}

Test(index, entries)
{
    cr_assert_eq(parse_index("{\"schemaVersion\":2,\"manifests\":["
                             "{\"mediaType\":\"m\",\"artifactType\":\"a\",\"digest\":"
                             "\"sha256:" HEX
                             "\",\"size\":5,\"annotations\":{\"k\":\"v\"},"
                             "\"platform\":{\"os\":\"linux\"}}," DESC("1") "]}"),
                 0, "%s", err.message);
    cr_assert_eq(list.entry_count, 2);
    cr_assert_str_eq(list.entries[0].artifact_type, "a");
    cr_assert_eq(list.entries[0].size, 5);
    cr_assert_eq(list.entries[0].annotation_count, 1);
    kf_index_fini(&list);
    cr_assert_eq(parse_index("{\"schemaVersion\":2,\"manifests\":null}"), 0);
    cr_assert_eq(list.entry_count, 0);
    kf_index_fini(&list);
    cr_assert_eq(parse_index("{\"manifests\":[]}"), -1);
    cr_assert_eq(parse_index("{\"schemaVersion\":2,\"manifests\":[{}]}"), -1);
}

#define LABELLED(labels)                                                      \
    "{\"schemaVersion\":2,\"artifactType\":\"t\",\"manifests\":[{\"digest\":" \
    "\"sha256:" HEX "\",\"size\":5,\"modelMetadata\":" labels "}]}"

static const char *label(const char *key)
{
    const struct kf_desc *entry = &list.entries[0];

    return kf_annotation_get(entry->labels, entry->label_count, key);
}

/* As kit index info shows them. */
Test(index, labels)
{
    cr_assert_eq(parse_index(LABELLED(
                     "{\"s\":\"a \\\"b\\\"\",\"i\":7000000000,\"f\":0.1,\"n\":null,"
                     "\"b\":false,\"o\":{\"k\": [1, \"x\"]},\"e\":\"\"}")),
                 0, "%s", err.message);
    cr_assert_str_eq(list.artifact_type, "t");
    cr_assert_eq(list.entries[0].label_count, 7);
    cr_assert_str_eq(label("s"), "a \"b\"");
    cr_assert_str_eq(label("i"), "7000000000");
    cr_assert_str_eq(label("f"), "0.1");
    cr_assert_str_eq(label("n"), "");
    cr_assert_str_eq(label("b"), "false");
    cr_assert_str_eq(label("o"), "{\"k\":[1,\"x\"]}");
    cr_assert_str_eq(label("e"), "");
    kf_index_fini(&list);
    cr_assert_eq(parse_index(LABELLED("null")), 0);
    cr_assert_eq(list.entries[0].label_count, 0);
    kf_index_fini(&list);
    cr_assert_eq(parse_index(LABELLED("[]")), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    /* Only an index has labels. */
    cr_assert_eq(parse("{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:" HEX
                       "\",\"size\":1,\"modelMetadata\":7}}"),
                 0, "%s", err.message);
    kf_manifest_fini(&manifest);
}

static int parse_labels(size_t count)
{
    struct kf_buf json;
    int rc;

    kf_buf_init(&json, 1u << 20);
    cr_assert_eq(kf_buf_append_text(&json,
                                    "{\"schemaVersion\":2,\"manifests\":[{\"digest\":"
                                    "\"sha256:" HEX "\",\"size\":5,\"modelMetadata\":{",
                                    NULL),
                 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(&json, NULL, "%s\"%zu\":1", i ? "," : "", i), 0);
    cr_assert_eq(kf_buf_append_text(&json, "}}]}", NULL), 0);
    kf_err_clear(&err);
    rc = kf_index_parse(&list, json.data, json.length, &err);
    kf_buf_fini(&json);
    return rc;
}

Test(index, limit_of_labels)
{
    cr_assert_eq(parse_labels(KF_MANIFEST_ANNOTATION_LIMIT), 0, "%s", err.message);
    cr_assert_eq(list.entries[0].label_count, KF_MANIFEST_ANNOTATION_LIMIT);
    kf_index_fini(&list);
    cr_assert_eq(parse_labels(KF_MANIFEST_ANNOTATION_LIMIT + 1), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(desc, a_copy_is_its_own)
{
    struct kf_desc copy;

    cr_assert_eq(parse_index("{\"schemaVersion\":2,\"manifests\":["
                             "{\"mediaType\":\"m\",\"artifactType\":\"a\",\"digest\":"
                             "\"sha256:" HEX "\",\"size\":5,"
                             "\"annotations\":{\"k\":\"v\"},"
                             "\"modelMetadata\":{\"l\":1}}," DESC("1") "]}"),
                 0);
    cr_assert_eq(kf_desc_copy(&copy, &list.entries[0], &err), 0);
    kf_index_fini(&list);
    cr_assert_str_eq(copy.media_type, "m");
    cr_assert_str_eq(copy.artifact_type, "a");
    cr_assert_eq(copy.size, 5);
    cr_assert_eq(copy.digest.bytes[0], 0x01);
    cr_assert_str_eq(kf_annotation_get(copy.annotations, copy.annotation_count, "k"),
                     "v");
    cr_assert_str_eq(kf_annotation_get(copy.labels, copy.label_count, "l"), "1");
    kf_desc_fini(&copy);
}
