/*
 * Which objects of a store hold which chunks, by digest: so that a chunk is copied
 * instead of fetched when another object has it, as those of the version before do.
 *
 * Hints only: what is copied is hashed, and an entry that turns out wrong is forgotten.
 * The index lives in memory, is read from the maps once, and learns what is kept later.
 * Locks itself. Limits: 2^20 chunks, 65,536 objects; what is beyond is not found.
 */
#ifndef KF_CACHE_DEDUP_H
#define KF_CACHE_DEDUP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_err;
struct kf_object;
struct kf_store;

struct kf_dedup_entry {
    uint64_t key;    /* of the digest; 0: empty */
    uint32_t object; /* index in `names` */
    uint32_t chunk;
};

struct kf_dedup {
    pthread_mutex_t lock; /* guards what follows */
    struct kf_dedup_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    char **names; /* of objects, sorted by nothing */
    uint32_t name_count, name_capacity;
    bool read; /* the maps were */
};

void kf_dedup_init(struct kf_dedup *dedup);
void kf_dedup_fini(struct kf_dedup *dedup);

/* The chunk of an object that is kept from now on. */
void kf_dedup_note(struct kf_dedup *dedup, struct kf_object *object, uint64_t chunk,
                   const struct kf_digest *digest);

#endif
