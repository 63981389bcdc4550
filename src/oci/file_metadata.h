/*
 * What a raw layer says about its file: the annotation
 * "org.cncf.model.file.metadata+json" (ModelPack model-spec, specs-go/v1/annotations.go;
 * kit >= 1.15 writes it too). Pure.
 */
#ifndef KF_OCI_FILE_METADATA_H
#define KF_OCI_FILE_METADATA_H

#include <stdbool.h>
#include <stdint.h>

struct kf_desc;
struct kf_err;

#define KF_ANNOTATION_FILEPATH "org.cncf.model.filepath"
#define KF_ANNOTATION_METADATA "org.cncf.model.file.metadata+json"
#define KF_ANNOTATION_OLD_PREFIX "org.cnai.model." /* instead of "org.cncf.model." */
#define KF_FILE_METADATA_LIMIT (64u << 10)

struct kf_raw_file {
    uint16_t mode; /* 0777 at most; 0644 when it is not said */
    int64_t mtime; /* seconds since the epoch; 0 when it is not said */
    bool has_size;
    uint64_t size; /* of the file, unpacked */
};

/* `json` may be NULL: nothing is said. Unknown fields and times that are none are
 * ignored; what is no JSON object is KF_E_MALFORMED. */
int kf_raw_file_parse(struct kf_raw_file *ret, const char *json, struct kf_err *err);

/* Both annotations of a layer, by their old names, too: of model-spec before 0.0.7.
 * Borrowed; NULL when absent. */
const char *kf_layer_path(const struct kf_desc *desc);
const char *kf_layer_metadata(const struct kf_desc *desc);

#endif
