#include "held_source.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

uint8_t held_byte(uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

static struct kf_source_req *take_req(struct held_source *held, unsigned number)
{
    struct kf_source_req *req;

    pthread_mutex_lock(&held->lock);
    req = held->requests[number - 1].req;
    held->requests[number - 1].req = NULL;
    pthread_mutex_unlock(&held->lock);
    return req;
}

/* Returns what the sink returned. */
static int send(struct held_source *held, struct kf_source_req *req,
                struct held_request *entry, uint64_t length, bool damage)
{
    uint8_t bytes[5000]; /* no divisor of a chunk */

    while (length > 0) {
        size_t part = (size_t)kf_min_u64(length, sizeof(bytes));

        for (size_t i = 0; i < part; i++)
            bytes[i] = held_byte(entry->offset + entry->sent + i);
        if (damage && entry->sent == 0)
            bytes[0] ^= 1;
        if (req->sink->write(req->sink, bytes, part, NULL) != 0)
            return -1;
        entry->sent += part;
        length -= part;
    }
    return 0;
}

static void run_done(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_source *source = req->source; /* `done` may free the request */

    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(source);
}

static void end(struct held_source *held, struct kf_source_req *req,
                enum kf_err_kind kind)
{
    if (!req)
        return;
    if (kind != KF_E_NONE)
        (void)kf_fail(&req->result, kind, "the test says so");
    req->job.run = run_done;
    kf_workq_submit(held->workq, &req->job, req->urgency);
}

static void answer(struct held_source *held, unsigned number, struct kf_source_req *req)
{
    struct held_request *entry = &held->requests[number - 1];
    bool fails = number == held->fail_at;
    bool damage = number >= held->damage_first && number <= held->damage_last;

    (void)send(held, req, entry, fails ? held->fail_after : entry->length, damage);
    end(held, take_req(held, number), fails ? held->fail_kind : KF_E_NONE);
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct held_source *held = kf_container_of(source, struct held_source, source);
    unsigned number;

    (void)kf_source_ref(source);
    pthread_mutex_lock(&held->lock);
    number = ++held->count;
    if (number > HELD_REQUESTS)
        abort();
    held->requests[number - 1] = (struct held_request){
        .req = req,
        .offset = req->offset,
        .length = req->length,
        .urgency = req->urgency,
        .fresh = req->fresh,
        .deadline_ns = req->deadline_ns,
    };
    pthread_cond_broadcast(&held->submitted);
    pthread_mutex_unlock(&held->lock);
    if (held->automatic)
        answer(held, number, req);
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    struct held_source *held = kf_container_of(source, struct held_source, source);
    unsigned number = 0;

    if (held->deaf)
        return;
    pthread_mutex_lock(&held->lock);
    for (unsigned i = 0; i < held->count; i++)
        if (held->requests[i].req == req)
            number = i + 1;
    pthread_mutex_unlock(&held->lock);
    if (number > 0)
        end(held, take_req(held, number), KF_E_CANCELLED);
}

static void destroy(struct kf_source *source)
{
    struct held_source *held = kf_container_of(source, struct held_source, source);

    __atomic_store_n(&held->destroyed, true, __ATOMIC_RELEASE);
}

static const struct kf_source_ops held_ops = {submit, cancel, destroy};

struct held_source *held_new(struct kf_workq *workq, uint64_t size)
{
    struct held_source *held = calloc(1, sizeof(*held));

    held->source =
        (struct kf_source){.ops = &held_ops, .size = size, .refs = 1, .name = "held"};
    held->workq = workq;
    pthread_mutex_init(&held->lock, NULL);
    kf_cond_init(&held->submitted);
    return held;
}

void held_free(struct held_source *held)
{
    pthread_cond_destroy(&held->submitted);
    pthread_mutex_destroy(&held->lock);
    free(held);
}

bool held_wait(struct held_source *held, unsigned count)
{
    int64_t deadline_ns = kf_deadline_ns(20 * KF_NS_PER_S);
    bool there;

    pthread_mutex_lock(&held->lock);
    while (held->count < count &&
           kf_cond_wait_until(&held->submitted, &held->lock, deadline_ns) == 0)
        ;
    there = held->count >= count;
    pthread_mutex_unlock(&held->lock);
    return there;
}

unsigned held_count(struct held_source *held)
{
    unsigned count;

    pthread_mutex_lock(&held->lock);
    count = held->count;
    pthread_mutex_unlock(&held->lock);
    return count;
}

void held_send(struct held_source *held, unsigned number, uint64_t length)
{
    struct held_request *entry = &held->requests[number - 1];

    (void)send(held, entry->req, entry, length, false);
}

void held_finish(struct held_source *held, unsigned number)
{
    struct held_request *entry = &held->requests[number - 1];

    held_send(held, number, entry->length - entry->sent);
    end(held, take_req(held, number), KF_E_NONE);
}

void held_fail(struct held_source *held, unsigned number, enum kf_err_kind kind)
{
    end(held, take_req(held, number), kind);
}
