#include "oci/way.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "net/http.h"
#include "net/retry.h"
#include "oci/registry.h"

static struct kf_endpoint *endpoint_of(struct kf_registry *registry, size_t index)
{
    return index < registry->mirror_count ? &registry->mirrors[index]
                                          : &registry->upstream;
}

/* False: there is none from `first` on. */
static bool go_on(struct kf_way *way, size_t first, int64_t now)
{
    struct kf_route *route = &way->registry->route;
    int next = kf_route_next(route, way->blob, way->can, first, now);

    if (next < 0)
        return false;
    way->index = (size_t)next;
    way->endpoint = endpoint_of(way->registry, way->index);
    way->is_last = kf_route_is_last(route, way->can, way->index);
    way->since_ns = now;
    return true;
}

static int begin(struct kf_way *way, struct kf_registry *registry,
                 struct kf_route_blob *blob, enum kf_host_can can, bool at_last,
                 struct kf_err *err)
{
    size_t first = 0;

    *way = (struct kf_way){.registry = registry, .can = can};
    way->blob = blob ? blob : &way->own;
    while (at_last && first + 1 < registry->route.count &&
           !kf_route_is_last(&registry->route, can, first))
        first++;
    return go_on(way, first, kf_now_ns())
               ? 0
               : kf_fail(err, KF_E_REFUSED,
                         "hosts.toml names no host that may be asked for %s of '%s'",
                         can == KF_HOST_RESOLVE ? "tags" : "content",
                         registry->upstream.host);
}

int kf_way_begin(struct kf_way *way, struct kf_registry *registry,
                 struct kf_route_blob *blob, enum kf_host_can can, struct kf_err *err)
{
    return begin(way, registry, blob, can, false, err);
}

int kf_way_begin_last(struct kf_way *way, struct kf_registry *registry,
                      struct kf_route_blob *blob, enum kf_host_can can,
                      struct kf_err *err)
{
    return begin(way, registry, blob, can, true, err);
}

void kf_way_worked(struct kf_way *way)
{
    if (kf_route_worked(&way->registry->route, way->index))
        kf_log(KF_LOG_INFO, "oci", "event=mirror_back host=%s", way->endpoint->host);
}

static void blame(struct kf_way *way, const struct kf_exchange *exchange,
                  enum kf_route_fault fault, const char *why)
{
    struct kf_route *route = &way->registry->route;
    const struct kf_route_failure failure = {.asked_ns = way->since_ns,
                                             .now_ns = kf_now_ns(),
                                             .retry_after_ns = exchange->retry_after_ns,
                                             .why = why};

    if (fault == KF_ROUTE_OF_BLOB)
        kf_route_avoid(route, way->blob, way->index, failure.now_ns + KF_ROUTE_LACKS_NS,
                       why);
    else if (kf_route_failed(route, way->index, &failure))
        kf_log(KF_LOG_WARN, "oci", "event=mirror_failed host=%s why=\"%s\"",
               way->endpoint->host, why);
}

/* 4xx from where a mirror redirected to: the signed URL is old, which is nobody's fault.
 */
static bool is_stale_url(const struct kf_exchange *exchange,
                         const struct kf_retry_verdict *verdict)
{
    return verdict && verdict->action == KF_RETRY_RESOLVE &&
           exchange->end == KF_HTTP_STATUS && exchange->status < 429;
}

bool kf_way_leave(struct kf_way *way, const struct kf_exchange *exchange,
                  const struct kf_retry_verdict *verdict, const struct kf_err *why)
{
    enum kf_route_fault fault = kf_route_fault_of(exchange);
    size_t last = way->index;

    if (fault == KF_ROUTE_NO_FAULT || is_stale_url(exchange, verdict))
        return false;
    if (!way->is_last) {
        blame(way, exchange, fault, why->message);
        return go_on(way, way->index + 1, kf_now_ns());
    }
    if (last == 0 || !verdict || verdict->action == KF_RETRY_GIVE_UP)
        return false;
    /* Before it is tried again: perhaps a mirror is well by now. */
    return go_on(way, 0, kf_now_ns()) && way->index != last;
}

void kf_way_explain(const struct kf_way *way, struct kf_err *err)
{
    char message[KF_ERR_MESSAGE_SIZE], said[240];

    if (!err || way->index == 0)
        return;
    kf_route_tell(&way->registry->route, way->blob, way->can, way->index, kf_now_ns(),
                  said, sizeof(said));
    memcpy(message, err->message, sizeof(message));
    if (said[0])
        (void)kf_fail(err, err->kind, "%.256s (before it: %s)", message,
                      said); /* the record is the result */
}

void kf_way_damaged(struct kf_registry *registry, struct kf_route_blob *blob,
                    size_t index)
{
    char why[KF_ROUTE_WHY_SIZE];

    if (index >= registry->mirror_count)
        return;
    (void)snprintf(why, sizeof(why), "'%s' sent wrong bytes",
                   registry->mirrors[index].host); /* cut is fine */
    kf_log(KF_LOG_WARN, "oci", "event=mirror_damaged host=%s",
           registry->mirrors[index].host);
    kf_route_avoid(&registry->route, blob, index, kf_now_ns() + KF_ROUTE_DAMAGED_NS, why);
}
