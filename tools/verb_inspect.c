#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/cuts.h"
#include "kit/choose.h"
#include "kit/resolve.h"
#include "kitfile/kitfile.h"
#include "layer/chunk_map.h"
#include "layer/toc.h"
#include "oci/manifest.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define CLI_VERSION "ml.kitops.modelkit.cli-version"
#define KITFILE "ml.kitops.modelkit.kitfile"

/* ---- manifest and config ---- */

static json_t *json_of(const char *bytes, size_t length, const char *what,
                       struct kf_err *err)
{
    json_t *json = json_loadb(bytes, length, 0, NULL);

    if (!json)
        (void)kf_fail(err, KF_E_MALFORMED, "%s is no JSON", what);
    return json;
}

/* What kit calls the kitfile: the config, or a ModelPack's annotation; null without. */
static json_t *kitfile_of(struct kf_origin *origin, const struct kf_resolved *resolved,
                          int64_t timeout_ns, struct kf_err *err)
{
    const struct kf_manifest *manifest = &resolved->manifest;
    const char *text;
    struct kf_buf bytes;
    json_t *json = NULL;

    if (resolved->family == KF_FAMILY_MODELPACK) {
        text =
            kf_annotation_get(manifest->annotations, manifest->annotation_count, KITFILE);
        return text ? json_of(text, strlen(text), "the Kitfile", err) : json_null();
    }
    kf_buf_init(&bytes, KF_KITFILE_LIMIT);
    if (kf_origin_blob_bytes(origin, &manifest->config, timeout_ns, &bytes, err) == 0)
        json = json_of((const char *)bytes.data, bytes.length, "the config", err);
    kf_buf_fini(&bytes);
    return json;
}

static json_t *manifest_of(struct kf_origin *origin, const struct kf_digest *digest,
                           struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest found;
    struct kf_buf bytes;
    json_t *json = NULL;

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    if (kf_origin_manifest(origin, kf_digest_format(digest, text), NULL, &bytes, &found,
                           err) == 0)
        json = json_of((const char *)bytes.data, bytes.length, "the manifest", err);
    kf_buf_fini(&bytes);
    return json;
}

static json_t *describe(struct kf_origin *origin, const struct kf_ref *ref,
                        const struct kf_options *options, struct kf_err *err)
{
    const struct kf_resolve_from from = {.ref = ref,
                                         .origin = origin,
                                         .timeout_ns = options->read_timeout_ns,
                                         .labels = &options->labels};
    struct kf_resolved resolved;
    char digest[KF_DIGEST_TEXT_SIZE];
    json_t *kitfile, *manifest, *root = NULL;
    const char *version;

    if (kf_resolve(&resolved, &from, err) != 0)
        return NULL;
    manifest = manifest_of(origin, &resolved.digest, err);
    kitfile = manifest ? kitfile_of(origin, &resolved, from.timeout_ns, err) : NULL;
    version = kf_annotation_get(resolved.manifest.annotations,
                                resolved.manifest.annotation_count, CLI_VERSION);
    if (kitfile)
        root =
            json_pack("{s:s, s:s, s:O, s:O}", "digest",
                      kf_digest_format(&resolved.digest, digest), "cliVersion",
                      version ? version : "", "kitfile", kitfile, "manifest", manifest);
    json_decref(kitfile);
    json_decref(manifest);
    kf_resolved_fini(&resolved);
    return root;
}

static int print_kit(const struct kf_options *options, struct kf_workq *workq,
                     struct kf_err *err)
{
    struct kf_origin_opts opts;
    kf_auto(kf_free) char *text = kf_ref_with_tag(options->args[0], options->quiet, err);
    struct kf_origin *origin = NULL;
    json_t *root = NULL;
    struct kf_ref ref;

    if (!text || kf_labels_check(&options->labels, err) != 0 ||
        kf_ref_parse(&ref, text, err) != 0)
        return -1;
    kf_origin_from_options(&opts, options);
    opts.workq = workq;
    opts.timeout_ns = options->read_timeout_ns;
    if (kf_origin_open(&origin, &ref, &opts, err) == 0)
        root = describe(origin, &ref, options, err);
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    if (!root)
        return -1;
    kf_print_json(root);
    json_decref(root);
    return 0;
}

/* ---- layers ---- */

static const char *const access_texts[] = {
    [KF_ACCESS_TOC] = "chunks, each checked",
    [KF_ACCESS_FOUND_TOC] = "chunks, each checked by a table without annotation",
    [KF_ACCESS_FRAMES] = "frames, checked when all is local",
    [KF_ACCESS_RANGES] = "ranges, checked when all is local",
    [KF_ACCESS_STREAM] = "streamed once",
};

static void print_layers(struct kf_kit *kit)
{
    printf("%-9s %-9s %11s %9s %9s  %s\n", "KIND", "FORM", "SIZE", "FILES", "CHUNKS",
           "READ BY");
    for (size_t i = 0; i < kf_kit_layer_count(kit); i++) {
        const struct kf_kit_layer *layer = kf_kit_layer(kit, i);
        const struct kf_toc *toc = kf_layer_toc(layer->layer);
        const struct kf_table *table = kf_layer_table(layer->layer);
        bool is_own = strcmp(layer->kit, kf_kit_name(kit)) == 0;
        char size[32], chunks[16] = "-", count[16] = "-";
        uint32_t files = 0;

        for (uint32_t k = 0; k < table->count; k++)
            files += table->entries[k].type == KF_TYPE_FILE;
        if (toc)
            (void)snprintf(chunks, sizeof(chunks), "%" PRIu32,
                           toc->chunk_count); /* fits */
        if (!kf_layer_is_deferred(layer->layer))
            (void)snprintf(count, sizeof(count), "%" PRIu32, files); /* fits */
        printf("%-9s %-9s %11s %9s %9s  %s%s%s\n", layer->kind, layer->form,
               kf_format_size(layer->size, size), count, chunks,
               access_texts[kf_layer_access(layer->layer)], is_own ? "" : ", from ",
               is_own ? "" : layer->kit);
    }
}

/* ---- tables of contents ---- */

static json_t *digest_json(const struct kf_digest *digest)
{
    char text[KF_DIGEST_TEXT_SIZE];

    return json_string(kf_digest_format(digest, text));
}

static json_t *files_json(const struct kf_table *table)
{
    json_t *files = json_array();

    for (uint32_t i = 0; files && i < table->count; i++) {
        const struct kf_table_entry *entry = &table->entries[i];
        size_t length;
        const char *name = kf_table_name(table, i, &length);

        (void)json_array_append_new(
            files,
            json_pack("{s:o, s:s, s:I, s:I, s:i, s:I}", "path",
                      kf_json_name(name, length), "type",
                      entry->type == KF_TYPE_DIR ? "dir" : "file", "offset",
                      (json_int_t)entry->offset, "size", (json_int_t)entry->size, "mode",
                      (int)entry->mode, "mtime", (json_int_t)entry->mtime));
    }
    return files;
}

static json_t *slices_json(const struct kf_toc *toc)
{
    json_t *slices = json_array();

    for (uint32_t i = 0; slices && i < toc->slice_count; i++) {
        const struct kf_toc_slice *slice = &toc->slices[i];
        json_t *item = json_pack(
            "{s:I, s:I, s:b, s:I, s:I}", "firstChunk", (json_int_t)slice->first_chunk,
            "chunkCount", (json_int_t)slice->chunk_count, "inline", (int)slice->is_inline,
            "streamOffset", (json_int_t)slice->stream_offset, "storedOffset",
            (json_int_t)slice->stored_offset);

        if (slice->file != KF_TOC_NO_FILE) {
            (void)json_object_set_new(item, "file", json_integer(slice->file));
            (void)json_object_set_new(item, "contentId", digest_json(&slice->content_id));
        }
        if (!slice->is_inline)
            (void)json_object_set_new(item, "digest", digest_json(&slice->digest));
        (void)json_array_append_new(slices, item);
    }
    return slices;
}

static json_t *chunks_json(const struct kf_chunk_map *map)
{
    json_t *chunks = json_array();
    const uint64_t *offsets = map->cuts->offsets;

    for (uint64_t i = 0; chunks && i < map->cuts->count; i++)
        (void)json_array_append_new(
            chunks,
            json_pack("{s:I, s:I, s:I, s:I, s:o}", "offset", (json_int_t)offsets[i],
                      "length", (json_int_t)(offsets[i + 1] - offsets[i]), "storedOffset",
                      (json_int_t)map->stored_offset[i], "storedLength",
                      (json_int_t)map->stored_length[i], "digest",
                      digest_json(&map->cuts->digests[i])));
    return chunks;
}

static json_t *prefetch_json(const struct kf_toc *toc)
{
    json_t *runs = json_array();

    for (uint32_t i = 0; runs && i < toc->prefetch_count; i++)
        (void)json_array_append_new(
            runs, json_pack("{s:I, s:I}", "firstChunk",
                            (json_int_t)toc->prefetch[i].first_chunk, "count",
                            (json_int_t)toc->prefetch[i].count));
    return runs;
}

static json_t *toc_json(const struct kf_kit_layer *layer, struct kf_err *err)
{
    static const char *const carriers[] = {[KF_CARRIER_TAR_ZSTD] = "tar+zstd",
                                           [KF_CARRIER_TAR] = "tar",
                                           [KF_CARRIER_RAW] = "raw"};
    const struct kf_toc *toc = kf_layer_toc(layer->layer);
    json_t *root = json_pack("{s:s, s:o}", "kind", layer->kind, "layer",
                             digest_json(&layer->digest));
    struct kf_chunk_map map;

    if (!root || !toc)
        return root;
    if (kf_layer_chunks(layer->layer, &map, err) != 0) {
        json_decref(root);
        return NULL;
    }
    (void)json_object_set_new(
        root, "toc",
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:o?, s:o, s:o, s:o, s:o}", "carrier",
                  carriers[toc->carrier], "streamLength", (json_int_t)toc->stream_length,
                  "storedLength", (json_int_t)toc->stored_length, "chunkSize",
                  (json_int_t)toc->chunk_size, "largestChunk",
                  (json_int_t)toc->largest_chunk, "meta",
                  toc->meta ? json_loads(toc->meta, 0, NULL) : NULL, "files",
                  files_json(kf_layer_table(layer->layer)), "slices", slices_json(toc),
                  "prefetch", prefetch_json(toc), "chunks", chunks_json(&map)));
    kf_chunk_map_fini(&map);
    return root;
}

static int print_tocs(struct kf_kit *kit, struct kf_err *err)
{
    json_t *root = json_array();
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < kf_kit_layer_count(kit); i++) {
        json_t *toc = toc_json(kf_kit_layer(kit, i), err);

        rc = toc ? json_array_append_new(root, toc) : -1;
    }
    if (rc == 0)
        kf_print_json(root);
    json_decref(root);
    return rc;
}

int kf_verb_inspect(const struct kf_options *options)
{
    struct kf_opened opened;
    struct kf_err err = {0};
    struct kf_workq *workq;
    int rc;

    if (options->layers || options->whole_toc) {
        rc = kf_opened_open_uncached(&opened, options, &err);
        if (rc == 0 && options->whole_toc)
            rc = print_tocs(opened.kit, &err);
        else if (rc == 0)
            print_layers(opened.kit);
        kf_opened_close(&opened);
    } else {
        workq = kf_workq_new(2, &err);
        rc = workq ? print_kit(options, workq, &err) : -1;
        kf_workq_free(workq);
    }
    return rc == 0 ? 0 : kf_report_ref("inspect", options, &err);
}
