/*
 * Entries of an index by label, and what is said when that does not tell.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/containers.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/choose.h"
#include "oci/manifest.h"
#include "oci/media.h"

#define HEX(digit) digit digit digit digit digit digit digit digit
#define SHA(digit)                                                              \
    "sha256:" HEX(digit) HEX(digit) HEX(digit) HEX(digit) HEX(digit) HEX(digit) \
        HEX(digit) HEX(digit)
#define ENTRY(digit, more)                    \
    "{\"mediaType\":\"" KF_MEDIA_OCI_MANIFEST \
    "\",\"digest\":\"" SHA(digit) "\",\"size\":5" more "}"
#define LABELS(labels) ",\"modelMetadata\":{" labels "}"
#define TAG(tag) ",\"annotations\":{\"ml.kitops.modelkit.original-tag\":\"" tag "\"}"
#define KIT_TYPE ",\"artifactType\":\"" KF_MEDIA_MODELKIT_ARTIFACT "\""

static struct kf_err err;

/* The first digit of the digest that is chosen, or 0; NULL ends the labels. */
static int choose(const char *type, const char *entries, const char *const *labels)
{
    struct kf_strings strings = {0};
    struct kf_digest digest;
    struct kf_index index;
    char json[16384];
    int rc;

    kf_err_clear(&err);
    cr_assert_lt(snprintf(json, sizeof(json),
                          "{\"schemaVersion\":2,\"artifactType\":\"%s\","
                          "\"manifests\":[%s]}",
                          type, entries),
                 (int)sizeof(json));
    cr_assert_eq(kf_index_parse(&index, json, strlen(json), &err), 0, "%s", err.message);
    for (size_t i = 0; labels && labels[i]; i++)
        cr_assert_eq(kf_strings_add(&strings, labels[i], NULL), 0);
    cr_assert_eq(kf_labels_check(&strings, &err), 0, "%s", err.message);
    rc = kf_choose_entry(&digest, &index, labels ? &strings : NULL, &err);
    kf_strings_fini(&strings);
    kf_index_fini(&index);
    return rc == 0 ? digest.bytes[0] & 15 : 0;
}

static int choose_by(const char *entries, const char *first, const char *second)
{
    const char *labels[] = {first, second, NULL};

    return choose(KF_MEDIA_MODELKIT_INDEX, entries, labels);
}

static void expect_error(enum kf_err_kind kind, const char *words)
{
    cr_assert_eq(err.kind, kind, "%s", err.message);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
}

#define TWO                                                                    \
    ENTRY("1", LABELS("\"quantization\":\"q4_0\",\"vram\":\"6GB\"") TAG("q4")) \
    "," ENTRY("2", LABELS("\"quantization\":\"q8_0\""))

Test(choose, by_label)
{
    cr_assert_eq(choose_by(TWO, "quantization=q4_0", NULL), 1);
    cr_assert_eq(choose_by(TWO, "quantization=q8_0", NULL), 2);
    cr_assert_eq(choose_by(TWO, "vram=6GB", "quantization=q4_0"), 1);
    cr_assert_eq(choose_by(TWO, "vram=6GB", "quantization=q8_0"), 0);
    cr_assert_eq(choose_by(TWO, "quantization=Q8_0", NULL), 0);
    cr_assert_eq(choose_by(TWO, "quant=q8_0", NULL), 0);
    cr_assert_eq(choose_by(TWO, "quantizations=q8_0", NULL), 0);
}

/* Any JSON value is a label; text is compared without its quotes. */
Test(choose, values_that_are_no_text)
{
    static const char entries[] =
        ENTRY("1", LABELS("\"n\":7000000000,\"f\":4.5,\"z\":null,\"t\":true")) "," ENTRY(
            "2", LABELS("\"n\":\"7\",\"o\":{\"bytes\":6},\"l\":[\"a\", \"b\"],"
                        "\"e\":\"\",\"x\":\"a=b\""));

    cr_assert_eq(choose_by(entries, "n=7000000000", NULL), 1);
    cr_assert_eq(choose_by(entries, "f=4.5", NULL), 1);
    cr_assert_eq(choose_by(entries, "t=true", NULL), 1);
    cr_assert_eq(choose_by(entries, "z=", NULL), 1);
    cr_assert_eq(choose_by(entries, "n=7", NULL), 2);
    cr_assert_eq(choose_by(entries, "o={\"bytes\":6}", NULL), 2);
    cr_assert_eq(choose_by(entries, "l=[\"a\",\"b\"]", NULL), 2);
    cr_assert_eq(choose_by(entries, "e=", NULL), 2);
    cr_assert_eq(choose_by(entries, "x=a=b", NULL), 2);
}

Test(choose, no_entry_has_them)
{
    cr_assert_eq(choose_by(TWO, "vram=24GB", NULL), 0);
    expect_error(KF_E_ARG,
                 "no entry of the index has these labels; it has: q4 (quantization=q4_0, "
                 "vram=6GB); " SHA("2") " (quantization=q8_0)");
    cr_assert_eq(choose_by(ENTRY("1", ""), "vram=24GB", NULL), 0);
    expect_error(KF_E_ARG, "it has: " SHA("1") " (no labels)");
}

Test(choose, several_entries_have_them)
{
    static const char entries[] = ENTRY("1", LABELS("\"a\":\"1\",\"b\":\"1\"")) "," ENTRY(
        "2", LABELS("\"a\":\"1\",\"b\":\"2\"")) "," ENTRY("3", "");

    cr_assert_eq(choose_by(entries, "a=1", NULL), 0);
    expect_error(KF_E_ARG,
                 "2 entries of the index match; add labels to choose one of: " SHA(
                     "1") " (a=1, b=1); " SHA("2") " (a=1, b=2)");
    cr_assert_eq(choose_by(entries, "a=1", "b=2"), 2);
}

Test(choose, without_labels)
{
    cr_assert_eq(choose("", ENTRY("1", ""), NULL), 1);
    cr_assert_eq(choose(KF_MEDIA_MODELKIT_INDEX, ENTRY("1", LABELS("\"a\":\"1\"")), NULL),
                 1);
    cr_assert_eq(choose("", ENTRY("1", "") "," ENTRY("2", KIT_TYPE), NULL), 2);
    cr_assert_eq(choose("", ENTRY("1", KIT_TYPE) "," ENTRY("2", KIT_TYPE), NULL), 0);
    expect_error(KF_E_ARG, "an index of 2 kits; choose with --label, or by digest: " SHA(
                               "1") " (no labels); " SHA("2") " (no labels)");
    /* kit's own index: its entries do not say what they are */
    cr_assert_eq(choose(KF_MEDIA_MODELKIT_INDEX, TWO, NULL), 0);
    expect_error(KF_E_ARG, "an index of 2 kits; choose with --label, or by digest: q4 (");
    cr_assert_eq(choose("", ENTRY("1", "") "," ENTRY("2", ""), NULL), 0);
    expect_error(KF_E_UNSUPPORTED, "without any ModelKit that is named as one; it has: ");
    cr_assert_eq(choose(KF_MEDIA_MODELKIT_INDEX, "", NULL), 0);
    expect_error(KF_E_UNSUPPORTED, "an index without any ModelKit");
}

/* An index in an index has no labels of its own. */
Test(choose, index_of_an_index)
{
    static const char *const labels[] = {"a=1", NULL};

    cr_assert_eq(choose("",
                        "{\"mediaType\":\"" KF_MEDIA_OCI_INDEX
                        "\",\"digest\":\"" SHA("3") "\",\"size\":5}",
                        labels),
                 3);
}

/* What has no room is left out whole, and said to be; control characters do nothing. */
Test(choose, long_lists)
{
    char entries[16384] = "";

    for (unsigned i = 0; i < 64; i++) {
        size_t used = strlen(entries);

        (void)snprintf(entries + used, sizeof(entries) - used, "%s%s", i ? "," : "",
                       ENTRY("1", TAG("ta\\u001bg") LABELS("\"a\":\"x\"")));
    }
    cr_assert_eq(choose_by(entries, "a=y", NULL), 0);
    expect_error(KF_E_ARG, "ta?g (a=x); ta?g (a=x)");
    cr_assert_str_eq(err.message + strlen(err.message) - 13, "?g (a=x); ...", "%s",
                     err.message);
}

Test(choose, labels_that_are_none)
{
    static const struct {
        const char *labels[2], *words;
    } rows[] = {
        {{"quantization"}, "invalid label 'quantization': expected key=value"},
        {{"quantization-"}, "expected key=value"},
        {{"=q4"}, "invalid label '=q4': expected key=value"},
        {{""}, "invalid label '': expected key=value"},
        {{"a=1", "a=2"}, "invalid label 'a=2': each label can be specified only once"},
        {{"a=1", "a=1"}, "only once"},
    };
    static const char *const good[] = {"a=1", "ab=1", "b="};
    struct kf_strings strings = {0};

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_strings bad = {0};

        for (size_t k = 0; k < 2 && rows[i].labels[k]; k++)
            cr_assert_eq(kf_strings_add(&bad, rows[i].labels[k], NULL), 0);
        cr_assert_eq(kf_labels_check(&bad, &err), -1, "%s", rows[i].words);
        expect_error(KF_E_ARG, rows[i].words);
        kf_strings_fini(&bad);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(good); i++)
        cr_assert_eq(kf_strings_add(&strings, good[i], NULL), 0);
    cr_assert_eq(kf_labels_check(&strings, NULL), 0);
    cr_assert_eq(kf_labels_check(NULL, NULL), 0);
    kf_strings_fini(&strings);
}
