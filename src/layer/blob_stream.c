#include "layer/blob_stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/source.h"

#define PIECE (UINT64_C(4) << 20)
#define REQUESTS 4u
#define LOOK_NS (100 * KF_NS_PER_MS) /* at whether to stop */

struct stream;

struct slot {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    struct stream *stream;
    uint8_t *data;
    size_t length; /* 0: free */
    bool done;     /* stream->lock */
    bool failed;   /* stream->lock */
    struct kf_err error;
};

struct stream {
    struct kf_source *source;
    const struct kf_blob_range *range;
    uint64_t next, end; /* what to ask for */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct slot slots[REQUESTS];
};

static void piece_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct slot *slot = kf_container_of(req, struct slot, req);
    struct stream *stream = slot->stream;

    if (err)
        slot->error = *err;
    (void)pthread_mutex_lock(&stream->lock);
    slot->failed = err != NULL;
    slot->done = true;
    (void)pthread_cond_broadcast(&stream->cond);
    (void)pthread_mutex_unlock(&stream->lock);
}

static int start(struct stream *stream, struct slot *slot, struct kf_err *err)
{
    uint64_t left = stream->end - stream->next;

    if (left == 0)
        return 0;
    if (!slot->data)
        slot->data = malloc(PIECE);
    if (!slot->data)
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    slot->stream = stream;
    slot->length = (size_t)kf_min_u64(left, PIECE);
    slot->done = false;
    kf_sink_memory_init(&slot->sink, slot->data, slot->length);
    slot->req = (struct kf_source_req){
        .offset = stream->next,
        .length = slot->length,
        .sink = &slot->sink.sink,
        .urgency = KF_DEMAND,
        .deadline_ns = kf_deadline_ns(stream->range->timeout_ns),
        .done = piece_done,
    };
    stream->next += slot->length;
    kf_source_submit(stream->source, &slot->req);
    return 0;
}

static void wait_for(struct stream *stream, struct slot *slot)
{
    (void)pthread_mutex_lock(&stream->lock);
    while (!slot->done) /* the request has a deadline */
        (void)pthread_cond_wait(&stream->cond, &stream->lock);
    (void)pthread_mutex_unlock(&stream->lock);
}

static bool is_stopped(const struct stream *stream)
{
    return stream->range->stopped && stream->range->stopped(stream->arg);
}

/* False: to be given up. */
static bool wait_for_next(struct stream *stream, const struct slot *slot)
{
    bool stopped = is_stopped(stream), done = false;

    while (!stopped && !done) {
        (void)pthread_mutex_lock(&stream->lock);
        if (!slot->done) /* the request has a deadline */
            (void)kf_cond_wait_until(&stream->cond, &stream->lock,
                                     kf_deadline_ns(LOOK_NS));
        done = slot->done;
        (void)pthread_mutex_unlock(&stream->lock);
        stopped = is_stopped(stream);
    }
    return !stopped;
}

static int pump(struct stream *stream,
                int (*take)(void *arg, const uint8_t *data, size_t length,
                            struct kf_err *err),
                struct kf_err *err)
{
    for (unsigned i = 0; i < REQUESTS; i++)
        if (start(stream, &stream->slots[i], err) != 0)
            return -1;
    for (unsigned i = 0; stream->slots[i].length > 0; i = (i + 1) % REQUESTS) {
        struct slot *slot = &stream->slots[i];
        size_t length = slot->length;

        if (!wait_for_next(stream, slot))
            return kf_fail(err, KF_E_CANCELLED, "interrupted");
        slot->length = 0;
        if (slot->failed) {
            if (err)
                *err = slot->error;
            return -1;
        }
        if (take(stream->arg, slot->data, length, err) != 0 ||
            start(stream, slot, err) != 0)
            return -1;
    }
    return 0;
}

/* After a failure requests may still be under way. */
static void stop(struct stream *stream)
{
    (void)pthread_mutex_lock(&stream->lock); /* no `done` begins meanwhile */
    for (unsigned i = 0; i < REQUESTS; i++)
        if (stream->slots[i].length > 0 && !stream->slots[i].done)
            kf_source_cancel(stream->source, &stream->slots[i].req);
    (void)pthread_mutex_unlock(&stream->lock);
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (stream->slots[i].length > 0)
            wait_for(stream, &stream->slots[i]);
        free(stream->slots[i].data);
    }
}

int kf_blob_stream_range(struct kf_source *source, const struct kf_blob_range *range,
                         int (*take)(void *arg, const uint8_t *data, size_t length,
                                     struct kf_err *err),
                         void *arg, struct kf_err *err)
{
    struct stream stream = {.source = source,
                            .range = range,
                            .next = range->offset,
                            .end = range->offset + range->length,
                            .arg = arg};
    int rc;

    if (pthread_mutex_init(&stream.lock, NULL) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    if (kf_cond_init(&stream.cond) != 0) {
        (void)pthread_mutex_destroy(&stream.lock); /* never used */
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    }
    rc = pump(&stream, take, err);
    stop(&stream);
    (void)pthread_cond_destroy(&stream.cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&stream.lock); /* nobody holds it */
    return rc;
}

int kf_blob_stream(struct kf_source *source, int64_t timeout_ns,
                   int (*take)(void *arg, const uint8_t *data, size_t length,
                               struct kf_err *err),
                   void *arg, struct kf_err *err)
{
    const struct kf_blob_range all = {.length = kf_source_size(source),
                                      .timeout_ns = timeout_ns};

    return kf_blob_stream_range(source, &all, take, arg, err);
}
