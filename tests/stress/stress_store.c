/*
 * The cache under threads and under kill -9. Each round:
 *   threads  some open, fill, read, drop and close the same few objects of one store,
 * whose limit is too small for all of them; whatever is read must be right. kills
 * children fill objects of one folder and are killed at a random time; then each chunk
 * that the folder claims to hold must be right. Usage: stress_store [--rounds N] [--seed
 * N]
 */
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/err.h"
#include "cache/object.h"
#include "cache/store.h"
#include "rounds.h"

#define CHUNK (UINT32_C(64) << 10)
#define CHUNKS 70u
#define OBJECTS 3u
#define THREADS 4u
#define CHILDREN 2u
#define STEPS 400u

static char folder[] = "/tmp/kf-stress-store-XXXXXX";
static struct kf_budget budget;

static void die(const char *what)
{
    fprintf(stderr, "FAILED: %s\n", what);
    abort();
}

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void fill(uint8_t *data, unsigned object, uint64_t chunk)
{
    unsigned state = object * 1000 + (unsigned)chunk;

    for (size_t i = 0; i < CHUNK; i += sizeof(state)) {
        (void)next_random(&state);
        memcpy(data + i, &state, sizeof(state));
    }
}

static struct kf_store *open_store(uint64_t limit_bytes)
{
    struct kf_store_opts opts = {
        .path = folder, .size_limit_bytes = limit_bytes, .write_queue_bytes = 20 * CHUNK};
    struct kf_store *store;
    struct kf_err err;

    if (kf_store_open(&store, &opts, &err) != 0)
        die(err.message);
    return store;
}

static struct kf_object *open_object(struct kf_store *store, unsigned number)
{
    struct kf_object_spec spec = {.size = CHUNKS * CHUNK, .chunk_size = CHUNK};
    struct kf_object *object;
    struct kf_err err;

    (void)snprintf(spec.name, sizeof(spec.name), "object-%u", number);
    if (kf_object_open(&object, store, &spec, &err) != 0)
        die(err.message);
    return object;
}

static void done(struct kf_object_put *put)
{
    free(put);
}

static void put(struct kf_object *object, unsigned number, uint64_t chunk)
{
    struct kf_object_put *p = calloc(1, sizeof(*p));
    struct kf_block *block = kf_block_new(&budget, CHUNK, true);
    struct kf_digest digest;

    if (!p || !block)
        die("no memory");
    fill(block->data, number, chunk);
    if (kf_digest_of(&digest, block->data, CHUNK, NULL) != 0)
        die("no digest");
    p->done = done;
    if (!kf_object_put(object, chunk, block, &digest, p))
        free(p);
    kf_block_unref(block);
}

/* Right, or not there. */
static bool check(struct kf_object *object, unsigned number, uint64_t chunk)
{
    static _Thread_local uint8_t expected[CHUNK], data[CHUNK];
    struct kf_err err;

    fill(expected, number, chunk);
    if (kf_object_read_now(object, data, CHUNK, chunk * CHUNK) == CHUNK) {
        if (memcmp(data, expected, CHUNK) != 0)
            die("wrong bytes at once");
        return true;
    }
    if (kf_object_read(object, data, CHUNK, chunk * CHUNK, &err) == 0) {
        if (memcmp(data, expected, CHUNK) != 0)
            die("wrong bytes");
        return true;
    }
    if (err.kind != KF_E_NOTFOUND)
        die(err.message);
    return false;
}

struct worker {
    pthread_t thread;
    struct kf_store *store;
    unsigned random;
};

static void *work(void *arg)
{
    struct worker *worker = arg;

    for (unsigned step = 0; step < STEPS / 20; step++) {
        unsigned number = next_random(&worker->random) % OBJECTS;
        struct kf_object *object = open_object(worker->store, number);

        for (unsigned i = 0; i < 20; i++) {
            uint64_t chunk = next_random(&worker->random) % CHUNKS;

            if (!check(object, number, chunk))
                put(object, number, chunk);
            else if (next_random(&worker->random) % 16 == 0)
                kf_object_drop(object, chunk);
            if (kf_object_local_bytes(object) > kf_object_size(object))
                die("more than all is local");
            (void)kf_object_complete(object);
        }
        kf_object_unref(object);
    }
    return NULL;
}

static void run_threads(unsigned *random)
{
    struct worker workers[THREADS];
    struct kf_store *store = open_store(2 * CHUNKS * CHUNK);

    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].store = store;
        workers[i].random = next_random(random);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            die("no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    kf_store_close(store, kf_deadline_ns(10 * KF_NS_PER_S));
}

static void run_child(unsigned random)
{
    struct kf_store *store = open_store(0);

    for (;;) {
        unsigned number = next_random(&random) % OBJECTS;
        struct kf_object *object = open_object(store, number);

        for (unsigned i = 0; i < 30; i++) {
            uint64_t chunk = next_random(&random) % CHUNKS;

            if (check(object, number, chunk))
                kf_object_drop(object, chunk);
            put(object, number, chunk);
        }
        kf_object_unref(object);
    }
}

static uint64_t check_all(void)
{
    struct kf_store *store = open_store(0);
    uint64_t found = 0;

    for (unsigned number = 0; number < OBJECTS; number++) {
        struct kf_object *object = open_object(store, number);

        for (uint64_t chunk = 0; chunk < CHUNKS; chunk++)
            found += check(object, number, chunk);
        kf_object_unref(object);
    }
    kf_store_close(store, kf_deadline_ns(10 * KF_NS_PER_S));
    return found;
}

static uint64_t run_kills(unsigned *random)
{
    pid_t children[CHILDREN];

    for (unsigned i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] < 0)
            die("no process");
        if (children[i] == 0)
            run_child(next_random(random) + i);
    }
    for (unsigned i = 0; i < CHILDREN; i++) {
        int status;

        (void)usleep(2000 + next_random(random) % 60000);
        (void)kill(children[i], SIGKILL);
        if (waitpid(children[i], &status, 0) < 0 || !WIFSIGNALED(status) ||
            WTERMSIG(status) != SIGKILL)
            die("a child found wrong bytes");
    }
    return check_all();
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

static void empty_folder(void)
{
    (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    unsigned rounds = 5, seed;
    uint64_t found = 0;

    take_rounds(argc, argv, &rounds, &seed);
    printf("seed %u, %u rounds\n", seed, rounds);
    (void)fflush(stdout);
    kf_budget_init(&budget, UINT64_MAX, NULL, NULL);
    if (!mkdtemp(folder))
        die("no folder");
    for (unsigned round = 0; round < rounds; round++) {
        found += run_kills(&seed);
        if (round % 4 == 3)
            empty_folder();
        run_threads(&seed);
    }
    empty_folder();
    printf("%llu chunks survived kills, all right\n", (unsigned long long)found);
    return found > 0 ? 0 : 1;
}
