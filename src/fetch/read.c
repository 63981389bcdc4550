/*
 * The life of a read. Each chunk it touches is in one of three places: in a flight's
 * block (copied), in a flight that has not landed (it becomes a waiter there), or in the
 * cache. When it waits for nothing more, its job reads what is in the cache, if anything,
 * and answers; a chunk that turns out missing or damaged there sends it around once more.
 *
 * A read that touches one chunk is answered straight from the chunk's block; others
 * gather their bytes in a block of their own, so that a waiter never holds a chunk's
 * memory.
 *
 * `missing` counts what it waits for: its places in flights, and the copies that a thread
 * is making without the lock. Whoever brings it to 0 decides how the read goes on.
 * Failing and cancelling empty the places at once, and the end comes when the copies are
 * made; all that fails is told by the job, so that no caller of ours is surprised by a
 * callback.
 */
#include "fetch/flight.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

#define CACHE_ATTEMPTS 2 /* fetches for a chunk that the cache has and cannot give */

/* The part of a range that lies in its n-th chunk. */
struct piece {
    uint64_t chunk;
    size_t in_chunk;
    size_t in_range;
    size_t length;
};

static struct piece piece_at(const struct kf_feed *feed, uint64_t offset, size_t length,
                             unsigned index)
{
    uint64_t chunk = kf_object_chunk_at(feed->object, offset) + index;
    uint64_t start = kf_object_chunk_offset(feed->object, chunk);
    uint64_t from = kf_max_u64(start, offset);
    uint64_t end =
        kf_min_u64(start + kf_object_chunk_length(feed->object, chunk), offset + length);

    return (struct piece){chunk, (size_t)(from - start), (size_t)(from - offset),
                          (size_t)(end - from)};
}

static struct piece piece_of(const struct kf_read *read, unsigned index)
{
    return piece_at(read->feed, read->offset, read->length, index);
}

/* How many chunks a range touches; 0: it is none that can be read. */
static unsigned span_of(const struct kf_feed *feed, uint64_t offset, size_t length)
{
    uint64_t span;

    if (length == 0 || offset >= feed->size || length > feed->size - offset)
        return 0;
    span = kf_object_chunk_at(feed->object, offset + length - 1) -
           kf_object_chunk_at(feed->object, offset) + 1;
    return span <= KF_READ_CHUNKS ? (unsigned)span : 0;
}

/* ---- the end ---- */

static void finish(struct kf_read *read, const uint8_t *data, const struct kf_err *err)
{
    struct kf_feed *feed = read->feed;
    struct kf_block *gathered = read->gathered;

    read->done(read, data, err); /* may free it */
    kf_block_unref(gathered);
    kf_feed_unref(feed);
}

static void finish_failed(struct kf_read *read)
{
    struct kf_err err = read->error;

    finish(read, NULL, &err);
}

/* ---- the job: what is in the cache, and failures ---- */

static bool may_fetch_again(const struct kf_err *err)
{
    return err->kind == KF_E_CORRUPT || err->kind == KF_E_NOTFOUND;
}

/* All that the cache can give, so that what it cannot is found out in one go. */
static int read_cached(struct kf_read *read, struct kf_err *err)
{
    const struct kf_feed *feed = read->feed;

    if (!read->gathered)
        read->gathered = kf_block_new(&feed->fetch->budget, read->length, true);
    if (!read->gathered)
        return kf_fail(err, KF_E_NOMEM, "no memory for a read");
    for (unsigned i = 0; i < read->span; i++) {
        struct piece piece = piece_of(read, i);

        if (!(read->todo >> i & 1))
            continue;
        if (kf_object_read(feed->object, read->gathered->data + piece.in_range,
                           piece.length, read->offset + piece.in_range, err) != 0) {
            if (may_fetch_again(err))
                continue;
            return -1;
        }
        read->todo &= ~(UINT32_C(1) << i);
        kf_stats_add(feed->fetch->opts.stats, KF_STAT_CACHE_BYTES, piece.length);
    }
    return read->todo == 0 ? 0 : -1;
}

static void admit(struct kf_read *read);

static void run(struct kf_job *job)
{
    struct kf_read *read = kf_container_of(job, struct kf_read, job);
    struct kf_feed *feed = kf_feed_ref(read->feed); /* the read ends below */
    struct kf_fetch *fetch = feed->fetch;
    bool failed, again = false;
    struct kf_err err;

    kf_fetch_enter(fetch);
    failed = read->error.kind != KF_E_NONE;
    kf_fetch_leave(fetch);

    kf_err_clear(&err);
    if (!failed)
        (void)read_cached(read, &err); /* the record says how it went */

    kf_fetch_enter(fetch);
    if (read->error.kind == KF_E_NONE && err.kind != KF_E_NONE) {
        again = may_fetch_again(&err) && read->attempts++ < CACHE_ATTEMPTS;
        if (!again)
            read->error = err;
    }
    read->decided = !again;
    failed = read->error.kind != KF_E_NONE;
    kf_fetch_leave(fetch);

    if (again)
        admit(read);
    else if (failed)
        finish_failed(read);
    else
        finish(read, read->gathered->data, NULL);
    kf_fetch_enter(fetch);
    fetch->busy--;
    kf_fetch_leave(fetch);
    kf_feed_unref(feed);
}

static void post_locked(struct kf_read *read)
{
    struct kf_fetch *fetch = read->feed->fetch;

    read->posted = true;
    read->job.run = run;
    fetch->busy++;
    kf_workq_submit(fetch->opts.workq, &read->job, read->urgency);
}

/* Nothing is missing any more: true when the caller is to answer with the bytes. */
static bool settle_locked(struct kf_read *read)
{
    if (read->error.kind != KF_E_NONE || read->todo != 0) {
        post_locked(read);
        return false;
    }
    read->decided = true;
    return true;
}

/* ---- waiting ---- */

static void note_read_locked(struct kf_flight *flight, struct piece piece)
{
    kf_unkept_note_read_locked(flight,
                               piece.in_chunk + piece.length == flight->place.length);
}

static void join_locked(struct kf_read *read, unsigned index, struct kf_flight *flight)
{
    struct kf_waiter *waiter = &read->waiters[index];

    *waiter = (struct kf_waiter){
        .next = flight->waiters, .link = &flight->waiters, .read = read};
    if (waiter->next)
        waiter->next->link = &waiter->next;
    flight->waiters = waiter;
    read->missing++;
}

static void leave_flight_locked(struct kf_waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    waiter->link = NULL;
    waiter->read->missing--;
}

void kf_read_abandon_locked(struct kf_read *read, const struct kf_err *err)
{
    if (read->error.kind == KF_E_NONE)
        read->error = *err;
    for (unsigned i = 0; i < read->span; i++) {
        if (read->waiters[i].link)
            leave_flight_locked(&read->waiters[i]);
    }
    if (read->missing == 0 && !read->posted)
        post_locked(read);
}

struct kf_waiter *kf_read_take_locked(struct kf_flight *flight)
{
    struct kf_waiter *taken = flight->waiters;

    for (struct kf_waiter *waiter = taken; waiter; waiter = waiter->next) {
        struct kf_read *read = waiter->read;

        note_read_locked(flight, piece_of(read, (unsigned)(waiter - read->waiters)));
        waiter->link = NULL;
        read->decided = read->span == 1;
    }
    flight->waiters = NULL;
    return taken;
}

/* Reads of several chunks, whose bytes of this one were copied. */
static void settle_copied(struct kf_fetch *fetch, struct kf_waiter *copied)
{
    struct kf_waiter *finished = NULL;

    kf_fetch_enter(fetch);
    while (copied) {
        struct kf_waiter *waiter = copied;
        struct kf_read *read = waiter->read;

        copied = waiter->next;
        read->todo &= ~(UINT32_C(1) << (waiter - read->waiters));
        if (--read->missing == 0 && settle_locked(read)) {
            waiter->next = finished;
            finished = waiter;
        }
    }
    kf_fetch_leave(fetch);
    while (finished) {
        struct kf_read *read = finished->read;

        finished = finished->next;
        finish(read, read->gathered->data, NULL);
    }
}

void kf_read_answer(struct kf_fetch *fetch, struct kf_waiter *taken,
                    const struct kf_block *block)
{
    struct kf_waiter *copied = NULL;

    while (taken) {
        struct kf_waiter *waiter = taken;
        struct kf_read *read = waiter->read;
        struct piece piece = piece_of(read, (unsigned)(waiter - read->waiters));

        taken = waiter->next;
        if (read->span == 1) {
            finish(read, block->data + piece.in_chunk, NULL);
        } else {
            memcpy(read->gathered->data + piece.in_range, block->data + piece.in_chunk,
                   piece.length);
            waiter->next = copied;
            copied = waiter;
        }
    }
    if (copied)
        settle_copied(fetch, copied);
}

/* ---- the beginning ---- */

static bool all_cached(const struct kf_read *read)
{
    uint64_t first = kf_object_chunk_at(read->feed->object, read->offset);

    for (unsigned i = 0; i < read->span; i++) {
        if ((read->todo >> i & 1) && !kf_object_has(read->feed->object, first + i))
            return false;
    }
    return true;
}

/* Where the chunks still to do are: takes blocks that are in memory (a bit each in the
 * result), joins flights, begins flights. -1 without memory for one. */
static int look_up_locked(struct kf_read *read, struct kf_block **blocks,
                          uint32_t *ret_taken, struct kf_err *err)
{
    struct kf_feed *feed = read->feed;
    uint64_t first = kf_object_chunk_at(feed->object, read->offset);

    *ret_taken = 0;
    for (unsigned i = 0; i < read->span; i++) {
        struct kf_flight *flight;

        if (!(read->todo >> i & 1))
            continue;
        flight = kf_flight_find_locked(feed, first + i);
        if (flight && flight->state == KF_FLIGHT_READY) {
            blocks[i] = kf_block_ref(flight->block);
            *ret_taken |= UINT32_C(1) << i;
            note_read_locked(flight, piece_of(read, i));
            continue;
        }
        if (!flight && kf_object_has(feed->object, first + i))
            continue; /* written since; or never gone */
        if (flight)
            kf_flight_raise_locked(flight, read->urgency);
        else
            flight = kf_flight_new_locked(feed, first + i, read->urgency);
        if (!flight)
            return kf_fail(err, KF_E_NOMEM, "no memory for a fetch");
        join_locked(read, i, flight);
    }
    return 0;
}

/* The read holds one of its own `missing`. */
static void use_blocks(struct kf_read *read, struct kf_block *const *blocks,
                       uint32_t taken)
{
    struct kf_fetch *fetch = read->feed->fetch;
    struct kf_block *only = read->span == 1 ? blocks[0] : NULL;
    const uint8_t *data =
        only ? only->data + piece_of(read, 0).in_chunk : read->gathered->data;
    unsigned span = read->span;
    uint64_t bytes = 0;
    bool decided;

    for (unsigned i = 0; i < span; i++) {
        struct piece piece = piece_of(read, i);

        if (!(taken >> i & 1))
            continue;
        bytes += piece.length;
        if (!only)
            memcpy(read->gathered->data + piece.in_range,
                   blocks[i]->data + piece.in_chunk, piece.length);
    }
    kf_stats_add(fetch->opts.stats, KF_STAT_CACHE_BYTES, bytes);
    kf_fetch_enter(fetch);
    read->todo &= ~taken;
    decided = --read->missing == 0 && settle_locked(read);
    kf_fetch_leave(fetch);
    if (decided)
        finish(read, data, NULL);
    for (unsigned i = 0; i < span; i++) {
        if (taken >> i & 1)
            kf_block_unref(blocks[i]);
    }
}

static void admit(struct kf_read *read)
{
    struct kf_fetch *fetch = read->feed->fetch;
    bool cached = all_cached(read), stopping;
    struct kf_block *blocks[KF_READ_CHUNKS];
    uint32_t taken = 0;
    struct kf_err err;
    int rc = 0;

    if (!cached && read->span > 1 && !read->gathered) {
        read->gathered = kf_block_new(&fetch->budget, read->length, true);
        if (!read->gathered)
            rc = kf_fail(&err, KF_E_NOMEM, "no memory for a read");
    }
    kf_fetch_enter(fetch);
    stopping = fetch->stopping;
    if (stopping)
        rc = kf_fail(&err, KF_E_CANCELLED, "no reads any more: stopping");
    read->posted = false; /* until here, so that cancelling leaves it to us */
    read->missing = 1;    /* until it is known where everything is */
    if (rc == 0 && !cached && read->error.kind == KF_E_NONE)
        rc = look_up_locked(read, blocks, &taken, &err);
    if (read->missing > 1 && !read->waited) {
        read->waited = true;
        kf_stats_add(fetch->opts.stats, KF_STAT_READ_WAITS, 1);
    }
    if (rc != 0)
        kf_read_abandon_locked(read, &err);
    if (stopping)
        read->decided = true;
    else if (taken == 0 && --read->missing == 0)
        post_locked(read);
    kf_fetch_pump_locked(fetch);
    kf_fetch_leave(fetch);
    if (stopping)
        finish_failed(read);
    else if (taken != 0)
        use_blocks(read, blocks, taken);
}

static void set_cancelled(struct kf_err *err)
{
    (void)kf_fail(err, KF_E_CANCELLED, "the read was cancelled");
}

/* Under the lock, since who cancels may be quicker; posted: until `admit` has it, whoever
 * ends it leaves the rest to us. */
static void begin(struct kf_feed *feed, struct kf_read *read, unsigned span)
{
    kf_fetch_enter(feed->fetch);
    read->feed = kf_feed_ref(feed);
    read->gathered = NULL;
    read->span = span;
    read->todo = (UINT32_C(1) << span) - 1;
    read->missing = read->attempts = 0;
    read->waited = false;
    read->posted = true;
    read->decided = span == 0;
    kf_err_clear(&read->error);
    if (kf_read_is_cancelled(read))
        set_cancelled(&read->error);
    for (unsigned i = 0; i < span; i++)
        read->waiters[i].link = NULL;
    kf_fetch_leave(feed->fetch);
}

void kf_feed_read(struct kf_feed *feed, struct kf_read *read)
{
    unsigned span = span_of(feed, read->offset, read->length);
    struct kf_err err;

    begin(feed, read, span);
    if (span == 0) {
        (void)kf_fail(&err, KF_E_ARG, "a read of '%s' that cannot be",
                      feed->source->name);
        finish(read, NULL, &err);
        return;
    }
    if (read->deadline_ns == 0)
        read->deadline_ns = kf_deadline_ns(feed->fetch->opts.read_timeout_ns);
    kf_feed_note_needed(feed, read->offset, read->length);
    admit(read);
}

void kf_feed_cancel(struct kf_feed *feed, struct kf_read *read)
{
    struct kf_err err;

    set_cancelled(&err);
    kf_fetch_enter(feed->fetch);
    __atomic_store_n(&read->cancelled, true, __ATOMIC_RELAXED);
    if (read->feed && !read->decided)
        kf_read_abandon_locked(read, &err);
    kf_fetch_leave(feed->fetch);
}

/* ---- without waiting ---- */

/* The blocks that hold parts of the range; false when a part is nowhere near. */
static bool find_blocks(struct kf_feed *feed, uint64_t offset, size_t length,
                        unsigned span, struct kf_block **blocks)
{
    bool all = true;

    kf_fetch_enter(feed->fetch);
    for (unsigned i = 0; i < span && all; i++) {
        struct piece piece = piece_at(feed, offset, length, i);
        struct kf_flight *flight = kf_flight_find_locked(feed, piece.chunk);

        if (flight && flight->state == KF_FLIGHT_READY) {
            blocks[i] = kf_block_ref(flight->block);
            note_read_locked(flight, piece);
        } else {
            all = kf_object_has(feed->object, piece.chunk);
        }
    }
    kf_fetch_pump_locked(feed->fetch); /* what was read may hold readahead back no more */
    kf_fetch_leave(feed->fetch);
    return all;
}

ssize_t kf_feed_read_now(struct kf_feed *feed, void *data, size_t length, uint64_t offset)
{
    ssize_t got = kf_object_read_now(feed->object, data, length, offset);
    unsigned span = span_of(feed, offset, length);
    struct kf_block *blocks[KF_READ_CHUNKS] = {NULL};
    uint8_t *bytes = data;

    if (got < 0 && span > 0 && find_blocks(feed, offset, length, span, blocks)) {
        got = (ssize_t)length;
        for (unsigned i = 0; i < span && got > 0; i++) {
            struct piece piece = piece_at(feed, offset, length, i);

            if (blocks[i])
                memcpy(bytes + piece.in_range, blocks[i]->data + piece.in_chunk,
                       piece.length);
            else if (kf_object_read_now(feed->object, bytes + piece.in_range,
                                        piece.length, offset + piece.in_range) < 0)
                got = -1;
        }
    }
    for (unsigned i = 0; i < span; i++)
        kf_block_unref(blocks[i]);
    if (got > 0) {
        kf_feed_note_needed(feed, offset, length);
        kf_stats_add(feed->fetch->opts.stats, KF_STAT_CACHE_BYTES, (uint64_t)got);
    }
    return got;
}
