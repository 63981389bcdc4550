/*
 * A layer without a table of contents under threads, while it is checked as a whole. Each
 * round readers read all of its files, each its own way; what is looked at goes on beside
 * them, another thread asks for the state all the time, and now and then the layer is
 * closed as soon as the readers are done. Every other round a byte of it is wrong. Before
 * it fails, reads give what the source gives; afterwards they fail; a right layer never
 * does, and nothing of a wrong one stays in the cache.
 * Usage: stress_whole [--rounds N] [--seed N]
 */
#include <ftw.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "layer/layer.h"
#include "rounds.h"

#define READERS 4u
#define BLOCK ((size_t)512)
#define SMALL_BYTES ((size_t)300000)
#define LARGE_BYTES ((size_t)17 << 20)
#define STREAM_BYTES (4 * BLOCK + 2 * SMALL_BYTES + LARGE_BYTES + ((size_t)1 << 16))
#define READ_BYTES ((size_t)1 << 20)

struct round {
    struct kf_layer *layer;
    const uint8_t *stream;
    bool is_wrong;
    bool readers_done; /* atomic */
};

struct reader {
    struct round *round;
    unsigned seed;
};

struct wait {
    struct kf_read read;
    const uint8_t *expected;
    bool may_fail;
    bool failed, done; /* lock */
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static char folder[] = "/tmp/kf-stress-whole-XXXXXX";

static void die(const char *what)
{
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

static size_t add_file(uint8_t *stream, size_t at, const char *name, size_t size)
{
    char *header = (char *)stream + at;
    unsigned sum = 0;

    memset(header, 0, BLOCK);
    (void)snprintf(header, 100, "%s", name);
    (void)snprintf(header + 100, 8, "%07o", 0644u);
    (void)snprintf(header + 124, 12, "%011zo", size);
    memcpy(header + 257, "ustar\00000", 8);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += stream[at + i];
    (void)snprintf(header + 148, 7, "%06o", sum);
    return at + BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
}

static size_t make_stream(uint8_t *stream)
{
    size_t at = 0;

    for (size_t i = 0; i < STREAM_BYTES; i++)
        stream[i] = (uint8_t)(i * 13 + (i >> 9));
    at = add_file(stream, at, "a", SMALL_BYTES);
    at = add_file(stream, at, "large", LARGE_BYTES);
    at = add_file(stream, at, "z", SMALL_BYTES);
    memset(stream + at, 0, 2 * BLOCK);
    return at + 2 * BLOCK;
}

/* ---- readers ---- */

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct wait *wait = kf_container_of(read, struct wait, read);

    if (data && memcmp(data, wait->expected, read->length) != 0)
        die("wrong bytes");
    if (!data && !(wait->may_fail && err->kind == KF_E_CORRUPT))
        die(err->message);
    (void)pthread_mutex_lock(&wait->lock);
    wait->failed = !data;
    wait->done = true;
    (void)pthread_cond_signal(&wait->cond);
    (void)pthread_mutex_unlock(&wait->lock);
}

/* False: the layer has failed. */
static bool read_waiting(const struct round *round, struct kf_file *file, uint64_t at,
                         uint64_t offset, size_t length)
{
    struct wait wait = {
        .read = {.offset = offset, .length = length, .done = read_done},
        .expected = round->stream + at + offset,
        .may_fail = round->is_wrong,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .cond = PTHREAD_COND_INITIALIZER,
    };

    kf_file_read(file, &wait.read);
    (void)pthread_mutex_lock(&wait.lock);
    while (!wait.done)
        (void)pthread_cond_wait(&wait.cond, &wait.lock);
    (void)pthread_mutex_unlock(&wait.lock);
    return !wait.failed;
}

static bool read_file(const struct round *round, uint32_t entry, uint8_t *buffer,
                      unsigned *seed)
{
    const struct kf_table_entry *which = &kf_layer_table(round->layer)->entries[entry];
    struct kf_file *file = kf_layer_file(round->layer, entry, NULL);
    bool well = true;

    if (!file)
        die("a file cannot be opened");
    for (uint64_t offset = 0, length; well && offset < which->size; offset += length) {
        length =
            kf_min_u64(which->size - offset, 1 + (uint64_t)rand_r(seed) % READ_BYTES);
        if (rand_r(seed) % 2 == 0 || kf_file_read_now(file, buffer, length, offset) < 0)
            well = read_waiting(round, file, which->offset, offset, length);
        else if (memcmp(buffer, round->stream + which->offset + offset, length) != 0)
            die("wrong bytes at once");
    }
    kf_file_put(file);
    return well;
}

static void *read_all(void *arg)
{
    struct reader *reader = arg;
    uint32_t count = kf_layer_table(reader->round->layer)->count;
    uint32_t first = (uint32_t)rand_r(&reader->seed) % count;
    uint8_t *buffer = malloc(READ_BYTES);
    bool well = true;

    if (!buffer)
        die("no memory");
    for (uint32_t i = 0; well && i < count; i++)
        well = read_file(reader->round, (first + i) % count, buffer, &reader->seed);
    free(buffer);
    return NULL;
}

static void *ask(void *arg)
{
    struct round *round = arg;
    struct kf_err why;

    while (!__atomic_load_n(&round->readers_done, __ATOMIC_ACQUIRE)) {
        if (kf_layer_trust(round->layer, &why) == KF_TRUST_FAILED && !round->is_wrong)
            die(why.message);
        (void)usleep(500);
    }
    return NULL;
}

/* ---- rounds ---- */

static void wait_for_end(const struct round *round)
{
    struct kf_err why;
    unsigned seed = 0;
    uint8_t *buffer = malloc(READ_BYTES);

    if (!buffer)
        die("no memory");
    while (kf_layer_trust(round->layer, &why) == KF_TRUST_UNVERIFIED)
        (void)usleep(500);
    if ((kf_layer_trust(round->layer, &why) == KF_TRUST_FAILED) != round->is_wrong)
        die("the check went wrong");
    if (round->is_wrong && read_file(round, 0, buffer, &seed))
        die("a wrong layer is read");
    free(buffer);
}

static void run_threads(struct round *round, unsigned seed)
{
    struct reader readers[READERS];
    pthread_t threads[READERS], asker;

    if (pthread_create(&asker, NULL, ask, round) != 0)
        die("no thread");
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){round, seed + i};
        if (pthread_create(&threads[i], NULL, read_all, &readers[i]) != 0)
            die("no thread");
    }
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(threads[i], NULL);
    __atomic_store_n(&round->readers_done, true, __ATOMIC_RELEASE);
    (void)pthread_join(asker, NULL);
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

static int find_one(const char *path, const struct stat *status, int type,
                    struct FTW *place)
{
    if (type == FTW_F)
        die("something of a wrong layer is in the cache");
    return 0;
}

static void run_round(uint8_t *stream, size_t length, bool is_wrong, unsigned seed)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);
    struct kf_fake_source *fake = kf_fake_source_new(workq, stream, length);
    const struct kf_fetch_opts opts = {.workq = workq};
    const struct kf_store_opts store_opts = {.path = folder};
    struct kf_layer_spec spec = {
        .source = &fake->source, .is_tar = true, .timeout_ns = 60 * KF_NS_PER_S};
    struct round round = {.stream = stream, .is_wrong = is_wrong};
    bool early = seed % 3 == 0;

    if (kf_digest_of(&spec.digest, stream, length, NULL) != 0)
        die("no digest");
    stream[BLOCK + SMALL_BYTES / 2] ^= (uint8_t)is_wrong;
    if (!workq || kf_store_open(&spec.store, &store_opts, NULL) != 0 ||
        kf_fetch_new(&spec.fetch, &opts, NULL) != 0 ||
        kf_layer_open(&round.layer, &spec, NULL) != 0)
        die("the layer cannot be opened");
    kf_layer_watch(round.layer, true);
    run_threads(&round, seed);
    if (!early)
        wait_for_end(&round);
    if (kf_fetch_stop(spec.fetch, kf_deadline_ns(60 * KF_NS_PER_S)) != 0)
        die("fetching does not stop");
    kf_layer_close(round.layer);
    kf_fetch_free(spec.fetch);
    kf_source_close(&fake->source);
    kf_workq_free(workq);
    kf_store_close(spec.store, kf_deadline_ns(60 * KF_NS_PER_S));
    if (is_wrong && !early)
        (void)nftw(folder, find_one, 8, FTW_PHYS);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    stream[BLOCK + SMALL_BYTES / 2] ^= (uint8_t)is_wrong;
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;
    uint8_t *stream = malloc(STREAM_BYTES);
    size_t length;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u\n", seed);
    if (!stream || !mkdtemp(folder))
        die("no memory, or no folder");
    length = make_stream(stream);
    for (unsigned i = 0; i < rounds; i++)
        run_round(stream, length, i % 2 != 0, seed + i * READERS);
    free(stream);
    return 0;
}
