/*
 * The cache folder: one for all mounts of one user, safe against kill -9, power loss and
 * a full disk. Layout and formats byte by byte: docs/formats/cache.md. Knows neither HTTP
 * nor tar. Locks itself.
 *
 * The folder must belong to the caller's uid with mode 0700 on a local file system; it is
 * made when missing. Who can write it is trusted; damage is found and never served.
 *
 * A store has one writer thread: chunks on their way to disk are gathered there into 2
 * MiB windows, so that a slow disk never holds up a reader. At most `write_queue_bytes`
 * wait.
 */
#ifndef KF_CACHE_STORE_H
#define KF_CACHE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_buf;
struct kf_err;
struct kf_stats;
struct kf_store;

struct kf_store_opts {
    const char *path;            /* NULL: kf_store_default_path() */
    uint64_t size_limit_bytes;   /* 0: none */
    unsigned size_limit_percent; /* of the file system; 0: none */
    unsigned min_free_percent;  /* of the file system; new chunks are not kept below it */
    uint64_t write_queue_bytes; /* 0: 64 MiB */
    bool look_only; /* use what is there; keep new chunks only of what is kept anyway */
    struct kf_stats *stats; /* borrowed; may be NULL */
};

/* $KITFS_CACHE_DIR, else /var/cache/kitfs for root, else $XDG_CACHE_HOME/kitfs, else
 * ~/.cache/kitfs. Yours to free; NULL on no memory or no home. */
char *kf_store_default_path(void);

/* Reads which chunks the store has, once, for kf_object_elsewhere. Blocking, and seconds
 * for a cache of terabytes. */
void kf_store_index(struct kf_store *store);

int kf_store_open(struct kf_store **ret, const struct kf_store_opts *opts,
                  struct kf_err *err);
/* Waits for the writer at most until the deadline, then drops what is queued; nothing is
 * kept any more afterwards. Objects must be closed. NULL is fine. */
void kf_store_end_writes(struct kf_store *store, int64_t deadline_ns);
/* The same, if it was not done, and then as long as the disk takes for what it was told
 * to make durable. */
void kf_store_close(struct kf_store *store, int64_t deadline_ns);

/* Chunks that were handed over are written now, and not after the second in which they
 * wait for their neighbours. Does not wait. */
void kf_store_hurry(struct kf_store *store);

struct kf_store_space {
    uint64_t used_bytes;  /* by objects of the cache, allocated on disk */
    uint64_t free_bytes;  /* of the file system, for us */
    uint64_t size_bytes;  /* of the file system */
    uint64_t limit_bytes; /* the effective ceiling for used_bytes; UINT64_MAX: none */
};
int kf_store_space(struct kf_store *store, struct kf_store_space *ret,
                   struct kf_err *err);
const char *kf_store_path(const struct kf_store *store);

/* Small files. Content-addressed ones are checked against their digest when loaded;
 * the others carry a checksum of their own. Absent or damaged: KF_E_NOTFOUND. A failure
 * to save is reported, and is never a reason to fail a mount. */
enum kf_small {
    KF_SMALL_BLOB,  /* manifests and configs: key = their digest */
    KF_SMALL_TABLE, /* file tables: key = layer digest */
    KF_SMALL_TOC,   /* roots of tables of contents, or all of them: key = root digest */
    KF_SMALL_SEEK,  /* what a blob's seek table says: key = layer digest */
    KF_SMALL_TAG,   /* last digest of a tag: key = digest of "registry/repository:tag" */
    KF_SMALL_SUMS,  /* chunks of layers that were checked: key = layer digest */
};
int kf_store_load(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                  struct kf_buf *ret, struct kf_err *err);
int kf_store_save(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                  const void *data, size_t length, struct kf_err *err);
/* Forgets it, if it was there. */
void kf_store_forget(struct kf_store *store, enum kf_small kind,
                     const struct kf_digest *key);

/* Deletes an object unless somebody has it open. */
void kf_store_delete(struct kf_store *store, const char *name);

#endif
