/*
 * What the files of src/cache share: the store and the object. No other folder includes
 * it.
 */
#ifndef KF_CACHE_PRIVATE_H
#define KF_CACHE_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/stats.h"
#include "cache/dedup.h"
#include "cache/object.h"
#include "cache/pair.h"
#include "cache/space.h"
#include "cache/store.h"
#include "cache/syncer.h"
#include "cache/writer.h"

struct kf_store {
    char *path;
    int folder_fd;
    int objects_fd;
    struct kf_stats *stats; /* borrowed; may be NULL */
    bool look_only;
    struct kf_identity identity;
    struct kf_space space;
    struct kf_writer writer;
    bool writes_ended; /* the writer is no more */
    struct kf_syncer syncer;
    struct kf_dedup dedup;
    /* Guards the list and the last step of every count to 0. */
    pthread_mutex_t lock;
    struct kf_object *objects; /* open ones that are kept */
};

struct kf_object {
    struct kf_object_spec spec;
    struct kf_map_shape shape;
    struct kf_store *store; /* NULL: keeps nothing */
    struct kf_store *near;  /* where its bytes may lie elsewhere; NULL: nowhere */
    struct kf_stats *stats; /* the store's, also when it keeps nothing */
    int refs;               /* atomic */
    bool discarded;         /* atomic */
    struct kf_object *next; /* store->lock */
    struct kf_pair files;
    /* the writer thread's */
    uint8_t *regions; /* enum kf_region, of each KF_CACHE_REGION */
    uint64_t charged_bytes;
    uint32_t dedup_number; /* dedup's lock; 0: none yet */
    /* syncer's lock */
    struct kf_object *sync_next;
    bool sync_queued;
};

/* Space for so many bytes of an object is allocated ahead, once more than one window of
 * them was written: a few bytes read here and there must not fill the disk. */
#define KF_CACHE_REGION (UINT64_C(64) << 20)
enum kf_region { KF_REGION_UNTOUCHED, KF_REGION_TOUCHED, KF_REGION_ALLOCATED };

struct kf_map_shape kf_object_shape(const struct kf_object_spec *spec);

/* Whether the kernel has kept all that it was given to write, as far as it knows yet; if
 * not, all chunks are dropped, since it does not tell which. Quick. */
bool kf_object_check_disk(struct kf_object *object);

/* Syncs a complete object and marks it; drops its chunks when that fails. Stops early
 * when *stopping becomes true. Blocking. */
void kf_object_make_durable(struct kf_object *object, const bool *stopping);

#endif
