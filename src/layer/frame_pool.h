/*
 * Units of seekable blobs that are in hand (on their way, or decoded), of all sources of
 * the process, and how much memory they take: private to layer/frames. One lock, which
 * also guards the requests of frames.c; it comes after the fetch queue's and before those
 * of blobs and work queues.
 */
#ifndef KF_LAYER_FRAME_POOL_H
#define KF_LAYER_FRAME_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct kf_frames;
struct kf_work; /* a request, of frames.c */

struct kf_hand {
    const struct kf_frames *frames;
    uint32_t unit;
    uint32_t length;
    uint64_t delivered;  /* bytes given out; all of them: not needed any more */
    uint8_t *data;       /* NULL: on its way */
    unsigned users;      /* who must not lose `data` */
    int64_t deadline_ns; /* on its way until then at most */
    struct kf_work *run; /* who fetches it; while it is on its way */
    struct kf_work *waiters;
    TAILQ_ENTRY(kf_hand) link;
};

void kf_pool_enter(void);
void kf_pool_leave(void);

/* Memory for the bytes of frames, of 0 bytes or more. Large pieces come from the kernel
 * and go back there at once: the allocator would keep those of 16 MiB. */
uint8_t *kf_pool_alloc(size_t length);
void kf_pool_free(uint8_t *memory, size_t length); /* NULL is fine */

/* A unit that is on its way from now on; NULL: no memory. */
struct kf_hand *kf_hand_new_locked(const struct kf_frames *frames, uint32_t unit,
                                   uint32_t length);
void kf_hand_free_locked(struct kf_hand *hand);
void kf_hand_free_all_locked(const struct kf_frames *frames);
/* One that a request with this deadline may use or wait for. */
struct kf_hand *kf_hand_find_locked(const struct kf_frames *frames, uint32_t unit,
                                    int64_t deadline_ns);
/* The first unit of a run that is still on its way. */
struct kf_hand *kf_hand_coming_locked(const struct kf_work *run);
/* Decoded; `data` is moved, and one user counted. */
void kf_hand_fill_locked(struct kf_hand *hand, uint8_t *data);
/* One user less. What nobody needs any more goes, and what is too much, the oldest first.
 */
void kf_hand_put_locked(struct kf_hand *hand);

/* Memory for a run; false: it must wait until one ends. One alone may have any. */
bool kf_pool_take_locked(uint64_t bytes, bool demand);
void kf_pool_give_locked(uint64_t bytes);

#endif
