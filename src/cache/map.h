/*
 * The map file of an object: a header, and per chunk a state and the sha256 of its bytes.
 * Bytes: docs/formats/cache.md, section 3. The codec is pure. A mapped map is shared by
 * all processes that have the object open; states and digests change by atomic
 * operations, so those calls may come from any thread and take no lock.
 */
#ifndef KF_CACHE_MAP_H
#define KF_CACHE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_err;

#define KF_MAP_HEADER_SIZE 4096u
#define KF_MAP_CHUNK_LIMIT (UINT64_C(1) << 26)
#define KF_CHUNK_SIZE_MIN (UINT32_C(64) << 10)
#define KF_CHUNK_SIZE_MAX (UINT32_C(16) << 20)
#define KF_MAP_DURABLE UINT32_C(1)
#define KF_ID_SIZE 16

enum kf_chunk_state {
    KF_CHUNK_ABSENT = 0,
    KF_CHUNK_FILLING = 1, /* reserved; means absent */
    KF_CHUNK_PRESENT = 2,
    KF_CHUNK_VERIFIED = 3,
};

/* Which machine this is, and since when it runs. */
struct kf_identity {
    uint8_t boot_id[KF_ID_SIZE];
    uint8_t machine_id[KF_ID_SIZE]; /* zero: none */
};

/* Without a boot id (no /proc) a random one: then nothing of earlier processes counts as
 * verified. */
void kf_identity_read(struct kf_identity *ret);

/* What never changes of an object. */
struct kf_map_shape {
    uint64_t size;
    uint32_t chunk_size; /* of every chunk but the last; with cuts of their own: about */
    uint64_t chunk_count;
    bool has_cuts; /* the map says where its chunks begin */
};

struct kf_map_header {
    struct kf_map_shape shape;
    uint32_t flags;
    struct kf_identity identity;
};

/* Chunks of one size. The chunk size is not 0. */
struct kf_map_shape kf_map_uniform(uint64_t size, uint32_t chunk_size);
/* Chunks with cuts of their own: their size is the mean, in the limits, so that equal
 * content has equal shapes. */
struct kf_map_shape kf_map_of_cuts(uint64_t size, uint64_t chunk_count);
/* Of the whole map file. */
uint64_t kf_map_file_length(const struct kf_map_shape *shape);
/* KF_E_ARG for a chunk size outside the limits, a size above INT64_MAX, or a count that
 * the size cannot have; KF_E_LIMIT for too many chunks. */
int kf_map_check(const struct kf_map_shape *shape, struct kf_err *err);

int kf_map_encode(const struct kf_map_header *header, uint8_t out[KF_MAP_HEADER_SIZE],
                  struct kf_err *err);
/* From the first bytes of a map file; KF_E_MALFORMED when they are not a header of ours.
 */
int kf_map_decode(struct kf_map_header *ret, const void *data, size_t length,
                  struct kf_err *err);

struct kf_map {
    uint8_t *base; /* NULL: not mapped */
    size_t length;
    uint64_t chunk_count;
};

/* Allocates an empty file and writes the header last. `cuts`: chunk_count + 1 offsets, of
 * a shape that has them. The caller holds the exclusive lock. */
int kf_map_create(int fd, const struct kf_map_header *header, const uint64_t *cuts,
                  struct kf_err *err);
/* Maps the file; KF_E_MALFORMED when it is torn or not of this shape. */
int kf_map_attach(struct kf_map *ret, int fd, const struct kf_map_shape *shape,
                  struct kf_err *err);
void kf_map_detach(struct kf_map *map);
/* Whether the map has these cuts. */
bool kf_map_has_cuts(const struct kf_map *map, const uint64_t *cuts);
/* Where a chunk lies in the data file, as the map says; false when that cannot be. */
bool kf_map_place(const struct kf_map *map, const struct kf_map_shape *shape,
                  uint64_t chunk, uint64_t *ret_offset, uint32_t *ret_length);

/* Whether its `verified` states count in this boot. */
bool kf_map_is_current(const struct kf_map *map, const struct kf_identity *identity);
/* Makes it so (the rules: section 3 of the format). The caller holds the exclusive lock.
 */
void kf_map_make_current(struct kf_map *map, const struct kf_identity *identity);

static inline bool kf_state_is_here(uint8_t state)
{
    return (state & KF_CHUNK_PRESENT) != 0;
}

uint8_t kf_map_state(const struct kf_map *map, uint64_t chunk);
/* Bytes were written: digest, then state. */
void kf_map_set_verified(struct kf_map *map, uint64_t chunk,
                         const struct kf_digest *digest);
/* From `seen` to `next`, unless it has changed meanwhile (returns false). */
bool kf_map_change(struct kf_map *map, uint64_t chunk, uint8_t seen, uint8_t next);
void kf_map_drop(struct kf_map *map, uint64_t chunk);
void kf_map_digest(const struct kf_map *map, uint64_t chunk, struct kf_digest *ret);

/* Chunks that are here; and the first that is not, chunk_count when none. */
uint64_t kf_map_here(const struct kf_map *map);
uint64_t kf_map_first_absent(const struct kf_map *map);

bool kf_map_is_durable(const struct kf_map *map);
uint32_t kf_map_drops(const struct kf_map *map);
/* Sets durable, unless a chunk was dropped since `drops` was read. */
void kf_map_set_durable(struct kf_map *map, uint32_t drops);

#endif
