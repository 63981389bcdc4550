/*
 * The JSON files that say which manifests a folder has: an OCI image index (image spec
 * 1.1, image-layout.md), and kit's list of the tags of a repository. Each is read,
 * changed and replaced as a whole; what is not understood in it stays. The caller holds
 * the folder's lock. Files over KF_MANIFEST_LIMIT are neither read nor written.
 */
#ifndef KF_OCI_INDEX_WRITE_H
#define KF_OCI_INDEX_WRITE_H

#include <stddef.h>

struct kf_digest;
struct kf_err;

struct kf_index_entry {
    const struct kf_digest *digest;
    size_t size;
    const char *media_type;    /* NULL: an OCI image manifest */
    const char *artifact_type; /* NULL: not said */
};

/* With a tag: the entry gets it, and whichever had it goes. Without one: the entry is
 * added unless its digest is listed. A file that is not there is made. */
int kf_index_add(int dirfd, const char *name, const struct kf_index_entry *entry,
                 const char *tag, struct kf_err *err);
/* {"tag": descriptor, ...} */
int kf_index_set_tag(int dirfd, const char *name, const struct kf_index_entry *entry,
                     const char *tag, struct kf_err *err);

#endif
