#include "fetch/flight.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/stats.h"

#define FIRST_BUCKETS 64

/* ---- the table: chained, doubled when there are more flights than buckets ---- */

static struct kf_flight **bucket(const struct kf_fetch *fetch, const struct kf_feed *feed,
                                 uint64_t chunk)
{
    uint64_t hash = ((uintptr_t)feed >> 4) * UINT64_C(0xff51afd7ed558ccd) + chunk;

    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return &fetch->buckets[(hash >> 32) & (fetch->bucket_count - 1)];
}

static void put_in_bucket(struct kf_fetch *fetch, struct kf_flight *flight)
{
    struct kf_flight **head = bucket(fetch, flight->feed, flight->chunk);

    flight->next = *head;
    *head = flight;
}

/* Without memory the chains get longer, nothing else; but the first table is needed. */
static bool grow_table(struct kf_fetch *fetch)
{
    size_t old_count = fetch->bucket_count;
    struct kf_flight **old = fetch->buckets;
    size_t count = old_count > 0 ? old_count * 2 : FIRST_BUCKETS;
    struct kf_flight **buckets;

    if (fetch->flight_count < old_count)
        return true;
    buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        return old_count > 0;
    fetch->buckets = buckets;
    fetch->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct kf_flight *flight = old[i];

            old[i] = flight->next;
            put_in_bucket(fetch, flight);
        }
    }
    free(old);
    return true;
}

struct kf_flight *kf_flight_find_locked(const struct kf_feed *feed, uint64_t chunk)
{
    const struct kf_fetch *fetch = feed->fetch;
    struct kf_flight *flight;

    if (fetch->flight_count == 0)
        return NULL;
    flight = *bucket(fetch, feed, chunk);
    while (flight && (flight->feed != feed || flight->chunk != chunk))
        flight = flight->next;
    return flight;
}

/* ---- from state to state ---- */

static void enqueue(struct kf_flight *flight)
{
    struct kf_wanted *wanted = &flight->feed->fetch->wanted[flight->urgency];

    flight->state = KF_FLIGHT_WANTED;
    TAILQ_INSERT_TAIL(&wanted->list, flight, link);
    wanted->count++;
}

static void dequeue(struct kf_flight *flight)
{
    struct kf_wanted *wanted = &flight->feed->fetch->wanted[flight->urgency];

    TAILQ_REMOVE(&wanted->list, flight, link);
    wanted->count--;
}

static void chunk_arrived(struct kf_job *job);
struct kf_flight *kf_flight_new_locked(struct kf_feed *feed, uint64_t chunk,
                                       enum kf_urgency urgency)
{
    struct kf_fetch *fetch = feed->fetch;
    struct kf_flight *flight;

    if (!grow_table(fetch))
        return NULL;
    flight = calloc(1, sizeof(*flight));
    if (!flight)
        return NULL;
    flight->feed = kf_feed_ref(feed);
    flight->chunk = chunk;
    flight->urgency = urgency;
    flight->progress = KF_PROGRESS_NONE;
    flight->job.run = chunk_arrived;
    feed->ops->place(feed->arg, chunk, &flight->place);
    assert(flight->place.stored_length > 0);
    assert(flight->place.length == kf_object_chunk_length(feed->object, chunk));
    put_in_bucket(fetch, flight);
    fetch->flight_count++;
    flight->is_elsewhere = kf_object_elsewhere(feed->object, chunk, &flight->elsewhere);
    enqueue(flight);
    return flight;
}

void kf_flight_raise_locked(struct kf_flight *flight, enum kf_urgency urgency)
{
    if (urgency >= flight->urgency)
        return;
    if (flight->state == KF_FLIGHT_WANTED)
        dequeue(flight);
    __atomic_store_n(&flight->urgency, urgency, __ATOMIC_RELAXED);
    if (flight->state == KF_FLIGHT_WANTED)
        enqueue(flight);
}

void kf_flight_depart_locked(struct kf_flight *flight)
{
    dequeue(flight);
    flight->state = KF_FLIGHT_FETCHING;
    flight->feed->fetch->busy++;
}

void kf_flight_requeue_locked(struct kf_flight *flight)
{
    flight->feed->fetch->busy--;
    enqueue(flight);
}

/* Out of the table; memory and references go when the lock has been left. */
void kf_flight_end_locked(struct kf_flight *flight)
{
    struct kf_fetch *fetch = flight->feed->fetch;
    struct kf_flight **link = bucket(fetch, flight->feed, flight->chunk);

    while (*link != flight)
        link = &(*link)->next;
    *link = flight->next;
    fetch->flight_count--;
    flight->next = fetch->ended;
    fetch->ended = flight;
}

void kf_flight_fail_locked(struct kf_flight *flight, const struct kf_err *err)
{
    while (flight->waiters)
        kf_read_abandon_locked(flight->waiters->read, err);
    if (flight->state == KF_FLIGHT_WANTED)
        dequeue(flight);
    else
        flight->feed->fetch->busy--;
    kf_flight_end_locked(flight);
}

int64_t kf_flight_deadline_locked(const struct kf_flight *flight)
{
    int64_t latest_ns = 0;

    for (const struct kf_waiter *waiter = flight->waiters; waiter;
         waiter = waiter->next) {
        if (waiter->read->deadline_ns > latest_ns)
            latest_ns = waiter->read->deadline_ns;
    }
    return latest_ns;
}

void kf_flight_release(struct kf_flight *flight)
{
    kf_block_unref(flight->stored);
    kf_block_unref(flight->block);
    kf_feed_unref(flight->feed);
    free(flight);
}

/* ---- the last stretch, on the work queue ---- */

static void fetch_instead_locked(struct kf_flight *flight)
{
    struct kf_err err;

    if (!flight->feed->fetch->stopping) {
        kf_flight_requeue_locked(flight);
        return;
    }
    (void)kf_fail(&err, KF_E_CANCELLED, "no reads any more: stopping");
    kf_flight_fail_locked(flight, &err);
}

static bool is_checked(const struct kf_flight *flight)
{
    const struct kf_feed *feed = flight->feed;

    return feed->ops->check &&
           (!feed->ops->knows || feed->ops->knows(feed->arg, flight->chunk));
}

/* A chunk about which nothing is known gets its digest later: readers do not need it. */
static int decode(struct kf_flight *flight, struct kf_digest *ret_digest,
                  struct kf_err *err)
{
    struct kf_feed *feed = flight->feed;
    const struct kf_block *stored = flight->stored;
    struct kf_block *block;

    if (!feed->ops->decode) {
        assert(stored->length == flight->place.length);
        flight->has_digest = is_checked(flight);
        if (flight->has_digest && feed->ops->check(feed->arg, flight->chunk, stored->data,
                                                   stored->length, ret_digest, err) != 0)
            return -1;
        flight->block = kf_steal(flight->stored);
        return 0;
    }
    block = kf_block_new(&feed->fetch->budget, flight->place.length, true);
    if (!block)
        return kf_fail(err, KF_E_NOMEM, "no memory for a chunk of '%s'",
                       feed->source->name);
    if (feed->ops->decode(feed->arg, flight->chunk, stored->data, stored->length,
                          block->data, block->length, ret_digest, err) != 0) {
        kf_block_unref(block);
        return -1;
    }
    flight->block = block;
    flight->has_digest = true;
    kf_block_unref(kf_steal(flight->stored));
    return 0;
}

/* Bytes damaged on their way are asked for once more, if anybody still wants them. */
static void decode_failed(struct kf_flight *flight, const struct kf_err *err)
{
    struct kf_fetch *fetch = flight->feed->fetch;
    bool damaged = err->kind == KF_E_CORRUPT || err->kind == KF_E_MALFORMED;

    if (damaged)
        kf_stats_add(fetch->opts.stats, KF_STAT_VERIFY_FAILURES, 1);
    kf_fetch_enter(fetch);
    if (damaged && flight->attempts++ == 0 && flight->waiters && !fetch->stopping)
        kf_flight_requeue_locked(flight);
    else
        kf_flight_fail_locked(flight, err);
    kf_fetch_pump_locked(fetch);
    kf_fetch_leave(fetch);
}

static void answer(struct kf_flight *flight)
{
    struct kf_fetch *fetch = flight->feed->fetch;
    struct kf_waiter *taken;

    kf_fetch_enter(fetch);
    flight->state = KF_FLIGHT_READY;
    taken = kf_read_take_locked(flight);
    kf_fetch_leave(fetch);
    kf_read_answer(fetch, taken, flight->block);
}

static void put_done(struct kf_object_put *put)
{
    struct kf_flight *flight = kf_container_of(put, struct kf_flight, put);
    const struct kf_feed *feed = flight->feed;
    struct kf_fetch *fetch = feed->fetch;
    bool has = kf_object_has(feed->object, flight->chunk);

    if (has && feed->ops->kept)
        feed->ops->kept(feed->arg, feed->object, flight->chunk);
    kf_fetch_enter(fetch);
    if (has)
        kf_flight_end_locked(flight);
    else
        kf_unkept_add_locked(flight);
    if (kf_source_next(feed->source) != UINT64_MAX)
        kf_fetch_pump_locked(fetch); /* it may have waited for the cache */
    kf_fetch_leave(fetch);
}

/* Hands the chunk to the cache; it is the flight of `put_done` then, or unkept. */
static void keep(struct kf_flight *flight, struct kf_digest *digest)
{
    const struct kf_feed *feed = flight->feed;

    flight->put.done = put_done;
    if ((flight->has_digest ||
         kf_digest_of(digest, flight->block->data, flight->block->length, NULL) == 0) &&
        kf_object_put(feed->object, flight->chunk, flight->block, digest, &flight->put))
        return;
    kf_fetch_enter(feed->fetch);
    kf_unkept_add_locked(flight);
    kf_fetch_leave(feed->fetch);
}

static void chunk_arrived(struct kf_job *job)
{
    struct kf_flight *flight = kf_container_of(job, struct kf_flight, job);
    struct kf_feed *feed = kf_feed_ref(flight->feed); /* the flight ends below */
    struct kf_fetch *fetch = feed->fetch;
    struct kf_digest digest;
    struct kf_err err;

    if (decode(flight, &digest, &err) != 0) {
        decode_failed(flight, &err);
    } else {
        answer(flight);
        keep(flight, &digest);
        kf_fetch_enter(fetch);
        fetch->busy--;
        kf_fetch_leave(fetch);
    }
    kf_feed_unref(feed);
}

/* On the work queue. When the bytes are not there after all, they are fetched. */
static void copy_chunk(struct kf_job *job)
{
    struct kf_flight *flight = kf_container_of(job, struct kf_flight, job);
    struct kf_feed *feed = kf_feed_ref(flight->feed); /* the flight ends below */
    struct kf_fetch *fetch = feed->fetch;
    struct kf_digest digest;
    bool copied =
        kf_object_copy(feed->object, flight->chunk, &flight->elsewhere,
                       flight->block->data, flight->block->length, &digest, NULL) == 0;

    flight->job.run = chunk_arrived;
    if (copied) {
        flight->has_digest = true;
        answer(flight);
        keep(flight, &digest);
    } else {
        kf_block_unref(kf_steal(flight->block));
    }
    kf_fetch_enter(fetch);
    fetch->copying--;
    if (copied)
        fetch->busy--;
    else
        fetch_instead_locked(flight);
    kf_fetch_pump_locked(fetch);
    kf_fetch_leave(fetch);
    kf_feed_unref(feed);
}

void kf_flight_copy_locked(struct kf_flight *flight, struct kf_block *block)
{
    struct kf_fetch *fetch = flight->feed->fetch;

    kf_flight_depart_locked(flight);
    flight->is_elsewhere = false; /* once */
    flight->block = block;
    flight->job.run = copy_chunk;
    fetch->copying++;
    kf_workq_submit(fetch->opts.workq, &flight->job, flight->urgency);
}

void kf_flight_arrived(struct kf_flight *flight)
{
    kf_workq_submit(flight->feed->fetch->opts.workq, &flight->job,
                    __atomic_load_n(&flight->urgency, __ATOMIC_RELAXED));
}
