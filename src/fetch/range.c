#include "fetch/flight.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* On the source's thread: fills the chunks' blocks in order, without a lock, and lets go
 * of each chunk with its last byte. */
static int receive(struct kf_sink *sink, const uint8_t *data, size_t length,
                   struct kf_err *err)
{
    struct kf_range *range = kf_container_of(sink, struct kf_range, sink);

    while (length > 0) {
        if (range->arrived == range->count)
            return kf_fail(err, KF_E_LIMIT, "'%s' sent more than was asked for",
                           range->req.source->name);

        struct kf_flight *flight = range->flights[range->arrived];
        struct kf_block *stored = flight->stored;
        size_t part = (size_t)kf_min_u64(length, stored->length - range->filled);

        memcpy(stored->data + range->filled, data, part);
        data += part;
        length -= part;
        range->filled += part;
        if (range->filled == stored->length) {
            range->filled = 0;
            range->arrived++;
            kf_flight_arrived(flight);
        }
    }
    return 0;
}

/* A reader that joined a request when it was old, or less urgent than the read, still
 * gets its own time and tries: until its deadline the request is made again. */
static void lose_locked(struct kf_flight *flight, const struct kf_err *err,
                        enum kf_urgency urgency, bool again)
{
    if ((again || flight->urgency < urgency) && !flight->feed->fetch->stopping &&
        kf_flight_deadline_locked(flight) > kf_now_ns())
        kf_flight_requeue_locked(flight);
    else
        kf_flight_fail_locked(flight, err);
}

static void range_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct kf_range *range = kf_container_of(req, struct kf_range, req);
    struct kf_feed *feed = range->feed;
    struct kf_fetch *fetch = feed->fetch;
    bool again = req->reordered ||
                 (err && err->kind == KF_E_TIMEOUT && req->deadline_ns <= kf_now_ns());
    struct kf_err too_short;

    if (!err && range->arrived < range->count) {
        (void)kf_fail(&too_short, KF_E_CORRUPT, "'%s' sent less than was asked for",
                      feed->source->name);
        err = &too_short;
    }
    kf_fetch_enter(fetch);
    for (size_t i = range->arrived; i < range->count; i++)
        lose_locked(range->flights[i], err, req->urgency, again);
    TAILQ_REMOVE(&fetch->running, range, link);
    TAILQ_INSERT_HEAD(&fetch->unused, range, link);
    fetch->running_count--;
    fetch->running_demand -= req->urgency == KF_DEMAND;
    fetch->busy--;
    kf_fetch_pump_locked(fetch); /* may start `range` anew */
    kf_fetch_leave(fetch);
    kf_feed_unref(feed);
}

void kf_range_start_locked(struct kf_range *range, struct kf_flight *const *flights,
                           size_t count, enum kf_urgency urgency)
{
    struct kf_feed *feed = flights[0]->feed;
    struct kf_fetch *fetch = feed->fetch;
    uint64_t length = 0;
    int64_t deadline_ns = 0;
    bool damaged_before = false;

    for (size_t i = 0; i < count; i++) {
        int64_t latest_ns = kf_flight_deadline_locked(flights[i]);

        if (latest_ns > deadline_ns)
            deadline_ns = latest_ns;
        length += flights[i]->place.stored_length;
        damaged_before |= flights[i]->attempts > 0;
        range->flights[i] = flights[i];
        kf_flight_depart_locked(flights[i]);
    }
    range->feed = kf_feed_ref(feed);
    range->started_ns = kf_now_ns();
    range->first_chunk = flights[0]->chunk;
    range->count = count;
    range->arrived = range->filled = 0;
    range->sink.write = receive;
    range->req = (struct kf_source_req){
        .offset = flights[0]->place.stored_offset,
        .length = length,
        .sink = &range->sink,
        .urgency = urgency,
        .fresh = damaged_before,
        .can_reorder = kf_source_next(feed->source) == UINT64_MAX,
        .deadline_ns =
            deadline_ns > 0 ? deadline_ns : kf_deadline_ns(fetch->opts.read_timeout_ns),
        .done = range_done,
    };
    TAILQ_REMOVE(&fetch->unused, range, link);
    TAILQ_INSERT_TAIL(&fetch->running, range, link);
    fetch->running_count++;
    fetch->running_demand += urgency == KF_DEMAND;
    fetch->busy++;
    kf_source_submit(feed->source, &range->req);
}
