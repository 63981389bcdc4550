/*
 * Sequential reading through a feed over a link with a latency for each request and a
 * bandwidth for all, against a plain download of the same bytes by eight connections into
 * memory over the same link. The reader does as the kernel does: READs of 1 MiB, one more
 * on its way than it waits for. Prints a table; it judges nothing.
 *
 *     bench_fetch [MiB]
 */
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fetch/feed.h"
#include "fetch/queue.h"
#include "fetch/readahead.h"

#define MIB (UINT64_C(1) << 20)
#define PIECE (64u << 10)
#define CONNECTIONS 8
#define PEER_RANGE (8 * MIB)

static void need(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "bench_fetch: %s\n", what);
    exit(1);
}

/* ---- the link: one thread that gives ready requests a piece each in turn ---- */

struct transfer {
    struct kf_source_req *req;
    int64_t ready_ns;
    uint64_t sent;
};

struct link {
    struct kf_source source;
    struct kf_workq *workq;
    int64_t latency_ns;
    double bytes_per_ns; /* 0: no limit */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct transfer transfers[64];
    unsigned count;
    bool ending;
    int64_t free_ns; /* when the line has sent what it was given */
};

static uint8_t piece[PIECE];

static void run_done(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_source *source = req->source; /* `done` may free the request */

    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(source);
}

static void end(struct link *link, unsigned which)
{
    struct kf_source_req *req = link->transfers[which].req;

    link->transfers[which] = link->transfers[--link->count];
    req->job.run = run_done;
    kf_workq_submit(link->workq, &req->job, req->urgency);
}

static void pace(struct link *link, size_t length)
{
    int64_t now_ns = kf_now_ns();

    if (link->bytes_per_ns <= 0)
        return;
    if (link->free_ns < now_ns)
        link->free_ns = now_ns;
    link->free_ns += (int64_t)((double)length / link->bytes_per_ns);
    if (link->free_ns - now_ns > KF_NS_PER_MS) {
        struct timespec until = {link->free_ns / KF_NS_PER_S,
                                 link->free_ns % KF_NS_PER_S};

        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL); /* about */
    }
}

/* The next transfer after `last` whose first byte has come; -1 and when to look again. */
static int next_ready(struct link *link, unsigned last, int64_t *ret_when_ns)
{
    int64_t now_ns = kf_now_ns();

    *ret_when_ns = KF_NO_DEADLINE;
    for (unsigned i = 1; i <= link->count; i++) {
        unsigned which = (last + i) % link->count;

        if (link->transfers[which].ready_ns <= now_ns)
            return (int)which;
        if (link->transfers[which].ready_ns < *ret_when_ns)
            *ret_when_ns = link->transfers[which].ready_ns;
    }
    return -1;
}

static void *link_main(void *arg)
{
    struct link *link = arg;
    unsigned last = 0;
    int64_t when_ns;

    pthread_mutex_lock(&link->lock);
    while (!link->ending) {
        int which = next_ready(link, last, &when_ns);

        if (which < 0) {
            (void)kf_cond_wait_until(&link->wake, &link->lock, when_ns); /* looks again */
            continue;
        }
        last = (unsigned)which;
        struct transfer *transfer = &link->transfers[last];
        struct kf_sink *sink = transfer->req->sink;
        size_t length = (size_t)kf_min_u64(PIECE, transfer->req->length - transfer->sent);

        transfer->sent += length;
        bool all = transfer->sent == transfer->req->length;
        pthread_mutex_unlock(&link->lock);
        pace(link, length);
        need(sink->write(sink, piece, length, NULL) == 0, "sink refused");
        pthread_mutex_lock(&link->lock);
        if (all)
            end(link, last);
    }
    pthread_mutex_unlock(&link->lock);
    return NULL;
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct link *link = kf_container_of(source, struct link, source);

    (void)kf_source_ref(source);
    pthread_mutex_lock(&link->lock);
    link->transfers[link->count++] =
        (struct transfer){req, kf_deadline_ns(link->latency_ns), 0};
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
}

/* What is on the line comes to its end. */
static void cancel(struct kf_source *source, struct kf_source_req *req)
{
}

static void destroy(struct kf_source *source)
{
}

static const struct kf_source_ops link_ops = {submit, cancel, destroy};

static void link_open(struct link *link, struct kf_workq *workq, uint64_t size,
                      double mb_per_s, int64_t latency_ns)
{
    *link = (struct link){
        .workq = workq, .latency_ns = latency_ns, .bytes_per_ns = mb_per_s / 1000};
    link->source =
        (struct kf_source){.ops = &link_ops, .size = size, .refs = 1, .name = "link"};
    need(pthread_mutex_init(&link->lock, NULL) == 0 && kf_cond_init(&link->wake) == 0 &&
             pthread_create(&link->thread, NULL, link_main, link) == 0,
         "no thread");
}

static void link_close(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    link->ending = true;
    pthread_cond_signal(&link->wake);
    pthread_mutex_unlock(&link->lock);
    (void)pthread_join(link->thread, NULL); /* ours */
}

/* ---- the peer: eight connections, each the next range, into memory ---- */

struct download {
    struct kf_source_req req;
    struct kf_sink sink;
    struct peer *peer;
    uint8_t *at;
};

struct peer {
    struct link *link;
    uint8_t *memory;
    uint64_t size, next; /* next: atomic */
    sem_t ended;
    struct download downloads[CONNECTIONS];
};

static int download_write(struct kf_sink *sink, const uint8_t *data, size_t length,
                          struct kf_err *err)
{
    struct download *download = kf_container_of(sink, struct download, sink);

    memcpy(download->at, data, length);
    download->at += length;
    return 0;
}

static void download_next(struct kf_source_req *req, const struct kf_err *err)
{
    struct download *download = kf_container_of(req, struct download, req);
    struct peer *peer = download->peer;
    uint64_t offset = __atomic_fetch_add(&peer->next, PEER_RANGE, __ATOMIC_RELAXED);

    if (offset >= peer->size) {
        (void)sem_post(&peer->ended);
        return;
    }
    download->at = peer->memory + offset;
    download->sink.write = download_write;
    *req = (struct kf_source_req){.offset = offset,
                                  .length = kf_min_u64(PEER_RANGE, peer->size - offset),
                                  .sink = &download->sink,
                                  .deadline_ns = KF_NO_DEADLINE,
                                  .done = download_next};
    kf_source_submit(&peer->link->source, req);
}

static void download_all(struct link *link, uint64_t size)
{
    struct peer peer = {.link = link, .size = size, .memory = malloc(size)};

    need(peer.memory && sem_init(&peer.ended, 0, 0) == 0, "no memory");
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        peer.downloads[i].peer = &peer;
        download_next(&peer.downloads[i].req, NULL);
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        (void)sem_wait(&peer.ended);
    (void)sem_destroy(&peer.ended);
    free(peer.memory);
}

/* ---- the reader ---- */

static void place(const void *arg, uint64_t chunk, struct kf_chunk_place *ret)
{
    const uint64_t *size = arg;

    ret->stored_offset = chunk * MIB;
    ret->length = ret->stored_length = (uint32_t)kf_min_u64(MIB, *size - chunk * MIB);
}

static const struct kf_feed_ops feed_ops = {.place = place};

struct slot {
    struct kf_read read;
    sem_t done;
};

static void slot_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    need(data != NULL, err ? err->message : "no bytes");
    (void)sem_post(&kf_container_of(read, struct slot, read)->done);
}

static void read_one(struct kf_feed *feed, struct kf_fetch *fetch,
                     struct kf_readahead *readahead, struct slot *slot, uint64_t offset)
{
    uint64_t size = kf_object_size(kf_feed_object(feed));
    uint64_t length = kf_min_u64(MIB, size - offset);
    bool cached = kf_object_has(kf_feed_object(feed), offset / MIB);
    struct kf_readahead_want want = kf_readahead_see(readahead, offset, length, !cached,
                                                     size, kf_fetch_window_bytes(fetch));

    slot->read = (struct kf_read){.offset = offset, .length = length, .done = slot_done};
    kf_feed_read(feed, &slot->read);
    if (want.length > 0)
        kf_feed_want(feed, want.offset / MIB,
                     (want.offset + want.length + MIB - 1) / MIB - want.offset / MIB,
                     KF_READAHEAD);
}

static void read_all(struct kf_feed *feed, struct kf_fetch *fetch, uint64_t size)
{
    struct kf_readahead readahead;
    struct slot slots[2];

    kf_readahead_init(&readahead);
    for (unsigned i = 0; i < 2; i++)
        (void)sem_init(&slots[i].done, 0, 0);
    read_one(feed, fetch, &readahead, &slots[0], 0);
    for (uint64_t chunk = 0; chunk * MIB < size; chunk++) {
        if ((chunk + 1) * MIB < size)
            read_one(feed, fetch, &readahead, &slots[(chunk + 1) % 2], (chunk + 1) * MIB);
        (void)sem_wait(&slots[chunk % 2].done);
    }
    for (unsigned i = 0; i < 2; i++)
        (void)sem_destroy(&slots[i].done);
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

/* ---- a row ---- */

struct cost {
    double seconds, cpu_seconds;
};

static struct cost now(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (struct cost){(double)kf_now_ns() / 1e9,
                         (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) /
                                 1e6};
}

static struct cost since(struct cost start)
{
    struct cost end = now();

    return (struct cost){end.seconds - start.seconds,
                         end.cpu_seconds - start.cpu_seconds};
}

static struct cost run_feed(struct kf_workq *workq, struct link *link, uint64_t size)
{
    struct kf_object_spec spec = {.name = "0123-bench", .size = size, .chunk_size = MIB};
    char path[] = "/tmp/kf-bench-XXXXXX";
    struct kf_object *object;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_feed *feed;
    struct kf_err err;
    struct cost cost, start;

    need(mkdtemp(path) != NULL, "no folder");
    need(kf_store_open(&store, &(struct kf_store_opts){.path = path}, &err) == 0,
         "no store");
    need(kf_object_open(&object, store, &spec, &err) == 0, "no object");
    need(kf_fetch_new(&fetch, &(struct kf_fetch_opts){.workq = workq}, &err) == 0,
         "no fetch");
    need(kf_feed_new(&feed, fetch, &link->source, object, &feed_ops, &size, &err) == 0,
         "no feed");
    start = now();
    read_all(feed, fetch, size);
    cost = since(start);
    need(kf_fetch_stop(fetch, kf_deadline_ns(60 * KF_NS_PER_S)) == 0, "no stop");
    kf_fetch_free(fetch);
    kf_object_unref(object);
    kf_feed_unref(feed);
    while (__atomic_load_n(&link->source.refs, __ATOMIC_ACQUIRE) > 1)
        (void)usleep(1000); /* chunks of the feed are being written */
    kf_store_close(store, kf_deadline_ns(60 * KF_NS_PER_S));
    (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
    return cost;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        double mb_per_s;
        int64_t latency_ns;
    } rows[] = {{"125 MB/s, 20 ms", 125, 20 * KF_NS_PER_MS},
                {"625 MB/s, 2 ms", 625, 2 * KF_NS_PER_MS},
                {"625 MB/s, 20 ms", 625, 20 * KF_NS_PER_MS},
                {"no limit, 20 ms", 0, 20 * KF_NS_PER_MS},
                {"no limit, 0 ms", 0, 0}};
    uint64_t size = (argc > 1 ? strtoull(argv[1], NULL, 10) : 512) * MIB;
    struct kf_workq *workq = kf_workq_new(4, NULL);

    need(workq != NULL, "no threads");
    (void)printf("%-18s %10s %10s %8s %12s\n", "link", "feed MB/s", "peer MB/s", "ratio",
                 "CPU s/GB");
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct link link;
        struct cost feed, peer, start;
        double mb = (double)size / 1e6;

        link_open(&link, workq, size, rows[i].mb_per_s, rows[i].latency_ns);
        start = now();
        download_all(&link, size);
        peer = since(start);
        feed = run_feed(workq, &link, size);
        link_close(&link);
        (void)printf("%-18s %10.0f %10.0f %8.2f %12.2f\n", rows[i].name,
                     mb / feed.seconds, mb / peer.seconds, peer.seconds / feed.seconds,
                     feed.cpu_seconds / (mb / 1e3));
    }
    kf_workq_free(workq);
    return 0;
}
