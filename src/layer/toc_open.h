/*
 * The TOC of a layer that is read: its root, checked and decoded, and a way to its slices
 * (docs/formats/layer.md, section 7, rules 2, 3 and 7).
 */
#ifndef KF_LAYER_TOC_OPEN_H
#define KF_LAYER_TOC_OPEN_H

#include <stddef.h>
#include <stdint.h>

#include "layer/toc.h"

struct kf_err;
struct kf_feed;
struct kf_fetch;
struct kf_source;
struct kf_store;

#define KF_TOC_WHOLE_AREA \
    (UINT64_C(1) << 20) /* up to here root and slices come at once */

struct kf_toc_from {
    const struct kf_toc_link *link;
    struct kf_source *source; /* the blob with the area */
    uint64_t blob_size;       /* of the layer */
    struct kf_store *store;   /* may be NULL */
    struct kf_fetch *fetch;
    int64_t timeout_ns; /* of the request */
    /* Bytes of the area that are here already; may be NULL. */
    const uint8_t *area;
    size_t area_length;
};

struct kf_opened_toc {
    struct kf_toc toc;
    /* The slices: in memory, or an object of one chunk a slice in the order of SLIC; both
     * NULL when there are none. */
    uint8_t *slices;
    struct kf_feed *feed;
};

/* Blocking. 0; 1 when it counts as none (rule 7), and `err` says why; -1. What came with
 * the root is checked with it. */
int kf_toc_open(struct kf_opened_toc *ret, const struct kf_toc_from *from,
                struct kf_err *err);
void kf_opened_toc_fini(struct kf_opened_toc *opened);

#endif
