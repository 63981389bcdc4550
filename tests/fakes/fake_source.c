#include "fake_source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

#define WAIT_S 10

/* A request from submit to the end of its delivery. */
struct ticket {
    struct kf_source_req *req;
    struct ticket *next;
    bool waiting; /* held back, not on the work queue */
    bool cancelled;
    bool flip;
    uint64_t flip_offset; /* in the source */
    enum kf_err_kind fail_kind;
    uint64_t fail_after;
};

struct kf_fake_source_state {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t submitted;
    struct ticket *tickets; /* oldest first */
    struct kf_fake_range *ranges;
    size_t range_capacity;
    uint64_t requests;
    uint64_t bytes;
    uint64_t cancelled;
    unsigned waiting;
    bool held;
    unsigned fail_in; /* requests until the one that fails; 0: every one */
    enum kf_err_kind fail_kind;
    uint64_t fail_after;
    size_t piece_bytes;
    uint64_t flip_offset;
    unsigned flip_times;
    /* Never changed. */
    struct kf_workq *workq;
    const uint8_t *data;
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static struct kf_fake_source_state *lock(struct kf_fake_source *fake)
{
    (void)pthread_mutex_lock(&fake->state->lock);
    return fake->state;
}

static void unlock(struct kf_fake_source *fake)
{
    (void)pthread_mutex_unlock(&fake->state->lock);
}

static struct kf_fake_source *fake_of(struct kf_source *source)
{
    return kf_container_of(source, struct kf_fake_source, source);
}

/* --- delivery, on a work-queue thread --- */

/* The next piece: false when the delivery is to end, which `result` then explains. */
static bool may_deliver(struct kf_fake_source *fake, struct ticket *ticket, uint64_t done,
                        size_t *ret_length)
{
    struct kf_fake_source_state *state = lock(fake);
    struct kf_source_req *req = ticket->req;
    uint64_t left = req->length - done;
    bool more = left > 0;

    if (state->piece_bytes > 0)
        left = kf_min_u64(left, state->piece_bytes);
    if (ticket->cancelled) {
        (void)kf_fail(&req->result, KF_E_CANCELLED, "cancelled"); /* `done` hears of it */
        more = false;
    } else if (ticket->fail_kind != KF_E_NONE && done >= ticket->fail_after) {
        (void)kf_fail(&req->result, ticket->fail_kind, "failure on request"); /* same */
        more = false;
    } else if (ticket->fail_kind != KF_E_NONE) {
        left = kf_min_u64(left, ticket->fail_after - done);
    }
    if (more)
        state->bytes += left;
    unlock(fake);
    *ret_length = (size_t)left;
    return more;
}

static int write_piece(struct kf_fake_source *fake, const struct ticket *ticket,
                       uint64_t offset, size_t length, struct kf_err *err)
{
    struct kf_sink *sink = ticket->req->sink;
    kf_auto(kf_free) uint8_t *copy = must(malloc(length));

    memcpy(copy, fake->state->data + offset, length);
    if (ticket->flip && ticket->flip_offset >= offset &&
        ticket->flip_offset - offset < length)
        copy[ticket->flip_offset - offset] ^= 0xff;
    if (sink->write(sink, copy, length, err) == 0)
        return 0;
    return err->kind != KF_E_NONE ? -1 : kf_fail(err, KF_E_CANCELLED, "the sink stopped");
}

static void drop_ticket(struct kf_fake_source *fake, struct ticket *ticket)
{
    struct kf_fake_source_state *state = lock(fake);
    struct ticket **link = &state->tickets;

    while (*link != ticket)
        link = &(*link)->next;
    *link = ticket->next;
    unlock(fake);
    free(ticket);
}

static void deliver(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_source *source = req->source; /* `done` may free the request */
    struct kf_fake_source *fake = fake_of(source);
    struct ticket *ticket = req->priv;
    uint64_t done = 0;
    size_t length;

    while (may_deliver(fake, ticket, done, &length)) {
        if (write_piece(fake, ticket, req->offset + done, length, &req->result) != 0)
            break;
        done += length;
    }
    drop_ticket(fake, ticket);
    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(source);
}

/* --- the source --- */

static void start_locked(struct kf_fake_source_state *state, struct ticket *ticket)
{
    if (ticket->waiting)
        state->waiting--;
    ticket->waiting = false;
    ticket->req->job.run = deliver;
    kf_workq_submit(state->workq, &ticket->req->job, ticket->req->urgency);
}

static void keep_range_locked(struct kf_fake_source_state *state,
                              const struct kf_source_req *req)
{
    if (state->requests == state->range_capacity) {
        state->range_capacity = state->range_capacity ? 2 * state->range_capacity : 64;
        state->ranges = must(
            reallocarray(state->ranges, state->range_capacity, sizeof(*state->ranges)));
    }
    state->ranges[state->requests++] =
        (struct kf_fake_range){.offset = req->offset,
                               .length = req->length,
                               .urgency = req->urgency,
                               .deadline_ns = req->deadline_ns};
}

/* What was ordered to happen to the request that comes now. */
static void arm_locked(struct kf_fake_source_state *state, struct ticket *ticket)
{
    const struct kf_source_req *req = ticket->req;

    if (state->fail_kind != KF_E_NONE && state->fail_in <= 1) {
        ticket->fail_kind = state->fail_kind;
        ticket->fail_after = state->fail_after;
    }
    if (state->fail_in == 1)
        state->fail_kind = KF_E_NONE;
    if (state->fail_in > 0)
        state->fail_in--;
    if (state->flip_times > 0 && state->flip_offset >= req->offset &&
        state->flip_offset - req->offset < req->length) {
        ticket->flip = true;
        ticket->flip_offset = state->flip_offset;
        state->flip_times--;
    }
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_fake_source *fake = fake_of(kf_source_ref(source));
    struct kf_fake_source_state *state = fake->state;
    struct ticket *ticket, **link;

    if (req->result.kind != KF_E_NONE) {
        kf_source_finish(req, state->workq);
        return;
    }
    ticket = must(calloc(1, sizeof(*ticket)));
    ticket->req = req;
    req->priv = ticket;
    (void)lock(fake);
    for (link = &state->tickets; *link; link = &(*link)->next)
        ;
    *link = ticket;
    keep_range_locked(state, req);
    arm_locked(state, ticket);
    ticket->waiting = state->held;
    if (state->held)
        state->waiting++;
    else
        start_locked(state, ticket);
    (void)pthread_cond_broadcast(&state->submitted);
    unlock(fake);
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_fake_source *fake = fake_of(source);
    struct kf_fake_source_state *state = lock(fake);
    struct ticket *ticket = state->tickets;

    while (ticket && ticket->req != req)
        ticket = ticket->next;
    if (ticket && !ticket->cancelled) {
        ticket->cancelled = true;
        state->cancelled++;
        if (ticket->waiting)
            start_locked(state, ticket);
    }
    unlock(fake);
}

static void destroy(struct kf_source *source)
{
    struct kf_fake_source *fake = fake_of(source);

    (void)pthread_cond_destroy(&fake->state->submitted);
    (void)pthread_mutex_destroy(&fake->state->lock);
    free(fake->state->ranges);
    free(fake->state);
    free(fake);
}

static const struct kf_source_ops ops = {submit, cancel, destroy};

struct kf_fake_source *kf_fake_source_new(struct kf_workq *workq, const void *data,
                                          size_t length)
{
    struct kf_fake_source *fake = must(calloc(1, sizeof(*fake)));

    fake->source =
        (struct kf_source){.ops = &ops, .size = length, .refs = 1, .name = "fake"};
    fake->state = must(calloc(1, sizeof(*fake->state)));
    fake->state->workq = workq;
    fake->state->data = data;
    (void)pthread_mutex_init(&fake->state->lock, NULL);
    (void)pthread_cond_init(&fake->state->submitted, NULL);
    return fake;
}

/* --- orders --- */

unsigned kf_fake_source_release(struct kf_fake_source *fake, unsigned count)
{
    struct kf_fake_source_state *state = lock(fake);
    unsigned released = 0;

    for (struct ticket *ticket = state->tickets; ticket && released < count;
         ticket = ticket->next) {
        if (!ticket->waiting)
            continue;
        start_locked(state, ticket);
        released++;
    }
    unlock(fake);
    return released;
}

void kf_fake_source_hold(struct kf_fake_source *fake, bool held)
{
    lock(fake)->held = held;
    unlock(fake);
    if (!held)
        (void)kf_fake_source_release(fake, UINT32_MAX); /* all; how many is no matter */
}

void kf_fake_source_fail(struct kf_fake_source *fake, unsigned nth, enum kf_err_kind kind,
                         uint64_t after_bytes)
{
    struct kf_fake_source_state *state = lock(fake);

    state->fail_in = nth;
    state->fail_kind = kind;
    state->fail_after = after_bytes;
    unlock(fake);
}

void kf_fake_source_pieces(struct kf_fake_source *fake, size_t bytes)
{
    lock(fake)->piece_bytes = bytes;
    unlock(fake);
}

void kf_fake_source_flip(struct kf_fake_source *fake, uint64_t offset, unsigned times)
{
    struct kf_fake_source_state *state = lock(fake);

    state->flip_offset = offset;
    state->flip_times = times;
    unlock(fake);
}

/* --- what happened --- */

uint64_t kf_fake_source_requests(struct kf_fake_source *fake)
{
    uint64_t count = lock(fake)->requests;

    unlock(fake);
    return count;
}

uint64_t kf_fake_source_bytes(struct kf_fake_source *fake)
{
    uint64_t count = lock(fake)->bytes;

    unlock(fake);
    return count;
}

uint64_t kf_fake_source_cancelled(struct kf_fake_source *fake)
{
    uint64_t count = lock(fake)->cancelled;

    unlock(fake);
    return count;
}

unsigned kf_fake_source_waiting(struct kf_fake_source *fake)
{
    unsigned count = lock(fake)->waiting;

    unlock(fake);
    return count;
}

bool kf_fake_source_range(struct kf_fake_source *fake, size_t index,
                          struct kf_fake_range *ret)
{
    struct kf_fake_source_state *state = lock(fake);
    bool found = index < state->requests;

    if (found)
        *ret = state->ranges[index];
    unlock(fake);
    return found;
}

bool kf_fake_source_wait(struct kf_fake_source *fake, uint64_t requests)
{
    struct kf_fake_source_state *state = lock(fake);
    struct timespec until;
    int rc = 0;
    bool enough;

    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail on Linux */
    until.tv_sec += WAIT_S;
    while (state->requests < requests && rc == 0)
        rc = pthread_cond_timedwait(&state->submitted, &state->lock, &until);
    enough = state->requests >= requests;
    unlock(fake);
    return enough;
}
