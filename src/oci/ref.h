/*
 * References to kits, to and from text.
 *
 *     [registry/]repository[:tag|@digest]      as kit parses them (pkg/lib/repo/util)
 *     oci:DIR[:TAG|@digest]                    an OCI image layout folder
 *     store:REF                                kit's local store
 *     oci://REF  kit://REF  docker://REF       the registry, whatever the store holds
 *
 * The first component is a registry only if it contains '.' or ':'; otherwise the
 * registry is "localhost", meaning the local store only, and is not shown: "localhost/x"
 * is the repository "localhost/x" of it. `docker.io` is contacted as
 * registry-1.docker.io (kf_ref_api_host), one-component names there get `library/`.
 * `repo:tag@digest`: the digest counts, the tag is kept for display. Names follow the
 * distribution spec (repository [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*, at most 255
 * bytes with the host; tag [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}); anything else is KF_E_ARG
 * with a message that names the offending part. No default tag: callers decide. Pure; any
 * thread.
 */
#ifndef KF_OCI_REF_H
#define KF_OCI_REF_H

#include <stdbool.h>

#include "base/digest.h"

struct kf_err;

#define KF_REF_NAMELESS "_" /* kit's repository of what has no name */

enum kf_ref_where {
    KF_REF_ANY,      /* no prefix: kit's store if it holds it, else the registry */
    KF_REF_REGISTRY, /* oci:// kit:// docker:// */
    KF_REF_STORE,    /* store: */
    KF_REF_LAYOUT,   /* oci:DIR */
};

struct kf_ref {
    enum kf_ref_where where;
    char *registry;   /* host[:port]; NULL for a layout */
    char *repository; /* NULL for a layout */
    char *dir;        /* layout only */
    char *tag;        /* NULL when absent */
    bool has_digest;
    struct kf_digest digest;
};

int kf_ref_parse(struct kf_ref *ret, const char *text, struct kf_err *err);
/* What a kit refers to: without any of the prefixes, since a stranger must not lead us
 * into a folder; of several tags the first counts. */
int kf_ref_parse_plain(struct kf_ref *ret, const char *text, struct kf_err *err);
void kf_ref_fini(struct kf_ref *ref);
/* Canonical text with the prefix it needs to be parsed back; yours to free, NULL on no
 * memory. */
char *kf_ref_format(const struct kf_ref *ref);
/* The same without tag and digest: what `@digest` can be put behind. */
char *kf_ref_format_name(const struct kf_ref *ref);
bool kf_ref_is_local(const struct kf_ref *ref); /* no registry: kit's store alone */
/* The host to contact: "registry-1.docker.io" for Docker Hub's names. Borrowed from ref.
 */
const char *kf_ref_api_host(const struct kf_ref *ref);

#endif
