/*
 * Where a kit comes from: one repository of a registry, an OCI layout folder, kit's
 * store. The calls block (for opening and for tools; never on a FUSE, network or
 * work-queue thread) except that the sources they give are asynchronous. Locks itself.
 */
#ifndef KF_OCI_ORIGIN_H
#define KF_OCI_ORIGIN_H

#include <stdbool.h>

#include "base/containers.h"
#include "base/source.h"
#include "oci/manifest.h"
#include "oci/ref.h"

struct kf_buf;
struct kf_creds;
struct kf_origin;
struct kf_stats;
struct kf_workq;

/* How to talk to the network: kit's flags of the same names. All borrowed, NULL is the
 * default. */
struct kf_net_opts {
    bool plain_http;
    bool tls_no_verify;
    const char *ca_file;     /* --tls-cert */
    const char *client_cert; /* --cert */
    const char *client_key;  /* --key */
    const char *proxy;
    const char *hosts_dir;  /* of mirrors; as kf_hosts_load takes it (oci/hosts.h) */
    struct kf_creds *creds; /* outlives origins and their sources; NULL: anonymous */
    unsigned connections;   /* a host; 0: 8 */
};

/* Where references without a prefix are looked for. */
enum kf_pull {
    KF_PULL_MISSING, /* kit's store if it holds it, else the registry */
    KF_PULL_ALWAYS,  /* the registry */
    KF_PULL_NEVER,   /* kit's store */
};

struct kf_origin_opts {
    struct kf_net_opts net;
    enum kf_pull pull;
    bool offline;           /* no registry */
    struct kf_workq *workq; /* borrowed; outlives the origin and its sources */
    struct kf_stats *stats; /* borrowed; may be NULL */
    int64_t timeout_ns;     /* of one blocking call */
};

#define KF_ORIGIN_HOST_SIZE 256

/* One of those that are asked, for people: a mirror, or behind them the registry. */
struct kf_origin_host {
    char name[KF_ORIGIN_HOST_SIZE];
    uint64_t answers;  /* as they should be */
    unsigned failures; /* in a row */
    int64_t rest_ns;   /* it is left alone for so long */
    char why[100];     /* its last failure; "" when there was none */
};

struct kf_origin_ops {
    int (*manifest)(struct kf_origin *origin, const char *tag_or_digest,
                    const struct kf_digest *known, struct kf_buf *ret_bytes,
                    struct kf_digest *ret_digest, struct kf_err *err);
    struct kf_source *(*blob)(struct kf_origin *origin, const struct kf_desc *desc,
                              struct kf_err *err);
    int (*tags)(struct kf_origin *origin, struct kf_strings *ret, struct kf_err *err);
    void (*close)(struct kf_origin *origin);
    bool (*host)(struct kf_origin *origin, size_t index, struct kf_origin_host *ret);
};

struct kf_origin {
    const struct kf_origin_ops *ops;
    const char *kind; /* "the registry", "the layout", "kit's store": for people */
    bool is_local;    /* its blobs are files here, and its tags cost nothing */
};

/* Picks by reference, and for one without a prefix by `pull`. What is damaged in kit's
 * store fails: a registry that might have something else under the name is not asked
 * then. One without tag and digest is held by no store. *ret is NULL where it would be a
 * registry and there is to be none (offline). */
int kf_origin_open(struct kf_origin **ret, const struct kf_ref *ref,
                   const struct kf_origin_opts *opts, struct kf_err *err);
void kf_origin_close(struct kf_origin *origin); /* NULL is fine; sources may outlive it */

/* Fetches a manifest or index by tag or digest and checks its digest: the one asked for,
 * or for a tag the one that the registry named. Returns 0 with bytes and digest, or 1
 * when `known` (may be NULL) is what the origin has: nothing but the digest is returned
 * then. Who knows something can do without: a registry that cannot be reached has 10 s
 * then. An unknown tag is KF_E_NOTFOUND. */
int kf_origin_manifest(struct kf_origin *origin, const char *tag_or_digest,
                       const struct kf_digest *known, struct kf_buf *ret_bytes,
                       struct kf_digest *ret_digest, struct kf_err *err);

/* A source over a blob; sends nothing by itself. Size and digest are the descriptor's:
 * the source checks lengths, whoever knows chunk digests checks content. NULL on failure.
 */
struct kf_source *kf_origin_blob(struct kf_origin *origin, const struct kf_desc *desc,
                                 struct kf_err *err);

/* A whole small blob (a config), at most the buffer's limit, its digest checked. */
int kf_origin_blob_bytes(struct kf_origin *origin, const struct kf_desc *desc,
                         int64_t timeout_ns, struct kf_buf *ret, struct kf_err *err);

/* All tags, sorted. */
int kf_origin_tags(struct kf_origin *origin, struct kf_strings *ret, struct kf_err *err);

/* Its index-th host; false behind the last one, and where there are none. */
bool kf_origin_host(struct kf_origin *origin, size_t index, struct kf_origin_host *ret);

/* For origin.c, beside kf_kitstore_open. */
int kf_layout_open(struct kf_origin **ret, const struct kf_ref *ref,
                   const struct kf_origin_opts *opts, struct kf_err *err);
int kf_registry_open(struct kf_origin **ret, const struct kf_ref *ref,
                     const struct kf_origin_opts *opts, struct kf_err *err);

#endif
