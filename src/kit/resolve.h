/*
 * From a reference to the manifest and the Kitfile of one kit, asking the origin only for
 * what the cache does not hold. What the cache holds counts only after the origin has
 * named its digest: the cache must not give away what the registry would not. Without an
 * origin (offline) the cache alone answers, and so it does where the origin cannot be
 * reached: with what the reference named when it was last asked. A refusal is not that.
 */
#ifndef KF_KIT_RESOLVE_H
#define KF_KIT_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "kitfile/kitfile.h"
#include "oci/manifest.h"
#include "oci/media.h"

struct kf_origin;
struct kf_ref;
struct kf_store;
struct kf_strings;

struct kf_resolve_from {
    const struct kf_ref *ref;
    struct kf_origin *origin;        /* NULL: offline */
    struct kf_store *store;          /* NULL: nothing is kept or found */
    int64_t timeout_ns;              /* of one request */
    const struct kf_strings *labels; /* choose from an index (kit/choose.h); NULL: none */
    /* May be NULL: what can be done with the manifest while the config is fetched. Runs
     * on the caller's thread, and must end soon. */
    void (*meanwhile)(void *arg, const struct kf_manifest *manifest);
    void *arg;
};

struct kf_resolved {
    struct kf_digest digest; /* of the manifest */
    struct kf_err outage;    /* why the origin was not asked; KF_E_NONE: it was */
    struct kf_manifest manifest;
    enum kf_family family; /* a ModelKit or a ModelPack */
    bool has_kitfile;      /* a ModelPack may have none */
    struct kf_kitfile kitfile;
    char *kitfile_text; /* the file Kitfile, as kit writes it; NULL: none */
    int64_t created;    /* seconds since the epoch; 0: not said */
};

/* Blocking. An index (nested twice at most) leads to one of its entries; labels for what
 * is no index are ignored, which is logged. Anything that is no kit is KF_E_UNSUPPORTED.
 * Fills an uninitialized record. */
int kf_resolve(struct kf_resolved *ret, const struct kf_resolve_from *from,
               struct kf_err *err);
void kf_resolved_fini(struct kf_resolved *resolved);

#endif
