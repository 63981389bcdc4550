/*
 * How much room the cache has, and making some: limits of the cache and of its file
 * system, numbers kept between looks at the disk, removal of the least recently used
 * objects. `used_bytes` is atomic; all else belongs to the writer thread once the store
 * is open.
 */
#ifndef KF_CACHE_SPACE_H
#define KF_CACHE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_store_opts;
struct kf_store_space;

struct kf_space {
    int objects_fd;            /* borrowed */
    uint64_t size_limit_bytes; /* 0: none */
    unsigned size_limit_percent;
    unsigned min_free_percent;
    uint64_t used_bytes; /* atomic */
    uint64_t size_bytes; /* of the file system, as are the next */
    uint64_t free_bytes;
    int64_t looked_ns;       /* when these two were read */
    uint64_t admitted_bytes; /* since then */
};

/* Scans the folder. A percentage above 100 is KF_E_ARG. */
int kf_space_init(struct kf_space *space, int objects_fd,
                  const struct kf_store_opts *opts, struct kf_err *err);

/* Whether `bytes` more may be kept as things are. */
bool kf_space_fits(const struct kf_space *space, uint64_t bytes);
/* The same, after removing old objects if need be. Blocking. */
bool kf_space_admit(struct kf_space *space, uint64_t bytes);
/* An object's files have grown. */
void kf_space_charge(struct kf_space *space, uint64_t bytes);

/* Fresh numbers. Any thread. */
int kf_space_report(const struct kf_space *space, struct kf_store_space *ret,
                    struct kf_err *err);

#endif
