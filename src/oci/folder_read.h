/*
 * A folder with blobs/sha256 below it, for those that read one (layout.c, kitstore.c):
 * its blobs as sources, its manifests by digest, and tags in an image index. Blobs are
 * read on the work queue. Paths are made from parsed digests only, so that no index can
 * name a file outside of the folder.
 */
#ifndef KF_OCI_FOLDER_READ_H
#define KF_OCI_FOLDER_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/manifest.h"
#include "oci/origin.h"

struct kf_buf;
struct kf_err;

struct kf_origin_folder {
    struct kf_origin origin;
    struct kf_origin_opts opts;
    int fd;
    char *path;            /* for messages */
    struct kf_index index; /* the entries that may have tags (kf_desc_tag) */
};

/* `folder` is zeroed before; kf_origin_folder_fini is due also after a failure. The owner
 * sets ops and kind, and fills the index. */
int kf_origin_folder_open(struct kf_origin_folder *folder, const char *path,
                          const struct kf_origin_opts *opts, struct kf_err *err);
void kf_origin_folder_fini(struct kf_origin_folder *folder);

/* For kf_origin_ops of a struct that begins with a kf_origin_folder. */
struct kf_source *kf_origin_folder_blob(struct kf_origin *origin,
                                        const struct kf_desc *desc, struct kf_err *err);
int kf_origin_folder_tags(struct kf_origin *origin, struct kf_strings *ret,
                          struct kf_err *err);

/* As kf_origin_manifest, by digest. */
int kf_origin_folder_manifest(const struct kf_origin_folder *folder,
                              const struct kf_digest *digest,
                              const struct kf_digest *known, struct kf_buf *ret_bytes,
                              struct kf_digest *ret_digest, struct kf_err *err);

/* The entry of the index with that tag, or NULL. */
const struct kf_desc *kf_origin_folder_find_tag(const struct kf_origin_folder *folder,
                                                const char *tag);
/* "a, b, c" for messages, cut when there are many; false when there is none. */
bool kf_origin_folder_list_tags(const struct kf_origin_folder *folder, char *out,
                                size_t size);

#endif
