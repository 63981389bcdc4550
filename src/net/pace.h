/*
 * How fast a host gives bytes, and whether one connection to it is slow: a decision over
 * plain data. Bytes a second. One owner, no lock.
 *
 * A connection is slow when, for two looks in a row, it gives less than an eighth of what
 * one to that host should: of the fastest lately, or of all together shared by those that
 * get something now, whichever is less. Both records fade by a sixteenth a look, and each
 * replacement halves them: a host that is slow as a whole is soon taken as it is. What
 * gives less than 64 KiB/s for 10 s is slow, whatever others do. What is near its end is
 * not replaced.
 */
#ifndef KF_NET_PACE_H
#define KF_NET_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define KF_PACE_LOOK_NS INT64_C(250000000)
#define KF_PACE_LOOKS 2u
#define KF_PACE_TIMES 8u
#define KF_PACE_FLOOR UINT64_C(65536)
#define KF_PACE_FLOOR_NS INT64_C(10000000000)
#define KF_PACE_NEAR_S 1u /* the rest would come within that */

/* Of a host; zeroed at first. */
struct kf_pace {
    uint64_t connection; /* the fastest, lately */
    uint64_t all;
    uint64_t bytes; /* since the last look; the owner adds to it */
};

/* Of one connection; zeroed at first. */
struct kf_pace_slow {
    unsigned looks;         /* in a row */
    int64_t under_floor_ns; /* for so long */
};

/* What a connection gave in that time. */
void kf_pace_connection(struct kf_pace *pace, uint64_t bytes, int64_t span_ns);
/* A look, `span_ns` after the last one. */
void kf_pace_look(struct kf_pace *pace, int64_t span_ns);
/* Behind the look: a connection gave `bytes` in that time, `left` are still to come, and
 * `active` of them get something from the host now. */
bool kf_pace_is_slow(const struct kf_pace *pace, unsigned active,
                     struct kf_pace_slow *slow, uint64_t bytes, uint64_t left,
                     int64_t span_ns);
/* One was replaced. */
void kf_pace_replaced(struct kf_pace *pace);

#endif
