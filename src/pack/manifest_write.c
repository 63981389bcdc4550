#include "pack/manifest_write.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kitfile/value.h"
#include "oci/media.h"

#define METADATA_LIMIT ((size_t)16 << 10)

/* Appends to a map; a NULL value adds nothing. */
static int put_text(struct kf_value *map, const char *key, const char *value,
                    struct kf_err *err)
{
    struct kf_value *item;

    if (!value)
        return 0;
    item = kf_value_append(map, key, err);
    return item ? kf_value_set_text(item, value, strlen(value), err) : -1;
}

static int put_size(struct kf_value *map, const char *key, uint64_t size,
                    struct kf_err *err)
{
    struct kf_value *item = kf_value_append(map, key, err);

    return item ? kf_value_set_number(item, size, err) : -1;
}

static struct kf_value *put_new(struct kf_value *map, const char *key,
                                enum kf_value_kind kind, struct kf_err *err)
{
    struct kf_value *item = kf_value_append(map, key, err);

    if (item)
        item->kind = kind;
    return item;
}

static int put_desc(struct kf_value *map, const char *media_type,
                    const struct kf_digest *digest, uint64_t size, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];

    if (put_text(map, "mediaType", media_type, err) != 0 ||
        put_text(map, "digest", kf_digest_format(digest, text), err) != 0)
        return -1;
    return put_size(map, "size", size, err);
}

static int put_layer_annotations(struct kf_value *map, const struct kf_out_layer *layer,
                                 struct kf_err *err)
{
    struct kf_value *annotations;

    if (!layer->is_prompt && !layer->metadata && !layer->filepath && !layer->toc)
        return 0;
    annotations = put_new(map, "annotations", KF_VALUE_MAP, err);
    if (!annotations ||
        put_text(annotations, "ml.kitops.modelkit.layer-subtype",
                 layer->is_prompt ? "prompt" : NULL, err) != 0 ||
        put_text(annotations, "org.cncf.model.file.metadata+json", layer->metadata,
                 err) != 0 ||
        put_text(annotations, "org.cncf.model.filepath", layer->filepath, err) != 0)
        return -1;
    return put_text(annotations, "org.kitfs.toc", layer->toc, err);
}

static int put_layers(struct kf_value *root, const struct kf_out_manifest *manifest,
                      struct kf_err *err)
{
    struct kf_value *layers = put_new(root, "layers", KF_VALUE_LIST, err);

    if (!layers)
        return -1;
    for (size_t i = 0; i < manifest->layer_count; i++) {
        const struct kf_out_layer *layer = &manifest->layers[i];
        struct kf_value *item = put_new(layers, NULL, KF_VALUE_MAP, err);

        if (!item ||
            put_desc(item, layer->media_type, &layer->digest, layer->size, err) != 0 ||
            put_layer_annotations(item, layer, err) != 0)
            return -1;
    }
    return 0;
}

int kf_out_annotation_check(const char *annotation, struct kf_err *err)
{
    const char *equals = strchr(annotation, '=');

    if (equals && equals != annotation)
        return 0;
    return kf_fail(err, KF_E_ARG, "annotation '%s' is not KEY=VALUE", annotation);
}

/* Over one of the same key. */
static int put_pair(struct kf_value *map, const char *pair, struct kf_err *err)
{
    size_t length = strcspn(pair, "=");
    kf_auto(kf_free) char *key = NULL;
    struct kf_value *item;

    if (kf_out_annotation_check(pair, err) != 0)
        return -1;
    key = strndup(pair, length);
    if (!key)
        return kf_fail(err, KF_E_NOMEM, "no memory for a manifest");
    item = kf_value_get(map, key);
    if (!item)
        item = kf_value_append(map, key, err);
    pair += length + 1;
    return item ? kf_value_set_text(item, pair, strlen(pair), err) : -1;
}

static int put_annotations(struct kf_value *root, const struct kf_out_manifest *manifest,
                           struct kf_err *err)
{
    struct kf_value *map = put_new(root, "annotations", KF_VALUE_MAP, err);

    if (!map ||
        put_text(map, "ml.kitops.modelkit.cli-version", manifest->version, err) != 0 ||
        put_text(map, "ml.kitops.modelkit.kitfile", manifest->kitfile, err) != 0 ||
        put_text(map, "org.opencontainers.image.created", manifest->created, err) != 0)
        return -1;
    for (size_t i = 0; i < manifest->annotation_count; i++)
        if (put_pair(map, manifest->annotations[i], err) != 0)
            return -1;
    return kf_value_sort(map, err);
}

static int fill_manifest(struct kf_value *root, const struct kf_out_manifest *manifest,
                         struct kf_err *err)
{
    struct kf_value *config;

    root->kind = KF_VALUE_MAP;
    if (put_size(root, "schemaVersion", 2, err) != 0 ||
        put_text(root, "mediaType", KF_MEDIA_OCI_MANIFEST, err) != 0 ||
        put_text(root, "artifactType",
                 manifest->model_pack ? KF_MEDIA_MODELPACK_ARTIFACT
                                      : KF_MEDIA_MODELKIT_ARTIFACT,
                 err) != 0)
        return -1;
    config = put_new(root, "config", KF_VALUE_MAP, err);
    if (!config ||
        put_desc(config,
                 manifest->model_pack ? KF_MEDIA_MODELPACK_CONFIG
                                      : KF_MEDIA_MODELKIT_CONFIG,
                 &manifest->config_digest, manifest->config_size, err) != 0 ||
        put_layers(root, manifest, err) != 0)
        return -1;
    return put_annotations(root, manifest, err);
}

int kf_out_manifest(const struct kf_out_manifest *manifest, struct kf_buf *ret,
                    struct kf_err *err)
{
    struct kf_value root = {0};
    int rc = fill_manifest(&root, manifest, err);

    if (rc == 0)
        rc = kf_value_to_json(&root, ret, err);
    kf_value_fini(&root);
    return rc;
}

/* --- metadata of a raw layer --- */

static int fill_metadata(struct kf_value *map, const struct kf_file_metadata *metadata,
                         struct kf_err *err)
{
    map->kind = KF_VALUE_MAP;
    if (put_text(map, "name", metadata->name, err) != 0 ||
        put_size(map, "mode", metadata->mode, err) != 0 ||
        put_size(map, "uid", 0, err) != 0 || put_size(map, "gid", 0, err) != 0 ||
        put_size(map, "size", metadata->size, err) != 0 ||
        put_text(map, "mtime", metadata->mtime, err) != 0)
        return -1;
    return put_size(map, "typeflag", metadata->typeflag, err);
}

char *kf_out_metadata(const struct kf_file_metadata *metadata, struct kf_err *err)
{
    kf_auto(kf_value_fini) struct kf_value map = {0};
    kf_auto(kf_buf_fini) struct kf_buf buf;

    kf_buf_init(&buf, METADATA_LIMIT);
    if (fill_metadata(&map, metadata, err) != 0 || kf_value_to_json(&map, &buf, err) != 0)
        return NULL;
    return (char *)kf_buf_take(&buf, NULL);
}

/* --- ModelPack's config --- */

static int copy_texts(struct kf_value *map, const char *key, const struct kf_value *list,
                      struct kf_err *err)
{
    struct kf_value *to;

    if (!list || list->count == 0)
        return 0;
    to = put_new(map, key, KF_VALUE_LIST, err);
    for (size_t i = 0; to && i < list->count; i++)
        if (put_text(to, NULL, kf_value_text(&list->items[i]), err) != 0)
            return -1;
    return to ? 0 : -1;
}

/* Into a map, since its keys are each there once and can be sorted. */
static int collect_license(struct kf_value *licenses, const struct kf_value *owner,
                           struct kf_err *err)
{
    const char *text = kf_value_text(kf_value_get(owner, "license"));

    if (!text || kf_value_get(licenses, text))
        return 0;
    return kf_value_append(licenses, text, err) ? 0 : -1;
}

static int collect_licenses(struct kf_value *licenses, const struct kf_value *root,
                            struct kf_err *err)
{
    const struct kf_value *model = kf_value_get(root, "model");
    const struct kf_value *lists[] = {kf_value_get(model, "parts"),
                                      kf_value_get(root, "datasets"),
                                      kf_value_get(root, "code")};

    if (collect_license(licenses, kf_value_get(root, "package"), err) != 0 ||
        collect_license(licenses, model, err) != 0)
        return -1;
    for (size_t i = 0; i < KF_ARRAY_LEN(lists); i++)
        for (size_t k = 0; lists[i] && k < lists[i]->count; k++)
            if (collect_license(licenses, &lists[i]->items[k], err) != 0)
                return -1;
    return kf_value_sort(licenses, err);
}

static int put_licenses(struct kf_value *map, const struct kf_value *root,
                        struct kf_err *err)
{
    kf_auto(kf_value_fini) struct kf_value licenses = {.kind = KF_VALUE_MAP};
    struct kf_value *list;

    if (collect_licenses(&licenses, root, err) != 0)
        return -1;
    if (licenses.count == 0)
        return 0;
    list = put_new(map, "licenses", KF_VALUE_LIST, err);
    for (size_t i = 0; list && i < licenses.count; i++)
        if (put_text(list, NULL, licenses.keys[i], err) != 0)
            return -1;
    return list ? 0 : -1;
}

static const char *text_of(const struct kf_value *map, const char *key)
{
    return kf_value_text(kf_value_get(map, key));
}

static int fill_model_config(struct kf_value *root, const struct kf_kitfile_plan *plan,
                             const struct kf_out_layer *layers, size_t layer_count,
                             const char *created, struct kf_err *err)
{
    const struct kf_value *package = kf_value_get(&plan->root, "package");
    struct kf_value *part, *ids;
    char text[KF_DIGEST_TEXT_SIZE];

    root->kind = KF_VALUE_MAP;
    part = put_new(root, "descriptor", KF_VALUE_MAP, err);
    if (!part || put_text(part, "createdAt", created, err) != 0 ||
        copy_texts(part, "authors", kf_value_get(package, "authors"), err) != 0 ||
        put_text(part, "name", text_of(package, "name"), err) != 0 ||
        put_text(part, "version", text_of(package, "version"), err) != 0 ||
        put_licenses(part, &plan->root, err) != 0 ||
        put_text(part, "title", text_of(package, "name"), err) != 0 ||
        put_text(part, "description", text_of(package, "description"), err) != 0)
        return -1;
    part = put_new(root, "modelfs", KF_VALUE_MAP, err);
    if (!part || put_text(part, "type", "layers", err) != 0)
        return -1;
    ids = put_new(part, "diffIds", KF_VALUE_LIST, err);
    for (size_t i = 0; ids && i < layer_count; i++)
        if (put_text(ids, NULL, kf_digest_format(&layers[i].diff_id, text), err) != 0)
            return -1;
    part = ids ? put_new(root, "config", KF_VALUE_MAP, err) : NULL;
    return part ? put_text(part, "format",
                           text_of(kf_value_get(&plan->root, "model"), "format"), err)
                : -1;
}

int kf_out_model_config(const struct kf_kitfile_plan *plan,
                        const struct kf_out_layer *layers, size_t layer_count,
                        const char *created, struct kf_buf *ret, struct kf_err *err)
{
    struct kf_value root = {0};
    int rc = fill_model_config(&root, plan, layers, layer_count, created, err);

    if (rc == 0)
        rc = kf_value_to_json(&root, ret, err);
    kf_value_fini(&root);
    return rc;
}

/* Ends with the last second that RFC 3339 can write. */
int kf_out_created(char out[KF_OUT_TIME_SIZE], bool *ret_set, struct kf_err *err)
{
    static const char last[] = "253402300799";
    const char *text = getenv("SOURCE_DATE_EPOCH");
    size_t length = text ? strlen(text) : 0;
    struct tm when;
    time_t stamp;

    *ret_set = false;
    if (length == 0)
        return 0;
    if (strspn(text, "0123456789") != length || length > sizeof(last) - 1 ||
        (length == sizeof(last) - 1 && strcmp(text, last) > 0))
        return kf_fail(err, KF_E_ARG, "SOURCE_DATE_EPOCH '%s' is no time", text);
    stamp = (time_t)strtoll(text, NULL, 10);
    if (!gmtime_r(&stamp, &when) ||
        strftime(out, KF_OUT_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &when) == 0)
        return kf_fail(err, KF_E_ARG, "SOURCE_DATE_EPOCH '%s' is no time", text);
    *ret_set = true;
    return 0;
}
