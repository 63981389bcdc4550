/*
 * A plain layer's stream out of the cache, in order. Blocking; one thread.
 */
#ifndef KF_LAYER_CACHED_STREAM_H
#define KF_LAYER_CACHED_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_layer;
struct kf_object;
struct kf_sums;
struct kf_table_entry;

#define KF_CACHED_PIECE ((size_t)1 << 20)

/* About how much of an object is there: over a large file, or over the rest (NULL). */
uint64_t kf_cached_bytes(const struct kf_layer *layer,
                         const struct kf_table_entry *entry);
/* Bytes of the layer that the cache lacks. `ret_only_gaps`: and all of its files are
 * there. `places` says which large files there are. */
int kf_cached_missing(const struct kf_layer *layer, const struct kf_sums *places,
                      uint64_t *ret_bytes, bool *ret_only_gaps, struct kf_err *err);
/* Wants the chunks of the remainder that are lacking, at the lowest urgency. */
void kf_cached_want_rest(struct kf_layer *layer, const struct kf_sums *places);

struct kf_cached_stream {
    const struct kf_layer *layer;
    const struct kf_sums *places;
    uint64_t at;
    uint32_t file; /* of `places` */
    struct kf_object *rest, *large;
};

/* Both borrowed until fini. */
void kf_cached_stream_init(struct kf_cached_stream *stream, const struct kf_layer *layer,
                           const struct kf_sums *places);
void kf_cached_stream_fini(struct kf_cached_stream *stream);
/* The next bytes, into KF_CACHED_PIECE of memory; length 0 at the end. KF_E_NOTFOUND or
 * KF_E_CORRUPT: a chunk is not there any more. */
int kf_cached_stream_next(struct kf_cached_stream *stream, uint8_t *data,
                          size_t *ret_length, struct kf_err *err);

#endif
