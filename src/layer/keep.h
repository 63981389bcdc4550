/*
 * Keeps a stream that passes once in the objects of the cache that its layer's files are
 * read from later: each file of KF_LARGE_FILE or more in its own as it passes, the rest
 * by way of a spool (cache/spool), since how long the stream is shows only at its end.
 * One thread. A cache that cannot keep is no failure: what it did not keep is streamed
 * again when it is read.
 *
 * Memory: 16 MiB.
 */
#ifndef KF_LAYER_KEEP_H
#define KF_LAYER_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_digest;
struct kf_err;
struct kf_keep;
struct kf_store;
struct kf_table;

/* `name`: what the layer's objects are called by. `table`: of the files, as far as they
 * are known; NULL: the whole stream is one file. All are borrowed. NULL: no memory. */
struct kf_keep *kf_keep_new(struct kf_store *store, const struct kf_digest *name,
                            const struct kf_table *table, struct kf_err *err);
void kf_keep_free(struct kf_keep *keep); /* NULL is fine */

/* The next bytes of the stream; entries that begin before their end are in the table. */
int kf_keep_take(struct kf_keep *keep, uint64_t offset, const uint8_t *data,
                 size_t length, struct kf_err *err);

/* The stream was right: the spool goes where it belongs. Returns when all is written. */
int kf_keep_settle(struct kf_keep *keep, uint64_t stream_size, struct kf_err *err);
/* It was not: nothing of it stays. */
void kf_keep_drop(struct kf_keep *keep);

#endif
