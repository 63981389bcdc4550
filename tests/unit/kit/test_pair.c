/*
 * Layers and what their annotations say about a table of contents (docs/formats/layer.md,
 * sections 5 and 7).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/pair.h"
#include "kit_world.h"
#include "oci/manifest.h"

#define HEX(digit) digit digit digit digit digit digit digit digit
#define SHA(digit)                                                              \
    "sha256:" HEX(digit) HEX(digit) HEX(digit) HEX(digit) HEX(digit) HEX(digit) \
        HEX(digit) HEX(digit)
#define TOC_LAYER                                                         \
    ",{\"mediaType\":\"application/vnd.kitfs.toc.v1\",\"digest\":\"" SHA( \
        "c") "\",\"size\":1000}"
#define SEPARATE "1;" SHA("b") ";" SHA("c")

struct paired {
    struct kf_manifest manifest;
    struct kf_pair *pairs;
    size_t count;
    struct kf_err err;
};

/* A layer of 5000 bytes of that form, with that annotation, and then `more`. */
static int pair(struct paired *paired, const char *form, const char *toc,
                const char *more)
{
    char json[2048], annotation[600] = "";

    memset(paired, 0, sizeof(*paired));
    if (toc)
        (void)snprintf(annotation, sizeof(annotation), ",\"org.kitfs.toc\":\"%s\"", toc);
    (void)snprintf(json, sizeof(json),
                   "{\"schemaVersion\":2,\"config\":{\"digest\":\"" SHA(
                       "d") "\",\"size\":2},\"layers\":[{\"mediaType\":\"application/"
                            "vnd.kitops.modelkit.model.v1.%s\",\"digest\":\"" SHA(
                                "a") "\",\"size\":5000,\"annotations\":{\"org.cncf.model."
                                     "filepath\":\"f\""
                                     "%s}}%s]}",
                   form, annotation, more);
    cr_assert_eq(kf_manifest_parse(&paired->manifest, json, strlen(json), &paired->err),
                 0, "%s", paired->err.message);
    return kf_pair_layers(&paired->pairs, &paired->count,
                          &(struct kf_pair_from){.manifest = &paired->manifest},
                          &paired->err);
}

static void unpair(struct paired *paired)
{
    free(paired->pairs);
    kf_manifest_fini(&paired->manifest);
}

static void expect_refused(const char *form, const char *toc, const char *more,
                           enum kf_err_kind kind)
{
    struct paired paired;

    cr_assert_eq(pair(&paired, form, toc, more), -1, "%s: %s", form, toc);
    cr_assert_eq(paired.err.kind, kind, "%s: %s", toc, paired.err.message);
    cr_assert_not_null(strstr(paired.err.message, SHA("a")), "%s", paired.err.message);
    unpair(&paired);
}

/* A toc of none: served without. */
static void expect_none(const char *toc, const char *more)
{
    struct paired paired;

    cr_assert_eq(pair(&paired, "tar", toc, more), 0, "%s", paired.err.message);
    cr_assert_eq(paired.count, 1);
    cr_assert_not(paired.pairs[0].has_toc);
    cr_assert_null(paired.pairs[0].toc_desc);
    unpair(&paired);
}

Test(pair, embedded)
{
    struct paired paired;

    cr_assert_eq(pair(&paired, "tar+zstd", "1;" SHA("b") ";-;4000;100;200;900", ""), 0,
                 "%s", paired.err.message);
    cr_assert(paired.pairs[0].has_toc);
    cr_assert(paired.pairs[0].toc.embedded);
    cr_assert_eq(paired.pairs[0].toc.area_offset, 4000);
    cr_assert_null(paired.pairs[0].toc_desc);
    unpair(&paired);
}

Test(pair, in_the_layer_for_it)
{
    static const char *const forms[] = {"tar", "raw"};
    struct paired paired;

    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        cr_assert_eq(pair(&paired, forms[i], SEPARATE ";100;100;200;900", TOC_LAYER), 0,
                     "%s", paired.err.message);
        cr_assert_eq(paired.count, 1); /* that layer is none of the kit's */
        cr_assert(paired.pairs[0].has_toc);
        cr_assert_eq(paired.pairs[0].toc_desc, &paired.manifest.layers[1]);
        unpair(&paired);
    }
}

Test(pair, what_counts_as_none)
{
    expect_none(NULL, TOC_LAYER);
    expect_none("2;whatever a later version says", "");
    expect_none("2;" SHA("b") ";" SHA("c") ";100;100;200;900", TOC_LAYER);
    expect_none(SEPARATE ";100;100;200;900", ""); /* no such layer */
}

Test(pair, malformed_annotations)
{
    static const char *const texts[] = {
        "",
        "1",
        "1;",
        "one;" SHA("b") ";-;4000;100;200;900",
        "1;" SHA("b") ";-;4000;100;200",
        "1;" SHA("b") ";-;4000;100;200;900;1",
        "1;" SHA("b") ";-;04000;100;200;900",
        "1;" SHA("b") ";-;-1;100;200;900",
        "1;" SHA("b") ";;4000;100;200;900",
        "1;sha512:00;-;4000;100;200;900",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++)
        expect_refused("tar+zstd", texts[i], "", KF_E_MALFORMED);
}

/* At the end of its blob, and one byte beyond. */
Test(pair, areas_beyond_their_blob)
{
    struct paired paired;

    cr_assert_eq(pair(&paired, "tar+zstd", "1;" SHA("b") ";-;4100;100;200;900", ""), 0,
                 "%s", paired.err.message);
    unpair(&paired);
    cr_assert_eq(pair(&paired, "tar", SEPARATE ";100;100;200;900", TOC_LAYER), 0, "%s",
                 paired.err.message);
    unpair(&paired);
    expect_refused("tar+zstd", "1;" SHA("b") ";-;4101;100;200;900", "", KF_E_MALFORMED);
    expect_refused("tar+zstd", "1;" SHA("b") ";-;5001;100;200;100", "", KF_E_MALFORMED);
    expect_refused("tar", SEPARATE ";101;100;200;900", TOC_LAYER, KF_E_MALFORMED);
    expect_refused("tar", SEPARATE ";18446744073709551000;100;200;900", TOC_LAYER,
                   KF_E_MALFORMED);
}

/* Forms that the format has no carrier for. */
Test(pair, forms_without_a_toc)
{
    expect_refused("tar+gzip", "1;" SHA("b") ";-;4000;100;200;900", "", KF_E_MALFORMED);
    expect_refused("raw+zstd", "1;" SHA("b") ";-;4000;100;200;900", "", KF_E_MALFORMED);
    expect_refused("raw+gzip", SEPARATE ";100;100;200;900", TOC_LAYER, KF_E_MALFORMED);
}

Test(pair, packed_without_a_toc)
{
    static const char *const forms[] = {"tar+gzip", "raw+gzip", "tar+zstd", "raw+zstd"};
    struct paired paired;

    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        cr_assert_eq(pair(&paired, forms[i], NULL, ""), 0, "%s", paired.err.message);
        cr_assert_eq(paired.count, 1);
        cr_assert_not(paired.pairs[0].has_toc);
        cr_assert_eq(paired.pairs[0].media.compression,
                     i < 2 ? KF_COMPRESSION_GZIP : KF_COMPRESSION_ZSTD);
        unpair(&paired);
    }
}

/* The manifest has the layer, and its blob is nowhere. */
Test(pair, toc_blob_that_is_missing)
{
    struct world world;
    struct kf_buf tar;
    const char *layer, *config, *manifest;
    char layers[1024];

    world_begin(&world);
    layer = layout_file_layer(&world.layout, TAR_TYPE("model"), "a", "content");
    config = layout_config(&world.layout, layer, "");
    (void)snprintf(layers, sizeof(layers),
                   "[%.*s,\"annotations\":{\"org.kitfs.toc\":\"" SEPARATE
                   ";100;100;200;900\"}}" TOC_LAYER "]",
                   (int)strlen(layer) - 1, layer);
    manifest = layout_manifest(&world.layout, NULL, config, layers, "");
    layout_tag(&world.layout, manifest);
    world_expect_open(&world);
    kf_buf_init(&tar, 64);
    cr_assert_eq(kf_buf_append(&tar, "content", 7, NULL), 0);
    world_expect_copy(&world, tar.data, 0, 7);
    kf_buf_fini(&tar);
    world_end(&world);
}
