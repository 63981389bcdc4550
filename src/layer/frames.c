#include "layer/frames.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/source.h"
#include "layer/frame.h"
#include "layer/frame_map.h"
#include "layer/frame_pool.h"

struct kf_frames {
    struct kf_source source;
    struct kf_source *blob;
    struct kf_workq *workq;
    uint8_t *table;
    struct kf_frame_map map;
};

enum state {
    BUSY,     /* its job is submitted or runs */
    WAITING,  /* for another's run */
    STARVED,  /* for memory */
    FETCHING, /* its own run */
};

/* A request, and the run that it fetches. Guarded by the pool's lock where it is not
 * BUSY; `cancelled` and `state` always. */
struct kf_work {
    struct kf_source_req *req;
    struct kf_frames *frames;
    uint64_t at; /* of the stream: what goes out next */
    enum state state;
    bool cancelled;
    struct kf_job job;
    struct kf_hand *hand; /* that it waits for, or was given */
    struct kf_work *next; /* in a list of those that wait */

    struct kf_source_req inner;
    struct kf_sink_memory sink;
    uint8_t *stored;
    size_t stored_length;
    uint32_t first, count; /* units */
    uint32_t reached;      /* so many of them were decoded */
    bool again;            /* it is the second try */
    uint64_t charge;
};

static struct kf_work *starved; /* requests that wait for memory; the pool's lock */

/* ---- the end of a request ---- */

static void end_locked(struct kf_work *work, const struct kf_err *err)
{
    struct kf_source_req *req = work->req;

    if (err)
        req->result = *err;
    req->priv = NULL;
    kf_source_finish(req, work->frames->workq);
    free(work);
}

static void resume_locked(struct kf_work *work)
{
    work->state = BUSY;
    kf_workq_submit(work->frames->workq, &work->job, work->req->urgency);
}

static int cancelled(struct kf_work *work, struct kf_err *err)
{
    return kf_fail(err, KF_E_CANCELLED, "cannot read '%s': cancelled",
                   work->frames->source.name);
}

/* Takes `work` out of a list. */
static void unlink_locked(struct kf_work **list, const struct kf_work *work)
{
    while (*list != work)
        list = &(*list)->next;
    *list = work->next;
}

/* ---- giving out ---- */

static uint64_t end_of(const struct kf_work *work)
{
    return work->req->offset + work->req->length;
}

/* What the request wants of a unit whose data cannot go away. */
static int deliver(struct kf_work *work, struct kf_hand *hand, struct kf_err *err)
{
    uint64_t begin = work->frames->map.units[hand->unit].offset;
    uint64_t end = kf_min_u64(begin + hand->length, end_of(work));
    size_t length = (size_t)(end - work->at);
    struct kf_sink *sink = work->req->sink;

    kf_err_clear(err);
    if (sink->write(sink, hand->data + (work->at - begin), length, err) != 0)
        return err->kind != KF_E_NONE ? -1 : cancelled(work, err);
    work->at = end;
    kf_pool_enter();
    hand->delivered += length;
    kf_pool_leave();
    return 0;
}

/* ---- a run ---- */

static void run_done(struct kf_source_req *inner, const struct kf_err *err);

/* How many units from the one at `work->at` on are fetched at once: those that the
 * request covers, nobody has, and fit. */
static void measure_locked(struct kf_work *work, uint32_t first)
{
    const struct kf_frame_map *map = &work->frames->map;
    uint32_t last = kf_frame_map_at(map, end_of(work) - 1);
    uint64_t stored = map->units[first].stored_length;
    uint64_t length = kf_unit_length(map, first);
    uint32_t count = 1;

    while (first + count <= last) {
        const struct kf_unit *unit = &map->units[first + count];
        uint64_t more =
            unit->stored_offset + unit->stored_length - map->units[first].stored_offset;
        uint32_t unit_length = kf_unit_length(map, first + count);

        if (more > KF_FRAMES_RUN || length + unit_length > KF_FRAMES_RUN ||
            kf_hand_find_locked(work->frames, first + count, work->req->deadline_ns))
            break;
        stored = more;
        length += unit_length;
        count++;
    }
    work->first = first;
    work->count = count;
    work->reached = 0;
    work->again = false;
    work->charge = stored + length;
    work->stored_length = (size_t)stored;
}

static int add_hands_locked(struct kf_work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        uint32_t unit = work->first + i;
        struct kf_hand *hand = kf_hand_new_locked(
            work->frames, unit, kf_unit_length(&work->frames->map, unit));

        if (!hand)
            return -1;
        hand->run = work;
        hand->deadline_ns = work->req->deadline_ns;
    }
    return 0;
}

/* Asks for what of the run was not decoded yet. */
static void ask_locked(struct kf_work *work)
{
    const struct kf_unit *units = work->frames->map.units;
    uint64_t offset = units[work->first + work->reached].stored_offset;
    const struct kf_unit *last = &units[work->first + work->count - 1];
    uint64_t length = last->stored_offset + last->stored_length - offset;

    kf_sink_memory_init(&work->sink, work->stored, length);
    work->inner = (struct kf_source_req){
        .offset = offset,
        .length = length,
        .sink = &work->sink.sink,
        .urgency = work->req->urgency,
        .fresh = work->again || work->req->fresh,
        .deadline_ns = work->req->deadline_ns,
        .done = run_done,
    };
    work->state = FETCHING;
    kf_source_submit(work->frames->blob, &work->inner);
}

/* Without a run's memory nothing is known about it. Waiters whose time is not up make
 * their own, where its end says nothing about the blob. */
static void fail_run_locked(struct kf_work *run, const struct kf_err *err)
{
    bool passing = err->kind == KF_E_TIMEOUT || err->kind == KF_E_CANCELLED;
    struct kf_hand *hand;

    while ((hand = kf_hand_coming_locked(run))) {
        for (struct kf_work *work = hand->waiters, *next; work; work = next) {
            next = work->next;
            work->hand = NULL;
            if (passing)
                resume_locked(work);
            else
                end_locked(work, err);
        }
        kf_hand_free_locked(hand);
    }
}

/* The memory of a run goes; who waited for it may go on. */
static void close_run_locked(struct kf_work *work)
{
    kf_pool_give_locked(work->charge);
    kf_pool_free(work->stored, work->stored_length);
    work->stored = NULL;
    while (starved) {
        struct kf_work *next = starved;

        starved = next->next;
        resume_locked(next);
    }
}

static int start_run_locked(struct kf_work *work, uint32_t first, struct kf_err *err)
{
    measure_locked(work, first);
    if (!kf_pool_take_locked(work->charge, work->req->urgency == KF_DEMAND)) {
        work->state = STARVED;
        work->next = starved;
        starved = work;
        return 0;
    }
    work->stored = kf_pool_alloc(work->stored_length);
    if (!work->stored || add_hands_locked(work) != 0) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for zstd frames");
        fail_run_locked(work, err);
        close_run_locked(work);
        return -1;
    }
    ask_locked(work);
    return 0;
}

/* Decoded: who waits for it gets it, and so does the run. */
static struct kf_hand *arrive_locked(struct kf_work *run, uint8_t *data)
{
    struct kf_hand *hand = kf_hand_coming_locked(run);

    kf_hand_fill_locked(hand, data);
    for (struct kf_work *work = hand->waiters, *next; work; work = next) {
        next = work->next;
        hand->users++;
        resume_locked(work);
    }
    hand->waiters = NULL;
    return hand;
}

static int decode_next(struct kf_work *work, uint8_t **ret, struct kf_err *err)
{
    const struct kf_frame_map *map = &work->frames->map;
    uint32_t unit = work->first + work->reached, length = kf_unit_length(map, unit);
    uint64_t skipped = map->units[unit].stored_offset - work->inner.offset;
    struct kf_frame_decoder *decoder = kf_frame_decoder_own(err);
    uint8_t *data;

    if (!decoder)
        return -1;
    data = kf_pool_alloc(length);
    if (!data)
        return kf_fail(err, KF_E_NOMEM, "no memory for a zstd frame");
    if (kf_unit_decode(map, unit, decoder, work->stored + skipped, data, err) != 0) {
        kf_pool_free(data, length);
        return kf_fail_wrap(err, "layer '%s'", work->frames->source.name);
    }
    *ret = data;
    return 0;
}

/* Decodes what has come and gives it out. 1: it is asked for once more. */
static int unpack_run(struct kf_work *work, struct kf_err *err)
{
    struct kf_err why;
    bool failed = false;

    while (work->reached < work->count) {
        struct kf_hand *hand;
        uint8_t *data = NULL;

        if (decode_next(work, &data, &why) != 0) {
            if (why.kind != KF_E_CORRUPT || work->again || failed) {
                *err = why;
                return -1;
            }
            kf_pool_enter();
            work->again = true;
            ask_locked(work);
            kf_pool_leave();
            return 1;
        }
        work->reached++;
        kf_pool_enter();
        hand = arrive_locked(work, data);
        kf_pool_leave();
        failed = failed || deliver(work, hand, err) != 0;
        kf_pool_enter();
        kf_hand_put_locked(hand);
        kf_pool_leave();
    }
    return failed ? -1 : 0;
}

static void step(struct kf_job *job);

static void run_done(struct kf_source_req *inner, const struct kf_err *err)
{
    struct kf_work *work = kf_container_of(inner, struct kf_work, inner);
    struct kf_err why;
    int rc = -1;

    kf_pool_enter();
    work->state = BUSY;
    kf_pool_leave();
    if (err)
        why = *err;
    else
        rc = unpack_run(work, &why);
    if (rc > 0)
        return;
    kf_pool_enter();
    if (rc < 0)
        fail_run_locked(work, &why);
    close_run_locked(work);
    if (rc < 0)
        end_locked(work, &why);
    kf_pool_leave();
    if (rc == 0)
        step(&work->job);
}

/* ---- a request ---- */

static int check(struct kf_work *work, struct kf_err *err)
{
    if (work->cancelled)
        return cancelled(work, err);
    if (kf_now_ns() > work->req->deadline_ns)
        return kf_fail(err, KF_E_TIMEOUT, "cannot read '%s': timed out",
                       work->frames->source.name);
    return 0;
}

/* What is in hand of the next bytes; NULL: there is nothing to do for now, `rc` tells. */
static struct kf_hand *take_locked(struct kf_work *work, int *rc, struct kf_err *err)
{
    struct kf_hand *hand = kf_steal(work->hand); /* it was given, with a use of it */
    uint32_t unit;

    *rc = check(work, err);
    if (*rc != 0 || hand) {
        if (*rc != 0 && hand)
            kf_hand_put_locked(hand);
        return *rc == 0 ? hand : NULL;
    }
    unit = kf_frame_map_at(&work->frames->map, work->at);
    hand = kf_hand_find_locked(work->frames, unit, work->req->deadline_ns);
    if (!hand) {
        *rc = start_run_locked(work, unit, err);
        return NULL;
    }
    if (hand->data) {
        hand->users++;
        return hand;
    }
    work->state = WAITING;
    work->hand = hand;
    work->next = hand->waiters;
    hand->waiters = work;
    return NULL;
}

/* On the work queue, as long as there is something to give out. */
static void step(struct kf_job *job)
{
    struct kf_work *work = kf_container_of(job, struct kf_work, job);
    struct kf_err err;
    int rc = 0;

    kf_pool_enter();
    while (rc == 0 && work->at < end_of(work)) {
        struct kf_hand *hand = take_locked(work, &rc, &err);

        if (!hand && rc == 0) {
            kf_pool_leave();
            return;
        }
        if (!hand)
            break;
        kf_pool_leave();
        rc = deliver(work, hand, &err);
        kf_pool_enter();
        kf_hand_put_locked(hand);
    }
    end_locked(work, rc == 0 ? NULL : &err);
    kf_pool_leave();
}

/* ---- the source ---- */

static struct kf_frames *frames_of(struct kf_source *source)
{
    return kf_container_of(source, struct kf_frames, source);
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_frames *frames = frames_of(kf_source_ref(source)); /* until done has run */
    struct kf_work *work = NULL;

    if (req->result.kind == KF_E_NONE) {
        work = calloc(1, sizeof(*work));
        if (!work)
            (void)kf_fail(&req->result, KF_E_NOMEM, "no memory for a request");
    }
    if (!work) {
        kf_source_finish(req, frames->workq);
        return;
    }
    work->req = req;
    work->frames = frames;
    work->at = req->offset;
    work->job.run = step;
    req->priv = work;
    kf_workq_submit(frames->workq, &work->job, req->urgency);
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_work *work;
    struct kf_err err;

    kf_pool_enter();
    work = req->priv; /* NULL: it has ended */
    if (work && work->state == FETCHING) {
        kf_source_cancel(frames_of(source)->blob, &work->inner);
    } else if (work && work->state == BUSY) {
        work->cancelled = true;
    } else if (work) {
        unlink_locked(work->state == WAITING ? &work->hand->waiters : &starved, work);
        (void)cancelled(work, &err);
        end_locked(work, &err);
    }
    kf_pool_leave();
}

static void destroy(struct kf_source *source)
{
    struct kf_frames *frames = frames_of(source);

    kf_pool_enter();
    kf_hand_free_all_locked(frames);
    kf_pool_leave();
    kf_frame_map_fini(&frames->map);
    free(frames->table);
    kf_source_close(frames->blob);
    free(frames);
}

static const struct kf_source_ops frames_ops = {submit, cancel, destroy};

int kf_frames_open(struct kf_source **ret, struct kf_source *blob, struct kf_workq *workq,
                   uint8_t *table, size_t length, struct kf_err *err)
{
    kf_auto(kf_free) struct kf_frames *frames = calloc(1, sizeof(*frames));
    struct kf_seek_view view;
    int rc;

    if (!frames)
        return kf_fail(err, KF_E_NOMEM, "no memory for a source");
    if (kf_seektab_view(&view, table, length, kf_source_size(blob), err) != 0)
        return 1;
    rc = kf_frame_map_make(&frames->map, &view, err);
    if (rc != 0)
        return rc;
    frames->source.ops = &frames_ops;
    frames->source.size = frames->map.stream_length;
    frames->source.refs = 1;
    (void)snprintf(frames->source.name, sizeof(frames->source.name), "%s",
                   blob->name); /* of one size */
    frames->blob = kf_source_ref(blob);
    frames->workq = workq;
    frames->table = table;
    *ret = &kf_steal(frames)->source;
    return 0;
}
