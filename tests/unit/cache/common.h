/*
 * What the tests of the cache share: a folder of its own for each, chunks with known
 * content, and puts that are waited for.
 */
#ifndef KF_TEST_CACHE_COMMON_H
#define KF_TEST_CACHE_COMMON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/stats.h"
#include "cache/object.h"
#include "cache/store.h"

#define CHUNK (UINT32_C(64) << 10)
#define WINDOW (UINT64_C(2) << 20)

/* Before and after each test: an empty folder at cache_path, removed with its content. */
extern char cache_path[64];
extern struct kf_stats cache_stats;
void cache_setup(void);
void cache_teardown(void);

/* A queue that is crowded by one chunk, so that each is written at once. */
struct kf_store *cache_open(void);
struct kf_store *cache_open_with(const struct kf_store_opts *opts);
void cache_close(struct kf_store *store);
/* Until no thread of the store works on an object any more; none may be open. */
void cache_wait_idle(struct kf_store *store);

struct kf_object *object_open(struct kf_store *store, const char *name, uint64_t size);

/* The content of chunks; the digest of it when `ret` is given. */
struct kf_block *chunk_block(const struct kf_object *object, uint64_t chunk,
                             struct kf_digest *ret);

struct put; /* one on its way */
/* NULL when the store would not take it. */
struct put *put_start(struct kf_object *object, uint64_t chunk);
/* Waits until it was written or dropped. */
void put_wait(struct put *put);
/* Both; whether it was written. */
bool put_chunk(struct kf_object *object, uint64_t chunk);
void put_all(struct kf_object *object);

/* Whether a read of the whole chunk gives its content; the kind of the error otherwise.
 */
int read_chunk(struct kf_object *object, uint64_t chunk);

/* Files of a closed object: overwrite bytes, set the length, delete. `ending` is "data"
 * or "map". */
void file_write(const char *name, const char *ending, uint64_t offset, const void *data,
                size_t length);
void file_truncate(const char *name, const char *ending, uint64_t length);
void file_unlink(const char *name, const char *ending);
bool file_exists(const char *name, const char *ending);
void file_set_time(const char *name, int64_t seconds);
/* As if the machine had been started anew: with what the object was, durable or not, or
 * in any case as one that is not. */
void file_reboot(const char *name);
void file_reboot_not_durable(const char *name);
void file_other_machine(const char *name);

#endif
