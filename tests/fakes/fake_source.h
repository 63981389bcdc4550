/*
 * A source in memory for tests: answers on a work queue, counts, keeps what was asked for
 * in which order, and misbehaves on request: holds answers back, fails the n-th request,
 * delivers in small pieces, flips a byte.
 *
 *     struct kf_fake_source *fake = kf_fake_source_new(workq, data, sizeof(data));
 *     kf_fake_source_fail(fake, 2, KF_E_UNREACHABLE, 0);      the second from now
 *     ... give &fake->source to what is tested; it takes its own references ...
 *     cr_assert_eq(kf_fake_source_requests(fake), 1);
 *     kf_source_close(&fake->source);
 *
 * Locks itself; every call from any thread. Out of memory ends the test (abort). It does
 * not keep deadlines. A range outside of it, told as KF_E_ARG, is neither counted nor
 * kept.
 */
#ifndef KF_FAKES_FAKE_SOURCE_H
#define KF_FAKES_FAKE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/source.h"

struct kf_fake_source {
    struct kf_source source;
    struct kf_fake_source_state *state; /* private */
};

/* What was asked for. */
struct kf_fake_range {
    uint64_t offset;
    uint64_t length;
    enum kf_urgency urgency;
    int64_t deadline_ns;
};

/* One reference: kf_source_close(&fake->source). `data` is borrowed until the last
 * reference is gone and may be changed while no request is on its way; `workq` outlives
 * it. */
struct kf_fake_source *kf_fake_source_new(struct kf_workq *workq, const void *data,
                                          size_t length);

/* While held, requests wait. Ending it answers those that wait. */
void kf_fake_source_hold(struct kf_fake_source *fake, bool held);
/* Answers up to `count` of those that wait, in the order of their submission; returns how
 * many. Later ones still wait. */
unsigned kf_fake_source_release(struct kf_fake_source *fake, unsigned count);

/* The `nth` request from now (1: the next; 0: all from now on) gets `after_bytes` of its
 * bytes and then fails. One such order at a time; KF_E_NONE takes it back. */
void kf_fake_source_fail(struct kf_fake_source *fake, unsigned nth, enum kf_err_kind kind,
                         uint64_t after_bytes);

/* Bytes a sink gets at once; 0 (as at first): all. */
void kf_fake_source_pieces(struct kf_fake_source *fake, size_t bytes);

/* The next `times` requests that hold the byte at `offset` get its bits inverted. */
void kf_fake_source_flip(struct kf_fake_source *fake, uint64_t offset, unsigned times);

/* Counters since the beginning. */
uint64_t kf_fake_source_requests(struct kf_fake_source *fake);  /* submitted */
uint64_t kf_fake_source_bytes(struct kf_fake_source *fake);     /* given to sinks */
uint64_t kf_fake_source_cancelled(struct kf_fake_source *fake); /* while not yet ended */
unsigned kf_fake_source_waiting(struct kf_fake_source *fake);   /* held back now */

/* The index-th request (from 0) by submission; false: there were fewer. */
bool kf_fake_source_range(struct kf_fake_source *fake, size_t index,
                          struct kf_fake_range *ret);

/* Waits until that many were submitted, at most 10 real seconds; false: it did not
 * happen. */
bool kf_fake_source_wait(struct kf_fake_source *fake, uint64_t requests);

#endif
