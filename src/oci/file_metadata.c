#include "oci/file_metadata.h"

#include <jansson.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/rfc3339.h"
#include "oci/manifest.h"

#define VALUES_LIMIT 1024u
#define DEFAULT_MODE 0644

int kf_raw_file_parse(struct kf_raw_file *ret, const char *json, struct kf_err *err)
{
    struct kf_raw_file file = {.mode = DEFAULT_MODE};
    const json_t *mode, *size;
    const char *mtime;
    json_t *root;

    if (!json) {
        *ret = file;
        return 0;
    }
    if (kf_json_check_size(json, strlen(json), KF_FILE_METADATA_LIMIT, VALUES_LIMIT,
                           "file metadata", err) != 0)
        return -1;
    root = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return kf_fail(err, KF_E_MALFORMED, "malformed file metadata of a layer");
    }
    mode = json_object_get(root, "mode");
    if (json_is_integer(mode))
        file.mode = (uint16_t)(json_integer_value(mode) & 0777);
    size = json_object_get(root, "size");
    file.has_size = json_is_integer(size) && json_integer_value(size) >= 0;
    if (file.has_size)
        file.size = (uint64_t)json_integer_value(size);
    mtime = json_string_value(json_object_get(root, "mtime"));
    if (mtime)
        (void)kf_parse_time(mtime, &file.mtime); /* untouched when it is none */
    json_decref(root);
    *ret = file;
    return 0;
}

static const char *annotation(const struct kf_desc *desc, const char *name,
                              const char *old_name)
{
    const char *value =
        kf_annotation_get(desc->annotations, desc->annotation_count, name);

    return value ? value
                 : kf_annotation_get(desc->annotations, desc->annotation_count, old_name);
}

const char *kf_layer_path(const struct kf_desc *desc)
{
    return annotation(desc, KF_ANNOTATION_FILEPATH, KF_ANNOTATION_OLD_PREFIX "filepath");
}

const char *kf_layer_metadata(const struct kf_desc *desc)
{
    return annotation(desc, KF_ANNOTATION_METADATA,
                      KF_ANNOTATION_OLD_PREFIX "file.metadata+json");
}
