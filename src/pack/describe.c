#include "pack/packing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/dest.h"
#include "oci/media.h"

#define EPOCH "1970-01-01T00:00:00Z"
#define TYPEFLAG_FILE 48 /* '0', as kit >= 1.15 writes it */

static const struct {
    enum kf_base base;
    const char *kind;
} kinds[] = {
    [KF_ENTRY_MODEL] = {KF_BASE_MODEL, "model"},
    [KF_ENTRY_PART] = {KF_BASE_MODELPART, "part"},
    [KF_ENTRY_CODE] = {KF_BASE_CODE, "code"},
    [KF_ENTRY_DATASET] = {KF_BASE_DATASET, "dataset"},
    [KF_ENTRY_DOCS] = {KF_BASE_DOCS, "docs"},
    [KF_ENTRY_PROMPT] = {KF_BASE_CODE, "prompt"},
    [KF_ENTRY_MCP] = {KF_BASE_MCPB, "MCP server"},
};

const char *kf_packing_kind(enum kf_entry_kind kind)
{
    return kinds[kind].kind;
}

/* What a raw blob does not say about its file, as kit writes it. */
static int describe_raw(const struct kf_packing *packing,
                        const struct kf_packing_layer *layer, struct kf_out_layer *out,
                        struct kf_err *err)
{
    const struct kf_pack_entry *file = &layer->scan.entries[layer->scan.count - 1];
    const char *slash = strrchr(file->name, '/');
    struct kf_file_metadata metadata = {
        .name = slash ? slash + 1 : file->name,
        .mode = file->is_executable ? 0755 : 0644,
        .size = file->size,
        .mtime = packing->created[0] ? packing->created : EPOCH,
        .typeflag = TYPEFLAG_FILE,
    };

    out->metadata = kf_out_metadata(&metadata, err);
    return out->metadata ? 0 : -1;
}

static int describe(const struct kf_packing *packing,
                    const struct kf_packing_layer *layer, struct kf_out_layer *out,
                    struct kf_err *err)
{
    const struct kf_plan_entry *entry = &packing->plan.entries[layer->entry];
    struct kf_media media = {
        .family = packing->opts->model_pack ? KF_FAMILY_MODELPACK : KF_FAMILY_MODELKIT,
        .base = kinds[entry->kind].base,
        .pack = layer->carrier == KF_CARRIER_RAW ? KF_PACK_RAW : KF_PACK_TAR,
        .compression = layer->carrier == KF_CARRIER_TAR_ZSTD ? KF_COMPRESSION_ZSTD
                                                             : KF_COMPRESSION_NONE,
    };

    *out = (struct kf_out_layer){.digest = layer->written.digest,
                                 .diff_id = layer->written.diff_id,
                                 .size = layer->written.size,
                                 .filepath = strdup(entry->clean),
                                 .is_prompt = entry->kind == KF_ENTRY_PROMPT};
    (void)kf_media_format_layer(media, out->media_type);
    if (!out->filepath)
        return kf_fail(err, KF_E_NOMEM, "no memory for packing");
    return layer->carrier == KF_CARRIER_RAW ? describe_raw(packing, layer, out, err) : 0;
}

static int link_toc(const struct kf_toc_link *link, struct kf_out_layer *out,
                    struct kf_err *err)
{
    struct kf_buf text;
    int rc;

    kf_buf_init(&text, 512);
    rc = kf_toc_link_format(link, &text, err);
    if (rc == 0)
        out->toc = (char *)kf_buf_take(&text, NULL);
    kf_buf_fini(&text);
    return rc;
}

/* The TOCs of all layers that cannot carry their own, one after the other. */
static int put_toc_layer(struct kf_packing *packing, struct kf_digest *ret,
                         struct kf_err *err)
{
    struct kf_out_layer *out = &packing->out[packing->layer_count];
    struct kf_hasher *hasher = kf_hasher_new(err);
    struct kf_dest_blob *blob = hasher ? kf_dest_begin(packing->dest, err) : NULL;
    int rc = blob ? 0 : -1;

    for (size_t i = 0; rc == 0 && i < packing->layer_count; i++) {
        struct kf_written *written = &packing->layers[i].written;

        if (!written->area)
            continue;
        written->link.area_offset = out->size;
        rc = kf_hasher_update(hasher, written->area->data, written->area->length, err);
        if (rc == 0)
            rc = kf_dest_write(blob, written->area->data, written->area->length, err);
        out->size += written->area->length;
    }
    if (rc == 0)
        rc = kf_hasher_finish(hasher, ret, err);
    kf_hasher_free(hasher);
    if (rc != 0) {
        kf_dest_abandon(blob);
        return kf_fail_wrap(err, "layer of the tables of contents");
    }
    out->digest = out->diff_id = *ret;
    (void)snprintf(out->media_type, sizeof(out->media_type), "%s", KF_MEDIA_TOC);
    packing->out_count++;
    return kf_dest_commit(blob, ret, err);
}

int kf_packing_describe(struct kf_packing *packing, struct kf_err *err)
{
    struct kf_digest toc = {0};
    bool toc_layer = false;

    for (size_t i = 0; i < packing->layer_count; i++) {
        packing->out_count = i + 1;
        if (describe(packing, &packing->layers[i], &packing->out[i], err) != 0)
            return -1;
        toc_layer |= packing->layers[i].written.area != NULL;
    }
    if (toc_layer && put_toc_layer(packing, &toc, err) != 0)
        return -1;
    for (size_t i = 0; i < packing->layer_count; i++) {
        struct kf_written *written = &packing->layers[i].written;

        if (!written->has_toc)
            continue;
        if (!written->link.embedded)
            written->link.blob = toc;
        if (link_toc(&written->link, &packing->out[i], err) != 0)
            return -1;
    }
    return 0;
}
