#include "layer/frame_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "layer/frames.h"

#define MAPPED ((size_t)2 << 20)

static struct {
    pthread_mutex_t lock;
    TAILQ_HEAD(hands, kf_hand) hands; /* used last, last */
    uint64_t kept, running;           /* bytes */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .hands = TAILQ_HEAD_INITIALIZER(pool.hands)};

void kf_pool_enter(void)
{
    (void)pthread_mutex_lock(&pool.lock); /* a plain mutex of ours */
}

void kf_pool_leave(void)
{
    (void)pthread_mutex_unlock(&pool.lock);
}

uint64_t kf_frames_in_hand(void)
{
    uint64_t bytes;

    kf_pool_enter();
    bytes = pool.kept + pool.running;
    kf_pool_leave();
    return bytes;
}

uint8_t *kf_pool_alloc(size_t length)
{
    void *memory;

    if (length < MAPPED)
        return malloc(length ? length : 1);
    memory =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void kf_pool_free(uint8_t *memory, size_t length)
{
    if (length < MAPPED)
        free(memory);
    else if (memory)
        (void)munmap(memory, length); /* ours, and whole */
}

struct kf_hand *kf_hand_new_locked(const struct kf_frames *frames, uint32_t unit,
                                   uint32_t length)
{
    struct kf_hand *hand = calloc(1, sizeof(*hand));

    if (!hand)
        return NULL;
    hand->frames = frames;
    hand->unit = unit;
    hand->length = length;
    TAILQ_INSERT_TAIL(&pool.hands, hand, link);
    return hand;
}

void kf_hand_free_locked(struct kf_hand *hand)
{
    TAILQ_REMOVE(&pool.hands, hand, link);
    if (hand->data)
        pool.kept -= hand->length;
    kf_pool_free(hand->data, hand->length);
    free(hand);
}

void kf_hand_free_all_locked(const struct kf_frames *frames)
{
    struct kf_hand *hand, *next;

    for (hand = TAILQ_FIRST(&pool.hands); hand; hand = next) {
        next = TAILQ_NEXT(hand, link);
        if (hand->frames == frames)
            kf_hand_free_locked(hand);
    }
}

struct kf_hand *kf_hand_find_locked(const struct kf_frames *frames, uint32_t unit,
                                    int64_t deadline_ns)
{
    struct kf_hand *hand, *coming = NULL;

    TAILQ_FOREACH(hand, &pool.hands, link)
    {
        if (hand->frames != frames || hand->unit != unit)
            continue;
        if (hand->data)
            return hand;
        if (hand->deadline_ns <= deadline_ns)
            coming = hand;
    }
    return coming;
}

struct kf_hand *kf_hand_coming_locked(const struct kf_work *run)
{
    struct kf_hand *hand;

    TAILQ_FOREACH(hand, &pool.hands, link)
    if (hand->run == run)
        return hand;
    return NULL;
}

void kf_hand_fill_locked(struct kf_hand *hand, uint8_t *data)
{
    hand->data = data;
    hand->run = NULL;
    hand->users = 1;
    pool.kept += hand->length;
}

static void trim_locked(void)
{
    struct kf_hand *hand, *next;

    for (hand = TAILQ_FIRST(&pool.hands); hand; hand = next) {
        next = TAILQ_NEXT(hand, link);
        if (hand->data && hand->users == 0 &&
            (hand->delivered >= hand->length || pool.kept > KF_FRAMES_KEPT))
            kf_hand_free_locked(hand);
    }
}

void kf_hand_put_locked(struct kf_hand *hand)
{
    hand->users--;
    TAILQ_REMOVE(&pool.hands, hand, link);
    TAILQ_INSERT_TAIL(&pool.hands, hand, link);
    trim_locked();
}

bool kf_pool_take_locked(uint64_t bytes, bool demand)
{
    uint64_t limit = demand ? KF_FRAMES_RUNNING / 2 * 3 : KF_FRAMES_RUNNING;

    if (pool.running > 0 && pool.running + bytes > limit)
        return false;
    pool.running += bytes;
    return true;
}

void kf_pool_give_locked(uint64_t bytes)
{
    pool.running -= bytes;
}
