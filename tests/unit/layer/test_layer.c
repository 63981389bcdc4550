#include <criterion/criterion.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "layer/layer.h"
#include "tar_maker.h"

#define MIB(n) ((size_t)(n) << 20)
#define LARGE MIB(20)
#define KERNEL_READ ((size_t)128 << 10)

/* A layer of: folder d, d/small (5000 bytes), d/empty, large (20 MiB), tail (100 bytes).
 */
enum { DIR_ENTRY, SMALL_ENTRY, EMPTY_ENTRY, LARGE_ENTRY, TAIL_ENTRY };

struct world {
    struct kf_buf tar;
    uint64_t small_at, large_at, tail_at;
    char folder[64];
    struct kf_workq *workq;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_fake_source *fake;
    struct kf_layer *layer;
    struct kf_err err;
};

static uint8_t *pattern(size_t length, unsigned seed)
{
    uint8_t *data = malloc(length);

    cr_assert_not_null(data);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 12) * 7 + seed);
    return data;
}

static void add_pattern(struct kf_buf *tar, const char *name, size_t length,
                        unsigned seed, uint64_t *ret_at)
{
    uint8_t *data = pattern(length, seed);

    *ret_at = tar->length + 512;
    tar_add_file(tar, name, data, length);
    free(data);
}

static void make_tar(struct world *world)
{
    kf_buf_init(&world->tar, MIB(64));
    tar_add_dir(&world->tar, "d");
    add_pattern(&world->tar, "d/small", 5000, 1, &world->small_at);
    tar_add_file(&world->tar, "d/empty", "", 0);
    add_pattern(&world->tar, "large", LARGE, 2, &world->large_at);
    add_pattern(&world->tar, "tail", 100, 3, &world->tail_at);
    tar_end(&world->tar);
}

static int open_layer(struct world *world, bool is_tar)
{
    struct kf_layer_spec spec = {
        .digest = {{1, 2, 3}},
        .source = &world->fake->source,
        .is_tar = is_tar,
        .raw_path = "models/raw.bin",
        .raw_mode = 0644,
        .store = world->store,
        .fetch = world->fetch,
        .timeout_ns = 10 * KF_NS_PER_S,
    };

    return kf_layer_open(&world->layer, &spec, &world->err);
}

static void open_fetch(struct world *world)
{
    struct kf_fetch_opts opts = {.workq = kf_workq_new(2, NULL)};

    world->workq = opts.workq;
    world->fake = kf_fake_source_new(world->workq, world->tar.data, world->tar.length);
    cr_assert_eq(kf_fetch_new(&world->fetch, &opts, NULL), 0);
}

static void close_fetch(struct world *world)
{
    cr_assert_eq(kf_fetch_stop(world->fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_layer_close(world->layer);
    world->layer = NULL;
    kf_fetch_free(world->fetch);
    kf_source_close(&world->fake->source);
    kf_workq_free(world->workq); /* before the store: its jobs hold objects */
}

static void open_store(struct world *world)
{
    struct kf_store_opts opts = {.path = world->folder};

    cr_assert_eq(kf_store_open(&world->store, &opts, &world->err), 0, "%s",
                 world->err.message);
}

static void begin(struct world *world, bool with_store)
{
    memset(world, 0, sizeof(*world));
    make_tar(world);
    if (with_store) {
        (void)snprintf(world->folder, sizeof(world->folder), "/tmp/kf-layer-XXXXXX");
        cr_assert_not_null(mkdtemp(world->folder));
        open_store(world);
    }
    open_fetch(world);
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

static void end(struct world *world)
{
    close_fetch(world);
    kf_store_close(world->store, kf_deadline_ns(10 * KF_NS_PER_S));
    if (world->folder[0])
        (void)nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    kf_buf_fini(&world->tar);
}

/* ---- blocking reads ---- */

struct wait {
    struct kf_read read;
    uint8_t *into;
    size_t length;
    struct kf_err err;
    int rc;
    sem_t done;
};

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct wait *wait = kf_container_of(read, struct wait, read);

    wait->rc = data ? 0 : -1;
    if (data)
        memcpy(wait->into, data, wait->length);
    else
        wait->err = *err;
    (void)sem_post(&wait->done);
}

/* Reads as the kernel does: now if it can be, else waiting. */
static int read_file(struct kf_file *file, void *into, size_t length, uint64_t offset)
{
    struct wait wait = {
        .read = {.offset = offset, .length = length, .done = read_done},
        .into = into,
        .length = length,
    };

    if (kf_file_read_now(file, into, length, offset) == (ssize_t)length)
        return 0;
    (void)sem_init(&wait.done, 0, 0);
    kf_file_read(file, &wait.read);
    while (sem_wait(&wait.done) != 0)
        ;
    (void)sem_destroy(&wait.done);
    return wait.rc;
}

static void expect_bytes(struct world *world, uint32_t entry, uint64_t at,
                         uint64_t offset, size_t length)
{
    struct kf_file *file = kf_layer_file(world->layer, entry, &world->err);
    uint8_t *data = malloc(length);

    cr_assert_not_null(file, "%s", world->err.message);
    cr_assert_eq(read_file(file, data, length, offset), 0);
    cr_assert_arr_eq(data, world->tar.data + at + offset, length);
    free(data);
    kf_file_put(file);
}

static struct kf_fake_range last_range(struct world *world)
{
    struct kf_fake_range range;

    cr_assert(kf_fake_source_range(
        world->fake, (size_t)kf_fake_source_requests(world->fake) - 1, &range));
    return range;
}

/* ---- the whole ---- */

Test(layer, the_whole_blob_as_one_file)
{
    struct world world;
    struct kf_file *whole, *small;
    uint8_t *data;

    begin(&world, true);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_eq(kf_layer_plain_blob(world.layer), &world.fake->source);
    whole = kf_layer_whole(world.layer, &world.err);
    cr_assert_not_null(whole);
    cr_assert_eq(kf_file_size(whole), world.tar.length);
    data = malloc(MIB(1));
    for (uint64_t at = 0; at < world.tar.length; at += MIB(1)) {
        size_t some = (size_t)kf_min_u64(MIB(1), world.tar.length - at);

        cr_assert_eq(read_file(whole, data, some, at), 0);
        cr_assert_arr_eq(data, world.tar.data + at, some);
    }
    free(data);
    small = kf_layer_whole(world.layer, &world.err);
    cr_assert_eq(small, whole, "one for all its readers");
    kf_file_put(small);
    kf_file_put(whole);
    expect_bytes(&world, SMALL_ENTRY, world.small_at, 0, 5000);
    end(&world);
}

/* ---- the table ---- */

Test(layer, table_is_kept_by_digest)
{
    struct world world;

    begin(&world, true);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_gt(kf_fake_source_requests(world.fake), 0);
    cr_assert_eq(kf_layer_table(world.layer)->count, 5);
    cr_assert_eq(kf_layer_digest(world.layer)->bytes[1], 2);
    close_fetch(&world);

    open_fetch(&world);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    cr_assert_eq(kf_layer_table(world.layer)->count, 5);
    cr_assert_eq(kf_layer_table(world.layer)->entries[LARGE_ENTRY].offset,
                 world.large_at);
    end(&world);
}

Test(layer, unusable_table_costs_a_walk)
{
    static const char *const tables[] = {"", "KITFSTAB", "something else"};
    const struct kf_digest digest = {{1, 2, 3}};
    struct world world;
    struct kf_table other;
    struct kf_buf bytes;

    begin(&world, true);
    for (size_t i = 0; i < KF_ARRAY_LEN(tables); i++) {
        cr_assert_eq(kf_store_save(world.store, KF_SMALL_TABLE, &digest, tables[i],
                                   strlen(tables[i]), NULL),
                     0);
        cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
        cr_assert_eq(kf_layer_table(world.layer)->count, 5);
        kf_layer_close(world.layer);
    }
    /* A sound table, of a stream of another size. */
    kf_table_init(&other);
    other.stream_size = world.tar.length - 512;
    kf_buf_init(&bytes, 4096);
    cr_assert_eq(kf_table_encode(&other, &bytes, NULL), 0);
    cr_assert_eq(kf_store_save(world.store, KF_SMALL_TABLE, &digest, bytes.data,
                               bytes.length, NULL),
                 0);
    kf_buf_fini(&bytes);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_eq(kf_layer_table(world.layer)->count, 5);
    end(&world);
}

Test(layer, failure_names_the_layer)
{
    struct world world;

    begin(&world, false);
    kf_fake_source_fail(world.fake, 1, KF_E_REFUSED, 0);
    cr_assert_eq(open_layer(&world, true), -1);
    cr_assert_eq(world.err.kind, KF_E_REFUSED);
    cr_assert_eq(strncmp(world.err.message, "layer 'sha256:010203", 20), 0, "%s",
                 world.err.message);
    end(&world);
}

Test(layer, raw_is_one_file)
{
    struct world world;
    const struct kf_table *table;
    size_t length;

    begin(&world, false);
    cr_assert_eq(open_layer(&world, false), 0, "%s", world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    table = kf_layer_table(world.layer);
    cr_assert_eq(table->count, 1);
    cr_assert_eq(strncmp(kf_table_name(table, 0, &length), "models/raw.bin", 14), 0);
    cr_assert_eq(table->entries[0].size, world.tar.length);
    cr_assert_eq(table->entries[0].mode, 0644);
    expect_bytes(&world, 0, 0, 700, 9000);
    end(&world);
}

/* ---- reading ---- */

Test(layer, files_and_folders)
{
    struct world world;
    struct kf_file *file, *same;

    begin(&world, false);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_null(kf_layer_file(world.layer, DIR_ENTRY, &world.err));
    cr_assert_eq(world.err.kind, KF_E_ARG);
    cr_assert_null(kf_layer_file(world.layer, 5, &world.err));
    file = kf_layer_file(world.layer, EMPTY_ENTRY, &world.err);
    cr_assert_not_null(file);
    cr_assert_eq(kf_file_size(file), 0);
    same = kf_layer_file(world.layer, EMPTY_ENTRY, &world.err);
    cr_assert_eq(file, same); /* shared by its readers */
    kf_file_put(same);
    kf_file_put(file);
    kf_file_put(NULL);
    end(&world);
}

Test(layer, every_byte_of_every_file)
{
    struct world world;

    begin(&world, true);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    expect_bytes(&world, SMALL_ENTRY, world.small_at, 0, 5000);
    expect_bytes(&world, TAIL_ENTRY, world.tail_at, 0, 100);
    for (uint64_t at = 0; at < LARGE; at += MIB(1))
        expect_bytes(&world, LARGE_ENTRY, world.large_at, at, MIB(1));
    expect_bytes(&world, LARGE_ENTRY, world.large_at, LARGE - 1, 1);
    expect_bytes(&world, LARGE_ENTRY, world.large_at, MIB(1) - 77, KERNEL_READ);
    end(&world);
}

/* A large file's chunks begin with the file, wherever it lies in the layer. */
Test(layer, large_file_is_cut_from_its_own_beginning)
{
    struct world world;
    struct kf_fake_range range;

    begin(&world, false);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    expect_bytes(&world, LARGE_ENTRY, world.large_at, MIB(5) + 10, 100);
    range = last_range(&world);
    cr_assert_eq(range.offset, world.large_at + MIB(5));
    cr_assert_eq(range.length, MIB(1));
    expect_bytes(&world, LARGE_ENTRY, world.large_at, LARGE - 10, 10);
    range = last_range(&world);
    cr_assert_eq(range.offset, world.large_at + LARGE - MIB(1));
    cr_assert_eq(range.length, MIB(1));
    end(&world);
}

/* Small files share the layer's chunks. */
Test(layer, small_files_share_chunks)
{
    struct world world;
    struct kf_fake_range range;
    struct kf_file *small, *tail;
    uint8_t data[16];
    uint64_t requests;

    begin(&world, false);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    small = kf_layer_file(world.layer, SMALL_ENTRY, &world.err);
    tail = kf_layer_file(world.layer, TAIL_ENTRY, &world.err);
    cr_assert_eq(read_file(small, data, 16, 0), 0);
    range = last_range(&world);
    cr_assert_eq(range.offset, 0);
    cr_assert_eq(range.length, MIB(1));
    requests = kf_fake_source_requests(world.fake);
    cr_assert_eq(read_file(tail, data, 16, 0), 0);
    range = last_range(&world);
    cr_assert_eq(kf_fake_source_requests(world.fake), requests + 1);
    cr_assert_eq(range.offset, world.tail_at / MIB(1) * MIB(1));
    cr_assert_eq(range.offset + range.length, world.tar.length);
    kf_file_put(small);
    kf_file_put(tail);
    end(&world);
}

/* Jumps fetch one chunk each; reading on from one place fetches ahead, whether the reads
 * in between waited or were answered at once. */
Test(layer, readahead_follows_streams_and_not_jumps)
{
    struct world world;
    struct kf_file *file;
    uint8_t *data = malloc(KERNEL_READ);
    uint64_t walked, offset = 0;

    begin(&world, true);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    walked = kf_fake_source_bytes(world.fake);
    file = kf_layer_file(world.layer, LARGE_ENTRY, &world.err);
    cr_assert_eq(read_file(file, data, KERNEL_READ, MIB(17)), 0);
    cr_assert_eq(read_file(file, data, KERNEL_READ, MIB(9)), 0);
    cr_assert_eq(read_file(file, data, KERNEL_READ, MIB(13)), 0);
    cr_assert_eq(kf_fake_source_bytes(world.fake) - walked, MIB(3));
    for (; offset < MIB(3); offset += KERNEL_READ)
        cr_assert_eq(read_file(file, data, KERNEL_READ, offset), 0);
    cr_assert_geq(kf_fake_source_bytes(world.fake) - walked, MIB(7));
    kf_file_put(file);
    free(data);
    end(&world);
}

Test(layer, offset_of_a_read_is_told_in_the_object)
{
    struct world world;
    struct kf_file *file;
    uint8_t data[10];
    struct wait wait = {.read = {.offset = 20, .length = 10, .done = read_done},
                        .into = data,
                        .length = 10};

    begin(&world, false);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    file = kf_layer_file(world.layer, SMALL_ENTRY, &world.err);
    (void)sem_init(&wait.done, 0, 0);
    kf_file_read(file, &wait.read);
    while (sem_wait(&wait.done) != 0)
        ;
    cr_assert_eq(wait.rc, 0);
    cr_assert_eq(wait.read.offset, world.small_at + 20);
    (void)sem_destroy(&wait.done);
    kf_file_put(file);
    end(&world);
}

Test(layer, cancelled_read)
{
    struct world world;
    struct kf_file *file;
    uint8_t data[10];
    struct wait wait = {.read = {.offset = 0, .length = 10, .done = read_done},
                        .into = data,
                        .length = 10};

    begin(&world, false);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    file = kf_layer_file(world.layer, LARGE_ENTRY, &world.err);
    kf_fake_source_hold(world.fake, true);
    (void)sem_init(&wait.done, 0, 0);
    kf_file_read(file, &wait.read);
    kf_file_cancel(file, &wait.read);
    while (sem_wait(&wait.done) != 0)
        ;
    cr_assert_eq(wait.rc, -1);
    cr_assert_eq(wait.err.kind, KF_E_CANCELLED);
    kf_fake_source_hold(world.fake, false);
    (void)sem_destroy(&wait.done);
    kf_file_put(file);
    end(&world);
}

/* ---- what is local ---- */

Test(layer, local_bytes)
{
    struct world world;
    struct kf_file *large, *small;
    uint8_t data[10];

    begin(&world, true);
    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    cr_assert_eq(kf_layer_local_bytes(world.layer, LARGE_ENTRY), 0);
    cr_assert_eq(kf_layer_local_bytes(world.layer, SMALL_ENTRY), 0);
    large = kf_layer_file(world.layer, LARGE_ENTRY, &world.err);
    small = kf_layer_file(world.layer, SMALL_ENTRY, &world.err);
    cr_assert_eq(read_file(large, data, 10, MIB(2)), 0);
    cr_assert_eq(read_file(small, data, 10, 0), 0);
    kf_file_put(large);
    kf_file_put(small);
    close_fetch(&world);
    /* Closing the store writes what is on its way. */
    kf_store_close(world.store, kf_deadline_ns(10 * KF_NS_PER_S));
    open_store(&world);
    open_fetch(&world);

    cr_assert_eq(open_layer(&world, true), 0, "%s", world.err.message);
    /* What an earlier mount left counts, whether anything is open or not. */
    cr_assert_eq(kf_layer_local_bytes(world.layer, LARGE_ENTRY), MIB(1));
    cr_assert_eq(kf_layer_local_bytes(world.layer, SMALL_ENTRY), 5000);
    large = kf_layer_file(world.layer, LARGE_ENTRY, &world.err);
    small = kf_layer_file(world.layer, SMALL_ENTRY, &world.err);
    cr_assert_eq(kf_layer_local_bytes(world.layer, SMALL_ENTRY), 5000);
    cr_assert_eq(kf_layer_local_bytes(world.layer, LARGE_ENTRY), MIB(1));
    cr_assert_eq(kf_layer_local_bytes(world.layer, TAIL_ENTRY), 0);
    cr_assert_eq(kf_layer_local_bytes(world.layer, EMPTY_ENTRY), 0);
    cr_assert_eq(read_file(large, data, 10, MIB(2)), 0);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0); /* table and bytes were kept */
    kf_file_put(large);
    kf_file_put(small);
    end(&world);
}
