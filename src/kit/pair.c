#include "kit/pair.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "kitfile/filter.h"
#include "kitfile/kitfile.h"
#include "kitfile/kitfile_path.h"
#include "layer/table.h"
#include "oci/file_metadata.h"
#include "oci/manifest.h"

#define EQUAL_LIMIT 64u /* layers of equal bytes that are looked through for a path */
#define SUBTYPE_ANNOTATION "ml.kitops.modelkit.layer-subtype"

struct pairing {
    const struct kf_pair_from *from;
    const struct kf_manifest *manifest;
    bool *used; /* by layer: it belongs to an entry, wanted or not */
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

static void log_no_toc(const struct pairing *pairing, const struct kf_pair *pair,
                       const char *why)
{
    char digest[KF_DIGEST_TEXT_SIZE];

    if (pairing->from->is_early)
        return;
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
            log_no_toc(pairing, pair, "a later version of its annotation");
        return 0;
    }
    if (!may_have_toc(pair->media))
        return kf_fail(err, KF_E_MALFORMED, "form '%s' has no table of contents",
                       kf_media_layer_form(pair->media));
    if (!pair->toc.embedded) {
        blob = find_blob(pairing->manifest, &pair->toc.blob);
        if (!blob) {
            log_no_toc(pairing, pair, "the manifest has no such layer");
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
    if (media.pack == KF_PACK_RAW) {
        pair->raw_path = kf_layer_path(desc);
        if (!pair->raw_path)
            return kf_fail(err, KF_E_MALFORMED, "raw layer '%s' (%s) has no file path",
                           digest, kind);
    }
    pairing->count++;
    return 0;
}

static bool is_wanted(const struct pairing *pairing, const struct kf_entry *entry)
{
    return kf_part_holds(pairing->from->part, entry->kind) &&
           kf_filter_wants(pairing->from->filter, entry->kind, entry->name, entry->path);
}

static bool needs_layer(const struct kf_entry *entry)
{
    if (entry->kind == KF_ENTRY_MODEL)
        return entry->path && *entry->path && !kf_entry_reference(entry);
    return !entry->remote_path || !*entry->remote_path;
}

/* ---- by digest ---- */

/* The unused layer of an entry's digest that has its path, else the first one from
 * `expected` on, where kit puts it; layer_count when there is none. However many a
 * stranger makes equal, only some are looked through. */
static size_t find_layer(const struct pairing *pairing, const struct kf_entry *entry,
                         size_t expected)
{
    kf_auto(kf_free) char *clean = kf_path_clean(entry->path ? entry->path : "");
    size_t count = pairing->manifest->layer_count, found = count;
    unsigned equal = 0;

    for (size_t i = 0; i < count && equal < EQUAL_LIMIT; i++) {
        size_t at = (expected + i) % count;
        const struct kf_desc *desc = &pairing->manifest->layers[at];
        const char *path;

        if (pairing->used[at] || !kf_digest_equal(&desc->digest, &entry->digest))
            continue;
        path = kf_layer_path(desc);
        if (!path || !clean || strcmp(path, clean) == 0)
            return at;
        if (equal++ == 0)
            found = at;
    }
    return found;
}

static int no_layer(const struct kf_entry *entry, struct kf_err *err)
{
    const char *path = entry->path ? entry->path : "";
    char text[KF_NAME_TEXT_SIZE];

    return kf_fail(err, KF_E_MALFORMED, "the manifest has no layer for %s '%s'",
                   kf_entry_kind_name(entry->kind),
                   kf_name_text(text, path, strlen(path)));
}

/* `expected` is moved behind the layer. */
static int pair_entry(struct pairing *pairing, const struct kf_entry *entry,
                      size_t *expected, struct kf_err *err)
{
    bool wanted = is_wanted(pairing, entry);
    struct kf_pair *pair;
    size_t layer;

    if (!entry->has_digest)
        return 0;
    layer = find_layer(pairing, entry, *expected);
    if (layer == pairing->manifest->layer_count)
        return wanted ? no_layer(entry, err) : 0;
    pairing->used[layer] = true;
    *expected = layer + 1;
    if (!wanted)
        return 0;
    pair = &pairing->pairs[pairing->count];
    if (add_pair(pairing, layer, kf_entry_kind_name(entry->kind), err) != 0)
        return -1;
    pair->path = entry->path;
    pair->has_diff_id = entry->has_diff_id;
    pair->diff_id = entry->diff_id;
    return 0;
}

static int pair_by_digest(struct pairing *pairing, const struct kf_kitfile *kitfile,
                          struct kf_err *err)
{
    size_t expected = 0;

    for (size_t i = 0; i < kitfile->entry_count; i++)
        if (pair_entry(pairing, &kitfile->entries[i], &expected, err) != 0)
            return -1;
    return 0;
}

/* ---- by kind and order ---- */

/* What a layer of a known type holds. */
static enum kf_entry_kind kind_of(const struct kf_desc *desc, struct kf_media media)
{
    static const enum kf_entry_kind kinds[] = {
        [KF_BASE_MODEL] = KF_ENTRY_MODEL, [KF_BASE_MODELPART] = KF_ENTRY_PART,
        [KF_BASE_CODE] = KF_ENTRY_CODE,   [KF_BASE_DATASET] = KF_ENTRY_DATASET,
        [KF_BASE_DOCS] = KF_ENTRY_DOCS,   [KF_BASE_MCPB] = KF_ENTRY_MCP,
    };
    const char *subtype = annotation(desc, SUBTYPE_ANNOTATION);

    if (media.base == KF_BASE_CODE && subtype && strcmp(subtype, "prompt") == 0)
        return KF_ENTRY_PROMPT;
    return kinds[media.base];
}

/* The next entry of that kind that has a layer, from *next on, which is moved behind it;
 * NULL when there is none. */
static const struct kf_entry *next_entry(const struct kf_kitfile *kitfile,
                                         enum kf_entry_kind kind, size_t *next)
{
    while (*next < kitfile->entry_count) {
        const struct kf_entry *entry = &kitfile->entries[(*next)++];

        if (entry->kind == kind && (kind == KF_ENTRY_MODEL || needs_layer(entry)) &&
            !kf_entry_reference(entry))
            return entry;
    }
    return NULL;
}

static int pair_layer(struct pairing *pairing, size_t layer,
                      const struct kf_kitfile *kitfile, size_t next[KF_ENTRY_MCP + 1],
                      struct kf_err *err)
{
    const struct kf_desc *desc = &pairing->manifest->layers[layer];
    struct kf_media media = kf_media_parse_layer(desc->media_type);
    const struct kf_entry *entry;
    enum kf_entry_kind kind;
    struct kf_pair *pair;

    if (media.family == KF_FAMILY_UNKNOWN)
        return 0;
    kind = kind_of(desc, media);
    entry = next_entry(kitfile, kind, &next[kind]);
    if (!entry && kind == KF_ENTRY_MODEL) /* further weights are parts */
        entry = next_entry(kitfile, KF_ENTRY_PART, &next[KF_ENTRY_PART]);
    if (!entry)
        return kf_fail(err, KF_E_MALFORMED,
                       "the manifest has more layers of kind %s than the Kitfile entries",
                       kf_entry_kind_name(kind));
    pairing->used[layer] = true;
    if (!is_wanted(pairing, entry))
        return 0;
    pair = &pairing->pairs[pairing->count];
    if (add_pair(pairing, layer, kf_entry_kind_name(entry->kind), err) != 0)
        return -1;
    pair->parent_of = entry->path ? entry->path : "";
    return 0;
}

static int pair_by_order(struct pairing *pairing, const struct kf_kitfile *kitfile,
                         struct kf_err *err)
{
    size_t next[KF_ENTRY_MCP + 1] = {0};

    for (size_t i = 0; i < pairing->manifest->layer_count; i++)
        if (pair_layer(pairing, i, kitfile, next, err) != 0)
            return -1;
    for (enum kf_entry_kind kind = KF_ENTRY_MODEL; kind <= KF_ENTRY_MCP; kind++) {
        const struct kf_entry *left = next_entry(kitfile, kind, &next[kind]);

        if (left && needs_layer(left) && is_wanted(pairing, left))
            return no_layer(left, err);
    }
    return 0;
}

static int pair_entries(struct pairing *pairing, const struct kf_kitfile *kitfile,
                        struct kf_err *err)
{
    size_t with = 0, without = 0;

    for (size_t i = 0; i < kitfile->entry_count; i++) {
        const struct kf_entry *entry = &kitfile->entries[i];

        with += entry->has_digest;
        without += !entry->has_digest && needs_layer(entry);
    }
    if (with > 0 && without > 0)
        return kf_fail(err, KF_E_MALFORMED,
                       "only some entries of the Kitfile have the digest of a layer");
    return without > 0 ? pair_by_order(pairing, kitfile, err)
                       : pair_by_digest(pairing, kitfile, err);
}

/* ---- without a Kitfile ---- */

static int take_known_layers(struct pairing *pairing, struct kf_err *err)
{
    const struct kf_filter *filter = pairing->from->filter;
    bool has_model = false;

    for (size_t i = 0; i < pairing->manifest->layer_count; i++) {
        const struct kf_desc *desc = &pairing->manifest->layers[i];
        struct kf_media media = kf_media_parse_layer(desc->media_type);
        enum kf_entry_kind kind;

        if (media.family == KF_FAMILY_UNKNOWN)
            continue;
        kind = kind_of(desc, media);
        if (kind == KF_ENTRY_MODEL && has_model)
            kind = KF_ENTRY_PART;
        has_model = has_model || kind == KF_ENTRY_MODEL;
        pairing->used[i] = true;
        if (!kf_part_holds(pairing->from->part, kind))
            continue;
        if ((pairing->from->is_early
                 ? kf_filter_all(filter, kind)
                 : kf_filter_wants(filter, kind, NULL, kf_layer_path(desc))) &&
            add_pair(pairing, i, kf_entry_kind_name(kind), err) != 0)
            return -1;
    }
    return 0;
}

/* ---- all of it ---- */

/* One line, however many there are. */
static void log_left_out(const struct pairing *pairing)
{
    const struct kf_desc *first = NULL;
    char digest[KF_DIGEST_TEXT_SIZE], type[KF_NAME_TEXT_SIZE];
    size_t count = 0;

    for (size_t i = 0; i < pairing->manifest->layer_count; i++) {
        const struct kf_desc *desc = &pairing->manifest->layers[i];

        if (!pairing->used[i] && strcmp(desc->media_type, KF_MEDIA_TOC) != 0) {
            first = first ? first : desc;
            count++;
        }
    }
    if (first)
        kf_log(KF_LOG_WARN, "kit", "event=layers_left_out count=%zu first=%s type=\"%s\"",
               count, kf_digest_format(&first->digest, digest),
               kf_name_text(type, first->media_type, strlen(first->media_type)));
}

int kf_pair_layers(struct kf_pair **ret, size_t *ret_count,
                   const struct kf_pair_from *from, struct kf_err *err)
{
    const struct kf_manifest *manifest = from->manifest;
    kf_auto(pairing_fini) struct pairing pairing = {
        .from = from,
        .manifest = manifest,
        .used = calloc(manifest->layer_count + 1, sizeof(bool)),
        .pairs = calloc(manifest->layer_count + 1, sizeof(struct kf_pair)),
    };

    if (!pairing.used || !pairing.pairs)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers",
                       manifest->layer_count);
    if ((from->kitfile ? pair_entries(&pairing, from->kitfile, err)
                       : take_known_layers(&pairing, err)))
        return -1;
    if (!from->is_early)
        log_left_out(&pairing);
    *ret_count = pairing.count;
    *ret = kf_steal(pairing.pairs);
    return 0;
}

int kf_pair_prefix(char **ret, const char *folder, const struct kf_pair *pair,
                   struct kf_err *err)
{
    kf_auto(kf_free) char *clean = kf_path_clean(pair->parent_of ? pair->parent_of : "");
    char text[KF_NAME_TEXT_SIZE], *slash;

    if (!clean)
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    if (*clean == '/' || strcmp(clean, "..") == 0 || strncmp(clean, "../", 3) == 0)
        return kf_fail(err, KF_E_MALFORMED, "path '%s' of %s leads out of the kit",
                       kf_name_text(text, clean, strlen(clean)), pair->kind);
    slash = strrchr(clean, '/');
    *(slash ? slash : clean) = '\0';
    if (asprintf(ret, "%s%s%s", folder, *folder && *clean ? "/" : "", clean) < 0) {
        *ret = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    }
    return 0;
}
