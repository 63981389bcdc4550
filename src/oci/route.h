/*
 * Which host of a registry is asked next: its mirrors in the order of hosts.toml, then
 * the last one. Decisions over plain data, with the time passed in. Locks itself; any
 * thread.
 *
 * A mirror that fails (no connection, a stall, 5xx, 401, an answer that breaks a rule) is
 * left alone for 5 s, doubled with each failure in a row up to 5 min; then one request
 * tries it, and the others follow once that went well. What is about one blob (404, bytes
 * that are not its digest's, the whole of it where a range was asked for) keeps from that
 * mirror for that blob alone. The last host is never left alone: there is none behind it.
 */
#ifndef KF_OCI_ROUTE_H
#define KF_OCI_ROUTE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_exchange;

#define KF_ROUTE_LIMIT 16u /* hosts, the last one included */
#define KF_ROUTE_REST_NS INT64_C(5000000000)
#define KF_ROUTE_REST_LIMIT_NS INT64_C(300000000000)
#define KF_ROUTE_WHY_SIZE 100
#define KF_ROUTE_LACKS_NS INT64_C(60000000000)    /* 404, and others about a blob */
#define KF_ROUTE_DAMAGED_NS INT64_C(300000000000) /* wrong bytes */

struct kf_route_host {
    unsigned can;     /* enum kf_host_can (oci/hosts.h) */
    uint64_t answers; /* that were as they should be */
    unsigned failures;
    int64_t failed_ns;
    int64_t rest_until_ns;
    char why[KF_ROUTE_WHY_SIZE]; /* its last failure; "" when there was none */
};

struct kf_route {
    pthread_mutex_t lock;
    size_t count;
    struct kf_route_host hosts[KF_ROUTE_LIMIT];
};

/* Of one blob, or of one question; zeroed at first. Under the route's lock. */
struct kf_route_blob {
    int64_t avoid_until_ns[KF_ROUTE_LIMIT];
};

void kf_route_init(struct kf_route *route);
void kf_route_fini(struct kf_route *route);
void kf_route_add(struct kf_route *route, unsigned can); /* before the first request */

/* The host to ask, from number `first` on, for what needs `can` (one of them); -1: none
 * of all can. Of those that can, the last one is always good. */
int kf_route_next(struct kf_route *route, const struct kf_route_blob *blob, unsigned can,
                  size_t first, int64_t now_ns);
/* Whether there is none behind it that can. */
bool kf_route_is_last(struct kf_route *route, unsigned can, size_t index);

void kf_route_look(struct kf_route *route, size_t index, struct kf_route_host *ret);

/* A request to the host went well. True: that is news. */
bool kf_route_worked(struct kf_route *route, size_t index);
/* One that was sent at `asked_ns` did not. Of those that were under way together one
 * counts. It is left alone no shorter than `retry_after_ns` (0: not said). True: that is
 * news. */
struct kf_route_failure {
    int64_t asked_ns, now_ns, retry_after_ns;
    const char *why;
};
bool kf_route_failed(struct kf_route *route, size_t index,
                     const struct kf_route_failure *failure);
/* Until then it is not asked for the blob. */
void kf_route_avoid(struct kf_route *route, struct kf_route_blob *blob, size_t index,
                    int64_t until_ns, const char *why);
/* Why those before `index` that can are not asked now: "why; why", cut to `size`. */
void kf_route_tell(struct kf_route *route, const struct kf_route_blob *blob, unsigned can,
                   size_t index, int64_t now_ns, char *ret, size_t size);

/* What the end of an exchange with a mirror says. */
enum kf_route_fault {
    KF_ROUTE_NO_FAULT, /* of ours: cancelled, stopped */
    KF_ROUTE_OF_BLOB,
    KF_ROUTE_OF_HOST,
};
enum kf_route_fault kf_route_fault_of(const struct kf_exchange *exchange);

#endif
