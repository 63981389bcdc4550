/*
 * kit's local store, read: one repository of it as an origin, and a list of all that it
 * holds. Its files are small and read whole; blobs are never believed (origin.h).
 *
 * Files that kit before 1.0 wrote (storage/REGISTRY/REPOSITORY/index.json) are
 * KF_E_UNSUPPORTED, with the remedy: any command of a newer kit converts them.
 */
#ifndef KF_OCI_KITSTORE_H
#define KF_OCI_KITSTORE_H

#include <stddef.h>

#include "base/containers.h"
#include "oci/origin.h"
#include "oci/ref.h"

struct kf_err;

/* KF_E_NOTFOUND, and nothing else, means that the store does not hold the reference: its
 * repository, its digest, or else its tag. Anything that is damaged is another kind. */
int kf_kitstore_open(struct kf_origin **ret, const struct kf_ref *ref,
                     const struct kf_origin_opts *opts, struct kf_err *err);

struct kf_kitstore_kit {
    char *name;             /* "registry/repository" */
    struct kf_ref ref;      /* store:NAME@DIGEST */
    struct kf_strings tags; /* sorted */
};

struct kf_kitstore_list {
    struct kf_kitstore_kit *kits; /* by name, then by digest, as kit lists them */
    size_t count;
};

/* No store is an empty list. */
int kf_kitstore_list(struct kf_kitstore_list *ret, struct kf_err *err);
void kf_kitstore_list_fini(struct kf_kitstore_list *list);

#endif
