#include "layer/sequential.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "layer/blob_stream.h"
#include "layer/unpack.h"

#define LINGER_NS (5 * KF_NS_PER_S) /* without requests, before it lets go */

/* A request, from submit until it is ended. */
struct asked {
    TAILQ_ENTRY(asked) link;
    struct kf_source_req *req;
    uint64_t given;
    bool busy; /* its sink is being written to: only the thread ends it */
    bool cancelled;
};

TAILQ_HEAD(asked_list, asked);

struct sequential {
    struct kf_source source;
    struct kf_sequential_opts opts;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* something was asked for, or we stop */
    pthread_t thread;
    bool started;            /* lock */
    bool stopping;           /* lock */
    struct asked_list asked; /* lock */
    /* the thread's own */
    uint64_t position; /* what passes next */
    bool left;         /* it has left the pass: nobody waits for what comes */
};

static struct sequential *of(struct kf_source *source)
{
    return kf_container_of(source, struct sequential, source);
}

/* ---- requests ---- */

static void end_locked(struct sequential *seq, struct asked *asked)
{
    struct kf_source_req *req = asked->req;

    TAILQ_REMOVE(&seq->asked, asked, link);
    free(asked);
    kf_source_finish(req, seq->opts.workq);
}

static void fail_locked(struct sequential *seq, struct asked *asked,
                        enum kf_err_kind kind, const char *why)
{
    (void)kf_fail(&asked->req->result, kind, "cannot read '%s': %s", seq->source.name,
                  why); /* the request tells it */
    end_locked(seq, asked);
}

static uint64_t next_of(const struct asked *asked)
{
    return asked->req->offset + asked->given;
}

/* Whether one waits for bytes that are still to come. */
static bool is_awaited_locked(const struct sequential *seq)
{
    const struct asked *asked;

    TAILQ_FOREACH(asked, &seq->asked, link)
    if (next_of(asked) >= seq->position)
        return true;
    return false;
}

static void end_late_locked(struct sequential *seq)
{
    int64_t now_ns = kf_now_ns();
    struct asked *asked, *next;

    for (asked = TAILQ_FIRST(&seq->asked); asked; asked = next) {
        next = TAILQ_NEXT(asked, link);
        if (asked->req->deadline_ns <= now_ns)
            fail_locked(seq, asked, KF_E_TIMEOUT,
                        "timed out while its layer is streamed");
    }
}

/* ---- the thread: bytes that pass ---- */

/* What a piece has for one request, which is busy. */
static int give(struct asked *asked, uint64_t offset, const uint8_t *data, size_t length)
{
    struct kf_source_req *req = asked->req;
    size_t skip = (size_t)(next_of(asked) - offset);
    size_t part = (size_t)kf_min_u64(length - skip, req->length - asked->given);

    asked->given += part;
    return req->sink->write(req->sink, data + skip, part, &req->result);
}

/* The next request that wants some of the piece. */
static struct asked *find_locked(struct sequential *seq, uint64_t offset, size_t length)
{
    struct asked *asked;

    TAILQ_FOREACH(asked, &seq->asked, link)
    if (next_of(asked) >= offset && next_of(asked) - offset < length)
        return asked;
    return NULL;
}

/* Writing to a sink may take other locks, so without ours. */
static void distribute(struct sequential *seq, uint64_t offset, const uint8_t *data,
                       size_t length)
{
    struct asked *asked;

    (void)pthread_mutex_lock(&seq->lock);
    while ((asked = find_locked(seq, offset, length))) {
        int rc;

        asked->busy = true;
        (void)pthread_mutex_unlock(&seq->lock);
        rc = give(asked, offset, data, length);
        (void)pthread_mutex_lock(&seq->lock);
        asked->busy = false;
        if (rc != 0 && asked->req->result.kind == KF_E_NONE)
            fail_locked(seq, asked, KF_E_CANCELLED, "not wanted any more");
        else if (rc != 0 || asked->given == asked->req->length)
            end_locked(seq, asked);
        else if (asked->cancelled)
            fail_locked(seq, asked, KF_E_CANCELLED, "cancelled");
    }
    (void)pthread_mutex_unlock(&seq->lock);
}

static int leave(struct sequential *seq, struct kf_err *err)
{
    seq->left = true;
    return kf_fail(err, KF_E_CANCELLED, "nobody waits for more");
}

/* Whether the pass goes on: somebody waits for what comes. With nobody at all it waits a
 * while; those that are behind it need a new one. */
static int wait_for_requests(struct sequential *seq, struct kf_err *err)
{
    int64_t until_ns = kf_deadline_ns(LINGER_NS);
    bool awaited;

    (void)pthread_mutex_lock(&seq->lock);
    end_late_locked(seq);
    while (!seq->stopping && TAILQ_EMPTY(&seq->asked) &&
           kf_cond_wait_until(&seq->cond, &seq->lock, until_ns) == 0)
        ;
    awaited = !seq->stopping && is_awaited_locked(seq);
    (void)pthread_mutex_unlock(&seq->lock);
    return awaited ? 0 : leave(seq, err);
}

static int take_piece(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct sequential *seq = arg;
    uint64_t offset = seq->position;

    if (length > seq->source.size - offset)
        return kf_fail(err, KF_E_CORRUPT, "the stream is longer than it was");
    distribute(seq, offset, data, length);
    seq->position += length;
    return wait_for_requests(seq, err);
}

struct pass {
    struct sequential *seq;
    struct kf_unpack *unpack;
};

static int take_blob(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct pass *pass = arg;

    if (kf_unpack_push(pass->unpack, data, length, err) != 0)
        return kf_fail_wrap(err, "cannot read '%s'", pass->seq->source.name);
    return 0;
}

/* While the network is waited for. */
static int idle(void *arg, struct kf_err *err)
{
    struct sequential *seq = ((struct pass *)arg)->seq;
    bool stopping;

    (void)pthread_mutex_lock(&seq->lock);
    end_late_locked(seq);
    stopping = seq->stopping;
    (void)pthread_mutex_unlock(&seq->lock);
    return stopping ? leave(seq, err) : 0;
}

static int pass_once(struct sequential *seq, struct kf_err *err)
{
    struct pass pass = {.seq = seq};
    const struct kf_blob_stream stream = {.source = seq->opts.stored,
                                          .timeout_ns = seq->opts.timeout_ns,
                                          .take = take_blob,
                                          .idle = idle,
                                          .arg = &pass};
    int rc;

    pass.unpack = kf_unpack_new(seq->opts.packing == KF_LAYER_GZIP ? KF_UNPACK_GZIP
                                                                   : KF_UNPACK_ZSTD,
                                take_piece, seq, err);
    if (!pass.unpack)
        return -1;
    rc = kf_blob_stream(&stream, err);
    if (rc == 0)
        rc = kf_unpack_end(pass.unpack, err);
    if (rc == 0 && seq->position != seq->source.size)
        rc = kf_fail(err, KF_E_CORRUPT, "the stream is shorter than it was");
    kf_unpack_free(pass.unpack);
    return rc;
}

/* ---- the thread: one pass after the other ---- */

/* A pass that failed took the bytes of all with it that were asked for. */
static void fail_all(struct sequential *seq, const struct kf_err *why)
{
    struct asked *asked;

    (void)pthread_mutex_lock(&seq->lock);
    while ((asked = TAILQ_FIRST(&seq->asked))) {
        asked->req->result = *why;
        end_locked(seq, asked);
    }
    (void)pthread_mutex_unlock(&seq->lock);
}

/* What was given so far of those that go on in a new pass stays given. */
static bool begin_pass(struct sequential *seq)
{
    bool stopping;

    (void)pthread_mutex_lock(&seq->lock);
    while (!seq->stopping && TAILQ_EMPTY(&seq->asked))
        (void)pthread_cond_wait(&seq->cond, &seq->lock);
    stopping = seq->stopping;
    (void)pthread_mutex_unlock(&seq->lock);
    seq->position = 0;
    seq->left = false;
    return !stopping;
}

static void *run(void *arg)
{
    struct sequential *seq = arg;
    struct kf_err err;
    sigset_t all;

    (void)sigfillset(&all); /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "kf-stream"); /* for people only */
    while (begin_pass(seq))
        if (pass_once(seq, &err) != 0 && !seq->left)
            fail_all(seq, &err);
    (void)kf_fail(&err, KF_E_CANCELLED, "the layer was closed");
    fail_all(seq, &err);
    return NULL;
}

/* ---- the source ---- */

static int start_locked(struct sequential *seq)
{
    if (!seq->started)
        seq->started = pthread_create(&seq->thread, NULL, run, seq) == 0;
    return seq->started ? 0 : -1;
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct sequential *seq = of(source);
    struct asked *asked = calloc(1, sizeof(*asked));

    (void)kf_source_ref(source);
    (void)pthread_mutex_lock(&seq->lock);
    if (req->result.kind == KF_E_NONE && seq->stopping)
        (void)kf_fail(&req->result, KF_E_CANCELLED, "the layer was closed");
    else if (req->result.kind == KF_E_NONE && (!asked || start_locked(seq) != 0))
        (void)kf_fail(&req->result, KF_E_NOMEM, "no memory to stream '%s'", source->name);
    if (req->result.kind == KF_E_NONE) {
        asked->req = req;
        TAILQ_INSERT_TAIL(&seq->asked, asked, link);
        asked = NULL; /* the list's now */
        (void)pthread_cond_signal(&seq->cond);
    } else {
        kf_source_finish(req, seq->opts.workq);
    }
    (void)pthread_mutex_unlock(&seq->lock);
    free(asked);
}

static struct asked *asked_for_locked(struct sequential *seq,
                                      const struct kf_source_req *req)
{
    struct asked *asked;

    TAILQ_FOREACH(asked, &seq->asked, link)
    if (asked->req == req)
        return asked;
    return NULL;
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    struct sequential *seq = of(source);
    struct asked *asked;

    (void)pthread_mutex_lock(&seq->lock);
    asked = asked_for_locked(seq, req); /* NULL: it has ended */
    if (asked && asked->busy)
        asked->cancelled = true;
    else if (asked)
        fail_locked(seq, asked, KF_E_CANCELLED, "cancelled");
    (void)pthread_mutex_unlock(&seq->lock);
}

static void destroy(struct kf_source *source)
{
    struct sequential *seq = of(source);

    assert(!seq->started);
    kf_source_close(seq->opts.stored);
    (void)pthread_cond_destroy(&seq->cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&seq->lock); /* nobody holds it */
    free(seq);
}

static const struct kf_source_ops ops = {submit, cancel, destroy};

struct kf_source *kf_sequential_new(const struct kf_sequential_opts *opts,
                                    struct kf_err *err)
{
    struct sequential *seq = calloc(1, sizeof(*seq));

    if (!seq || kf_cond_init(&seq->cond) != 0) {
        free(seq);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a source"); /* NULL says it */
        return NULL;
    }
    (void)pthread_mutex_init(&seq->lock, NULL); /* cannot fail without attributes */
    seq->source.ops = &ops;
    seq->source.size = opts->size;
    seq->source.refs = 1;
    (void)snprintf(seq->source.name, sizeof(seq->source.name), "%s",
                   opts->stored->name); /* fits */
    seq->opts = *opts;
    (void)kf_source_ref(opts->stored);
    TAILQ_INIT(&seq->asked);
    return &seq->source;
}

void kf_sequential_stop(struct kf_source *source)
{
    struct sequential *seq;
    bool started;

    if (!source)
        return;
    seq = of(source);
    (void)pthread_mutex_lock(&seq->lock);
    seq->stopping = true;
    started = seq->started;
    (void)pthread_cond_broadcast(&seq->cond);
    (void)pthread_mutex_unlock(&seq->lock);
    if (started)
        (void)pthread_join(seq->thread, NULL); /* ours, joined once */
    seq->started = false;
}
