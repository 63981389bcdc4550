/*
 * Whether a layer without a table of contents is what its digest says
 * (docs/formats/layer.md section 7, rule 6): a digest of the whole, so known only once
 * all of it was seen. What is learned then, the digest of each chunk, is kept in the
 * cache, and from then on what is fetched is checked by that.
 *
 * Locks itself; counted: feeds hold it, and may outlive the layer.
 */
#ifndef KF_LAYER_WHOLE_H
#define KF_LAYER_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "layer/layer.h"

struct kf_digest;
struct kf_err;
struct kf_layer;
struct kf_object;
struct kf_passed;
struct kf_whole;

/* What an earlier run has learned is taken from the store. The layer is borrowed until
 * kf_whole_end. */
int kf_whole_new(struct kf_whole **ret, struct kf_layer *layer, struct kf_err *err);
struct kf_whole *kf_whole_ref(struct kf_whole *whole);
void kf_whole_unref(struct kf_whole *whole); /* NULL is fine */
/* The layer goes: waits for a piece that is being hashed. NULL is fine. */
void kf_whole_end(struct kf_whole *whole);

enum kf_trust kf_whole_trust(const struct kf_whole *whole);
/* The digest of a chunk of the large file at an offset, or of the remainder (NULL); NULL:
 * not known. */
const struct kf_digest *kf_whole_sum(const struct kf_whole *whole,
                                     const uint64_t *file_offset, uint64_t chunk);
/* Drops the chunks of such an object that are not what is known about them. */
void kf_whole_sweep(const struct kf_whole *whole, struct kf_object *object,
                    const uint64_t *file_offset);

/* From now on it is checked as soon as all of it is in the cache: from there, a piece at
 * a time, on the work queue at the lowest urgency. `fetch`: what lies between the files,
 * which no reader asks for, is fetched when nothing else is lacking. */
void kf_whole_watch(struct kf_whole *whole, bool fetch);
/* Another process may have fetched the rest: looks again. */
void kf_whole_look(struct kf_whole *whole);
/* The cache has a chunk of one of its objects. Any thread. */
void kf_whole_kept(struct kf_whole *whole, struct kf_object *object, uint64_t chunk);

/* Blocking, before anything was read: fetches the layer in one pass into the cache,
 * unless all of it is there, and checks it. Fills the layer's table when it has none.
 * KF_E_LIMIT when the cache cannot hold it; KF_E_CORRUPT when it is not what its digest
 * says: then nothing of it stays in the cache. */
int kf_whole_fetch(struct kf_whole *whole, struct kf_layer *layer, int64_t timeout_ns,
                   struct kf_err *err);

/* For whoever has seen all of the stream; both failures set `err`. -1: it is not what the
 * digest says; 1: it is, and the layer's table is that of other bytes: the right one is
 * in the cache now. */
int kf_whole_conclude(struct kf_whole *whole, const struct kf_layer *layer,
                      const struct kf_passed *passed, struct kf_err *err);
/* Nothing of the layer stays in the cache, but what somebody has open, which is empty. */
void kf_whole_discard(const struct kf_layer *layer);

#endif
