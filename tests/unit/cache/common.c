#include "common.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cache/private.h"

char cache_path[64];
struct kf_stats cache_stats;

void cache_setup(void)
{
    (void)snprintf(cache_path, sizeof(cache_path), "/tmp/kf-cache-XXXXXX");
    cr_assert_not_null(mkdtemp(cache_path));
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

void cache_teardown(void)
{
    (void)nftw(cache_path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
}

struct kf_store *cache_open_with(const struct kf_store_opts *opts)
{
    struct kf_store_opts with = *opts;
    struct kf_store *store;
    struct kf_err err;

    with.path = cache_path;
    with.stats = &cache_stats;
    cr_assert_eq(kf_store_open(&store, &with, &err), 0, "%s", err.message);
    return store;
}

struct kf_store *cache_open(void)
{
    return cache_open_with(
        &(struct kf_store_opts){.write_queue_bytes = CHUNK + CHUNK / 2});
}

void cache_close(struct kf_store *store)
{
    kf_store_close(store, KF_NO_DEADLINE);
}

static bool is_idle(struct kf_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool idle = !store->objects;
    pthread_mutex_unlock(&store->lock);
    return idle;
}

void cache_wait_idle(struct kf_store *store)
{
    for (unsigned tries = 0; tries < 20000 && !is_idle(store); tries++)
        (void)usleep(1000);
    cr_assert(is_idle(store));
}

struct kf_object *object_open(struct kf_store *store, const char *name, uint64_t size)
{
    struct kf_object_spec spec = {.size = size, .chunk_size = CHUNK};
    struct kf_object *object;
    struct kf_err err;

    (void)snprintf(spec.name, sizeof(spec.name), "%s", name);
    cr_assert_eq(kf_object_open(&object, store, &spec, &err), 0, "%s", err.message);
    return object;
}

struct kf_block *chunk_block(const struct kf_object *object, uint64_t chunk,
                             struct kf_digest *ret)
{
    static struct kf_budget budget = {.limit_bytes = UINT64_MAX};
    struct kf_block *block =
        kf_block_new(&budget, kf_object_chunk_length(object, chunk), true);

    cr_assert_not_null(block);
    for (size_t i = 0; i < block->length; i++)
        block->data[i] = (uint8_t)(i * 7 + i / 251 + chunk * 31 + 1);
    if (ret)
        cr_assert_eq(kf_digest_of(ret, block->data, block->length, NULL), 0);
    return block;
}

struct put {
    struct kf_object_put put;
    sem_t done;
};

static void put_done(struct kf_object_put *put)
{
    sem_post(&((struct put *)put)->done);
}

struct put *put_start(struct kf_object *object, uint64_t chunk)
{
    struct put *put = calloc(1, sizeof(*put));
    struct kf_digest digest;
    struct kf_block *block = chunk_block(object, chunk, &digest);

    cr_assert_not_null(put);
    cr_assert_eq(sem_init(&put->done, 0, 0), 0);
    put->put.done = put_done;
    bool taken = kf_object_put(object, chunk, block, &digest, &put->put);

    kf_block_unref(block);
    if (taken)
        return put;
    free(put);
    return NULL;
}

void put_wait(struct put *put)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    cr_assert_eq(sem_timedwait(&put->done, &deadline), 0, "the writer does not answer");
    sem_destroy(&put->done);
    free(put);
}

bool put_chunk(struct kf_object *object, uint64_t chunk)
{
    struct put *put = put_start(object, chunk);

    if (!put)
        return false;
    put_wait(put);
    return kf_object_has(object, chunk);
}

void put_all(struct kf_object *object)
{
    for (uint64_t chunk = 0; chunk < kf_object_chunk_count(object); chunk++)
        cr_assert(put_chunk(object, chunk));
}

int read_chunk(struct kf_object *object, uint64_t chunk)
{
    struct kf_block *expected = chunk_block(object, chunk, NULL);
    uint8_t *data = malloc(expected->length);
    struct kf_err err = {.kind = KF_E_NONE};

    cr_assert_not_null(data);
    if (kf_object_read(object, data, expected->length,
                       kf_object_chunk_offset(object, chunk), &err) == 0)
        cr_assert_eq(memcmp(data, expected->data, expected->length), 0);
    free(data);
    kf_block_unref(expected);
    return (int)err.kind;
}

static const char *file_path(const char *name, const char *ending)
{
    static char path[256];
    char below[KF_PAIR_PATH_SIZE];

    cr_assert_eq(kf_pair_path(below, name, NULL), 0);
    (void)snprintf(path, sizeof(path), "%s/objects/%s.%s", cache_path, below, ending);
    return path;
}

void file_write(const char *name, const char *ending, uint64_t offset, const void *data,
                size_t length)
{
    int fd = open(file_path(name, ending), O_WRONLY);

    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, data, length, (off_t)offset), (ssize_t)length);
    close(fd);
}

void file_truncate(const char *name, const char *ending, uint64_t length)
{
    cr_assert_eq(truncate(file_path(name, ending), (off_t)length), 0);
}

void file_unlink(const char *name, const char *ending)
{
    cr_assert_eq(unlink(file_path(name, ending)), 0);
}

bool file_exists(const char *name, const char *ending)
{
    return access(file_path(name, ending), F_OK) == 0;
}

void file_set_time(const char *name, int64_t seconds)
{
    struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    cr_assert_eq(utimensat(AT_FDCWD, file_path(name, "map"), times, 0), 0);
}

void file_reboot(const char *name)
{
    file_write(name, "map", 72, "another boot id", 16);
}

void file_reboot_not_durable(const char *name)
{
    file_write(name, "map", 64, "", 1);
    file_reboot(name);
}

void file_other_machine(const char *name)
{
    file_write(name, "map", 88, "another machine", 16);
}
