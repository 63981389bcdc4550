/*
 * A kit and those it refers to: the parent in model.path, whose model and parts count,
 * and with `include_remote` what datasets name as their remotePath, whose datasets count.
 * Both may refer on. Each reference is resolved as the first one is: once, pinned, and
 * offline from the cache alone. Blocking; immutable once open.
 *
 * A reference that leads back, by name or by the manifest's digest, is KF_E_ARG with the
 * chain shown. Limits (KF_E_LIMIT): 10 references one after the other, as kit; 64 kits.
 */
#ifndef KF_KIT_CHAIN_H
#define KF_KIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "kit/resolve.h"
#include "kitfile/kitfile.h"
#include "oci/ref.h"

struct kf_err;
struct kf_filter;
struct kf_manifest;
struct kf_origin;
struct kf_store;
struct kf_strings;

#define KF_CHAIN_REFERENCES 10u
#define KF_CHAIN_KITS 64u

/* What of a kit counts. */
enum kf_part {
    KF_PART_ALL,      /* the kit that was asked for */
    KF_PART_MODEL,    /* a parent: its model and the model's parts */
    KF_PART_DATASETS, /* in the place of a remote dataset */
};

/* The one place that says which entries of a kit count for that part of it. */
bool kf_part_holds(enum kf_part part, enum kf_entry_kind kind);

/* The kit that an entry refers to (a model's parent, a dataset's remotePath), as text of
 * the entry; NULL: none. */
const char *kf_entry_reference(const struct kf_entry *entry);

struct kf_chain_kit {
    struct kf_ref ref;
    char *name;               /* the reference, canonical */
    struct kf_origin *origin; /* NULL: offline */
    struct kf_digest digest;  /* of the manifest */
    struct kf_err outage;     /* as in `resolved` */
    struct kf_resolved resolved;
    enum kf_part part;
    char *prefix; /* the folder that its files are below; "" for the root */
};

struct kf_chain {
    struct kf_chain_kit *kits; /* as kit unpacks them: the kit asked for is the last */
    size_t count;
};

struct kf_chain_from {
    /* The origin of a reference; NULL in it means offline. */
    int (*open)(void *arg, struct kf_origin **ret, const struct kf_ref *ref,
                struct kf_err *err);
    /* May be NULL: see struct kf_resolve_from; for the kit asked for alone. */
    void (*meanwhile)(void *arg, struct kf_origin *origin,
                      const struct kf_manifest *manifest);
    void *arg;
    struct kf_store *store; /* may be NULL */
    int64_t timeout_ns;
    const struct kf_strings *labels; /* of the kit asked for (kit/choose.h); NULL: none */
    const struct kf_filter *filter;  /* what it leaves out is not followed; NULL: none */
    bool alone;                      /* no reference is followed */
    bool include_remote; /* else remote datasets are left out, which is logged once */
    enum kf_part part;   /* of the kit asked for */
    const char *child;   /* the name of a kit that refers to that one; NULL: none does */
};

/* `first` is copied. Fills an uninitialized record. */
int kf_chain_open(struct kf_chain *ret, const struct kf_ref *first,
                  const struct kf_chain_from *from, struct kf_err *err);
/* Frees manifests and Kitfiles, which are not needed once layers are open. */
void kf_chain_forget(struct kf_chain *chain);
void kf_chain_fini(struct kf_chain *chain); /* zeroed is fine */

/* The first kit's whose origin was not asked; NULL: none. Lasting: and none of whose
 * hosts has answered since. */
const struct kf_err *kf_chain_outage(const struct kf_chain *chain, bool lasting);

#endif
