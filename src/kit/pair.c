#include "kit/pair.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "kitfile/kitfile.h"
#include "layer/table.h"
#include "oci/file_metadata.h"
#include "oci/manifest.h"

struct pairing {
    const struct kf_manifest *manifest;
    enum kf_part part;
    bool *used;  /* by layer: it belongs to an entry, whether that counts or not */
    size_t next; /* layer, as kit writes them in the order of entries */
    struct kf_pair *pairs;
    size_t count;
};

static void pairing_fini(struct pairing *pairing)
{
    free(pairing->used);
    free(pairing->pairs);
}

static const char *annotation(const struct kf_desc *desc, const char *key)
{
    return kf_annotation_get(desc->annotations, desc->annotation_count, key);
}

static const struct kf_desc *find_blob(const struct kf_manifest *manifest,
                                       const struct kf_digest *digest)
{
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (kf_digest_equal(&manifest->layers[i].digest, digest))
            return &manifest->layers[i];
    return NULL;
}

static void log_no_toc(const struct kf_pair *pair, const char *why)
{
    char digest[KF_DIGEST_TEXT_SIZE];

    kf_log(KF_LOG_WARN, "kit", "event=toc_left_out layer=%s why=\"%s\"",
           kf_digest_format(&pair->desc->digest, digest), why);
}

/* Whether layers of that form can have one. */
static bool may_have_toc(struct kf_media media)
{
    return media.compression == KF_COMPRESSION_NONE ||
           (media.compression == KF_COMPRESSION_ZSTD && media.pack == KF_PACK_TAR);
}

/* docs/formats/layer.md, sections 5 and 7 (rules 3 and 7). */
static int take_toc(const struct pairing *pairing, struct kf_pair *pair,
                    struct kf_err *err)
{
    const char *text = annotation(pair->desc, KF_TOC_ANNOTATION);
    const struct kf_desc *blob = pair->desc;
    int rc = text ? kf_toc_link_parse(&pair->toc, text, err) : 1;

    if (rc < 0)
        return -1;
    if (rc > 0) {
        if (text)
            log_no_toc(pair, "a later version of its annotation");
        return 0;
    }
    if (!may_have_toc(pair->media))
        return kf_fail(err, KF_E_MALFORMED, "form '%s' has no table of contents",
                       kf_media_layer_form(pair->media));
    if (!pair->toc.embedded) {
        blob = find_blob(pairing->manifest, &pair->toc.blob);
        if (!blob) {
            log_no_toc(pair, "the manifest has no such layer");
            return 0;
        }
        pair->toc_desc = blob;
    }
    if (pair->toc.area_offset > blob->size ||
        pair->toc.area_length > blob->size - pair->toc.area_offset)
        return kf_fail(err, KF_E_MALFORMED,
                       "its table of contents lies beyond the end of its blob");
    pair->has_toc = true;
    return 0;
}

static int add_pair(struct pairing *pairing, size_t layer, const char *kind,
                    struct kf_err *err)
{
    const struct kf_desc *desc = &pairing->manifest->layers[layer];
    struct kf_media media = kf_media_parse_layer(desc->media_type);
    char digest[KF_DIGEST_TEXT_SIZE], type[KF_NAME_TEXT_SIZE];
    struct kf_pair *pair;

    (void)kf_digest_format(&desc->digest, digest);
    if (media.family == KF_FAMILY_UNKNOWN)
        return kf_fail(err, KF_E_UNSUPPORTED, "layer '%s' has the unknown type '%s'",
                       digest,
                       kf_name_text(type, desc->media_type, strlen(desc->media_type)));
    pair = &pairing->pairs[pairing->count];
    *pair = (struct kf_pair){.desc = desc, .media = media, .kind = kind};
    if (take_toc(pairing, pair, err) != 0)
        return kf_fail_wrap(err, "layer '%s' (%s)", digest, kind);
    if (media.compression != KF_COMPRESSION_NONE && !pair->has_toc)
        return kf_fail(err, KF_E_UNSUPPORTED,
                       "layer '%s' (%s): form '%s' without a table of contents is not "
                       "supported yet",
                       digest, kind, kf_media_layer_form(media));
    if (media.pack == KF_PACK_RAW) {
        pair->raw_path = annotation(desc, KF_ANNOTATION_FILEPATH);
        if (!pair->raw_path)
            return kf_fail(err, KF_E_MALFORMED, "raw layer '%s' (%s) has no file path",
                           digest, kind);
    }
    pairing->count++;
    return 0;
}

/* The first unused layer of that digest, looked for from `expected` on, where kit puts
 * it; layer_count when there is none. */
static size_t find_layer(const struct pairing *pairing, const struct kf_digest *digest,
                         size_t expected)
{
    size_t count = pairing->manifest->layer_count;

    for (size_t i = 0; i < count; i++) {
        size_t at = (expected + i) % count;

        if (!pairing->used[at] &&
            kf_digest_equal(&pairing->manifest->layers[at].digest, digest))
            return at;
    }
    return count;
}

static int pair_entry(struct pairing *pairing, const struct kf_entry *entry,
                      struct kf_err *err)
{
    const char *kind = kf_entry_kind_name(entry->kind);
    const char *path = entry->path ? entry->path : "";
    char text[KF_NAME_TEXT_SIZE];
    size_t layer;

    if (!entry->has_digest)
        return 0;
    layer = find_layer(pairing, &entry->digest, pairing->next);
    if (layer == pairing->manifest->layer_count)
        return kf_fail(err, KF_E_MALFORMED, "the manifest has no layer for %s '%s'", kind,
                       kf_name_text(text, path, strlen(path)));
    pairing->used[layer] = true;
    pairing->next = layer + 1;
    if (!kf_part_holds(pairing->part, entry->kind))
        return 0;
    if (add_pair(pairing, layer, kind, err) != 0)
        return -1;
    pairing->pairs[pairing->count - 1].has_diff_id = entry->has_diff_id;
    pairing->pairs[pairing->count - 1].diff_id = entry->diff_id;
    return 0;
}

static int pair_entries(struct pairing *pairing, const struct kf_kitfile *kitfile,
                        struct kf_err *err)
{
    bool has_digests = false;

    for (size_t i = 0; i < kitfile->entry_count; i++) {
        has_digests |= kitfile->entries[i].has_digest;
        if (pair_entry(pairing, &kitfile->entries[i], err) != 0)
            return -1;
    }
    /* Before kit 0.5 the config had no digests. */
    if (!has_digests && pairing->manifest->layer_count > 0 && kitfile->entry_count > 0)
        return kf_fail(
            err, KF_E_UNSUPPORTED,
            "the config names no layer digests (kit before 0.5): not supported "
            "yet");
    return 0;
}

static bool holds_base(enum kf_part part, enum kf_base base)
{
    static const enum kf_entry_kind kinds[] = {
        [KF_BASE_MODEL] = KF_ENTRY_MODEL, [KF_BASE_MODELPART] = KF_ENTRY_PART,
        [KF_BASE_CODE] = KF_ENTRY_CODE,   [KF_BASE_DATASET] = KF_ENTRY_DATASET,
        [KF_BASE_DOCS] = KF_ENTRY_DOCS,   [KF_BASE_MCPB] = KF_ENTRY_MCP,
    };

    return kf_part_holds(part, kinds[base]);
}

static int take_known_layers(struct pairing *pairing, struct kf_err *err)
{
    for (size_t i = 0; i < pairing->manifest->layer_count; i++) {
        struct kf_media media =
            kf_media_parse_layer(pairing->manifest->layers[i].media_type);

        pairing->used[i] = media.family != KF_FAMILY_UNKNOWN;
        if (pairing->used[i] && holds_base(pairing->part, media.base) &&
            add_pair(pairing, i, kf_base_name(media.base), err) != 0)
            return -1;
    }
    return 0;
}

static void log_unused(const struct pairing *pairing)
{
    for (size_t i = 0; i < pairing->manifest->layer_count; i++) {
        const struct kf_desc *desc = &pairing->manifest->layers[i];
        char digest[KF_DIGEST_TEXT_SIZE], type[KF_NAME_TEXT_SIZE];

        if (!pairing->used[i] && strcmp(desc->media_type, KF_MEDIA_TOC) != 0)
            kf_log(KF_LOG_WARN, "kit", "event=layer_left_out layer=%s type=\"%s\"",
                   kf_digest_format(&desc->digest, digest),
                   kf_name_text(type, desc->media_type, strlen(desc->media_type)));
    }
}

int kf_pair_layers(struct kf_pair **ret, size_t *ret_count,
                   const struct kf_manifest *manifest, const struct kf_kitfile *kitfile,
                   enum kf_part part, struct kf_err *err)
{
    kf_auto(pairing_fini) struct pairing pairing = {
        .manifest = manifest,
        .part = part,
        .used = calloc(manifest->layer_count + 1, sizeof(bool)),
        .pairs = calloc(manifest->layer_count + 1, sizeof(struct kf_pair)),
    };

    if (!pairing.used || !pairing.pairs)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers",
                       manifest->layer_count);
    if ((kitfile ? pair_entries(&pairing, kitfile, err)
                 : take_known_layers(&pairing, err)))
        return -1;
    log_unused(&pairing);
    *ret_count = pairing.count;
    *ret = kf_steal(pairing.pairs);
    return 0;
}
