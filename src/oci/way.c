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
    if (!way->is_last && kf_route_worked(&way->registry->route, way->index))
        kf_log(KF_LOG_INFO, "oci", "event=mirror_back host=%s", way->endpoint->host);
}

static void note(struct kf_way *way, const char *why)
{
    size_t used = strlen(way->tried);

    (void)snprintf(way->tried + used, sizeof(way->tried) - used, "%s%.100s",
                   used > 0 ? "; " : "", why); /* cut is fine */
}

static void blame(struct kf_way *way, const struct kf_exchange *exchange,
                  enum kf_route_fault fault, const char *why)
{
    struct kf_route *route = &way->registry->route;
    int64_t now = kf_now_ns();

    note(way, why);
    if (fault == KF_ROUTE_OF_BLOB)
        kf_route_avoid(route, way->blob, way->index, now + KF_ROUTE_LACKS_NS);
    else if (kf_route_failed(route, way->index, way->since_ns, exchange->retry_after_ns,
                             now))
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
    if (!go_on(way, 0, kf_now_ns()) || way->index == last)
        return false;
    way->tried[0] = '\0';
    return true;
}

void kf_way_explain(const struct kf_way *way, struct kf_err *err)
{
    char message[KF_ERR_MESSAGE_SIZE];

    if (!err || !way->tried[0])
        return;
    memcpy(message, err->message, sizeof(message));
    (void)kf_fail(err, err->kind, "%.256s (before it: %s)", message,
                  way->tried); /* the record is the result */
}

void kf_way_damaged(struct kf_registry *registry, struct kf_route_blob *blob,
                    size_t index)
{
    if (index >= registry->mirror_count)
        return;
    kf_log(KF_LOG_WARN, "oci", "event=mirror_damaged host=%s: wrong bytes",
           registry->mirrors[index].host);
    kf_route_avoid(&registry->route, blob, index, kf_now_ns() + KF_ROUTE_DAMAGED_NS);
}
