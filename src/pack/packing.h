/*
 * What the files of packing share; private to src/pack.
 */
#ifndef KF_PACK_PACKING_H
#define KF_PACK_PACKING_H

#include <pthread.h>

#include "base/err.h"
#include "kitfile/kitignore.h"
#include "layer/writer.h"
#include "pack/manifest_write.h"
#include "pack/pack.h"
#include "pack/parents.h"
#include "pack/scan.h"

/* What becomes of one entry of the Kitfile. */
struct kf_packing_layer {
    size_t entry;
    struct kf_scan scan;
    enum kf_toc_carrier carrier;
    struct kf_written written;
    unsigned threads;
    uint64_t done, todo; /* the packing's lock */
};

struct kf_packing {
    const struct kf_pack_opts *opts;
    struct kf_dest *dest;
    int context_fd;
    struct kf_kitfile_plan plan;
    struct kf_ignore ignore;
    struct kf_parents parents;
    char created[32]; /* "": not said */
    struct kf_packing_layer *layers;
    struct kf_out_layer *out; /* one a layer, and one for a TOC layer */
    size_t layer_count, out_count;
    uint64_t put_bytes;

    /* For layers.c, some of which are written at once. */
    size_t next_layer;    /* atomic */
    int failed;           /* atomic, set under the lock: all layers end */
    pthread_mutex_t lock; /* guards the rest, and is held while progress is told */
    uint64_t done, total;
    struct kf_err first_err;
};

const char *kf_packing_kind(enum kf_entry_kind kind); /* "model" ...; static */

void kf_packing_warn_of_tar(const struct kf_packing *packing, size_t entry,
                            const char *why);

/* Sets `written` of all layers. The destination asks from then on whether to stop. */
int kf_packing_write_layers(struct kf_packing *packing, struct kf_err *err);

/* The descriptors of all layers that were written; puts the layer of TOCs where one is
 * needed. */
int kf_packing_describe(struct kf_packing *packing, struct kf_err *err);

#endif
