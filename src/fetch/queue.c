#include "fetch/queue.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fetch/flight.h"
#include "fetch/plan.h"

#define MIB (UINT64_C(1) << 20)
#define DEFAULT_MEMORY_BYTES (160 * MIB)
#define DEFAULT_CONNECTIONS 8
#define DEFAULT_TIMEOUT_NS (300 * KF_NS_PER_S)
#define DEMAND_CONNECTIONS 2         /* kept free of anything less urgent */
#define DEMAND_RANGE_BYTES (4 * MIB) /* long runs go over several connections */
#define RANGE_BYTES (8 * MIB)        /* of what is less urgent */
#define WORTHWHILE_BYTES (4 * MIB)   /* a longer one waits for room for so much */
#define WINDOW_BYTES (8 * MIB)       /* ahead of readers, for a connection */
#define WANTED_AHEAD 256             /* flights made of a backlog at a time */
#define COPIES 8u                    /* of chunks that other objects hold, at a time */
#define CHUNKS_BEFORE 31             /* of a range, before the chunk it is made for */

/* ---- lifetime and lock ---- */

static void room_freed(void *arg);

int kf_fetch_new(struct kf_fetch **ret, const struct kf_fetch_opts *opts,
                 struct kf_err *err)
{
    struct kf_fetch *fetch = calloc(1, sizeof(*fetch));
    unsigned connections = opts->connections ? opts->connections : DEFAULT_CONNECTIONS;
    struct kf_range *ranges = calloc(connections, sizeof(*ranges));

    if (!fetch || !ranges || kf_cond_init(&fetch->idle) != 0) {
        free(fetch);
        free(ranges);
        return kf_fail(err, KF_E_NOMEM, "no memory for the fetch queue");
    }
    (void)pthread_mutex_init(&fetch->lock, NULL); /* a plain mutex cannot fail */
    fetch->refs = 1;
    fetch->opts = *opts;
    fetch->opts.connections = connections;
    if (opts->memory_bytes == 0)
        fetch->opts.memory_bytes = DEFAULT_MEMORY_BYTES;
    if (opts->read_timeout_ns == 0)
        fetch->opts.read_timeout_ns = DEFAULT_TIMEOUT_NS;
    kf_budget_init(&fetch->budget, fetch->opts.memory_bytes, room_freed, fetch);
    for (int urgency = 0; urgency < KF_URGENCY_COUNT; urgency++) {
        TAILQ_INIT(&fetch->wanted[urgency].list);
        TAILQ_INIT(&fetch->backlog[urgency]);
    }
    for (int progress = 0; progress < KF_PROGRESS_COUNT; progress++)
        TAILQ_INIT(&fetch->unkept[progress].list);
    TAILQ_INIT(&fetch->spent);
    TAILQ_INIT(&fetch->running);
    TAILQ_INIT(&fetch->unused);
    fetch->ranges = ranges;
    for (unsigned i = 0; i < connections; i++)
        TAILQ_INSERT_TAIL(&fetch->unused, &ranges[i], link);
    *ret = fetch;
    return 0;
}

struct kf_fetch *kf_fetch_ref(struct kf_fetch *fetch)
{
    (void)__atomic_add_fetch(&fetch->refs, 1,
                             __ATOMIC_RELAXED); /* the caller holds one */
    return fetch;
}

void kf_fetch_unref(struct kf_fetch *fetch)
{
    if (__atomic_sub_fetch(&fetch->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    (void)pthread_cond_destroy(&fetch->idle);
    (void)pthread_mutex_destroy(&fetch->lock); /* nobody is left to hold it */
    free(fetch->buckets);
    free(fetch->ranges);
    free(fetch);
}

void kf_fetch_free(struct kf_fetch *fetch)
{
    if (fetch)
        kf_fetch_unref(fetch);
}

void kf_fetch_enter(struct kf_fetch *fetch)
{
    (void)pthread_mutex_lock(&fetch->lock); /* a plain mutex of ours */
}

/* Returns a reference when the pump is to run again. */
static struct kf_fetch *leave_once(struct kf_fetch *fetch)
{
    struct kf_flight *ended = fetch->ended;
    struct kf_backlog_list spent = TAILQ_HEAD_INITIALIZER(spent);
    struct kf_fetch *again = fetch->pump_again ? kf_fetch_ref(fetch) : NULL;
    struct kf_backlog *backlog;

    fetch->ended = NULL;
    fetch->pump_again = false;
    TAILQ_CONCAT(&spent, &fetch->spent, link);
    if (fetch->stopping && fetch->busy == 0)
        (void)pthread_cond_broadcast(&fetch->idle);
    (void)pthread_mutex_unlock(&fetch->lock);
    /* From here on `fetch` may be gone with its last feed. */
    while (ended) {
        struct kf_flight *flight = ended;

        ended = flight->next;
        kf_flight_release(flight);
    }
    while ((backlog = TAILQ_FIRST(&spent))) {
        TAILQ_REMOVE(&spent, backlog, link);
        kf_feed_unref(backlog->feed);
        free(backlog);
    }
    return again;
}

void kf_fetch_leave(struct kf_fetch *fetch)
{
    struct kf_fetch *again = leave_once(fetch);

    while (again) {
        struct kf_fetch *held = again;

        kf_fetch_enter(held);
        kf_fetch_pump_locked(held);
        again = leave_once(held);
        kf_fetch_unref(held);
    }
}

/* ---- what is wanted ---- */

void kf_feed_want(struct kf_feed *feed, uint64_t first_chunk, uint64_t count,
                  enum kf_urgency urgency)
{
    struct kf_fetch *fetch = feed->fetch;
    struct kf_backlog *backlog;

    if (first_chunk >= feed->chunk_count || count == 0)
        return;
    backlog = malloc(sizeof(*backlog));
    if (!backlog)
        return;
    backlog->first = first_chunk;
    backlog->count = kf_min_u64(count, feed->chunk_count - first_chunk);
    kf_fetch_enter(fetch);
    if (fetch->stopping) {
        free(backlog);
    } else {
        backlog->feed = kf_feed_ref(feed);
        TAILQ_INSERT_TAIL(&fetch->backlog[urgency], backlog, link);
        kf_fetch_pump_locked(fetch);
    }
    kf_fetch_leave(fetch);
}

static void want_chunk_locked(struct kf_backlog *backlog, enum kf_urgency urgency)
{
    uint64_t chunk = backlog->first++;
    struct kf_flight *flight = kf_flight_find_locked(backlog->feed, chunk);

    backlog->count--;
    if (flight)
        kf_flight_raise_locked(flight, urgency);
    else if (!kf_object_has(backlog->feed->object, chunk) &&
             !kf_flight_new_locked(backlog->feed, chunk, urgency))
        backlog->count = 0; /* no memory: it was a hint */
}

/* Flights of an urgency, from what was wanted in bulk. */
static void refill_locked(struct kf_fetch *fetch, enum kf_urgency urgency)
{
    struct kf_backlog_list *list = &fetch->backlog[urgency];
    struct kf_backlog *backlog;

    while (fetch->wanted[urgency].count < WANTED_AHEAD && (backlog = TAILQ_FIRST(list))) {
        want_chunk_locked(backlog, urgency);
        if (backlog->count > 0)
            continue;
        TAILQ_REMOVE(list, backlog, link);
        TAILQ_INSERT_TAIL(&fetch->spent, backlog, link);
    }
}

/* ---- what is started ---- */

struct candidate {
    struct kf_flight *flights[KF_RANGE_CHUNKS]; /* in order of chunk number */
    struct kf_plan_chunk chunks[KF_RANGE_CHUNKS];
    size_t count;
    size_t seed;
};

static struct kf_flight *find_wanted_locked(const struct kf_feed *feed, uint64_t chunk)
{
    struct kf_flight *flight = kf_flight_find_locked(feed, chunk);

    return flight && flight->state == KF_FLIGHT_WANTED && !flight->is_elsewhere ? flight
                                                                                : NULL;
}

/* The first chunk up to `last` that lies at or behind an offset of the source. */
static uint64_t first_behind(const struct kf_feed *feed, uint64_t offset, uint64_t last)
{
    uint64_t low = 0, high = last;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct kf_chunk_place place;

        feed->ops->place(feed->arg, middle, &place);
        if (place.stored_offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Wants a chunk that the cache lacks; NULL: it has it, or it comes anyway. */
static struct kf_flight *want_now_locked(struct kf_feed *feed, uint64_t chunk,
                                         enum kf_urgency urgency)
{
    struct kf_flight *flight = kf_flight_find_locked(feed, chunk);

    if (!flight && !kf_object_has(feed->object, chunk))
        return kf_flight_new_locked(feed, chunk, urgency);
    if (!flight || flight->state != KF_FLIGHT_WANTED || flight->is_elsewhere)
        return NULL;
    kf_flight_raise_locked(flight, urgency);
    return flight;
}

/* Where a source gives bytes in order only: what it comes to before the seed is fetched
 * before it, so that the cache has it when that has passed. */
static struct kf_flight *in_order_locked(struct kf_flight *seed, uint64_t next)
{
    struct kf_feed *feed = seed->feed;
    struct kf_flight *first = NULL, *flight = seed;
    uint64_t bytes = 0;

    if (next == UINT64_MAX)
        return seed;
    for (uint64_t chunk = first_behind(feed, next, seed->chunk);
         chunk < seed->chunk && bytes < DEMAND_RANGE_BYTES; chunk++) {
        flight = want_now_locked(feed, chunk, seed->urgency);
        if (first && (!flight || flight->is_elsewhere))
            break;
        if (!flight || flight->is_elsewhere)
            continue;
        first = first ? first : flight;
        bytes += flight->place.stored_length;
    }
    return first ? first : seed;
}

/* The wanted chunks around a flight: as many as could go into one range with it. */
static void collect_locked(struct kf_flight *seed, uint64_t max_bytes,
                           struct candidate *candidate)
{
    const struct kf_feed *feed = seed->feed;
    struct kf_flight *flight = seed, *before;
    uint64_t next = kf_source_next(feed->source), bytes = 0;
    bool ahead = seed->place.stored_offset >= next; /* and so is all of its range */
    size_t back = 0, i;

    while (back < CHUNKS_BEFORE && flight->chunk > 0 &&
           (before = find_wanted_locked(feed, flight->chunk - 1)) &&
           before->urgency == seed->urgency &&
           !(ahead && before->place.stored_offset < next)) {
        flight = before;
        back++;
    }
    for (i = 0; i < KF_RANGE_CHUNKS && flight && bytes <= max_bytes; i++) {
        candidate->flights[i] = flight;
        candidate->chunks[i] =
            (struct kf_plan_chunk){flight->chunk, flight->place.stored_offset,
                                   flight->place.stored_length, (uint8_t)flight->urgency};
        if (i >= back)
            bytes += flight->place.stored_length;
        flight = find_wanted_locked(feed, flight->chunk + 1);
    }
    candidate->count = i;
    candidate->seed = back;
}

/* Memory for as many of the flights as there is room for. */
static size_t allocate_locked(struct kf_fetch *fetch, struct kf_flight *const *flights,
                              size_t count, bool forced)
{
    for (size_t i = 0; i < count; i++) {
        if (!flights[i]->stored) /* else it was made for an attempt that failed */
            flights[i]->stored = kf_block_new(
                &fetch->budget, flights[i]->place.stored_length, forced && i == 0);
        if (!flights[i]->stored)
            return i;
    }
    return count;
}

/* One demand at a time goes whatever the budget. */
static bool is_forced_locked(const struct kf_fetch *fetch, enum kf_urgency urgency)
{
    return urgency == KF_DEMAND && fetch->running_demand == 0;
}

/* Memory of unkept chunks for a request. True: it is free once the lock has been left,
 * and then the pump runs again. */
static bool make_room_locked(struct kf_fetch *fetch, uint64_t bytes,
                             enum kf_urgency urgency)
{
    if (!kf_unkept_make_room_locked(fetch, bytes, urgency))
        return false;
    fetch->pump_again = true;
    __atomic_store_n(&fetch->starved, false, __ATOMIC_RELEASE); /* once, not a block */
    return true;
}

/* How many of the range's flights can go now; at 0 the pump runs again when there may be
 * room. */
static size_t reserve_locked(struct kf_fetch *fetch, struct kf_flight *const *flights,
                             const struct kf_plan_range *range, enum kf_urgency urgency)
{
    uint64_t limit = fetch->opts.memory_bytes;
    bool forced = is_forced_locked(fetch, urgency);
    uint64_t need = flights[0]->place.stored_length;
    size_t count;

    if (urgency != KF_DEMAND)
        need = kf_min_u64(kf_min_u64(range->length, WORTHWHILE_BYTES), limit / 2) +
               limit / 4;
    if (forced) /* what it takes beyond the budget is made good at once */
        (void)make_room_locked(fetch, need, urgency);
    for (int tries = 0; tries < 2; tries++) {
        if (forced || kf_budget_has_room(&fetch->budget, need)) {
            count = allocate_locked(fetch, flights, range->count, forced);
            if (count > 0)
                return count;
        }
        /* Twice: a block may be charged for nearly twice its length. */
        if (make_room_locked(fetch, urgency == KF_DEMAND ? 2 * need : need, urgency))
            return 0;
        /* Then look once more: what was freed before this told nobody. */
        (void)__atomic_exchange_n(&fetch->starved, true, __ATOMIC_ACQ_REL);
    }
    return 0;
}

static struct kf_flight *most_urgent_locked(struct kf_fetch *fetch)
{
    struct kf_flight *first = NULL;

    for (int urgency = 0; urgency < KF_URGENCY_COUNT; urgency++) {
        refill_locked(fetch, (enum kf_urgency)urgency);
        if (!first)
            first = TAILQ_FIRST(&fetch->wanted[urgency].list);
    }
    return first;
}

static bool has_connection_locked(const struct kf_fetch *fetch, enum kf_urgency urgency)
{
    unsigned all = fetch->opts.connections;
    unsigned ahead = all > DEMAND_CONNECTIONS ? all - DEMAND_CONNECTIONS : 1;

    return fetch->running_count < all &&
           (urgency == KF_DEMAND || fetch->running_count - fetch->running_demand < ahead);
}

/* The budget did not stand in the way: there is no memory. */
static bool fail_forced_locked(struct kf_flight *flight)
{
    struct kf_err err;

    (void)kf_fail(&err, KF_E_NOMEM, "no memory to fetch a chunk of '%s'",
                  flight->feed->source->name);
    kf_flight_fail_locked(flight, &err);
    return true;
}

/* A chunk that another object seems to have takes no connection. */
static bool start_copy_locked(struct kf_fetch *fetch, struct kf_flight *flight)
{
    uint32_t length = flight->place.length;
    bool forced = flight->urgency == KF_DEMAND && fetch->copying == 0;
    struct kf_block *block;

    if (fetch->copying >= COPIES)
        return false;
    for (int tries = 0; tries < 2; tries++) {
        block = kf_block_new(&fetch->budget, length, forced);
        if (block) {
            kf_flight_copy_locked(flight, block);
            return true;
        }
        if (forced)
            break; /* the budget did not stand in the way */
        if (make_room_locked(fetch, UINT64_C(2) * length, flight->urgency))
            return false;
        (void)__atomic_exchange_n(&fetch->starved, true, __ATOMIC_ACQ_REL);
    }
    flight->is_elsewhere = !forced; /* no memory: as others */
    return forced;
}

/* One step on; false when there is nothing to start, or no room for it. */
static bool start_one_locked(struct kf_fetch *fetch)
{
    struct kf_flight *seed = most_urgent_locked(fetch);
    struct candidate candidate;
    struct kf_plan_range range;
    struct kf_flight **flights;
    uint64_t max_bytes, next;
    size_t count;

    if (!seed || (seed->urgency != KF_DEMAND && kf_unkept_hold_back_locked(fetch)))
        return false;
    if (seed->is_elsewhere)
        return start_copy_locked(fetch, seed);
    if (!has_connection_locked(fetch, seed->urgency))
        return false;
    next = kf_source_next(seed->feed->source);
    if (next != UINT64_MAX && kf_object_is_busy(seed->feed->object))
        return false; /* what passes comes again only with all before it */
    seed = in_order_locked(seed, next);
    max_bytes = seed->urgency == KF_DEMAND ? DEMAND_RANGE_BYTES : RANGE_BYTES;
    collect_locked(seed, max_bytes, &candidate);
    range = kf_plan_range(candidate.chunks, candidate.count, candidate.seed, max_bytes);
    flights = &candidate.flights[range.first];
    count = reserve_locked(fetch, flights, &range, seed->urgency);
    if (count == 0)
        return is_forced_locked(fetch, seed->urgency) && fail_forced_locked(flights[0]);
    kf_range_start_locked(TAILQ_FIRST(&fetch->unused), flights, count, seed->urgency);
    return true;
}

void kf_fetch_pump_locked(struct kf_fetch *fetch)
{
    while (!fetch->stopping && start_one_locked(fetch))
        ;
}

/* A block was released, on any thread, no lock held. */
static void room_freed(void *arg)
{
    struct kf_fetch *fetch = arg;

    if (!__atomic_exchange_n(&fetch->starved, false, __ATOMIC_ACQ_REL))
        return;
    kf_fetch_enter(fetch);
    kf_fetch_pump_locked(fetch);
    kf_fetch_leave(fetch);
}

/* ---- stopping, looking ---- */

static void drop_backlog_locked(struct kf_fetch *fetch)
{
    for (int urgency = 0; urgency < KF_URGENCY_COUNT; urgency++)
        TAILQ_CONCAT(&fetch->spent, &fetch->backlog[urgency], link);
}

/* Those that wait end now, whatever the source does about their requests. */
static void cancel_flights_locked(struct kf_fetch *fetch)
{
    struct kf_err err;

    (void)kf_fail(&err, KF_E_CANCELLED, "no reads any more: stopping");
    for (size_t i = 0; i < fetch->bucket_count; i++) {
        struct kf_flight *next;

        for (struct kf_flight *flight = fetch->buckets[i]; flight; flight = next) {
            next = flight->next;
            if (flight->state == KF_FLIGHT_WANTED) {
                kf_flight_fail_locked(flight, &err);
                continue;
            }
            while (flight->waiters)
                kf_read_abandon_locked(flight->waiters->read, &err);
        }
    }
}

int kf_fetch_stop(struct kf_fetch *fetch, int64_t deadline_ns)
{
    struct kf_range *range;
    bool in_time = true;

    kf_fetch_enter(fetch);
    fetch->stopping = true;
    drop_backlog_locked(fetch);
    cancel_flights_locked(fetch);
    kf_unkept_end_locked(fetch);
    TAILQ_FOREACH(range, &fetch->running, link)
    kf_source_cancel(range->req.source, &range->req);
    /* What has ended is released here, and not by whoever comes next. */
    kf_fetch_leave(fetch);
    kf_fetch_enter(fetch);
    while (fetch->busy > 0 && in_time)
        in_time = kf_cond_wait_until(&fetch->idle, &fetch->lock, deadline_ns) == 0;
    in_time = fetch->busy == 0;
    kf_fetch_leave(fetch);
    return in_time ? 0 : -1;
}

void kf_fetch_in_flight(struct kf_fetch *fetch,
                        void (*each)(void *arg, const struct kf_fetch_view *view),
                        void *arg)
{
    const struct kf_range *range;
    int64_t now_ns = kf_now_ns();

    kf_fetch_enter(fetch);
    TAILQ_FOREACH(range, &fetch->running, link)
    each(arg, &(struct kf_fetch_view){range->req.source->name, range->first_chunk,
                                      range->count, (int)range->req.urgency,
                                      now_ns - range->started_ns});
    kf_fetch_leave(fetch);
}

struct kf_workq *kf_fetch_workq(struct kf_fetch *fetch)
{
    return fetch->opts.workq;
}

uint64_t kf_fetch_window_bytes(const struct kf_fetch *fetch)
{
    return kf_min_u64(fetch->opts.connections * WINDOW_BYTES,
                      fetch->opts.memory_bytes / 2);
}
