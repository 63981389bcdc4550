/*
 * The seek table of a zstd blob that has no annotation, and a TOC that it may lead to
 * (docs/formats/layer.md, section 7 rule 8, and section 8). What was found is kept by
 * layer digest (docs/formats/cache.md), so that the next opening asks for nothing.
 */
#ifndef KF_LAYER_SEEK_FIND_H
#define KF_LAYER_SEEK_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/toc.h"

struct kf_buf;
struct kf_digest;
struct kf_err;
struct kf_source;
struct kf_store;

struct kf_seek_from {
    struct kf_source *source;       /* the blob */
    const struct kf_digest *digest; /* its own */
    bool is_tar;                    /* only a tar can have a TOC */
    struct kf_store *store;         /* may be NULL */
    int64_t timeout_ns;             /* of one request */
};

struct kf_seek_found {
    uint8_t *table; /* the whole skippable frame; NULL: the blob has none */
    size_t length;
    bool has_toc;
    struct kf_toc_link toc;
    uint8_t *area; /* what of the TOC's area was fetched on the way; may be NULL */
    size_t area_length;
};

/* Blocking. 0, also when there is no table or none that may be used (longer than the
 * blob, sums that do not fit, more than KF_FRAMES_LIMIT frames). */
int kf_seek_find(struct kf_seek_found *ret, const struct kf_seek_from *from,
                 struct kf_err *err);
void kf_seek_found_fini(struct kf_seek_found *found);

/* What a cache file holds; pure. -1 when it breaks a rule. */
int kf_seek_file_decode(struct kf_seek_found *ret, const void *data, size_t length,
                        uint64_t blob_size, struct kf_err *err);
int kf_seek_file_encode(const struct kf_seek_found *found, struct kf_buf *ret,
                        struct kf_err *err);

#endif
