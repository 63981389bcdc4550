/*
 * The two files of an object, and the lock on them: docs/formats/cache.md, section 3,
 * "Locks". An open pair holds the map file's lock shared, so that nobody deletes, remakes
 * or demotes it; two opens of one pair in one process are as strangers to each other.
 * Opening is for one thread, and blocks for a moment.
 */
#ifndef KF_CACHE_PAIR_H
#define KF_CACHE_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/map.h"
#include "cache/object.h"

struct kf_err;

#define KF_PAIR_PATH_SIZE (KF_OBJECT_NAME_SIZE + 3)

struct kf_pair {
    int data_fd; /* -1: not open */
    int map_fd;
    struct kf_map map;
    bool made; /* did not exist, or had to be remade */
};

/* Where an object's files are, below objects/, without ending. */
int kf_pair_path(char ret[KF_PAIR_PATH_SIZE], const char *name, struct kf_err *err);

/* `cuts`: chunk_count + 1 offsets of a shape that has cuts, else NULL.
 * Opens or makes `path` below `objects_fd`. KF_E_IO and others when that is impossible
 * now: the object can then be served, but not kept. */
int kf_pair_open(struct kf_pair *ret, int objects_fd, const char *path,
                 const struct kf_map_shape *shape, const uint64_t *cuts,
                 const struct kf_identity *identity, struct kf_err *err);
void kf_pair_close(struct kf_pair *pair);

/* Bytes on disk of both files. */
uint64_t kf_pair_disk_bytes(const struct kf_pair *pair);

/* Deletes both files unless somebody has them open; whether they are gone. */
bool kf_pair_delete(int objects_fd, const char *path);

#endif
