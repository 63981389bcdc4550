#include "plain_world.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "tar_maker.h"

#define LONG_TIME (10 * KF_NS_PER_S)

static void fill(uint8_t *data, size_t length, size_t seed)
{
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 12) * 7 + seed);
}

void plain_world_begin(struct plain_world *world, const struct plain_file *files,
                       size_t count, bool is_raw)
{
    *world = (struct plain_world){.is_raw = is_raw};
    kf_buf_init(&world->blob, MIB(64));
    for (size_t i = 0; i < count; i++) {
        uint8_t *data = malloc(files[i].size + 1);

        cr_assert_not_null(data);
        fill(data, files[i].size, i);
        if (is_raw)
            cr_assert_eq(kf_buf_append(&world->blob, data, files[i].size, NULL), 0);
        else
            tar_add_file(&world->blob, files[i].name, data, files[i].size);
        free(data);
    }
    if (!is_raw)
        tar_end(&world->blob);
    cr_assert_eq(kf_digest_of(&world->digest, world->blob.data, world->blob.length, NULL),
                 0);
    (void)snprintf(world->folder, sizeof(world->folder), "/tmp/kf-plain-XXXXXX");
    cr_assert_not_null(mkdtemp(world->folder));
}

void plain_world_start(struct plain_world *world)
{
    struct kf_store_opts store_opts = {.path = world->folder,
                                       .size_limit_bytes = world->cache_limit};
    struct kf_fetch_opts opts = {.workq = kf_workq_new(2, NULL)};

    world->workq = opts.workq;
    world->store = NULL;
    world->layer = NULL;
    if (!world->uncached)
        cr_assert_eq(kf_store_open(&world->store, &store_opts, &world->err), 0, "%s",
                     world->err.message);
    world->fake = kf_fake_source_new(world->workq, world->blob.data, world->blob.length);
    cr_assert_eq(kf_fetch_new(&world->fetch, &opts, NULL), 0);
}

int plain_world_open(struct plain_world *world, enum kf_layer_check check)
{
    const struct kf_layer_spec spec = {
        .digest = world->digest,
        .source = &world->fake->source,
        .is_tar = !world->is_raw,
        .raw_path = "raw",
        .raw_mode = 0644,
        .store = world->store,
        .fetch = world->fetch,
        .timeout_ns = LONG_TIME,
        .check = check,
    };

    return kf_layer_open(&world->layer, &spec, &world->err);
}

void plain_world_expect_open(struct plain_world *world, enum kf_layer_check check)
{
    plain_world_start(world);
    cr_assert_eq(plain_world_open(world, check), 0, "%s", world->err.message);
}

void plain_world_stop(struct plain_world *world)
{
    cr_assert_eq(kf_fetch_stop(world->fetch, kf_deadline_ns(LONG_TIME)), 0);
    kf_layer_close(world->layer);
    kf_fetch_free(world->fetch);
    kf_source_close(&world->fake->source);
    kf_workq_free(world->workq); /* before the store: its jobs hold objects */
    kf_store_close(world->store, kf_deadline_ns(LONG_TIME));
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

void plain_world_end(struct plain_world *world)
{
    plain_world_stop(world);
    (void)nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    kf_buf_fini(&world->blob);
}

static uint32_t entry_of(struct plain_world *world, const char *name)
{
    const struct kf_table *table = kf_layer_table(world->layer);

    for (uint32_t i = 0; i < table->count; i++) {
        size_t length;
        const char *other = kf_table_name(table, i, &length);

        if (strlen(name) == length && memcmp(name, other, length) == 0)
            return i;
    }
    cr_assert_fail("no file '%s'", name);
    return 0;
}

uint64_t plain_world_at(struct plain_world *world, const char *name)
{
    return kf_layer_table(world->layer)->entries[entry_of(world, name)].offset;
}

struct wait {
    struct kf_read read;
    const uint8_t *expected;
    enum kf_err_kind kind;
    bool wrong;
    sem_t done;
};

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct wait *wait = kf_container_of(read, struct wait, read);

    wait->kind = err ? err->kind : KF_E_NONE;
    wait->wrong = data && memcmp(data, wait->expected, read->length) != 0;
    (void)sem_post(&wait->done);
}

static enum kf_err_kind read_file(struct plain_world *world, struct kf_file *file,
                                  uint64_t at, uint64_t offset, size_t length)
{
    struct wait wait = {
        .read = {.offset = offset, .length = length, .done = read_done},
        .expected = world->blob.data + at + offset,
    };

    (void)sem_init(&wait.done, 0, 0);
    kf_file_read(file, &wait.read);
    while (sem_wait(&wait.done) != 0)
        ;
    (void)sem_destroy(&wait.done);
    cr_assert_not(wait.wrong);
    return wait.kind;
}

enum kf_err_kind plain_world_read(struct plain_world *world, const char *name,
                                  uint64_t offset, size_t length)
{
    uint32_t entry = entry_of(world, name);
    struct kf_file *file = kf_layer_file(world->layer, entry, &world->err);
    enum kf_err_kind kind;

    cr_assert_not_null(file, "%s", world->err.message);
    kind = read_file(world, file, plain_world_at(world, name), offset, length);
    kf_file_put(file);
    return kind;
}

enum kf_err_kind plain_world_read_all(struct plain_world *world, const char *name)
{
    uint64_t size = kf_layer_table(world->layer)->entries[entry_of(world, name)].size;

    for (uint64_t at = 0; at < size; at += MIB(1)) {
        enum kf_err_kind kind =
            plain_world_read(world, name, at, (size_t)kf_min_u64(MIB(1), size - at));

        if (kind != KF_E_NONE)
            return kind;
    }
    return KF_E_NONE;
}

bool plain_world_wait(struct plain_world *world, enum kf_trust trust)
{
    struct kf_err why;

    for (unsigned i = 0; i < 10000; i++) {
        if (kf_layer_trust(world->layer, &why) == trust)
            return true;
        (void)usleep(1000);
    }
    return false;
}

static unsigned found;

static int count_one(const char *path, const struct stat *status, int type,
                     struct FTW *place)
{
    found += type == FTW_F;
    return 0;
}

unsigned plain_world_count(struct plain_world *world, const char *below)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", world->folder, below);
    found = 0;
    (void)nftw(path, count_one, 8, FTW_PHYS);
    return found;
}
