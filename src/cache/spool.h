/*
 * Room for bytes of an object whose size is not known yet: a file without a name in the
 * cache folder, sparse, gone with its owner. One thread.
 *
 * It takes at most what the cache may hold, and leaves half of the space free that the
 * cache leaves free, so that a cache that is full can take in a new object.
 */
#ifndef KF_CACHE_SPOOL_H
#define KF_CACHE_SPOOL_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_spool;
struct kf_store;

int kf_spool_open(struct kf_spool **ret, struct kf_store *store, struct kf_err *err);
void kf_spool_close(struct kf_spool *spool); /* NULL is fine */

/* KF_E_LIMIT when there is no room. Blocking, as is the next. */
int kf_spool_write(struct kf_spool *spool, const void *data, size_t length,
                   uint64_t offset, struct kf_err *err);
/* Reads what was written there, and gives the room back. */
int kf_spool_take(struct kf_spool *spool, void *data, size_t length, uint64_t offset,
                  struct kf_err *err);

#endif
