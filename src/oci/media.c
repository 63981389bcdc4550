#include "oci/media.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const struct {
    const char *prefix;
    enum kf_family family;
} prefixes[] = {
    {"application/vnd.kitops.modelkit.", KF_FAMILY_MODELKIT},
    {"application/vnd.cncf.model.", KF_FAMILY_MODELPACK},
    {"application/vnd.cnai.model.", KF_FAMILY_MODELPACK},
};

static const struct {
    enum kf_family family;
    const char *text;
    enum kf_base base;
} bases[] = {
    {KF_FAMILY_MODELKIT, "model", KF_BASE_MODEL},
    {KF_FAMILY_MODELKIT, "modelpart", KF_BASE_MODELPART},
    {KF_FAMILY_MODELKIT, "code", KF_BASE_CODE},
    {KF_FAMILY_MODELKIT, "dataset", KF_BASE_DATASET},
    {KF_FAMILY_MODELKIT, "docs", KF_BASE_DOCS},
    {KF_FAMILY_MODELKIT, "mcpb", KF_BASE_MCPB},
    {KF_FAMILY_MODELPACK, "weight", KF_BASE_MODEL},
    {KF_FAMILY_MODELPACK, "weight.config", KF_BASE_MODELPART},
    {KF_FAMILY_MODELPACK, "code", KF_BASE_CODE},
    {KF_FAMILY_MODELPACK, "dataset", KF_BASE_DATASET},
    {KF_FAMILY_MODELPACK, "doc", KF_BASE_DOCS},
};

static const struct {
    const char *text;
    enum kf_pack_format pack;
    enum kf_compression compression;
} forms[] = {
    {"tar", KF_PACK_TAR, KF_COMPRESSION_NONE},
    {"tar+gzip", KF_PACK_TAR, KF_COMPRESSION_GZIP},
    {"tar+zstd", KF_PACK_TAR, KF_COMPRESSION_ZSTD},
    {"raw", KF_PACK_RAW, KF_COMPRESSION_NONE},
    {"raw+gzip", KF_PACK_RAW, KF_COMPRESSION_GZIP},
    {"raw+zstd", KF_PACK_RAW, KF_COMPRESSION_ZSTD},
};

static bool equals(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* What follows a family's prefix: "<base>.v1.<form>". */
static bool parse_rest(struct kf_media *media, const char *rest, size_t length)
{
    static const char version[] = ".v1.";
    const char *at = memmem(rest, length, version, sizeof(version) - 1);
    const char *form;
    size_t form_length;

    if (!at)
        return false;
    form = at + sizeof(version) - 1;
    form_length = length - (size_t)(form - rest);
    for (size_t i = 0; i < KF_ARRAY_LEN(bases); i++)
        if (bases[i].family == media->family &&
            equals(rest, (size_t)(at - rest), bases[i].text))
            media->base = bases[i].base;
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        if (equals(form, form_length, forms[i].text)) {
            media->pack = forms[i].pack;
            media->compression = forms[i].compression;
        }
    }
    return media->base != KF_BASE_UNKNOWN && media->pack != KF_PACK_UNKNOWN;
}

struct kf_media kf_media_parse_layer(const char *media_type)
{
    size_t length = strcspn(media_type, "; \t");

    for (size_t i = 0; i < KF_ARRAY_LEN(prefixes); i++) {
        size_t prefix = strlen(prefixes[i].prefix);
        struct kf_media media = {.family = prefixes[i].family};

        if (length > prefix && memcmp(media_type, prefixes[i].prefix, prefix) == 0 &&
            parse_rest(&media, media_type + prefix, length - prefix))
            return media;
    }
    return (struct kf_media){0};
}

char *kf_media_format_layer(struct kf_media media, char out[KF_MEDIA_TEXT_SIZE])
{
    const char *prefix = "", *base = "";

    for (size_t i = KF_ARRAY_LEN(prefixes);
         i-- > 0;) /* the first of a family is today's */
        if (prefixes[i].family == media.family)
            prefix = prefixes[i].prefix;
    for (size_t i = 0; i < KF_ARRAY_LEN(bases); i++)
        if (bases[i].family == media.family && bases[i].base == media.base)
            base = bases[i].text;
    assert(*prefix && *base);
    (void)snprintf(out, KF_MEDIA_TEXT_SIZE, "%s%s.v1.%s", prefix, base,
                   kf_media_layer_form(media)); /* fits */
    return out;
}

enum kf_family kf_media_config_family(const char *config_media_type)
{
    size_t length = strcspn(config_media_type, "; \t");

    if (equals(config_media_type, length, KF_MEDIA_MODELKIT_CONFIG))
        return KF_FAMILY_MODELKIT;
    if (equals(config_media_type, length, KF_MEDIA_MODELPACK_CONFIG) ||
        equals(config_media_type, length, "application/vnd.cnai.model.config.v1+json"))
        return KF_FAMILY_MODELPACK;
    return KF_FAMILY_UNKNOWN;
}

enum kf_family kf_media_artifact_family(const char *artifact_type)
{
    size_t length = strcspn(artifact_type, "; \t");

    if (equals(artifact_type, length, KF_MEDIA_MODELKIT_ARTIFACT))
        return KF_FAMILY_MODELKIT;
    if (equals(artifact_type, length, KF_MEDIA_MODELPACK_ARTIFACT) ||
        equals(artifact_type, length, "application/vnd.cnai.model.manifest.v1+json"))
        return KF_FAMILY_MODELPACK;
    return KF_FAMILY_UNKNOWN;
}

const char *kf_base_name(enum kf_base base)
{
    static const char *const names[] = {
        [KF_BASE_UNKNOWN] = "unknown",     [KF_BASE_MODEL] = "model",
        [KF_BASE_MODELPART] = "modelpart", [KF_BASE_CODE] = "code",
        [KF_BASE_DATASET] = "dataset",     [KF_BASE_DOCS] = "docs",
        [KF_BASE_MCPB] = "mcpb",
    };

    return names[base];
}

const char *kf_media_layer_form(struct kf_media media)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++)
        if (forms[i].pack == media.pack && forms[i].compression == media.compression)
            return forms[i].text;
    return "unknown";
}
