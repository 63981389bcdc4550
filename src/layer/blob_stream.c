#include "layer/blob_stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/source.h"

/* Requests grow: who stops after the first bytes has not asked for many. */
#define PIECE_FIRST (UINT64_C(256) << 10)
#define PIECE (UINT64_C(4) << 20)
#define REQUESTS 4u
#define IDLE_NS (50 * KF_NS_PER_MS)

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
    const struct kf_blob_stream *opts;
    uint64_t next; /* what to ask for */
    uint64_t end;
    uint64_t piece; /* and how much of it */
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
    slot->length = (size_t)kf_min_u64(left, stream->piece);
    stream->piece = kf_min_u64(2 * stream->piece, PIECE);
    slot->done = false;
    kf_sink_memory_init(&slot->sink, slot->data, slot->length);
    slot->req = (struct kf_source_req){
        .offset = stream->next,
        .length = slot->length,
        .sink = &slot->sink.sink,
        .urgency = KF_DEMAND,
        .deadline_ns = kf_deadline_ns(stream->opts->timeout_ns),
        .done = piece_done,
    };
    stream->next += slot->length;
    kf_source_submit(stream->opts->source, &slot->req);
    return 0;
}

/* Whether the slot is done by then. */
static bool wait_until(struct stream *stream, struct slot *slot, int64_t deadline_ns)
{
    bool done;

    (void)pthread_mutex_lock(&stream->lock);
    while (!slot->done &&
           kf_cond_wait_until(&stream->cond, &stream->lock, deadline_ns) == 0)
        ;
    done = slot->done;
    (void)pthread_mutex_unlock(&stream->lock);
    return done;
}

/* The request has a deadline. */
static int wait_for(struct stream *stream, struct slot *slot, struct kf_err *err)
{
    const struct kf_blob_stream *opts = stream->opts;

    while (
        !wait_until(stream, slot, opts->idle ? kf_deadline_ns(IDLE_NS) : KF_NO_DEADLINE))
        if (opts->idle(opts->arg, err) != 0)
            return -1;
    return 0;
}

static int pump(struct stream *stream, struct kf_err *err)
{
    const struct kf_blob_stream *opts = stream->opts;

    for (unsigned i = 0; i < REQUESTS; i++)
        if (start(stream, &stream->slots[i], err) != 0)
            return -1;
    for (unsigned i = 0; stream->slots[i].length > 0; i = (i + 1) % REQUESTS) {
        struct slot *slot = &stream->slots[i];
        size_t length = slot->length;

        if (wait_for(stream, slot, err) != 0)
            return -1;
        slot->length = 0;
        if (slot->failed) {
            if (err)
                *err = slot->error;
            return -1;
        }
        if (opts->take(opts->arg, slot->data, length, err) != 0 ||
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
            kf_source_cancel(stream->opts->source, &stream->slots[i].req);
    (void)pthread_mutex_unlock(&stream->lock);
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (stream->slots[i].length > 0)
            (void)wait_until(stream, &stream->slots[i], KF_NO_DEADLINE);
        free(stream->slots[i].data);
    }
}

int kf_blob_stream(const struct kf_blob_stream *opts, struct kf_err *err)
{
    struct stream stream = {.opts = opts, .next = opts->offset, .piece = PIECE_FIRST};
    int rc;

    stream.end =
        opts->length > 0 ? opts->offset + opts->length : kf_source_size(opts->source);
    if (pthread_mutex_init(&stream.lock, NULL) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    if (kf_cond_init(&stream.cond) != 0) {
        (void)pthread_mutex_destroy(&stream.lock); /* never used */
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    }
    rc = pump(&stream, err);
    stop(&stream);
    (void)pthread_cond_destroy(&stream.cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&stream.lock); /* nobody holds it */
    return rc;
}
