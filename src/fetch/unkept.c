/*
 * Chunks that the cache did not take: it is full, or slower than the network, or there is
 * none. They stay where readers find them, in three lists by what was read of them, the
 * one that was touched last at the end.
 *
 * Those read to their end are memory that happens to be useful: anything that lacks room
 * takes it. A demand also takes those that somebody has begun to read, and at last those
 * that nobody has read yet. While these are many nothing more is fetched ahead, so that
 * readahead never pushes out what it has brought. But their reader may have gone; then
 * they hold others up only for a while.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "fetch/flight.h"

#define STALE_NS (10 * KF_NS_PER_S) /* then nobody comes for a chunk, so it seems */

static uint64_t half(const struct kf_fetch *fetch)
{
    return fetch->opts.memory_bytes / 2;
}

static void insert(struct kf_flight *flight)
{
    struct kf_unkept *unkept = &flight->feed->fetch->unkept[flight->progress];

    TAILQ_INSERT_TAIL(&unkept->list, flight, link);
    unkept->bytes += flight->block->length;
}

static void take_out(struct kf_flight *flight)
{
    struct kf_unkept *unkept = &flight->feed->fetch->unkept[flight->progress];

    TAILQ_REMOVE(&unkept->list, flight, link);
    unkept->bytes -= flight->block->length;
}

/* The block goes when the lock is left, or with the last read that copies from it. */
static uint64_t drop(struct kf_flight *flight)
{
    uint64_t bytes = flight->block->length;

    take_out(flight);
    kf_flight_end_locked(flight);
    return bytes;
}

/* The first to go. */
static struct kf_flight *find_victim(const struct kf_fetch *fetch, enum kf_progress last)
{
    struct kf_flight *flight = NULL;

    for (unsigned progress = 0; progress <= last && !flight; progress++)
        flight = TAILQ_FIRST(&fetch->unkept[progress].list);
    return flight;
}

/* Of what was read no more than half the budget stays. */
static void trim(struct kf_fetch *fetch)
{
    const struct kf_unkept *unkept = fetch->unkept;

    while (unkept[KF_PROGRESS_ENDED].bytes + unkept[KF_PROGRESS_BEGUN].bytes >
           half(fetch))
        (void)drop(find_victim(fetch, KF_PROGRESS_BEGUN));
}

void kf_unkept_add_locked(struct kf_flight *flight)
{
    struct kf_fetch *fetch = flight->feed->fetch;

    if (fetch->stopping) {
        kf_flight_end_locked(flight);
        return;
    }
    flight->unkept = true;
    flight->unkept_ns = kf_now_ns();
    insert(flight);
    trim(fetch);
    kf_fetch_pump_locked(fetch); /* who waits for room may take it from here */
}

void kf_unkept_note_read_locked(struct kf_flight *flight, bool to_end)
{
    if (flight->unkept)
        take_out(flight);
    if (to_end)
        flight->progress = KF_PROGRESS_ENDED;
    else if (flight->progress == KF_PROGRESS_NONE)
        flight->progress = KF_PROGRESS_BEGUN;
    if (flight->unkept) {
        insert(flight);
        trim(flight->feed->fetch);
    }
}

bool kf_unkept_make_room_locked(struct kf_fetch *fetch, uint64_t bytes,
                                enum kf_urgency urgency)
{
    enum kf_progress last = urgency == KF_DEMAND ? KF_PROGRESS_NONE : KF_PROGRESS_ENDED;
    uint64_t level = kf_budget_used(&fetch->budget) + bytes;
    uint64_t limit = fetch->opts.memory_bytes, dropped = 0;
    struct kf_flight *flight;

    while (level > limit && dropped < level - limit &&
           (flight = find_victim(fetch, last)))
        dropped += drop(flight);
    return dropped > 0;
}

bool kf_unkept_hold_back_locked(struct kf_fetch *fetch)
{
    const struct kf_unkept *unread = &fetch->unkept[KF_PROGRESS_NONE];
    int64_t now_ns = unread->bytes < half(fetch) ? 0 : kf_now_ns();
    struct kf_flight *flight;

    while (unread->bytes >= half(fetch) && (flight = TAILQ_FIRST(&unread->list)) &&
           now_ns - flight->unkept_ns >= STALE_NS)
        (void)drop(flight);
    return unread->bytes >= half(fetch);
}

void kf_unkept_end_locked(struct kf_fetch *fetch)
{
    struct kf_flight *flight;

    while ((flight = find_victim(fetch, KF_PROGRESS_NONE)))
        (void)drop(flight);
}
