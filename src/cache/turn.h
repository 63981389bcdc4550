/*
 * Work that one of the cache's users does for all, one at a time: a lock by name, between
 * processes and inside of one. It ends with its process. Who has got it looks first
 * whether the work was done meanwhile.
 */
#ifndef KF_CACHE_TURN_H
#define KF_CACHE_TURN_H

#include <stdint.h>

struct kf_digest;
struct kf_err;
struct kf_store;
struct kf_turn;

/* Waits until nobody else has it, blocking; `wait` (may be NULL) is asked now and then,
 * and nonzero gives up, with `err` set. One who has not said for `patience_ns` that he
 * goes on is not waited for: then, and when the lock cannot be had at all, which is
 * logged, the work is done without: 0, and *ret is NULL. */
int kf_turn_take(struct kf_turn **ret, struct kf_store *store,
                 const struct kf_digest *name, int64_t patience_ns,
                 int (*wait)(void *arg, struct kf_err *err), void *arg,
                 struct kf_err *err);
/* Says that the work goes on. */
void kf_turn_go_on(struct kf_turn *turn); /* NULL is fine */
void kf_turn_end(struct kf_turn *turn);   /* NULL is fine */

#endif
