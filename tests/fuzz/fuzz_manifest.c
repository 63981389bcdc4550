/*
 * Manifests and indexes: what is accepted keeps its limits, and a copy of a descriptor
 * is whole.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_desc(const struct kf_desc *desc)
{
    struct kf_desc copy;

    if (!desc->media_type || desc->size > INT64_MAX ||
        desc->annotation_count > KF_MANIFEST_ANNOTATION_LIMIT)
        abort();
    if (kf_desc_copy(&copy, desc, NULL) != 0 || copy.size != desc->size ||
        strcmp(copy.media_type, desc->media_type) != 0)
        abort();
    for (size_t i = 0; i < desc->annotation_count; i++)
        if (!kf_annotation_get(copy.annotations, copy.annotation_count,
                               desc->annotations[i].key))
            abort();
    kf_desc_fini(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum kf_manifest_kind kind;
    struct kf_manifest manifest;
    struct kf_index index;
    struct kf_err err;

    if (kf_manifest_parse(&manifest, data, size, &err) == 0) {
        if (manifest.layer_count > KF_MANIFEST_LAYER_LIMIT ||
            kf_manifest_kind(data, size, &kind, &err) != 0)
            abort();
        check_desc(&manifest.config);
        for (size_t i = 0; i < manifest.layer_count; i++)
            check_desc(&manifest.layers[i]);
        kf_manifest_fini(&manifest);
    }
    if (kf_index_parse(&index, data, size, &err) == 0) {
        if (index.entry_count > KF_MANIFEST_LAYER_LIMIT)
            abort();
        for (size_t i = 0; i < index.entry_count; i++)
            check_desc(&index.entries[i]);
        kf_index_fini(&index);
    }
    if (kf_index_parse_tags(&index, data, size, &err) == 0) {
        if (index.entry_count > KF_MANIFEST_LAYER_LIMIT)
            abort();
        for (size_t i = 0; i < index.entry_count; i++) {
            if (!kf_desc_tag(&index.entries[i]))
                abort();
            check_desc(&index.entries[i]);
        }
        kf_index_fini(&index);
    }
    return 0;
}
