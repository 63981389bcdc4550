#include <criterion/criterion.h>

#include "base/mem.h"
#include "oci/media.h"

#define KIT "application/vnd.kitops.modelkit."
#define CNCF "application/vnd.cncf.model."

Test(media, layers)
{
    static const struct {
        const char *text;
        enum kf_family family;
        enum kf_base base;
        const char *form;
    } cases[] = {
        {KIT "model.v1.tar", KF_FAMILY_MODELKIT, KF_BASE_MODEL, "tar"},
        {KIT "modelpart.v1.tar+gzip", KF_FAMILY_MODELKIT, KF_BASE_MODELPART, "tar+gzip"},
        {KIT "dataset.v1.tar+zstd", KF_FAMILY_MODELKIT, KF_BASE_DATASET, "tar+zstd"},
        {KIT "code.v1.raw", KF_FAMILY_MODELKIT, KF_BASE_CODE, "raw"},
        {KIT "docs.v1.raw+gzip", KF_FAMILY_MODELKIT, KF_BASE_DOCS, "raw+gzip"},
        {KIT "model.v1.raw+zstd", KF_FAMILY_MODELKIT, KF_BASE_MODEL, "raw+zstd"},
        {KIT "mcpb.v1.raw", KF_FAMILY_MODELKIT, KF_BASE_MCPB, "raw"},
        {CNCF "weight.v1.raw", KF_FAMILY_MODELPACK, KF_BASE_MODEL, "raw"},
        {CNCF "weight.config.v1.tar", KF_FAMILY_MODELPACK, KF_BASE_MODELPART, "tar"},
        {CNCF "doc.v1.tar+zstd", KF_FAMILY_MODELPACK, KF_BASE_DOCS, "tar+zstd"},
        {"application/vnd.cnai.model.dataset.v1.tar", KF_FAMILY_MODELPACK,
         KF_BASE_DATASET, "tar"},
        {KIT "model.v1.tar; charset=utf-8", KF_FAMILY_MODELKIT, KF_BASE_MODEL, "tar"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct kf_media media = kf_media_parse_layer(cases[i].text);

        cr_assert_eq(media.family, cases[i].family, "%s", cases[i].text);
        cr_assert_eq(media.base, cases[i].base, "%s", cases[i].text);
        cr_assert_str_eq(kf_media_layer_form(media), cases[i].form);
    }
}

Test(media, what_is_none_of_ours)
{
    static const char *const cases[] = {
        "",
        ";",
        KIT,
        KIT "model",
        KIT "model.v1.",
        KIT "model.v2.tar",
        KIT "model.v1.tar+lz4",
        KIT "model.v1.tarx",
        KIT "model.v1.tar+gzip+zstd",
        KIT "models.v1.tar",
        KIT ".v1.tar",
        KIT "weight.v1.tar", /* a base of the other family */
        CNCF "model.v1.tar",
        "x" KIT "model.v1.tar",
        "application/vnd.oci.image.layer.v1.tar",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct kf_media media = kf_media_parse_layer(cases[i]);

        cr_assert_eq(media.family, KF_FAMILY_UNKNOWN, "%s", cases[i]);
        cr_assert_eq(media.base, KF_BASE_UNKNOWN, "%s", cases[i]);
        cr_assert_str_eq(kf_media_layer_form(media), "unknown");
    }
}

Test(media, families)
{
    cr_assert_eq(kf_media_config_family(KF_MEDIA_MODELKIT_CONFIG), KF_FAMILY_MODELKIT);
    cr_assert_eq(kf_media_config_family(KF_MEDIA_MODELPACK_CONFIG), KF_FAMILY_MODELPACK);
    cr_assert_eq(kf_media_config_family("application/vnd.cnai.model.config.v1+json"),
                 KF_FAMILY_MODELPACK);
    cr_assert_eq(kf_media_config_family("application/vnd.oci.empty.v1+json"),
                 KF_FAMILY_UNKNOWN);
    cr_assert_eq(kf_media_config_family(""), KF_FAMILY_UNKNOWN);
    cr_assert_eq(kf_media_artifact_family(KF_MEDIA_MODELKIT_ARTIFACT),
                 KF_FAMILY_MODELKIT);
    cr_assert_eq(kf_media_artifact_family(KF_MEDIA_MODELPACK_ARTIFACT),
                 KF_FAMILY_MODELPACK);
    cr_assert_eq(kf_media_artifact_family(KF_MEDIA_MODELKIT_CONFIG), KF_FAMILY_UNKNOWN);
}

Test(media, names_of_bases)
{
    cr_assert_str_eq(kf_base_name(KF_BASE_MODEL), "model");
    cr_assert_str_eq(kf_base_name(KF_BASE_MCPB), "mcpb");
    cr_assert_str_eq(kf_base_name(KF_BASE_UNKNOWN), "unknown");
}
