/*
 * The hosts of a registry that one request goes to, one after the other (oci/route.h):
 * where it is, and since when. One thread.
 *
 *     kf_way_begin(&way, registry, blob, KF_HOST_PULL, err)
 *     ... ask way.endpoint, once if !way.is_last ...
 *     kf_way_worked(&way)            when it answered as it should
 *     kf_way_leave(&way, ...)        when not: true and the next one, or the end
 *     kf_way_explain(&way, err)      behind the last failure
 */
#ifndef KF_OCI_WAY_H
#define KF_OCI_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/hosts.h"
#include "oci/route.h"

struct kf_endpoint;
struct kf_err;
struct kf_exchange;
struct kf_registry;
struct kf_retry_verdict;

struct kf_way {
    struct kf_endpoint *endpoint;
    size_t index; /* of it; 0 is the first mirror */
    bool is_last; /* none behind it that can: it is tried again, as net/retry.h says */

    /* Private. */
    struct kf_registry *registry;
    struct kf_route_blob *blob, own;
    enum kf_host_can can;
    int64_t since_ns;
};

/* `blob` outlives it; NULL: what hosts lack is forgotten with the way. Fails where no
 * host can. The way must not be moved. */
int kf_way_begin(struct kf_way *way, struct kf_registry *registry,
                 struct kf_route_blob *blob, enum kf_host_can can, struct kf_err *err);
/* The same, but to the last one: what came before was damaged. */
int kf_way_begin_last(struct kf_way *way, struct kf_registry *registry,
                      struct kf_route_blob *blob, enum kf_host_can can,
                      struct kf_err *err);

void kf_way_worked(struct kf_way *way);
/* A mirror failed, as the exchange and `why` say: notes it, and goes on to the next. At
 * the last one, nothing happens unless a mirror may be asked now: `verdict` (NULL: there
 * is none) tells whether it would be asked again. False: stay. */
bool kf_way_leave(struct kf_way *way, const struct kf_exchange *exchange,
                  const struct kf_retry_verdict *verdict, const struct kf_err *why);
/* Puts behind the message why mirrors are not asked. */
void kf_way_explain(const struct kf_way *way, struct kf_err *err);

/* A mirror, by its number, gave bytes of the blob that are not its digest's. */
void kf_way_damaged(struct kf_registry *registry, struct kf_route_blob *blob,
                    size_t index);

#endif
