#include "rig.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fetch/flight.h"

#define CODED_HEAD 8 /* stored bytes in front of a coded chunk */
#define DEFAULT_SIZE (64 * (uint64_t)CHUNK + 100)

/* ---- the feed ---- */

struct layout {
    uint64_t size;
    bool coded;
};

static void place(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const struct layout *layout = arg;
    uint32_t head = layout->coded ? CODED_HEAD : 0;

    ret->length = (uint32_t)kf_min_u64(CHUNK, layout->size - chunk * CHUNK);
    ret->stored_length = ret->length + head;
    ret->stored_offset = chunk * (CHUNK + head);
}

/* Damage is known by the first byte, the only one that the held source damages. */
static int decode(const void *arg, uint64_t chunk, const uint8_t *stored,
                  size_t stored_length, uint8_t *data, size_t length,
                  struct kf_digest *ret_digest, struct kf_err *err)
{
    if (stored_length != length + CODED_HEAD ||
        stored[0] != held_byte(chunk * (CHUNK + CODED_HEAD)))
        return kf_fail(err, KF_E_CORRUPT, "chunk %llu is damaged",
                       (unsigned long long)chunk);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)~stored[CODED_HEAD + i];
    return kf_digest_of(ret_digest, data, length, err);
}

static uint8_t expected_byte(bool coded, uint64_t offset)
{
    if (!coded)
        return held_byte(offset);
    return (uint8_t)~held_byte(offset + (offset / CHUNK + 1) * CODED_HEAD);
}

static int check(const void *arg, uint64_t chunk, const uint8_t *data, size_t length,
                 struct kf_digest *ret_digest, struct kf_err *err)
{
    for (size_t i = 0; i < length; i++)
        if (data[i] != held_byte(chunk * CHUNK + i))
            return kf_fail(err, KF_E_CORRUPT, "chunk %llu is damaged",
                           (unsigned long long)chunk);
    return kf_digest_of(ret_digest, data, length, err);
}

static const struct kf_feed_ops plain_ops = {.place = place, .destroy = free};
static const struct kf_feed_ops coded_ops = {
    .place = place, .decode = decode, .destroy = free};
static const struct kf_feed_ops checked_ops = {
    .place = place, .check = check, .destroy = free};

struct kf_feed *rig_feed(struct rig *rig, const char *name)
{
    struct kf_object_spec spec = {.size = rig->size, .chunk_size = CHUNK};
    struct layout *layout = malloc(sizeof(*layout));
    const struct kf_feed_ops *ops = rig->coded     ? &coded_ops
                                    : rig->checked ? &checked_ops
                                                   : &plain_ops;
    struct kf_object *object;
    struct kf_feed *feed;
    struct kf_err err;

    *layout = (struct layout){rig->size, rig->coded};
    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    cr_assert_eq(kf_object_open(&object, rig->store, &spec, &err), 0, "%s", err.message);
    cr_assert_eq(
        kf_feed_new(&feed, rig->fetch, &rig->held->source, object, ops, layout, &err), 0);
    kf_object_unref(object);
    return feed;
}

/* ---- the rig ---- */

static void open_store(struct rig *rig, uint64_t write_queue_bytes)
{
    struct kf_store_opts opts = {.path = rig->path, .stats = &rig->stats};
    struct kf_err err;

    (void)snprintf(rig->path, sizeof(rig->path), "/tmp/kf-fetch-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->path));
    /* Half a queue is crowded, and a crowded queue is written at once. */
    opts.write_queue_bytes = write_queue_bytes ? write_queue_bytes : CHUNK + CHUNK / 2;
    cr_assert_eq(kf_store_open(&rig->store, &opts, &err), 0, "%s", err.message);
}

void rig_open(struct rig *rig, const struct rig_opts *opts)
{
    struct kf_fetch_opts fetch_opts = {.memory_bytes = opts->memory_bytes,
                                       .connections = opts->connections};
    struct kf_err err;

    memset(rig, 0, sizeof(*rig));
    rig->size = opts->size ? opts->size : DEFAULT_SIZE;
    rig->coded = opts->coded;
    rig->checked = opts->checked;
    rig->workq = kf_workq_new(3, &err);
    cr_assert_not_null(rig->workq);
    fetch_opts.workq = rig->workq;
    fetch_opts.stats = &rig->stats;
    cr_assert_eq(kf_fetch_new(&rig->fetch, &fetch_opts, &err), 0);
    rig->held = held_new(rig->workq, rig->size * 2);
    if (opts->cached)
        open_store(rig, opts->write_queue_bytes);
    rig->feed = rig_feed(rig, "0123-first");
    rig->object = kf_feed_object(rig->feed);
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

static bool is_destroyed(struct held_source *held)
{
    return __atomic_load_n(&held->destroyed, __ATOMIC_ACQUIRE);
}

/* Chunks that are being written keep the feed, and its object must go before the store.
 */
static void wait_released(struct rig *rig)
{
    kf_source_close(&rig->held->source);
    for (int tries = 0; tries < 20000 && !is_destroyed(rig->held); tries++)
        (void)usleep(1000);
    cr_assert(is_destroyed(rig->held), "something holds the feed");
}

void rig_close(struct rig *rig)
{
    cr_assert_eq(kf_fetch_stop(rig->fetch, kf_deadline_ns(20 * KF_NS_PER_S)), 0);
    kf_fetch_free(rig->fetch);
    kf_feed_unref(rig->feed);
    wait_released(rig);
    kf_workq_free(rig->workq);
    held_free(rig->held);
    if (!rig->store)
        return;
    kf_store_close(rig->store, kf_deadline_ns(20 * KF_NS_PER_S));
    (void)nftw(rig->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
}

uint64_t rig_stat(const struct rig *rig, enum kf_stat which)
{
    return kf_stats_get(&rig->stats, which);
}

/* ---- reads ---- */

struct test_read {
    struct kf_read read;
    bool coded;
    sem_t done;
    int calls; /* atomic */
    bool right;
    enum kf_err_kind kind;
};

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct test_read *test = kf_container_of(read, struct test_read, read);
    const uint8_t *bytes = data;

    test->kind = err ? err->kind : KF_E_NONE;
    test->right = err ? data == NULL : data != NULL;
    for (size_t i = 0; test->right && !err && i < read->length; i++)
        test->right = bytes[i] == expected_byte(test->coded, read->offset + i);
    (void)__atomic_add_fetch(&test->calls, 1, __ATOMIC_RELEASE);
    (void)sem_post(&test->done);
}

struct test_read *read_start_on(struct rig *rig, struct kf_feed *feed, uint64_t offset,
                                size_t length, int64_t deadline_ns)
{
    struct test_read *test = calloc(1, sizeof(*test));

    (void)sem_init(&test->done, 0, 0);
    test->coded = rig->coded;
    /* The rest is whatever was there, but for what says that it has not begun. */
    memset(&test->read, 0xa5, sizeof(test->read));
    test->read.feed = NULL;
    test->read.cancelled = false;
    test->read.urgency = KF_DEMAND;
    test->read.offset = offset;
    test->read.length = length;
    test->read.deadline_ns = deadline_ns;
    test->read.done = read_done;
    kf_feed_read(feed, &test->read);
    return test;
}

struct test_read *read_start(struct rig *rig, uint64_t offset, size_t length)
{
    return read_start_on(rig, rig->feed, offset, length, 0);
}

void read_cancel(struct rig *rig, struct test_read *read)
{
    kf_feed_cancel(rig->feed, &read->read);
}

bool read_is_done(struct test_read *read)
{
    return __atomic_load_n(&read->calls, __ATOMIC_ACQUIRE) > 0;
}

enum kf_err_kind read_end(struct test_read *read)
{
    struct timespec until;
    enum kf_err_kind kind;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    cr_assert_eq(sem_timedwait(&read->done, &until), 0, "the read does not end");
    cr_assert_eq(read->calls, 1);
    cr_assert(read->right, "wrong bytes");
    kind = read->kind;
    (void)sem_destroy(&read->done);
    free(read);
    return kind;
}

enum kf_err_kind read_whole(struct rig *rig, uint64_t offset, size_t length)
{
    return read_end(read_start(rig, offset, length));
}

static size_t count_unkept_locked(const struct kf_fetch *fetch)
{
    const struct kf_flight *flight;
    size_t count = 0;

    for (int progress = 0; progress < KF_PROGRESS_COUNT; progress++) {
        TAILQ_FOREACH(flight, &fetch->unkept[progress].list, link)
        count++;
    }
    return count;
}

static bool is_quiet(struct rig *rig)
{
    bool quiet;

    kf_fetch_enter(rig->fetch);
    quiet = rig->fetch->flight_count == count_unkept_locked(rig->fetch);
    kf_fetch_leave(rig->fetch);
    return quiet;
}

static size_t count_unkept(struct rig *rig)
{
    size_t count;

    kf_fetch_enter(rig->fetch);
    count = count_unkept_locked(rig->fetch);
    kf_fetch_leave(rig->fetch);
    return count;
}

void rig_wait_unkept(struct rig *rig, size_t count)
{
    for (int tries = 0; tries < 20000 && count_unkept(rig) != count; tries++)
        (void)usleep(1000);
    cr_assert_eq(count_unkept(rig), count);
}

bool rig_in_memory(struct rig *rig, uint64_t chunk)
{
    const struct kf_flight *flight;
    bool found;

    kf_fetch_enter(rig->fetch);
    flight = kf_flight_find_locked(rig->feed, chunk);
    found = flight && flight->state == KF_FLIGHT_READY;
    kf_fetch_leave(rig->fetch);
    return found;
}

void rig_wait_quiet(struct rig *rig)
{
    for (int tries = 0; tries < 20000 && !is_quiet(rig); tries++)
        (void)usleep(1000);
    cr_assert(is_quiet(rig), "flights do not end");
}

void rig_cache(struct rig *rig, uint64_t chunk)
{
    cr_assert_eq(read_whole(rig, chunk * CHUNK, 1), KF_E_NONE);
    rig_wait_quiet(rig);
    cr_assert(kf_object_has(rig->object, chunk));
}
