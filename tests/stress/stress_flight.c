/*
 * Readers on several threads against one feed: joining, cancelling, failing, damaged and
 * lost chunks, a cache that cannot keep up or takes nothing, a budget that is too small,
 * and a stop in the middle. Every read must end once, with the right bytes or a reason
 * that was given to it.
 *
 *     stress_flight [--rounds N] [--seed S]
 */
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fetch/feed.h"
#include "fetch/queue.h"
#include "rounds.h"

#define CHUNK (UINT32_C(64) << 10)
#define CHUNKS 40
#define SIZE (CHUNKS * (uint64_t)CHUNK - 777)
#define READERS 4
#define OPEN_READS 8 /* of each reader */
#define STEPS 150

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "stress_flight: %s\n", what);
    abort();
}

static uint8_t content(uint64_t offset)
{
    return (uint8_t)((offset * UINT64_C(0x9e3779b97f4a7c15)) >> 40);
}

static unsigned draw(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

/* ---- a source with a thread of its own, which answers in any order, and badly ---- */

struct source {
    struct kf_source source;
    struct kf_workq *workq;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct kf_source_req *waiting[64]; /* more than connections */
    unsigned count;
    bool ending;
    bool inverted;
    unsigned seed;
    unsigned trouble; /* one request in so many fails or is damaged; 0: none */
    bool destroyed;   /* atomic */
};

static void run_done(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_source *source = req->source; /* `done` may free the request */

    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(source);
}

static void end(struct source *source, struct kf_source_req *req)
{
    req->job.run = run_done;
    kf_workq_submit(source->workq, &req->job, req->urgency);
}

static void deliver(struct source *source, struct kf_source_req *req)
{
    bool fails = source->trouble > 0 && draw(&source->seed, source->trouble) == 0;
    bool damages = source->trouble > 0 && draw(&source->seed, source->trouble) == 0;
    uint64_t length = fails ? (uint64_t)rand_r(&source->seed) % req->length : req->length;
    uint8_t bytes[30000];

    for (uint64_t sent = 0; sent < length;) {
        size_t part = (size_t)kf_min_u64(length - sent, 1 + draw(&source->seed, 30000));

        for (size_t i = 0; i < part; i++) {
            bytes[i] = content(req->offset + sent + i);
            if (source->inverted)
                bytes[i] = (uint8_t)~bytes[i];
        }
        if (damages && sent == 0 && source->inverted)
            bytes[0] ^= 1;
        expect(req->sink->write(req->sink, bytes, part, NULL) == 0, "sink refused");
        sent += part;
    }
    if (fails)
        (void)kf_fail(&req->result, KF_E_UNREACHABLE, "trouble");
    end(source, req);
}

static void *source_main(void *arg)
{
    struct source *source = arg;

    pthread_mutex_lock(&source->lock);
    while (!source->ending || source->count > 0) {
        if (source->count == 0) {
            pthread_cond_wait(&source->wake, &source->lock);
            continue;
        }
        unsigned which = draw(&source->seed, source->count);
        struct kf_source_req *req = source->waiting[which];

        source->waiting[which] = source->waiting[--source->count];
        pthread_mutex_unlock(&source->lock);
        deliver(source, req);
        pthread_mutex_lock(&source->lock);
    }
    pthread_mutex_unlock(&source->lock);
    return NULL;
}

static void submit(struct kf_source *base, struct kf_source_req *req)
{
    struct source *source = kf_container_of(base, struct source, source);

    (void)kf_source_ref(base);
    pthread_mutex_lock(&source->lock);
    source->waiting[source->count++] = req;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
}

static void cancel(struct kf_source *base, struct kf_source_req *req)
{
    struct source *source = kf_container_of(base, struct source, source);
    bool found = false;

    pthread_mutex_lock(&source->lock);
    for (unsigned i = 0; i < source->count && !found; i++) {
        found = source->waiting[i] == req;
        if (found)
            source->waiting[i] = source->waiting[--source->count];
    }
    pthread_mutex_unlock(&source->lock);
    if (!found)
        return;
    (void)kf_fail(&req->result, KF_E_CANCELLED, "cancelled");
    end(source, req);
}

static void destroy(struct kf_source *base)
{
    struct source *source = kf_container_of(base, struct source, source);

    __atomic_store_n(&source->destroyed, true, __ATOMIC_RELEASE);
}

static const struct kf_source_ops source_ops = {submit, cancel, destroy};

/* ---- the feed ---- */

static void place(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    ret->stored_offset = chunk * CHUNK;
    ret->length = (uint32_t)kf_min_u64(CHUNK, SIZE - chunk * CHUNK);
    ret->stored_length = ret->length;
}

static int decode(const void *arg, uint64_t chunk, const uint8_t *stored,
                  size_t stored_length, uint8_t *data, size_t length,
                  struct kf_digest *ret_digest, struct kf_err *err)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)~stored[i];
    if (data[0] != content(chunk * CHUNK))
        return kf_fail(err, KF_E_CORRUPT, "damaged");
    return kf_digest_of(ret_digest, data, length, err);
}

static const struct kf_feed_ops plain_ops = {.place = place};
static const struct kf_feed_ops inverted_ops = {.place = place, .decode = decode};

static struct kf_feed *open_feed(struct kf_fetch *fetch, struct source *source,
                                 struct kf_store *store)
{
    struct kf_object_spec spec = {
        .name = "0123-stress", .size = SIZE, .chunk_size = CHUNK};
    struct kf_object *object;
    struct kf_feed *feed;

    expect(kf_object_open(&object, store, &spec, NULL) == 0, "no object");
    expect(kf_feed_new(&feed, fetch, &source->source, object,
                       source->inverted ? &inverted_ops : &plain_ops, NULL, NULL) == 0,
           "no feed");
    kf_object_unref(object);
    return feed;
}

/* ---- readers ---- */

struct reader {
    struct kf_fetch *fetch;
    struct source *source;
    struct kf_store *store;
    struct kf_feed *feed;
    unsigned seed;
    pthread_t thread;
    struct open_read {
        struct kf_read read;
        int calls;  /* atomic */
        bool begun; /* the reader's own */
    } reads[OPEN_READS];
};

static void expect_content(const uint8_t *bytes, uint64_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++)
        expect(bytes[i] == content(offset + i), "wrong bytes");
}

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct open_read *open = kf_container_of(read, struct open_read, read);

    expect(!err == (data != NULL), "bytes and an error, or neither");
    if (data)
        expect_content(data, read->offset, read->length);
    else
        expect(err->kind == KF_E_UNREACHABLE || err->kind == KF_E_CORRUPT ||
                   err->kind == KF_E_CANCELLED,
               kf_err_kind_name(err->kind));
    (void)__atomic_add_fetch(&open->calls, 1, __ATOMIC_RELEASE);
}

static void await(struct open_read *open)
{
    while (open->begun && __atomic_load_n(&open->calls, __ATOMIC_ACQUIRE) == 0)
        (void)usleep(50);
    expect(!open->begun || __atomic_load_n(&open->calls, __ATOMIC_ACQUIRE) == 1,
           "`done` ran twice");
}

static void begin(struct reader *reader, struct open_read *open)
{
    uint64_t offset = (uint64_t)rand_r(&reader->seed) % SIZE;
    size_t length = 1 + draw(&reader->seed, draw(&reader->seed, 2) ? 4096 : 4 * CHUNK);

    await(open);
    memset(&open->read, 0x5a, sizeof(open->read));
    open->read.offset = offset;
    open->read.length = (size_t)kf_min_u64(length, SIZE - offset);
    open->read.deadline_ns = 0;
    open->read.urgency = KF_DEMAND;
    open->read.feed = NULL;
    open->read.cancelled = false;
    open->read.done = read_done;
    open->calls = 0;
    open->begun = true;
    kf_feed_read(reader->feed, &open->read);
}

/* A file that is read ahead and closed: its chunks may stay in memory. */
static void come_and_go(struct reader *reader)
{
    struct kf_feed *feed = open_feed(reader->fetch, reader->source, reader->store);

    kf_feed_want(feed, draw(&reader->seed, CHUNKS), 1 + draw(&reader->seed, 10),
                 KF_READAHEAD);
    kf_feed_unref(feed);
}

static void step(struct reader *reader)
{
    struct open_read *open = &reader->reads[draw(&reader->seed, OPEN_READS)];
    uint64_t chunk = draw(&reader->seed, CHUNKS);
    uint8_t bytes[5000];

    switch (draw(&reader->seed, 9)) {
    case 0:
        kf_feed_want(reader->feed, chunk, 1 + draw(&reader->seed, 20),
                     draw(&reader->seed, 2) ? KF_READAHEAD : KF_PREFETCH);
        break;
    case 1:
        kf_object_drop(kf_feed_object(reader->feed), chunk);
        break;
    case 2:
        chunk =
            kf_min_u64(chunk * CHUNK + draw(&reader->seed, CHUNK), SIZE - sizeof(bytes));
        if (kf_feed_read_now(reader->feed, bytes, sizeof(bytes), chunk) > 0)
            expect_content(bytes, chunk, sizeof(bytes));
        break;
    case 3:
        if (open->begun)
            kf_feed_cancel(reader->feed, &open->read);
        break;
    case 4:
        come_and_go(reader);
        break;
    default:
        begin(reader, open);
        break;
    }
}

static void *reader_main(void *arg)
{
    struct reader *reader = arg;

    for (unsigned i = 0; i < STEPS; i++)
        step(reader);
    for (unsigned i = 0; i < OPEN_READS; i++)
        await(&reader->reads[i]);
    return NULL;
}

/* ---- a round ---- */

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

static void read_all(const struct reader *like, unsigned seed, bool stops)
{
    struct reader *readers = calloc(READERS, sizeof(*readers));

    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = *like;
        readers[i].seed = seed + i;
        expect(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]) == 0,
               "no thread");
    }
    if (stops) {
        (void)usleep(draw(&seed, 20000));
        expect(kf_fetch_stop(like->fetch, kf_deadline_ns(60 * KF_NS_PER_S)) == 0,
               "no stop");
    }
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL); /* ours */
    free(readers);
}

static struct source *open_source(struct kf_workq *workq, unsigned *seed)
{
    struct source *source = calloc(1, sizeof(*source));

    expect(source != NULL, "no memory");
    source->source =
        (struct kf_source){.ops = &source_ops, .size = SIZE, .refs = 1, .name = "stress"};
    source->workq = workq;
    source->inverted = draw(seed, 2);
    source->trouble = draw(seed, 2) * (2 + draw(seed, 20));
    source->seed = *seed + 77;
    (void)pthread_mutex_init(&source->lock, NULL);
    (void)pthread_cond_init(&source->wake, NULL);
    expect(pthread_create(&source->thread, NULL, source_main, source) == 0, "no thread");
    return source;
}

static void close_source(struct source *source)
{
    kf_source_close(&source->source);
    while (!__atomic_load_n(&source->destroyed, __ATOMIC_ACQUIRE))
        (void)usleep(100); /* the cache still writes chunks of the feed */
    pthread_mutex_lock(&source->lock);
    source->ending = true;
    pthread_cond_signal(&source->wake);
    pthread_mutex_unlock(&source->lock);
    (void)pthread_join(source->thread, NULL); /* ours */
    (void)pthread_cond_destroy(&source->wake);
    (void)pthread_mutex_destroy(&source->lock);
    free(source);
}

static void round_once(unsigned seed)
{
    static const uint64_t memories[] = {1, 4 * CHUNK, 1 << 20, 16 << 20};
    char path[] = "/tmp/kf-stress-XXXXXX";
    struct kf_workq *workq = kf_workq_new(3, NULL);
    struct kf_fetch_opts opts = {.workq = workq,
                                 .memory_bytes = memories[draw(&seed, 4)],
                                 .connections = 1 + draw(&seed, 8)};
    struct kf_store_opts store_opts = {.path = path,
                                       .write_queue_bytes = CHUNK * draw(&seed, 20) + 1};
    struct kf_store *store = NULL;
    struct source *source = open_source(workq, &seed);
    bool cached = draw(&seed, 3), stops = draw(&seed, 3) == 0;
    struct reader like = {.source = source};

    expect(!cached || (mkdtemp(path) && kf_store_open(&store, &store_opts, NULL) == 0),
           "no store");
    expect(kf_fetch_new(&like.fetch, &opts, NULL) == 0, "no fetch");
    like.store = store;
    like.feed = open_feed(like.fetch, source, store);
    read_all(&like, seed, stops);
    expect(kf_fetch_stop(like.fetch, kf_deadline_ns(60 * KF_NS_PER_S)) == 0, "no stop");
    kf_fetch_free(like.fetch);
    kf_feed_unref(like.feed);
    close_source(source);
    kf_store_close(store, kf_deadline_ns(60 * KF_NS_PER_S));
    kf_workq_free(workq);
    if (cached)
        (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;

    take_rounds(argc, argv, &rounds, &seed);
    for (unsigned i = 0; i < rounds; i++) {
        (void)printf("stress_flight: round %u of %u, seed %u\n", i + 1, rounds, seed + i);
        (void)fflush(stdout);
        round_once(seed + i);
    }
    return 0;
}
