/*
 * One object of the cache: a data file whose offset 0 is the object's offset 0, and a map
 * file with a state and the sha256 of each chunk. An object is the content of one large
 * file, or the remainder of a layer. Locks itself; counted.
 *
 * Chunk states live in a shared mapping of the map file, change by atomic operations, and
 * only after the bytes are in the data file: a process killed at any point leaves a sound
 * object. A chunk present since an earlier boot is hashed before its first use (unless
 * the object was marked durable) and dropped when its digest differs.
 *
 * Without a store (NULL) an object keeps nothing: every chunk stays absent. So does one
 * that the store cannot hold now: disk full or failing, no descriptor left, or another
 * process has it open with another size. That is logged, and no failure.
 */
#ifndef KF_CACHE_OBJECT_H
#define KF_CACHE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/block.h"
#include "base/digest.h"

struct kf_cuts;
struct kf_err;
struct kf_map_shape;
struct kf_object;
struct kf_store;

#define KF_OBJECT_NAME_SIZE 96

struct kf_object_spec {
    char name[KF_OBJECT_NAME_SIZE]; /* hex digits, '-' and letters: a file name */
    uint64_t size;
    uint32_t chunk_size; /* 64 KiB to 16 MiB, the last chunk is shorter; not with cuts */
    /* Borrowed; NULL: chunks of one size. Equal names mean equal cuts. A digest in the
     * map never overrules one of these. */
    struct kf_cuts *cuts;
    /* By a store that is only looked into, too: it is dear to have again. */
    bool kept_anyway;
};

/* Opens or creates. Two opens of one name in a process give the same object. */
int kf_object_open(struct kf_object **ret, struct kf_store *store,
                   const struct kf_object_spec *spec, struct kf_err *err);
struct kf_object *kf_object_ref(struct kf_object *object);
void kf_object_unref(struct kf_object *object); /* NULL is fine */

uint64_t kf_object_size(const struct kf_object *object);
uint64_t kf_object_chunk_count(const struct kf_object *object);
/* Of chunks of the object: where one begins, how long it is, which one holds a byte. */
uint64_t kf_object_chunk_offset(const struct kf_object *object, uint64_t chunk);
uint32_t kf_object_chunk_length(const struct kf_object *object, uint64_t chunk);
uint64_t kf_object_chunk_at(const struct kf_object *object, uint64_t offset);
uint64_t kf_object_local_bytes(const struct kf_object *object); /* present; cheap */
bool kf_object_complete(const struct kf_object *object);

/* Deletes an object, unless somebody has it open; the store itself has one for a moment
 * that has just become complete. Whether it is gone. */
bool kf_store_remove(struct kf_store *store, const char *name);

/* About as much of an object that need not be open, for showing; 0 without a store. */
uint64_t kf_store_local_bytes(struct kf_store *store, const char *name,
                              const struct kf_map_shape *shape);

/* Whether the chunk's bytes are in the data file. Any thread, no lock. */
bool kf_object_has(const struct kf_object *object, uint64_t chunk);

/* Answers only from memory: `length` when every chunk of the range is present, verified
 * in this boot, and its pages are in the page cache; else -1. Never waits. */
ssize_t kf_object_read_now(struct kf_object *object, void *data, size_t length,
                           uint64_t offset);

/* Blocking. Chunks not yet verified in this boot are hashed first. A damaged chunk
 * becomes absent and the call fails with KF_E_CORRUPT, a missing one with KF_E_NOTFOUND:
 * fetch it (again) then. */
int kf_object_read(struct kf_object *object, void *data, size_t length, uint64_t offset,
                   struct kf_err *err);

/* Hands a verified chunk to the writer. Returns false, and keeps nothing, when the store
 * is NULL, full, failing or its queue is full (counted in CACHE_SKIPPED). When true, the
 * block is referenced until it was written or dropped; then `put->done` runs once on the
 * writer thread, no lock held (kf_object_has says which it was). */
struct kf_object_put {
    void (*done)(struct kf_object_put *put);
    /* the store's */
    struct kf_object_put *next;
    struct kf_object *object;
    struct kf_block *block;
    uint64_t chunk;
    struct kf_digest digest;
    struct kf_object_put *peer; /* more chunks of the same window */
    uint32_t gathered;          /* which chunks of the window are here */
    int64_t deadline_ns;        /* when the window is written at the latest */
};
bool kf_object_put(struct kf_object *object, uint64_t chunk, struct kf_block *block,
                   const struct kf_digest *digest, struct kf_object_put *put);

/* Whether another object seems to have the bytes of a chunk (of cuts with digests), and
 * copying them from there: blocking; checked by the digest. When that fails the chunk is
 * fetched like any other. */
struct kf_elsewhere {
    uint32_t object, chunk;
};
bool kf_object_elsewhere(struct kf_object *object, uint64_t chunk,
                         struct kf_elsewhere *ret);
int kf_object_copy(struct kf_object *object, uint64_t chunk,
                   const struct kf_elsewhere *from, void *data, size_t length,
                   struct kf_digest *ret_digest, struct kf_err *err);

/* Whether so much waits to be written that chunks may soon not be taken. */
bool kf_object_is_busy(struct kf_object *object);
/* Forgets a chunk whose bytes turned out wrong: it is fetched again. */
void kf_object_drop(struct kf_object *object, uint64_t chunk);

/* Forgets all of it; the files go with the last reference, unless another process has
 * them open. Chunks on their way to disk come to rest there until then. */
void kf_object_discard(struct kf_object *object);

/* The sha256 that the map holds for a present chunk; false when absent. */
bool kf_object_digest(struct kf_object *object, uint64_t chunk, struct kf_digest *ret);

#endif
