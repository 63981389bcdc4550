#include "oci/route.h"

#include <assert.h>
#include <stdio.h>

#include "net/http.h"

void kf_route_init(struct kf_route *route)
{
    *route = (struct kf_route){0};
    (void)pthread_mutex_init(&route->lock, NULL); /* a plain mutex cannot fail */
}

void kf_route_fini(struct kf_route *route)
{
    (void)pthread_mutex_destroy(&route->lock);
}

void kf_route_add(struct kf_route *route, unsigned can)
{
    assert(route->count < KF_ROUTE_LIMIT);
    route->hosts[route->count++].can = can;
}

static bool is_last(const struct kf_route *route, unsigned can, size_t index)
{
    for (size_t i = index + 1; i < route->count; i++)
        if ((route->hosts[i].can & can) != 0)
            return false;
    return true;
}

bool kf_route_is_last(struct kf_route *route, unsigned can, size_t index)
{
    return is_last(route, can, index); /* what hosts can is fixed */
}

static bool is_left_alone(const struct kf_route_host *host,
                          const struct kf_route_blob *blob, size_t index, int64_t now_ns)
{
    return host->rest_until_ns > now_ns || blob->avoid_until_ns[index] > now_ns;
}

int kf_route_next(struct kf_route *route, const struct kf_route_blob *blob, unsigned can,
                  size_t first, int64_t now_ns)
{
    int found = -1;

    (void)pthread_mutex_lock(&route->lock);
    for (size_t i = first; i < route->count && found < 0; i++) {
        struct kf_route_host *host = &route->hosts[i];

        if ((host->can & can) == 0)
            continue;
        if (is_last(route, can, i)) {
            found = (int)i;
        } else if (!is_left_alone(host, blob, i, now_ns)) {
            found = (int)i;
            /* The others wait for how this one fares. */
            if (host->failures > 0)
                host->rest_until_ns = now_ns + KF_ROUTE_REST_NS;
        }
    }
    (void)pthread_mutex_unlock(&route->lock);
    return found;
}

void kf_route_look(struct kf_route *route, size_t index, struct kf_route_host *ret)
{
    (void)pthread_mutex_lock(&route->lock);
    *ret = route->hosts[index];
    (void)pthread_mutex_unlock(&route->lock);
}

bool kf_route_worked(struct kf_route *route, size_t index)
{
    struct kf_route_host *host = &route->hosts[index];
    bool was_ill;

    (void)pthread_mutex_lock(&route->lock);
    was_ill = host->failures > 0;
    host->answers++;
    host->failures = 0;
    host->rest_until_ns = 0;
    (void)pthread_mutex_unlock(&route->lock);
    return was_ill;
}

static int64_t rest_of(unsigned failures)
{
    int64_t rest = KF_ROUTE_REST_NS;

    while (--failures > 0 && rest < KF_ROUTE_REST_LIMIT_NS)
        rest *= 2;
    return rest < KF_ROUTE_REST_LIMIT_NS ? rest : KF_ROUTE_REST_LIMIT_NS;
}

static void keep_why(struct kf_route_host *host, const char *why)
{
    (void)snprintf(host->why, sizeof(host->why), "%s", why); /* cut is fine */
}

static void leave_alone(struct kf_route_host *host,
                        const struct kf_route_failure *failure)
{
    int64_t rest;

    host->failures++;
    host->failed_ns = failure->now_ns;
    rest = rest_of(host->failures);
    if (failure->retry_after_ns > rest)
        rest = failure->retry_after_ns < KF_ROUTE_REST_LIMIT_NS ? failure->retry_after_ns
                                                                : KF_ROUTE_REST_LIMIT_NS;
    host->rest_until_ns = failure->now_ns + rest;
    keep_why(host, failure->why);
}

bool kf_route_failed(struct kf_route *route, size_t index,
                     const struct kf_route_failure *failure)
{
    struct kf_route_host *host = &route->hosts[index];
    bool was_well;

    (void)pthread_mutex_lock(&route->lock);
    was_well = host->failures == 0;
    if (was_well || failure->asked_ns > host->failed_ns)
        leave_alone(host, failure);
    (void)pthread_mutex_unlock(&route->lock);
    return was_well;
}

void kf_route_avoid(struct kf_route *route, struct kf_route_blob *blob, size_t index,
                    int64_t until_ns, const char *why)
{
    (void)pthread_mutex_lock(&route->lock);
    blob->avoid_until_ns[index] = until_ns;
    keep_why(&route->hosts[index], why);
    (void)pthread_mutex_unlock(&route->lock);
}

void kf_route_tell(struct kf_route *route, const struct kf_route_blob *blob, unsigned can,
                   size_t index, int64_t now_ns, char *ret, size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    (void)pthread_mutex_lock(&route->lock);
    for (size_t i = 0; i < index && used < size; i++) {
        const struct kf_route_host *host = &route->hosts[i];

        if ((host->can & can) != 0 && is_left_alone(host, blob, i, now_ns))
            used += (size_t)snprintf(ret + used, size - used, "%s%s", used ? "; " : "",
                                     host->why); /* cut is fine */
    }
    (void)pthread_mutex_unlock(&route->lock);
}

/* 401, 403, 407 are about us and the host, 408 and 429 about its load. */
static enum kf_route_fault fault_of_status(int status)
{
    return status >= 500 || status == 401 || status == 403 || status == 407 ||
                   status == 408 || status == 429
               ? KF_ROUTE_OF_HOST
               : KF_ROUTE_OF_BLOB;
}

enum kf_route_fault kf_route_fault_of(const struct kf_exchange *exchange)
{
    switch (exchange->end) {
    case KF_HTTP_STATUS:
        return fault_of_status(exchange->status);
    case KF_HTTP_BAD:
        return exchange->range_ignored ? KF_ROUTE_OF_BLOB : KF_ROUTE_OF_HOST;
    case KF_HTTP_COMPLETE: /* but what came is not what was asked for */
    case KF_HTTP_TOO_LONG:
        return KF_ROUTE_OF_BLOB;
    case KF_HTTP_BROKEN:
    case KF_HTTP_STALLED:
    case KF_HTTP_SLOW:
    case KF_HTTP_DEADLINE:
        return KF_ROUTE_OF_HOST;
    case KF_HTTP_OPEN:
    case KF_HTTP_STOPPED:
    case KF_HTTP_CANCELLED:
    default:
        return KF_ROUTE_NO_FAULT;
    }
}
