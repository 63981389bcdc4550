#include "layer/long_read.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/gather.h"
#include "layer/layer_state.h"

struct kf_long_read {
    struct kf_gather gather;
    struct kf_layer *layer;
    struct kf_read *read;
    struct kf_long_read *next, **link; /* the layer's list, under its lock */
    int refs;                          /* atomic: its own, and those who cancel it */
};

static void unref(struct kf_long_read *longer)
{
    if (__atomic_sub_fetch(&longer->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kf_feed_unref(longer->gather.feed);
    free(longer->gather.bytes);
    free(longer);
}

static struct kf_long_read *new_read(struct kf_layer *layer, struct kf_feed *feed,
                                     struct kf_read *read)
{
    struct kf_long_read *longer = calloc(1, sizeof(*longer));
    uint8_t *bytes = malloc(read->length);

    if (!longer || !bytes) {
        free(longer);
        free(bytes);
        return NULL;
    }
    longer->gather = (struct kf_gather){.feed = kf_feed_ref(feed),
                                        .offset = read->offset,
                                        .length = read->length,
                                        .bytes = bytes,
                                        .deadline_ns = read->deadline_ns};
    longer->layer = layer;
    longer->read = read;
    longer->refs = 1;
    return longer;
}

static void insert(struct kf_long_read *longer)
{
    struct kf_layer *layer = longer->layer;

    (void)pthread_mutex_lock(&layer->lock);
    longer->next = layer->long_reads;
    longer->link = &layer->long_reads;
    if (longer->next)
        longer->next->link = &longer->next;
    layer->long_reads = longer;
    (void)pthread_mutex_unlock(&layer->lock);
}

static void take_out(struct kf_long_read *longer)
{
    (void)pthread_mutex_lock(&longer->layer->lock);
    *longer->link = longer->next;
    if (longer->next)
        longer->next->link = longer->link;
    (void)pthread_mutex_unlock(&longer->layer->lock);
}

static void end(struct kf_gather *gather)
{
    struct kf_long_read *longer = kf_container_of(gather, struct kf_long_read, gather);
    struct kf_read *read = longer->read;

    take_out(longer); /* before `done`: another read may begin in the same memory */
    read->done(read, gather->failed ? NULL : gather->bytes,
               gather->failed ? &gather->error : NULL);
    unref(longer);
}

void kf_long_read_start(struct kf_layer *layer, struct kf_feed *feed,
                        struct kf_read *read)
{
    struct kf_long_read *longer = new_read(layer, feed, read);
    struct kf_err err;

    if (!longer) {
        (void)kf_fail(&err, KF_E_NOMEM, "no memory for a read");
        read->done(read, NULL, &err);
        return;
    }
    longer->gather.done = end;
    insert(longer);
    /* Who cancels marks the read and then looks into the list; here it is the other way
     * round, so that one of the two sees the other. */
    if (kf_read_is_cancelled(read))
        kf_gather_cancel(&longer->gather);
    if (kf_gather_start(&longer->gather))
        end(&longer->gather);
}

void kf_long_read_cancel(struct kf_layer *layer, const struct kf_read *read)
{
    struct kf_long_read *longer;

    (void)pthread_mutex_lock(&layer->lock);
    longer = layer->long_reads;
    while (longer && longer->read != read)
        longer = longer->next;
    if (longer)
        (void)__atomic_add_fetch(&longer->refs, 1, __ATOMIC_RELAXED); /* it has its own */
    (void)pthread_mutex_unlock(&layer->lock);
    if (!longer)
        return;
    kf_gather_cancel(&longer->gather);
    unref(longer);
}
