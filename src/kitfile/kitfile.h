/*
 * The description of a kit: the Kitfile as kit stores it in the config blob. Immutable
 * after parsing, owned by the caller, any thread. Field names: kitops
 * pkg/artifact/kitfile.go.
 */
#ifndef KF_KITFILE_KITFILE_H
#define KF_KITFILE_KITFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"

struct kf_err;

enum kf_entry_kind {
    KF_ENTRY_MODEL,
    KF_ENTRY_PART,
    KF_ENTRY_CODE,
    KF_ENTRY_DATASET,
    KF_ENTRY_DOCS,
    KF_ENTRY_PROMPT,
    KF_ENTRY_MCP,
};

/* One thing that may have a layer. */
struct kf_entry {
    enum kf_entry_kind kind;
    char *name;        /* NULL when absent */
    char *path;        /* as typed; NULL when absent */
    char *remote_path; /* of a dataset: where it is instead; NULL when absent */
    bool has_digest, has_diff_id;
    struct kf_digest digest;  /* of the layer blob */
    struct kf_digest diff_id; /* of its uncompressed content */
};

struct kf_kitfile {
    char *manifest_version;
    char *package_name;
    char *package_version;
    char *package_author;     /* the first one */
    struct kf_entry *entries; /* in layer order: model, parts, code, datasets, docs,
                                 prompts, MCP servers */
    size_t entry_count;
};

#define KF_KITFILE_LIMIT (4u << 20)
#define KF_KITFILE_ENTRY_LIMIT 16384u
/* Of the bytes '{', '[' and ',' together: each may be a value that costs 30 to 230 bytes.
 */
#define KF_KITFILE_VALUE_LIMIT (1u << 20)

/* From the config blob, or from a ModelPack manifest's Kitfile annotation (the same
 * JSON). Unknown keys are ignored, as kit does when reading. kitfile/kitfile_json.c */
int kf_kitfile_from_json(struct kf_kitfile *ret, const void *json, size_t length,
                         struct kf_err *err);
void kf_kitfile_fini(struct kf_kitfile *kitfile);
const char *kf_entry_kind_name(enum kf_entry_kind kind); /* static; "model", "docs" ... */

#endif
