#include "oci/manifest.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

static int malformed(struct kf_err *err, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "malformed manifest: %s", what);
}

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a manifest");
}

KF_DEFINE_AUTO(json, json_t *, json_decref)

static json_t *load(const void *json, size_t length, struct kf_err *err)
{
    json_error_t where;
    json_t *root;

    if (kf_json_check_size(json, length, KF_MANIFEST_LIMIT, KF_MANIFEST_VALUE_LIMIT,
                           "manifest", err) != 0)
        return NULL;
    root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        (void)kf_fail(err, KF_E_MALFORMED, "malformed manifest: %s", where.text);
    else if (!json_is_object(root))
        (void)malformed(err, "not an object");
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

/* A string, NULL when absent or null; another type is malformed. */
static int take_string(const json_t *object, const char *key, char **ret,
                       struct kf_err *err)
{
    const json_t *value = json_object_get(object, key);

    *ret = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return kf_fail(err, KF_E_MALFORMED, "malformed manifest: '%s' is not text", key);
    *ret = strdup(json_string_value(value));
    return *ret ? 0 : no_memory(err);
}

static int take_text(const json_t *object, const char *key, char **ret,
                     struct kf_err *err)
{
    if (take_string(object, key, ret, err) != 0)
        return -1;
    if (!*ret)
        *ret = strdup("");
    return *ret ? 0 : no_memory(err);
}

/* A value as text, yours to free; NULL on no memory. */
typedef char *to_text(const json_t *value);

static char *plain_text(const json_t *value)
{
    return strdup(json_string_value(value));
}

static char *any_text(const json_t *value)
{
    if (json_is_string(value))
        return strdup(json_string_value(value));
    return json_is_null(value) ? strdup("")
                               : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT |
                                                       JSON_REAL_PRECISION(15));
}

/* What an object has under `name`: keys and values; absent and null are none. */
static int take_pairs(const json_t *object, const char *name, to_text *text_of,
                      struct kf_annotation **ret, size_t *ret_count, struct kf_err *err)
{
    json_t *pairs = json_object_get(object, name), *value;
    const char *key;
    size_t size = json_object_size(pairs);

    if (!pairs || json_is_null(pairs))
        return 0;
    if (!json_is_object(pairs))
        return kf_fail(err, KF_E_MALFORMED, "malformed manifest: '%s' is not an object",
                       name);
    if (size > KF_MANIFEST_ANNOTATION_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "manifest with more than %u %s",
                       KF_MANIFEST_ANNOTATION_LIMIT, name);
    if (size == 0)
        return 0;
    *ret = calloc(size, sizeof(**ret));
    if (!*ret)
        return no_memory(err);
    json_object_foreach(pairs, key, value)
    {
        /* Counted first, so that a half-made one is freed too. */
        struct kf_annotation *pair = &(*ret)[(*ret_count)++];

        if (text_of == plain_text && !json_is_string(value))
            return kf_fail(err, KF_E_MALFORMED, "malformed manifest: annotation '%s'",
                           key);
        pair->key = strdup(key);
        pair->value = text_of(value);
        if (!pair->key || !pair->value)
            return no_memory(err);
    }
    return 0;
}

static int take_annotations(const json_t *object, struct kf_annotation **ret,
                            size_t *ret_count, struct kf_err *err)
{
    return take_pairs(object, "annotations", plain_text, ret, ret_count, err);
}

static void free_annotations(struct kf_annotation *annotations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(annotations[i].key);
        free(annotations[i].value);
    }
    free(annotations);
}

void kf_desc_fini(struct kf_desc *desc)
{
    free(desc->media_type);
    free(desc->artifact_type);
    free_annotations(desc->annotations, desc->annotation_count);
    free_annotations(desc->labels, desc->label_count);
    memset(desc, 0, sizeof(*desc));
}

/* `desc` is zeroed; on failure the caller frees what is there. */
static int take_desc(struct kf_desc *desc, json_t *object, struct kf_err *err)
{
    const json_t *size = json_object_get(object, "size");
    const json_t *digest = json_object_get(object, "digest");

    if (!json_is_object(object))
        return malformed(err, "a descriptor is not an object");
    if (!json_is_string(digest))
        return malformed(err, "a descriptor without digest");
    if (kf_digest_parse(&desc->digest, json_string_value(digest),
                        json_string_length(digest), err) != 0)
        return kf_fail_wrap(err, "malformed manifest");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return malformed(err, "a descriptor without a valid size");
    desc->size = (uint64_t)json_integer_value(size);
    if (take_text(object, "mediaType", &desc->media_type, err) != 0 ||
        take_string(object, "artifactType", &desc->artifact_type, err) != 0)
        return -1;
    return take_annotations(object, &desc->annotations, &desc->annotation_count, err);
}

/* An array of descriptors; absent and null are none. */
static int take_descs(const json_t *object, const char *key, struct kf_desc **ret,
                      size_t *ret_count, struct kf_err *err)
{
    json_t *array = json_object_get(object, key);
    size_t size = json_array_size(array);

    if (!array || json_is_null(array))
        return 0;
    if (!json_is_array(array))
        return kf_fail(err, KF_E_MALFORMED, "malformed manifest: '%s' is not a list",
                       key);
    if (size > KF_MANIFEST_LAYER_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "manifest with more than %u entries in '%s'",
                       KF_MANIFEST_LAYER_LIMIT, key);
    if (size == 0)
        return 0;
    *ret = calloc(size, sizeof(**ret));
    if (!*ret)
        return no_memory(err);
    *ret_count = size;
    for (size_t i = 0; i < size; i++)
        if (take_desc(&(*ret)[i], json_array_get(array, i), err) != 0)
            return -1;
    return 0;
}

static int check_version(const json_t *root, struct kf_err *err)
{
    const json_t *version = json_object_get(root, "schemaVersion");

    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return malformed(err, "its schemaVersion is not 2");
    return 0;
}

int kf_manifest_kind(const void *json, size_t length, enum kf_manifest_kind *ret,
                     struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = load(json, length, err);

    if (!root)
        return -1;
    if (json_object_get(root, "manifests"))
        *ret = KF_KIND_INDEX;
    else if (json_object_get(root, "config"))
        *ret = KF_KIND_MANIFEST;
    else
        return malformed(err, "neither a manifest nor an index");
    return 0;
}

static int fill_manifest(struct kf_manifest *manifest, json_t *root, struct kf_err *err)
{
    json_t *config = json_object_get(root, "config");

    if (check_version(root, err) != 0)
        return -1;
    if (!config)
        return malformed(err, "no config");
    if (take_text(root, "mediaType", &manifest->media_type, err) != 0 ||
        take_string(root, "artifactType", &manifest->artifact_type, err) != 0 ||
        take_desc(&manifest->config, config, err) != 0 ||
        take_descs(root, "layers", &manifest->layers, &manifest->layer_count, err) != 0)
        return -1;
    return take_annotations(root, &manifest->annotations, &manifest->annotation_count,
                            err);
}

int kf_manifest_parse(struct kf_manifest *ret, const void *json, size_t length,
                      struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = load(json, length, err);
    struct kf_manifest manifest = {0};

    if (!root)
        return -1;
    if (fill_manifest(&manifest, root, err) != 0) {
        kf_manifest_fini(&manifest);
        return -1;
    }
    *ret = manifest;
    return 0;
}

static void free_descs(struct kf_desc *descs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kf_desc_fini(&descs[i]);
    free(descs);
}

void kf_manifest_fini(struct kf_manifest *manifest)
{
    free(manifest->media_type);
    free(manifest->artifact_type);
    kf_desc_fini(&manifest->config);
    free_descs(manifest->layers, manifest->layer_count);
    free_annotations(manifest->annotations, manifest->annotation_count);
    memset(manifest, 0, sizeof(*manifest));
}

static int fill_index(struct kf_index *index, const json_t *root, struct kf_err *err)
{
    const json_t *entries = json_object_get(root, "manifests");

    if (check_version(root, err) != 0 ||
        take_string(root, "artifactType", &index->artifact_type, err) != 0 ||
        take_descs(root, "manifests", &index->entries, &index->entry_count, err) != 0)
        return -1;
    for (size_t i = 0; i < index->entry_count; i++)
        if (take_pairs(json_array_get(entries, i), "modelMetadata", any_text,
                       &index->entries[i].labels, &index->entries[i].label_count,
                       err) != 0)
            return -1;
    return 0;
}

int kf_index_parse(struct kf_index *ret, const void *json, size_t length,
                   struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = load(json, length, err);
    struct kf_index index = {0};

    if (!root)
        return -1;
    if (fill_index(&index, root, err) != 0) {
        kf_index_fini(&index);
        return -1;
    }
    *ret = index;
    return 0;
}

static int set_tag(struct kf_desc *desc, const char *tag, struct kf_err *err)
{
    free_annotations(desc->annotations, desc->annotation_count);
    desc->annotation_count = 0;
    desc->annotations = calloc(1, sizeof(*desc->annotations));
    if (!desc->annotations)
        return no_memory(err);
    desc->annotation_count = 1;
    desc->annotations[0].key = strdup(KF_TAG_ANNOTATION);
    desc->annotations[0].value = strdup(tag);
    return desc->annotations[0].key && desc->annotations[0].value ? 0 : no_memory(err);
}

static int take_tags(struct kf_index *index, json_t *root, struct kf_err *err)
{
    size_t size = json_object_size(root);
    const char *tag;
    json_t *value;

    if (size > KF_MANIFEST_LAYER_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u tags", KF_MANIFEST_LAYER_LIMIT);
    index->entries = calloc(size + 1, sizeof(*index->entries));
    if (!index->entries)
        return no_memory(err);
    json_object_foreach(root, tag, value)
    {
        /* Counted first, so that a half-made one is freed too. */
        struct kf_desc *desc = &index->entries[index->entry_count++];

        if (take_desc(desc, value, err) != 0 || set_tag(desc, tag, err) != 0)
            return -1;
    }
    return 0;
}

int kf_index_parse_tags(struct kf_index *ret, const void *json, size_t length,
                        struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = load(json, length, err);
    struct kf_index index = {0};

    if (!root)
        return -1;
    if (take_tags(&index, root, err) != 0) {
        kf_index_fini(&index);
        return -1;
    }
    *ret = index;
    return 0;
}

const char *kf_desc_tag(const struct kf_desc *desc)
{
    return kf_annotation_get(desc->annotations, desc->annotation_count,
                             KF_TAG_ANNOTATION);
}

void kf_index_fini(struct kf_index *index)
{
    free(index->artifact_type);
    free_descs(index->entries, index->entry_count);
    memset(index, 0, sizeof(*index));
}

const char *kf_annotation_get(const struct kf_annotation *annotations, size_t count,
                              const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(annotations[i].key, key) == 0)
            return annotations[i].value;
    return NULL;
}

static int copy_text(char **ret, const char *text, struct kf_err *err)
{
    if (!text)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : no_memory(err);
}

static int copy_pairs(struct kf_annotation **ret, size_t *ret_count,
                      const struct kf_annotation *from, size_t count, struct kf_err *err)
{
    if (count == 0)
        return 0;
    *ret = calloc(count, sizeof(**ret));
    if (!*ret)
        return no_memory(err);
    *ret_count = count;
    for (size_t i = 0; i < count; i++)
        if (copy_text(&(*ret)[i].key, from[i].key, err) != 0 ||
            copy_text(&(*ret)[i].value, from[i].value, err) != 0)
            return -1;
    return 0;
}

static int copy_into(struct kf_desc *to, const struct kf_desc *from, struct kf_err *err)
{
    to->digest = from->digest;
    to->size = from->size;
    if (copy_text(&to->media_type, from->media_type, err) != 0 ||
        copy_text(&to->artifact_type, from->artifact_type, err) != 0 ||
        copy_pairs(&to->annotations, &to->annotation_count, from->annotations,
                   from->annotation_count, err) != 0)
        return -1;
    return copy_pairs(&to->labels, &to->label_count, from->labels, from->label_count,
                      err);
}

int kf_desc_copy(struct kf_desc *ret, const struct kf_desc *from, struct kf_err *err)
{
    struct kf_desc desc = {0};

    if (copy_into(&desc, from, err) != 0) {
        kf_desc_fini(&desc);
        return -1;
    }
    *ret = desc;
    return 0;
}

static int take_diff_ids(struct kf_digest *ids, const json_t *list, struct kf_err *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        const char *text = json_is_string(value) ? json_string_value(value) : "";

        if (kf_digest_parse(&ids[i], text, strlen(text), err) != 0)
            return kf_fail_wrap(err, "diffId %zu of the config", i);
    }
    return 0;
}

int kf_model_config_diff_ids(struct kf_digest **ret, size_t *ret_count, const void *json,
                             size_t length, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *root = load(json, length, err);
    kf_auto(kf_free) struct kf_digest *ids = NULL;
    const json_t *list;

    if (!root)
        return -1;
    list = json_object_get(json_object_get(root, "modelfs"), "diffIds");
    if (list && !json_is_array(list))
        return kf_fail(err, KF_E_MALFORMED, "diffIds of the config are no list");
    ids = calloc(json_array_size(list) + 1, sizeof(*ids));
    if (!ids)
        return no_memory(err);
    if (take_diff_ids(ids, list, err) != 0)
        return -1;
    *ret_count = json_array_size(list);
    *ret = kf_steal(ids);
    return 0;
}
