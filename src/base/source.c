#include "base/source.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sink.h"

struct kf_source *kf_source_ref(struct kf_source *source)
{
    (void)__atomic_add_fetch(&source->refs, 1,
                             __ATOMIC_RELAXED); /* the caller holds one */
    return source;
}

void kf_source_close(struct kf_source *source)
{
    if (source && __atomic_sub_fetch(&source->refs, 1, __ATOMIC_ACQ_REL) == 0)
        source->ops->destroy(source);
}

static void run_done(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_source *source = req->source; /* `done` may free the request */

    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(source);
}

void kf_source_finish(struct kf_source_req *req, struct kf_workq *workq)
{
    req->job.run = run_done;
    kf_workq_submit(workq, &req->job, req->urgency);
}

void kf_source_submit(struct kf_source *source, struct kf_source_req *req)
{
    req->source = source;
    req->priv = NULL;
    req->reordered = false;
    kf_err_clear(&req->result);
    if (req->length == 0 || req->offset > source->size ||
        req->length > source->size - req->offset)
        (void)kf_fail(&req->result, KF_E_ARG,
                      "cannot read '%s': %llu bytes at %llu are outside it", source->name,
                      (unsigned long long)req->length,
                      (unsigned long long)req->offset); /* the source tells `done` */
    source->ops->submit(source, req);
}

void kf_source_cancel(struct kf_source *source, struct kf_source_req *req)
{
    source->ops->cancel(source, req);
}

struct sync_read {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct kf_err result;
    int rc;
};

static void sync_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct sync_read *read = kf_container_of(req, struct sync_read, req);

    (void)pthread_mutex_lock(&read->lock); /* a plain mutex of ours */
    read->rc = err ? -1 : 0;
    if (err)
        read->result = *err;
    read->done = true;
    (void)pthread_cond_signal(&read->cond);
    (void)pthread_mutex_unlock(&read->lock);
}

/* A deadline that passed cancels, and the cancelled request still ends by itself. */
static bool wait_done(struct sync_read *read, int64_t deadline_ns)
{
    (void)pthread_mutex_lock(&read->lock);
    while (!read->done && kf_cond_wait_until(&read->cond, &read->lock, deadline_ns) == 0)
        ;
    bool done = read->done;
    (void)pthread_mutex_unlock(&read->lock);
    return done;
}

/* A grace for the source to tell its own, better reason for a deadline that passed. */
#define GRACE_NS (2 * KF_NS_PER_S)

static int read_sync(struct kf_source *source, void *data,
                     const struct kf_source_req *wanted, struct kf_err *err)
{
    size_t length = (size_t)wanted->length; /* of `data` */
    int64_t deadline_ns = wanted->deadline_ns;
    struct sync_read read = {.req = {.offset = wanted->offset,
                                     .length = length,
                                     .urgency = KF_DEMAND,
                                     .fresh = wanted->fresh,
                                     .deadline_ns = deadline_ns,
                                     .done = sync_done}};
    int64_t grace_ns =
        deadline_ns < KF_NO_DEADLINE - GRACE_NS ? deadline_ns + GRACE_NS : KF_NO_DEADLINE;
    bool in_time;

    if (length == 0)
        return 0;
    if (pthread_mutex_init(&read.lock, NULL) != 0 || kf_cond_init(&read.cond) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    kf_sink_memory_init(&read.sink, data, length);
    read.req.sink = &read.sink.sink;
    kf_source_submit(source, &read.req);
    in_time = wait_done(&read, grace_ns);
    if (!in_time) {
        (void)pthread_mutex_lock(&read.lock);
        if (!read.done)
            kf_source_cancel(source, &read.req);
        (void)pthread_mutex_unlock(&read.lock);
        (void)wait_done(&read, KF_NO_DEADLINE);
    }
    (void)pthread_cond_destroy(&read.cond);
    (void)pthread_mutex_destroy(&read.lock);
    if (read.rc == 0)
        return 0;
    if (!in_time)
        return kf_fail(err, KF_E_TIMEOUT, "cannot read '%s': timed out", source->name);
    if (err)
        *err = read.result;
    return -1;
}

int kf_source_read(struct kf_source *source, void *data, uint64_t offset, size_t length,
                   int64_t deadline_ns, struct kf_err *err)
{
    const struct kf_source_req wanted = {
        .offset = offset, .length = length, .deadline_ns = deadline_ns};

    return read_sync(source, data, &wanted, err);
}

int kf_source_read_anew(struct kf_source *source, void *data, uint64_t offset,
                        size_t length, int64_t deadline_ns, struct kf_err *err)
{
    const struct kf_source_req wanted = {
        .offset = offset, .length = length, .fresh = true, .deadline_ns = deadline_ns};

    return read_sync(source, data, &wanted, err);
}
