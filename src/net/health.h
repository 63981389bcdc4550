/*
 * How one host fares, and when it may be asked next: a decision over plain data, with the
 * time passed in. One owner, no lock.
 *
 * - Breaker: after 5 failures in a row within 10 s the host rests for 0.5 s; then one
 *   request, the probe, tries it while the others wait. With each probe that fails the
 *   rest doubles, up to 5 s; an answer of any kind ends it.
 * - 429: nothing is sent until what Retry-After says has passed (1 s when it says
 *   nothing, at most 60 s). From then on requests keep a pace: 8 a second, half of that
 *   after each 429 that follows, a little more after each answer, until it is no matter
 *   any more.
 * - Budget: requests that repeat a failed one are at most 5 a second and a tenth of the
 *   answers. What is over waits.
 */
#ifndef KF_NET_HEALTH_H
#define KF_NET_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#define KF_HEALTH_FAILURES 5u
#define KF_HEALTH_WINDOW_NS INT64_C(10000000000)
#define KF_HEALTH_REST_NS INT64_C(500000000)
#define KF_HEALTH_REST_LIMIT_NS INT64_C(5000000000)
#define KF_HEALTH_PAUSE_NS INT64_C(1000000000) /* after a 429 that does not say */
#define KF_HEALTH_PAUSE_LIMIT_NS INT64_C(60000000000)

enum kf_health_news {
    KF_HEALTH_NOTHING, /* it was cancelled, say */
    KF_HEALTH_ANSWER,  /* it does answer, whatever that is */
    KF_HEALTH_FAILURE, /* trouble of the host itself (kf_retry_is_of_host) */
    KF_HEALTH_TOO_MANY,
};

/* Zeroed at first: well, and its budget full. */
struct kf_health {
    unsigned failures; /* in a row */
    int64_t failed_ns; /* the first of them */
    int64_t rest_ns;   /* 0: it does not rest */
    int64_t rest_until_ns;
    bool probing;
    int64_t pause_until_ns;
    unsigned pace; /* requests in 8 seconds; 0: as many as come */
    int64_t next_ns;
    unsigned repeats_spent; /* of the budget, in hundredths of a request */
    int64_t spent_ns;       /* when that was true */
};

/* When a request may be sent: `now_ns`, or when to ask again; KF_NO_DEADLINE: not before
 * the probe has ended. `again`: it repeats a failed one. */
int64_t kf_health_due(const struct kf_health *health, bool again, int64_t now_ns);
/* One that was due is sent. True: it is the probe. */
bool kf_health_sent(struct kf_health *health, bool again, int64_t now_ns);
/* It ended. `retry_after_ns` is of KF_HEALTH_TOO_MANY; 0: not said. */
void kf_health_ended(struct kf_health *health, bool probe, enum kf_health_news news,
                     int64_t retry_after_ns, int64_t now_ns);

#endif
