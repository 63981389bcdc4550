/*
 * Where a kit goes: an OCI layout folder, kit's local store, a repository of a registry.
 * Blobs are streamed and become visible under their digest only when they are complete; a
 * manifest is put last, so that no half kit is ever seen. Whatever a run that failed has
 * finished is found and skipped by the next one.
 *
 * All calls block, on any thread but the network's; one thread at a time a blob, and
 * several blobs may be on their way at once. Locks itself. A failure of a kind that is
 * worth retrying (kf_err_worth_retrying) means that the same blob, begun anew, may pass:
 * what can be tried again without the caller was tried.
 */
#ifndef KF_OCI_DEST_H
#define KF_OCI_DEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "oci/origin.h"
#include "oci/ref.h"

struct kf_dest;
struct kf_dest_blob;
struct kf_err;

struct kf_dest_manifest {
    const void *json;
    size_t length;
    const struct kf_digest *digest;
    const char *media_type;    /* NULL: an OCI image manifest */
    const char *artifact_type; /* NULL: not said */
};

struct kf_dest_ops {
    int (*has)(struct kf_dest *dest, const struct kf_digest *digest, uint64_t size,
               struct kf_err *err);
    struct kf_dest_blob *(*begin)(struct kf_dest *dest, struct kf_err *err);
    int (*write)(struct kf_dest_blob *blob, const void *data, size_t length,
                 struct kf_err *err);
    int (*commit)(struct kf_dest_blob *blob, const struct kf_digest *digest,
                  struct kf_err *err);
    void (*abandon)(struct kf_dest_blob *blob);
    int (*manifest)(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                    struct kf_err *err);
    void (*close)(struct kf_dest *dest);
};

struct kf_dest {
    const struct kf_dest_ops *ops;
    const char *kind;   /* "the layout", "kit's store", "the registry": for people */
    bool gains_by_many; /* several blobs at once are faster than one after the other */
    int wants_size;     /* atomic */
    bool (*stopped)(void *arg); /* kf_dest_stop_when */
    void *stopped_arg;
};

struct kf_dest_blob {
    struct kf_dest *dest;
    uint64_t size; /* written so far */
    bool is_known; /* kf_dest_begin_known */
    struct kf_digest known;
    uint64_t known_size;
};

/* Picks by reference: `oci:DIR` is the layout, `oci://`, `kit://` and `docker://` the
 * registry, all else kit's store under that name (`kit push` finds it there). A digest in
 * it is KF_E_ARG. Folders are made; a registry is not asked yet. */
int kf_dest_open(struct kf_dest **ret, const struct kf_ref *ref,
                 const struct kf_origin_opts *opts, struct kf_err *err);
/* From then on `stopped` is asked, on any thread, by those who wait for a registry: true
 * ends all requests with KF_E_CANCELLED, but those of kf_dest_abandon. Before the first
 * blob; NULL takes it back, when none is under way. */
void kf_dest_stop_when(struct kf_dest *dest, bool (*stopped)(void *arg), void *arg);
/* No blob may be under way. NULL is fine. */
void kf_dest_close(struct kf_dest *dest);

/* 1: there already, of that size; 0: not. */
int kf_dest_has(struct kf_dest *dest, const struct kf_digest *digest, uint64_t size,
                struct kf_err *err);
struct kf_dest_blob *kf_dest_begin(struct kf_dest *dest, struct kf_err *err);
/* A blob whose digest and size are known before. 1: it is there already; 0: begun. What
 * is written must be just that: else write or commit fail with KF_E_CORRUPT. */
int kf_dest_begin_known(struct kf_dest_blob **ret, struct kf_dest *dest,
                        const struct kf_digest *digest, uint64_t size,
                        struct kf_err *err);
/* Whether it takes a blob of more than a few MiB by kf_dest_begin_known alone. Some
 * registries are known for it; others say so when they get such a blob, which then fails
 * with KF_E_UNSUPPORTED. */
bool kf_dest_wants_size(const struct kf_dest *dest);
/* Bytes are copied or written before it returns; it waits while the network is slower
 * than the caller. After a failure only abandon is left. */
int kf_dest_write(struct kf_dest_blob *blob, const void *data, size_t length,
                  struct kf_err *err);
/* The caller says what was written; the blob is used up, whatever the result. */
int kf_dest_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                   struct kf_err *err);
/* Leaves nothing behind where that is in our hands. NULL is fine. */
void kf_dest_abandon(struct kf_dest_blob *blob);
/* A whole small blob: begin, write, commit. */
int kf_dest_put(struct kf_dest *dest, const void *data, size_t length,
                const struct kf_digest *digest, struct kf_err *err);
/* Puts a manifest, all of whose blobs are there, and moves the reference's tag to it
 * where it has one. */
int kf_dest_manifest(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                     struct kf_err *err);

/* For the ops. */
void kf_dest_set_wants_size(struct kf_dest *dest);
/* For dest.c: layout_write.c, store_write.c, registry_write.c. */
int kf_layout_create(struct kf_dest **ret, const struct kf_ref *ref, struct kf_err *err);
int kf_store_create(struct kf_dest **ret, const struct kf_ref *ref, struct kf_err *err);
int kf_repository_create(struct kf_dest **ret, const struct kf_ref *ref,
                         const struct kf_origin_opts *opts, struct kf_err *err);

#endif
