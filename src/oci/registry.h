/*
 * A repository of a registry by the OCI distribution spec: what registry.c and remote.c
 * share. Counted: the origin holds it, and each source over one of its blobs.
 */
#ifndef KF_OCI_REGISTRY_H
#define KF_OCI_REGISTRY_H

#include "oci/endpoint.h"
#include "oci/origin.h"
#include "oci/route.h"

struct kf_call;
struct kf_err;
struct kf_exchange;
struct kf_loop;
struct kf_retry_case;
struct kf_hops;

#define KF_REGISTRY_PAGES_LIMIT 1000u     /* of a list of tags */
#define KF_REGISTRY_PAGE_LIMIT (4u << 20) /* bytes of one of them */

struct kf_registry {
    struct kf_origin origin;
    struct kf_origin_opts opts;
    struct kf_loop *loop;
    struct kf_endpoint upstream; /* asked last; what is pushed goes there */
    struct kf_endpoint *mirrors; /* asked before it, in this order */
    size_t mirror_count;
    struct kf_route route; /* mirrors, then upstream */
    char *repository;      /* for messages */
    int refs;              /* atomic */
    /* Ends what waits for an answer, with KF_E_CANCELLED; asked by those who wait. NULL:
     * nobody. Set before the first request. */
    bool (*stopped)(void *arg);
    void *stopped_arg;
    /* Is shown each answer to a call, redirections and refusals among them, before
     * anything follows from it; on the caller's thread. NULL: nobody. Set before the
     * first request. */
    void (*answered)(void *arg, const struct kf_call *call);
    void *answered_arg;
};

/* NULL: the origin is none. Borrowed. */
struct kf_registry *kf_registry_of(struct kf_origin *origin);

struct kf_registry *kf_registry_ref(struct kf_registry *registry);
void kf_registry_unref(struct kf_registry *registry); /* not on the network thread */

/* What hosts.toml says (oci/registry_hosts.c), and the end of it. */
int kf_registry_add_hosts(struct kf_registry *registry, const struct kf_ref *ref,
                          struct kf_err *err);
/* Between them, while the loop runs. */
int kf_registry_add_auth(struct kf_registry *registry, struct kf_err *err);
void kf_registry_stop_auth(struct kf_registry *registry);
void kf_registry_drop_hosts(struct kf_registry *registry);
bool kf_registry_host(struct kf_origin *origin, size_t index, struct kf_origin_host *ret);

/* A source over a blob (oci/remote.c). */
struct kf_source *kf_remote_new(struct kf_registry *registry, const struct kf_desc *desc,
                                struct kf_err *err);

/* The case of an exchange that failed, for net/retry.h. */
void kf_registry_case(struct kf_retry_case *ret, const struct kf_exchange *exchange,
                      const struct kf_hops *hops, unsigned failures);
/* Why an exchange failed: host, status, what the registry says (OCI errors JSON,
 * printable and bounded), never a URL. `err` holds the failure before, or is clear: when
 * the time is over, that is still what people need to know. */
int kf_registry_fail(struct kf_err *err, enum kf_err_kind kind,
                     const struct kf_exchange *exchange, const char *origin);

#endif
