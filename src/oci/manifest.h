/*
 * Descriptors, image manifests and image indexes from JSON (OCI image spec 1.1,
 * manifest.md, image-index.md, descriptor.md). Pure; owned results; any thread.
 *
 * Limits: 4 MiB of JSON, nesting of 2048 (jansson's), 16,384 layers or index entries,
 * 4096 annotations or labels of one thing, and 1,048,576 of the bytes '{', '[' and ','
 * together: each may be a value that costs 30 to 230 bytes of memory. A size is a
 * non-negative integer below 2^63. A missing `mediaType` is allowed (kit <= 1.14 writes
 * none),
 * `"layers": null` is no layers. Duplicate JSON keys are KF_E_MALFORMED.
 *
 * Labels of an index entry may have any JSON value. Here they are text, as `kit index
 * info` shows them: strings without quotes, null as nothing, the rest as compact JSON.
 */
#ifndef KF_OCI_MANIFEST_H
#define KF_OCI_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_err;

#define KF_MANIFEST_LIMIT (4u << 20)
#define KF_MANIFEST_LAYER_LIMIT 16384u
#define KF_MANIFEST_ANNOTATION_LIMIT 4096u
#define KF_MANIFEST_VALUE_LIMIT (1u << 20)

struct kf_annotation {
    char *key;
    char *value;
};

struct kf_desc {
    char *media_type;    /* never NULL; "" when absent */
    char *artifact_type; /* NULL when absent */
    struct kf_digest digest;
    uint64_t size;
    struct kf_annotation *annotations;
    size_t annotation_count;
    struct kf_annotation *labels; /* "modelMetadata" of an entry of kit's indexes */
    size_t label_count;
};

struct kf_manifest {
    char *media_type;    /* "" when absent */
    char *artifact_type; /* NULL when absent */
    struct kf_desc config;
    struct kf_desc *layers;
    size_t layer_count;
    struct kf_annotation *annotations;
    size_t annotation_count;
};

struct kf_index {
    char *artifact_type; /* NULL when absent */
    struct kf_desc *entries;
    size_t entry_count;
};

/* Whether the bytes are an index (has "manifests") rather than a manifest. */
enum kf_manifest_kind { KF_KIND_MANIFEST, KF_KIND_INDEX };
int kf_manifest_kind(const void *json, size_t length, enum kf_manifest_kind *ret,
                     struct kf_err *err);

int kf_manifest_parse(struct kf_manifest *ret, const void *json, size_t length,
                      struct kf_err *err);
void kf_manifest_fini(struct kf_manifest *manifest);
int kf_index_parse(struct kf_index *ret, const void *json, size_t length,
                   struct kf_err *err);
/* kit's list of the tags of a repository, {"tag": descriptor, ...}, as an index: each
 * entry has its tag (kf_desc_tag) and no other annotation. */
int kf_index_parse_tags(struct kf_index *ret, const void *json, size_t length,
                        struct kf_err *err);
void kf_index_fini(struct kf_index *index);

#define KF_TAG_ANNOTATION "org.opencontainers.image.ref.name"
/* The tag that an index gives to its entry, or NULL; borrowed. */
const char *kf_desc_tag(const struct kf_desc *desc);

/* The digests of unpacked layers that a ModelPack's config names, in the order of the
 * layers: yours to free. Drafts of the format had none. KF_E_MALFORMED for an entry that
 * is no digest. */
int kf_model_config_diff_ids(struct kf_digest **ret, size_t *ret_count, const void *json,
                             size_t length, struct kf_err *err);

/* The value, or NULL; borrowed. */
const char *kf_annotation_get(const struct kf_annotation *annotations, size_t count,
                              const char *key);
int kf_desc_copy(struct kf_desc *ret, const struct kf_desc *from, struct kf_err *err);
void kf_desc_fini(struct kf_desc *desc);

#endif
