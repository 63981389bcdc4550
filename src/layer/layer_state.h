/*
 * What the files of src/layer share about an open layer; private to them.
 */
#ifndef KF_LAYER_LAYER_STATE_H
#define KF_LAYER_LAYER_STATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/digest.h"
#include "base/err.h"
#include "layer/layer.h"
#include "layer/slot.h"
#include "layer/table.h"
#include "layer/toc_open.h"

struct kf_fetch;
struct kf_file;
struct kf_long_read;
struct kf_source;
struct kf_store;
struct kf_whole;

struct kf_layer {
    struct kf_digest digest;
    struct kf_digest name; /* of its objects without a TOC, and of its table */
    struct kf_source *blob;
    struct kf_source *source; /* of chunks: the blob, or the stream that it unpacks to */
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_table table;
    bool is_tar;
    bool is_streamed; /* without random access */
    bool is_deferred; /* and not streamed yet: the table is empty */
    enum kf_layer_packing packing;
    int64_t timeout_ns;
    char *raw_path;
    struct kf_whole *whole; /* without a TOC */
    bool has_digest;        /* of the stream: `stream_digest` */
    struct kf_digest stream_digest;
    bool has_toc;
    bool toc_found;    /* no annotation led to it */
    uint64_t toc_area; /* bytes of its area */
    struct kf_digest root_digest;
    struct kf_opened_toc toc;
    uint64_t *rest_offsets; /* with a TOC: where each slice begins in the remainder */
    uint64_t rest_size, rest_chunks;

    bool failed; /* atomic: its bytes cannot be trusted; `failure` says why */
    struct kf_err failure;

    pthread_mutex_t lock;     /* guards what follows; taken before a feed's */
    struct kf_file **files;   /* by entry, then the whole: those that somebody reads */
    struct kf_slot remainder; /* all that is no large file */
    struct kf_long_read *long_reads;
};

/* layer.c: the table by the layer's name; -1 when it is not there or not sound. */
int kf_layer_load_table(struct kf_layer *layer);
/* Into the store; that it cannot be is logged. */
void kf_layer_save_table(const struct kf_layer *layer, const struct kf_table *table);
/* The one file of a raw layer, whose size is that of the stream. */
int kf_layer_raw_table(struct kf_layer *layer, const struct kf_layer_spec *spec,
                       uint64_t size, struct kf_err *err);

/* stream_open.c: opens a layer without random access, by a pass if need be. */
int kf_layer_open_stream(struct kf_layer *layer, const struct kf_layer_spec *spec,
                         struct kf_err *err);

/* Logs it once; from now on every read of the layer fails. */
void kf_layer_fail(struct kf_layer *layer, const char *event, const struct kf_err *why);

#endif
