/*
 * kit's local store: where it is and how its files are called. Below $KITOPS_HOME,
 * $XDG_DATA_HOME/kitops or ~/.local/share/kitops lies storage/: an image layout whose
 * index.json lists every manifest without a tag, and beside it for each repository
 *   BASE64-index.json  an image index of the repository's manifests
 *   BASE64-tags.json   {"tag": descriptor, ...}
 * with BASE64 the name "registry/repository" in URL-safe base64, padded. Source: kitops
 * pkg/lib/repo/local and stores made by kit 1.7 to 1.15. kit takes no locks. Pure, but
 * for the environment.
 */
#ifndef KF_OCI_KITSTORE_FILES_H
#define KF_OCI_KITSTORE_FILES_H

struct kf_err;
struct kf_ref;

#define KF_KITSTORE_INDEX "index.json"

struct kf_kitstore_names {
    char *index, *tags;
};

/* The folder storage/, whether it is there or not; yours to free. */
int kf_kitstore_path(char **ret, struct kf_err *err);

/* The files of a reference's repository. */
int kf_kitstore_names(struct kf_kitstore_names *ret, const struct kf_ref *ref,
                      struct kf_err *err);
void kf_kitstore_names_fini(struct kf_kitstore_names *names);

/* "registry/repository" from the name of its index file; yours to free. NULL: the name is
 * no such name, or there is no memory. */
char *kf_kitstore_repository(const char *index_name);

#endif
