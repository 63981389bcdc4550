/*
 * The manifest of a packed kit and the ModelPack config, as kit >= 1.15 writes them
 * (kitops pkg/lib/filesystem/local-storage.go, pkg/artifact/kitfile.go), with the times
 * of docs/formats/layer.md section 9. Pure, but for kf_out_created.
 */
#ifndef KF_PACK_MANIFEST_WRITE_H
#define KF_PACK_MANIFEST_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "kitfile/kitfile_pack.h"

struct kf_buf;
struct kf_err;

struct kf_out_layer {
    char media_type[96];
    struct kf_digest digest, diff_id;
    uint64_t size;
    char *filepath; /* org.cncf.model.filepath; NULL: none */
    char *metadata; /* org.cncf.model.file.metadata+json; NULL: none */
    char *toc;      /* org.kitfs.toc; NULL: none */
    bool is_prompt;
};

struct kf_out_manifest {
    bool model_pack;
    struct kf_digest config_digest;
    uint64_t config_size;
    const struct kf_out_layer *layers;
    size_t layer_count;
    const char *version; /* ml.kitops.modelkit.cli-version */
    const char *kitfile; /* JSON; ModelPack only */
    const char *created; /* RFC 3339; NULL: left out */
    const char *const
        *annotations; /* KEY=VALUE; win over ours, a later over an earlier */
    size_t annotation_count;
};

/* Whether it is KEY=VALUE, as kf_out_manifest wants it: KF_E_ARG. */
int kf_out_annotation_check(const char *annotation, struct kf_err *err);
int kf_out_manifest(const struct kf_out_manifest *manifest, struct kf_buf *ret,
                    struct kf_err *err);
/* descriptor, modelfs, config: ModelPack's model config, from the Kitfile. */
int kf_out_model_config(const struct kf_kitfile_plan *plan,
                        const struct kf_out_layer *layers, size_t layer_count,
                        const char *created, struct kf_buf *ret, struct kf_err *err);
/* What org.cncf.model.file.metadata+json says of a raw layer's file. */
struct kf_file_metadata {
    const char *name; /* the last component */
    uint32_t mode;
    uint64_t size;
    const char *mtime; /* RFC 3339 */
    uint32_t typeflag; /* tar's, as kit writes it */
};

/* Yours to free; NULL on failure. Owner and group are 0. */
char *kf_out_metadata(const struct kf_file_metadata *metadata, struct kf_err *err);

#define KF_OUT_TIME_SIZE 32

/* SOURCE_DATE_EPOCH from the environment as RFC 3339, in UTC; *ret_set is false, and
 * `out` untouched, when it is not set or empty. Anything but a number of seconds up to
 * the year 9999 is KF_E_ARG. */
int kf_out_created(char out[KF_OUT_TIME_SIZE], bool *ret_set, struct kf_err *err);

#endif
