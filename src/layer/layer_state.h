/*
 * What layer.c (opening) and file.c (reading) share; private to src/layer.
 */
#ifndef KF_LAYER_LAYER_STATE_H
#define KF_LAYER_LAYER_STATE_H

#include <pthread.h>

#include "base/digest.h"
#include "layer/table.h"

struct kf_feed;
struct kf_fetch;
struct kf_file;
struct kf_source;
struct kf_store;

struct kf_layer {
    struct kf_digest digest;
    struct kf_source *source;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_table table;

    pthread_mutex_t lock;      /* guards what follows; taken before a feed's */
    struct kf_file **files;    /* by entry: those that somebody reads */
    struct kf_feed *remainder; /* from its first use on */
};

#endif
