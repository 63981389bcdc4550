#include "oci/index_write.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/manifest.h"
#include "oci/media.h"

KF_DEFINE_AUTO(json, json_t *, json_decref)

static int no_memory(const char *name, struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for '%s'", name);
}

/* NULL without a failure: the file is not there. */
static int load(int dirfd, const char *name, json_t **ret, struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf bytes;
    struct kf_err why = {0};

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    if (kf_load_file(dirfd, name, &bytes, &why) != 0) {
        *ret = NULL;
        if (why.kind == KF_E_NOTFOUND)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    *ret = json_loadb(bytes.data ? (const char *)bytes.data : "", bytes.length,
                      JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(*ret)
               ? 0
               : kf_fail(err, KF_E_MALFORMED, "'%s' is not a JSON object", name);
}

static int save(int dirfd, const char *name, const json_t *root, struct kf_err *err)
{
    kf_auto(kf_free) char *text = json_dumps(root, JSON_COMPACT);

    if (!text)
        return no_memory(name, err);
    if (strlen(text) > KF_MANIFEST_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "'%s' would be over the limit of %u bytes", name,
                       KF_MANIFEST_LIMIT);
    return kf_save_file(dirfd, name, text, strlen(text), 0644, err);
}

static json_t *descriptor(const struct kf_index_entry *entry, const char *tag)
{
    char text[KF_DIGEST_TEXT_SIZE];
    json_t *annotations = tag ? json_pack("{s:s}", KF_TAG_ANNOTATION, tag) : NULL;

    if (tag && !annotations)
        return NULL;
    return json_pack("{s:s, s:s, s:I, s:s*, s:o*}", "mediaType",
                     entry->media_type ? entry->media_type : KF_MEDIA_OCI_MANIFEST,
                     "digest", kf_digest_format(entry->digest, text), "size",
                     (json_int_t)entry->size, "artifactType", entry->artifact_type,
                     "annotations", annotations);
}

static bool has_text(const json_t *object, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text && strcmp(text, wanted) == 0;
}

static bool lists(const json_t *entries, const char *digest)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(entries, i,
                       entry) if (has_text(entry, "digest", digest)) return true;
    return false;
}

/* Whichever has the tag, and this digest without a tag. */
static void remove_old(json_t *entries, const char *digest, const char *tag)
{
    for (size_t i = json_array_size(entries); i-- > 0;) {
        const json_t *entry = json_array_get(entries, i);
        const json_t *annotations = json_object_get(entry, "annotations");

        if (json_object_get(annotations, KF_TAG_ANNOTATION)
                ? has_text(annotations, KF_TAG_ANNOTATION, tag)
                : has_text(entry, "digest", digest))
            (void)json_array_remove(entries, i); /* it is in range */
    }
}

int kf_index_add(int dirfd, const char *name, const struct kf_index_entry *entry,
                 const char *tag, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *index = NULL;
    char digest[KF_DIGEST_TEXT_SIZE];
    json_t *entries;

    (void)kf_digest_format(entry->digest, digest);
    if (load(dirfd, name, &index, err) != 0)
        return -1;
    if (!index)
        index = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
                          KF_MEDIA_OCI_INDEX, "manifests");
    if (!index)
        return no_memory(name, err);
    entries = json_object_get(index, "manifests");
    if (!json_is_array(entries))
        return kf_fail(err, KF_E_MALFORMED, "'%s' is not an image index", name);
    if (!tag && lists(entries, digest))
        return 0;
    if (tag)
        remove_old(entries, digest, tag);
    if (json_array_append_new(entries, descriptor(entry, tag)) != 0)
        return no_memory(name, err);
    return save(dirfd, name, index, err);
}

int kf_index_set_tag(int dirfd, const char *name, const struct kf_index_entry *entry,
                     const char *tag, struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *tags = NULL;

    if (load(dirfd, name, &tags, err) != 0)
        return -1;
    if (!tags)
        tags = json_object();
    if (!tags || json_object_set_new(tags, tag, descriptor(entry, NULL)) != 0)
        return no_memory(name, err);
    return save(dirfd, name, tags, err);
}
