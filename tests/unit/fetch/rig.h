/*
 * What the tests of feeds and the queue stand on: threads, a fetch queue, a held source
 * and one feed of it, and reads that know which bytes they must get.
 */
#ifndef KF_TEST_FETCH_RIG_H
#define KF_TEST_FETCH_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/stats.h"
#include "base/workq.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fetch/feed.h"
#include "fetch/queue.h"
#include "held_source.h"

#define CHUNK (UINT32_C(64) << 10)

struct rig_opts {
    uint64_t size; /* of the object; 0: 64 chunks and 100 bytes */
    uint64_t memory_bytes;
    unsigned connections;
    bool coded;   /* stored: every byte inverted, and in front the chunk's number */
    bool checked; /* stored as it is, and compared with what it must be */
    bool cached;
    uint64_t write_queue_bytes; /* of the cache; 0: takes one chunk at a time, and writes
                                   it at once */
};

struct rig {
    struct kf_workq *workq;
    struct kf_stats stats;
    struct kf_fetch *fetch;
    struct held_source *held;
    struct kf_store *store; /* NULL unless cached */
    struct kf_object *object;
    struct kf_feed *feed;
    uint64_t size;
    bool coded, checked;
    char path[64];
};

void rig_open(struct rig *rig, const struct rig_opts *opts);
/* Everything must end, and be released. */
void rig_close(struct rig *rig);
/* A second feed on the same source: its object has a name of its own. */
struct kf_feed *rig_feed(struct rig *rig, const char *name);
/* Until no chunk is wanted, on its way, or being written. */
void rig_wait_quiet(struct rig *rig);
/* Until so many chunks are in memory only because the cache did not take them. */
void rig_wait_unkept(struct rig *rig, size_t count);
bool rig_in_memory(struct rig *rig, uint64_t chunk);
/* Reads a chunk and waits until the cache has it, and memory no longer. */
void rig_cache(struct rig *rig, uint64_t chunk);
uint64_t rig_stat(const struct rig *rig, enum kf_stat which);

struct test_read;
struct test_read *read_start(struct rig *rig, uint64_t offset, size_t length);
struct test_read *read_start_on(struct rig *rig, struct kf_feed *feed, uint64_t offset,
                                size_t length, int64_t deadline_ns);
void read_cancel(struct rig *rig, struct test_read *read);
bool read_is_done(struct test_read *read);
/* Waits for `done`, which must have come once; KF_E_NONE when it had the right bytes.
 * Frees the read. */
enum kf_err_kind read_end(struct test_read *read);
/* Both. */
enum kf_err_kind read_whole(struct rig *rig, uint64_t offset, size_t length);

#endif
