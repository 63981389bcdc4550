/*
 * The insides of fetch/, for its own files: the flights of missing chunks, the reads that
 * wait for them, the requests that bring them, and the one lock over all of it.
 *
 * A flight is owned by the table while it is wanted, by its request while it is fetching,
 * by its own job from its last byte on, by the cache's writer while it is being written,
 * and by the lists of unkept ones when the cache did not take it: each takes it to the
 * next state or ends it, so it needs no counting.
 *
 * `..._locked`: between kf_fetch_enter and kf_fetch_leave. What ends there is only put
 * aside; leaving releases it, since releasing calls out (a block tells its budget, a feed
 * its source and object).
 */
#ifndef KF_FETCH_FLIGHT_H
#define KF_FETCH_FLIGHT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/block.h"
#include "base/source.h"
#include "base/workq.h"
#include "cache/object.h"
#include "fetch/feed.h"
#include "fetch/queue.h"

enum kf_flight_state {
    KF_FLIGHT_WANTED,   /* in the queue */
    KF_FLIGHT_FETCHING, /* in a request, or being decoded; counted as busy */
    KF_FLIGHT_READY,    /* answers from `block`; the cache may be writing it */
};

/* What was read of a chunk that is ready; the first are the first to be dropped. */
enum kf_progress {
    KF_PROGRESS_ENDED, /* its last byte was read */
    KF_PROGRESS_BEGUN,
    KF_PROGRESS_NONE,
    KF_PROGRESS_COUNT,
};

struct kf_flight {
    struct kf_feed *feed; /* a reference */
    uint64_t chunk;
    struct kf_chunk_place place;
    bool is_elsewhere; /* another object seems to have it: that is tried first */
    struct kf_elsewhere elsewhere;
    enum kf_flight_state state;
    enum kf_urgency urgency; /* written atomically: the source's thread looks */
    unsigned attempts;       /* decodings that failed */
    bool has_digest;         /* by decoding, checking or copying */
    struct kf_waiter *waiters;
    struct kf_flight *next;      /* in its bucket, or among those put aside */
    TAILQ_ENTRY(kf_flight) link; /* while wanted, or unkept */
    struct kf_block *stored;     /* bytes of the source */
    struct kf_block *block;      /* bytes of the chunk; immutable once ready */
    enum kf_progress progress;
    bool unkept;       /* in one of those lists */
    int64_t unkept_ns; /* since then */
    struct kf_job job;
    struct kf_object_put put;
};

TAILQ_HEAD(kf_flight_list, kf_flight);

struct kf_wanted {
    struct kf_flight_list list; /* oldest first */
    size_t count;
};

/* Ready chunks that the cache did not take. */
struct kf_unkept {
    struct kf_flight_list list; /* read last, last */
    uint64_t bytes;
};

/* A stretch of chunks that is turned into flights only when the queue has come so far:
 * a prefetch may want 100,000 of them. */
struct kf_backlog {
    TAILQ_ENTRY(kf_backlog) link;
    struct kf_feed *feed; /* a reference */
    uint64_t first, count;
};

TAILQ_HEAD(kf_backlog_list, kf_backlog);

#define KF_RANGE_CHUNKS 128 /* of one request; 8 MiB over chunks of 64 KiB */

/* One request to the source. All exist from the start, so starting one cannot fail. */
struct kf_range {
    struct kf_source_req req;
    struct kf_sink sink;
    struct kf_feed *feed; /* a reference while it runs */
    int64_t started_ns;
    uint64_t first_chunk;
    size_t count;
    size_t arrived; /* whole chunks; the source's thread, then `done` */
    size_t filled;  /* bytes of the one after them */
    TAILQ_ENTRY(kf_range) link;
    struct kf_flight *flights[KF_RANGE_CHUNKS];
};

TAILQ_HEAD(kf_range_list, kf_range);

struct kf_fetch {
    int refs; /* atomic; the owner and each feed */
    struct kf_fetch_opts opts;
    struct kf_budget budget;
    bool starved; /* atomic; a request waits for room in the budget */

    pthread_mutex_t lock; /* guards all below, flights, and private parts of reads */
    pthread_cond_t idle;  /* stopping, and busy is 0 */
    bool stopping;
    size_t busy; /* running requests, fetching flights, posted reads */
    struct kf_flight **buckets;
    size_t bucket_count, flight_count;
    struct kf_wanted wanted[KF_URGENCY_COUNT];
    struct kf_unkept unkept[KF_PROGRESS_COUNT];
    struct kf_backlog_list backlog[KF_URGENCY_COUNT];
    struct kf_range *ranges; /* the memory of both lists */
    struct kf_range_list running, unused;
    unsigned running_count;
    unsigned running_demand; /* of these */
    unsigned copying;        /* flights whose bytes another object has */
    struct kf_flight *ended;
    struct kf_backlog_list spent;
    bool pump_again; /* once the memory of `ended` is free */
};

struct kf_feed {
    int refs;               /* atomic */
    struct kf_fetch *fetch; /* a reference */
    struct kf_source *source;
    struct kf_object *object;
    const struct kf_feed_ops *ops;
    void *arg;
    uint64_t size;
    uint64_t chunk_count;
    uint64_t *needed; /* atomic; a bit a chunk that a reader asked for */
};

/* feed.c */
/* Counts the bytes of chunks that nobody has read before. */
void kf_feed_note_needed(struct kf_feed *feed, uint64_t offset, size_t length);

/* flight.c */
struct kf_flight *kf_flight_find_locked(const struct kf_feed *feed, uint64_t chunk);
/* Begins to copy a wanted chunk from where it seems to be, into the block, which is
 * taken; it is wanted again when that fails. */
void kf_flight_copy_locked(struct kf_flight *flight, struct kf_block *block);
/* A chunk without a flight; wanted. NULL: no memory. */
struct kf_flight *kf_flight_new_locked(struct kf_feed *feed, uint64_t chunk,
                                       enum kf_urgency urgency);
/* Moves up when it was less urgent. */
void kf_flight_raise_locked(struct kf_flight *flight, enum kf_urgency urgency);
/* Wanted -> fetching, and back. */
void kf_flight_depart_locked(struct kf_flight *flight);
void kf_flight_requeue_locked(struct kf_flight *flight);
/* `stored` is full: decodes, answers and keeps it on the work queue. The source's thread,
 * no lock; the flight is no longer the caller's. */
void kf_flight_arrived(struct kf_flight *flight);
/* Tells the waiters, and ends it. It is wanted or fetching. */
void kf_flight_fail_locked(struct kf_flight *flight, const struct kf_err *err);
/* It is ready, and nobody's any more. */
void kf_flight_end_locked(struct kf_flight *flight);
int64_t kf_flight_deadline_locked(const struct kf_flight *flight); /* 0: nobody waits */
void kf_flight_release(struct kf_flight *flight);                  /* no lock */

/* unkept.c */
/* A ready flight that the cache did not take; ends it when stopping. */
void kf_unkept_add_locked(struct kf_flight *flight);
/* A ready flight was read, by who holds its block: this may end it. */
void kf_unkept_note_read_locked(struct kf_flight *flight, bool to_end);
/* Ends some until there would be room for `bytes`, or none is left that the urgency may
 * push out; whether any. The room is there when the lock has been left. */
bool kf_unkept_make_room_locked(struct kf_fetch *fetch, uint64_t bytes,
                                enum kf_urgency urgency);
/* So many wait to be read that nothing is to be fetched ahead. */
bool kf_unkept_hold_back_locked(struct kf_fetch *fetch);
void kf_unkept_end_locked(struct kf_fetch *fetch); /* all */

/* read.c */
/* The waiters of a flight that became ready leave it; then, without a lock, they are
 * answered from its block. */
struct kf_waiter *kf_read_take_locked(struct kf_flight *flight);
void kf_read_answer(struct kf_fetch *fetch, struct kf_waiter *taken,
                    const struct kf_block *block);
/* The read leaves all its flights and ends with `err`, on the work queue. */
void kf_read_abandon_locked(struct kf_read *read, const struct kf_err *err);

/* range.c */
/* Asks for flights that depart now and have memory, one after the other in the source. */
void kf_range_start_locked(struct kf_range *range, struct kf_flight *const *flights,
                           size_t count, enum kf_urgency urgency);

/* queue.c */
struct kf_fetch *kf_fetch_ref(struct kf_fetch *fetch);
void kf_fetch_unref(struct kf_fetch *fetch);
void kf_fetch_enter(struct kf_fetch *fetch);
/* The caller holds a reference, or does not touch `fetch` afterwards. */
void kf_fetch_leave(struct kf_fetch *fetch);
/* Starts what may be started. */
void kf_fetch_pump_locked(struct kf_fetch *fetch);

#endif
