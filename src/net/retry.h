/*
 * What to do after an exchange that did not succeed: one pure function over static
 * tables. No clock, no randomness of its own.
 *
 * - transient: connection trouble, stalls, 408, 429, 500, 502-504. Again, until the
 *   deadline on demand, twice in all for readahead and prefetch.
 * - doubtful: answers that break a rule, odd curl results. Again, but a few times only.
 * - permanent: 400, 401, 403, 404, 405, 410, 416, TLS verification and others. Give up;
 *   but 400, 401, 403, 404 and 410 from a host that we were redirected to may mean that
 *   the signed URL is too old: once, back to where we came from.
 *
 * Delays: 0, then 100 ms doubled up to 5 s, each drawn from [0, that] (full jitter);
 * Retry-After counts instead where it is longer, at most 60 s.
 */
#ifndef KF_NET_RETRY_H
#define KF_NET_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/workq.h"
#include "net/http.h"

#define KF_RETRY_BACKGROUND_TRIES 2u
#define KF_RETRY_DOUBTFUL_TRIES 5u
#define KF_RETRY_AFTER_LIMIT_NS INT64_C(60000000000)

struct kf_retry_case {
    enum kf_http_end end; /* not OPEN, not COMPLETE */
    int status;
    int curl_code;
    int64_t retry_after_ns; /* 0: not said */
    bool redirected;        /* by a host that we were redirected to */
    bool resolved_anew;     /* this redirection was asked for because of a refusal */
    enum kf_urgency urgency;
    unsigned failures;  /* before this one, without progress in between */
    unsigned max_tries; /* 0: as many as the class allows */
    uint32_t random;
};

enum kf_retry_action {
    KF_RETRY_AGAIN,   /* after the delay */
    KF_RETRY_RESOLVE, /* after the delay, from the URL before the redirection */
    KF_RETRY_GIVE_UP,
};

struct kf_retry_verdict {
    enum kf_retry_action action;
    int64_t delay_ns;
    bool fresh_connection;
    enum kf_err_kind kind; /* what the failure is called when it is the last word */
};

struct kf_retry_verdict kf_retry_decide(const struct kf_retry_case *failure);

/* Whether an exchange ended by transient trouble of its host, 429 aside. One that
 * delivered KF_RETRY_PROGRESS_BYTES did not: its connection worked. */
#define KF_RETRY_PROGRESS_BYTES (64u << 10)
bool kf_retry_is_of_host(const struct kf_exchange *exchange);

#endif
