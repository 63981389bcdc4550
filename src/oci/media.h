/*
 * The media types we know: what a layer descriptor's mediaType says about its content.
 *   application/vnd.kitops.modelkit.<base>.v1.(tar|raw)[+gzip|+zstd]
 *   application/vnd.cncf.model.<base>.v1.(tar|raw)[+gzip|+zstd]   (once vnd.cnai.model)
 *
 * Sources: kitops pkg/lib/constants/mediatype, ModelPack specs-go/v1/mediatype.go. Pure.
 */
#ifndef KF_OCI_MEDIA_H
#define KF_OCI_MEDIA_H

#include <stdbool.h>
#include <stddef.h>

enum kf_family { KF_FAMILY_UNKNOWN, KF_FAMILY_MODELKIT, KF_FAMILY_MODELPACK };
enum kf_base {
    KF_BASE_UNKNOWN,
    KF_BASE_MODEL,
    KF_BASE_MODELPART,
    KF_BASE_CODE,
    KF_BASE_DATASET,
    KF_BASE_DOCS,
    KF_BASE_MCPB,
};
enum kf_pack_format { KF_PACK_UNKNOWN, KF_PACK_TAR, KF_PACK_RAW };
enum kf_compression { KF_COMPRESSION_NONE, KF_COMPRESSION_GZIP, KF_COMPRESSION_ZSTD };

struct kf_media {
    enum kf_family family;
    enum kf_base base;
    enum kf_pack_format pack;
    enum kf_compression compression;
};

#define KF_MEDIA_MODELKIT_CONFIG "application/vnd.kitops.modelkit.config.v1+json"
#define KF_MEDIA_MODELKIT_ARTIFACT "application/vnd.kitops.modelkit.manifest.v1+json"
#define KF_MEDIA_MODELKIT_INDEX "application/vnd.kitops.modelkit.index.v1+json"
#define KF_MEDIA_MODELPACK_CONFIG "application/vnd.cncf.model.config.v1+json"
#define KF_MEDIA_MODELPACK_ARTIFACT "application/vnd.cncf.model.manifest.v1+json"
#define KF_MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define KF_MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define KF_MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define KF_MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define KF_MEDIA_TOC "application/vnd.kitfs.toc.v1"

/* A layer's media type; family unknown when it is none of ours. Parameters after ';' are
 * ignored. */
struct kf_media kf_media_parse_layer(const char *media_type);
enum kf_family kf_media_config_family(const char *config_media_type);
enum kf_family kf_media_artifact_family(const char *artifact_type);
/* "model", "dataset" ... as people read it in listings; static. */
const char *kf_base_name(enum kf_base base);
/* The media type of a layer: the opposite of parsing. The base must be one that the
 * family has. */
#define KF_MEDIA_TEXT_SIZE 96
char *kf_media_format_layer(struct kf_media media, char out[KF_MEDIA_TEXT_SIZE]);
/* "tar", "tar+gzip", "raw+zstd" ...; static. */
const char *kf_media_layer_form(struct kf_media media);

#endif
