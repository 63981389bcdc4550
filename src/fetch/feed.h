/*
 * A feed fills one object from one source, chunk by chunk: whoever reads a chunk that is
 * missing joins its flight (one fetch, any number of waiters), and no thread waits.
 *
 * The life of a missing chunk: wanted -> in a range on its way -> decoded and checked on
 * the work queue -> waiters answered -> handed to the cache -> forgotten when written.
 * Until it is written readers are answered from its block. A chunk that the cache does
 * not take stays in memory until something else needs its room, and keeps the feed until
 * then, even when nobody else holds it; kf_fetch_stop drops all. A fetch that fails is
 * forgotten after its waiters were told: the next read tries again.
 *
 * Locks itself; counted. What ranges are asked for is decided by fetch/plan, how far
 * ahead by fetch/readahead (both pure), when and how many by fetch/queue.
 */
#ifndef KF_FETCH_FEED_H
#define KF_FETCH_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/source.h"
#include "cache/object.h"

struct kf_fetch; /* fetch/queue.h */
struct kf_feed;

struct kf_chunk_place {
    uint64_t stored_offset; /* in the source */
    uint32_t stored_length; /* > 0 */
    uint32_t length;        /* of the chunk itself: what the object says */
};

/* How chunks of the object lie in the source. `place` is pure and quick, called under a
 * lock; `decode` and `check` run on a work-queue thread, no lock held. */
struct kf_feed_ops {
    void (*place)(const void *arg, uint64_t chunk, struct kf_chunk_place *ret);
    /* Stored bytes to the chunk's `length` bytes, checked against what is known about
     * them; gives the sha256 of the result. A KF_E_CORRUPT or KF_E_MALFORMED is fetched
     * once more. NULL: stored bytes are the chunk, as `check` says. */
    int (*decode)(const void *arg, uint64_t chunk, const uint8_t *stored,
                  size_t stored_length, uint8_t *data, size_t length,
                  struct kf_digest *ret_digest, struct kf_err *err);
    /* The same for bytes that stay as they are. NULL: nothing is known about them. */
    int (*check)(const void *arg, uint64_t chunk, const uint8_t *data, size_t length,
                 struct kf_digest *ret_digest, struct kf_err *err);
    /* Whether `check` has something to go by; while it has not, the digest is computed
     * after readers were answered. NULL: always. */
    bool (*knows)(const void *arg, uint64_t chunk);
    /* The cache has the chunk now: on its writer's thread, no lock held. May be NULL. */
    void (*kept)(void *arg, struct kf_object *object, uint64_t chunk);
    void (*destroy)(void *arg); /* with the feed, on any thread; may be NULL */
};

/* Takes references to source and object; `ops` is static. On failure `arg` stays the
 * caller's. */
int kf_feed_new(struct kf_feed **ret, struct kf_fetch *fetch, struct kf_source *source,
                struct kf_object *object, const struct kf_feed_ops *ops, void *arg,
                struct kf_err *err);
struct kf_feed *kf_feed_ref(struct kf_feed *feed);
void kf_feed_unref(
    struct kf_feed *feed); /* NULL is fine; flights and reads hold their own */

#define KF_READ_CHUNKS \
    20 /* chunks one read may touch: 1 MiB over chunks of 64 KiB, + ends */

/* A read of the object, embedded in the caller's request. Before it is used `feed` is
 * NULL and `cancelled` false. When `done` has run it may be used again as it is, with
 * another range; once cancelled it stays so. */
struct kf_read {
    uint64_t offset;         /* in the object */
    size_t length;           /* 1 byte to 1 MiB, inside the object */
    int64_t deadline_ns;     /* 0: the fetch's own */
    enum kf_urgency urgency; /* 0: KF_DEMAND */
    /* Runs exactly once, no lock held, on a work-queue thread or on the caller's own
     * before kf_feed_read returns. `data` (length bytes) is valid only during the call;
     * on failure it is NULL and `err` tells why. The read may be freed in it. */
    void (*done)(struct kf_read *read, const void *data, const struct kf_err *err);

    /* private: fetch/read.c */
    struct kf_feed *feed;      /* NULL: not begun */
    bool cancelled;            /* atomic */
    struct kf_block *gathered; /* several chunks, or from the cache: the answer's bytes */
    unsigned span;             /* chunks it touches */
    uint32_t todo;             /* bit i: chunk i of the read is not in `gathered` yet */
    unsigned missing;          /* what it waits for: flights, and copies being made */
    unsigned attempts;         /* readings of the cache that failed */
    bool waited;               /* counted as waiting for the source */
    bool posted;               /* `job` is submitted or runs */
    bool decided;              /* `done` is about to run, or has run */
    struct kf_err error;
    struct kf_job job; /* before the feed has it: the owner's */
    struct kf_waiter {
        struct kf_waiter *next;
        struct kf_waiter **link; /* what points to it; NULL: waits for nothing */
        struct kf_read *read;
    } waiters[KF_READ_CHUNKS];
};

/* Answers from the cache or memory, or joins the flights of what is missing. More than
 * KF_READ_CHUNKS chunks, or a range not inside the object, is KF_E_ARG. */
void kf_feed_read(struct kf_feed *feed, struct kf_read *read);
/* Leaves the flights: `done` runs with KF_E_CANCELLED, on a work-queue thread (so the
 * caller may hold a lock that `done` takes), unless it has begun already. The fetch goes
 * on. A read that is cancelled before kf_feed_read ends so once it begins. The caller
 * keeps `read` alive until both this and `done` returned. */
void kf_feed_cancel(struct kf_feed *feed, struct kf_read *read);
/* Whether kf_feed_cancel was called for it. */
static inline bool kf_read_is_cancelled(const struct kf_read *read)
{
    return __atomic_load_n(&read->cancelled, __ATOMIC_RELAXED);
}
/* Like kf_object_read_now, and also from blocks in memory. */
ssize_t kf_feed_read_now(struct kf_feed *feed, void *data, size_t length,
                         uint64_t offset);

/* Wants chunks without waiting for them: missing ones are queued, and those beyond the
 * object's end ignored. A chunk wanted with a higher urgency later moves up. A hint:
 * without memory it is lost. */
void kf_feed_want(struct kf_feed *feed, uint64_t first_chunk, uint64_t count,
                  enum kf_urgency urgency);

struct kf_object *kf_feed_object(struct kf_feed *feed); /* borrowed */

#endif
