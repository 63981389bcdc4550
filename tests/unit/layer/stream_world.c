#include "stream_world.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "packed.h"
#include "tar_maker.h"

const struct stream_form stream_forms[STREAM_FORMS] = {{true, KF_LAYER_GZIP},
                                                       {true, KF_LAYER_ZSTD},
                                                       {false, KF_LAYER_GZIP},
                                                       {false, KF_LAYER_ZSTD}};

void stream_world_add_file(struct stream_world *world, int entry, const char *name,
                           size_t length)
{
    uint8_t *data = malloc(length);
    uint32_t state = (uint32_t)entry;

    cr_assert_not_null(data);
    for (size_t i = 0; i < length; i++) { /* half of it cannot be packed */
        state = state * 1664525 + 1013904223;
        data[i] = i % 65536 < 32768 ? (uint8_t)(state >> 24) : (uint8_t)(i >> 10);
    }
    world->at[entry] = world->stream.length + (world->form.is_tar ? 512 : 0);
    world->size[entry] = length;
    if (world->form.is_tar)
        tar_add_file(&world->stream, name, data, length);
    else
        cr_assert_eq(kf_buf_append(&world->stream, data, length, NULL), 0);
    free(data);
}

void stream_world_pack(struct stream_world *world)
{
    static const size_t part = MIB(5);

    kf_buf_init(&world->blob, MIB(128));
    for (size_t at = 0; at < world->stream.length; at += part) {
        size_t length = kf_min_u64(part, world->stream.length - at);

        if (world->form.packing == KF_LAYER_GZIP)
            packed_add_gzip(&world->blob, world->stream.data + at, length, at > 0);
        else
            packed_add_zstd(&world->blob, world->stream.data + at, length, 0);
    }
    cr_assert_eq(kf_digest_of(&world->digest, world->blob.data, world->blob.length, NULL),
                 0);
}

void stream_world_make(struct stream_world *world, struct stream_form form,
                       size_t raw_size)
{
    memset(world, 0, sizeof(*world));
    world->form = form;
    kf_buf_init(&world->stream, MIB(128));
    if (form.is_tar) {
        tar_add_dir(&world->stream, "d");
        stream_world_add_file(world, SMALL_ENTRY, "d/small", 5000);
        stream_world_add_file(world, A_ENTRY, "a", LARGE);
        stream_world_add_file(world, MIDDLE_ENTRY, "d/middle", MIB(3));
        stream_world_add_file(world, B_ENTRY, "b", MIB(1) + 1);
        stream_world_add_file(world, TAIL_ENTRY, "tail", 100);
        tar_end(&world->stream);
    } else {
        stream_world_add_file(world, 0, "raw", raw_size);
    }
    stream_world_pack(world);
}

static void open_store(struct stream_world *world)
{
    const struct kf_store_opts opts = {.path = world->folder};

    cr_assert_eq(kf_store_open(&world->store, &opts, &world->err), 0, "%s",
                 world->err.message);
}

void stream_world_start(struct stream_world *world, bool with_store)
{
    struct kf_fetch_opts opts = {.workq = kf_workq_new(2, NULL)};

    world->workq = opts.workq;
    world->fake = kf_fake_source_new(world->workq, world->blob.data, world->blob.length);
    cr_assert_eq(kf_fetch_new(&world->fetch, &opts, NULL), 0);
    if (!with_store)
        return;
    if (!world->folder[0]) {
        (void)snprintf(world->folder, sizeof(world->folder), "/tmp/kf-stream-XXXXXX");
        cr_assert_not_null(mkdtemp(world->folder));
    }
    open_store(world);
}

void stream_world_begin(struct stream_world *world, struct stream_form form,
                        size_t raw_size, bool with_store)
{
    stream_world_make(world, form, raw_size);
    stream_world_start(world, with_store);
}

static void stream_world_stop(struct stream_world *world)
{
    cr_assert_eq(kf_fetch_stop(world->fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_layer_close(world->layer);
    world->layer = NULL;
    kf_fetch_free(world->fetch);
    kf_source_close(&world->fake->source);
    kf_workq_free(world->workq); /* before the store: its jobs hold objects */
    kf_store_close(world->store, kf_deadline_ns(10 * KF_NS_PER_S));
    world->store = NULL;
}

void stream_world_restart(struct stream_world *world)
{
    stream_world_stop(world);
    stream_world_start(world, true);
}

static int remove_one(const char *path, const struct stat *status, int type,
                      struct FTW *place)
{
    return remove(path);
}

void stream_world_end(struct stream_world *world)
{
    stream_world_stop(world);
    if (world->folder[0])
        (void)nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    kf_buf_fini(&world->stream);
    kf_buf_fini(&world->blob);
}

static int note_progress(void *arg, uint64_t done, uint64_t total)
{
    struct stream_world *world = arg;

    cr_assert_leq(done, total);
    cr_assert_eq(total, world->blob.length);
    world->told++;
    world->told_done = done;
    return world->stop ? -1 : 0;
}

int stream_world_open(struct stream_world *world, bool defer)
{
    const struct kf_layer_spec spec = {.digest = world->digest,
                                       .source = &world->fake->source,
                                       .is_tar = world->form.is_tar,
                                       .packing = world->form.packing,
                                       .raw_path = "m/raw",
                                       .raw_mode = 0600,
                                       .store = world->store,
                                       .fetch = world->fetch,
                                       .timeout_ns = 10 * KF_NS_PER_S,
                                       .defer = defer,
                                       .progress = note_progress,
                                       .arg = world};

    return kf_layer_open(&world->layer, &spec, &world->err);
}

void stream_world_expect_open(struct stream_world *world)
{
    cr_assert_eq(stream_world_open(world, false), 0, "%s", world->err.message);
    cr_assert(kf_layer_is_streamed(world->layer));
    cr_assert_not(kf_layer_is_deferred(world->layer));
}

void stream_world_expect_refused(struct stream_world *world, enum kf_err_kind kind,
                                 const char *words)
{
    cr_assert_eq(stream_world_open(world, false), -1);
    cr_assert_eq(world->err.kind, kind, "%s", world->err.message);
    cr_assert_not_null(strstr(world->err.message, words), "%s", world->err.message);
    cr_assert_not_null(strstr(world->err.message, "layer 'sha256:"), "%s",
                       world->err.message);
}

/* ---- blocking reads ---- */

void stream_world_read_done(struct kf_read *read, const void *data,
                            const struct kf_err *err)
{
    struct stream_wait *wait = kf_container_of(read, struct stream_wait, read);

    wait->rc = data ? 0 : -1;
    if (data)
        memcpy(wait->into, data, wait->length);
    else
        wait->err = *err;
    (void)sem_post(&wait->done);
}

static int stream_world_read(struct kf_file *file, void *into, size_t length,
                             uint64_t offset, struct kf_err *err)
{
    struct stream_wait wait = {
        .read = {.offset = offset, .length = length, .done = stream_world_read_done},
        .into = into,
        .length = length};

    (void)sem_init(&wait.done, 0, 0);
    kf_file_read(file, &wait.read);
    while (sem_wait(&wait.done) != 0)
        ;
    (void)sem_destroy(&wait.done);
    if (wait.rc != 0)
        *err = wait.err;
    return wait.rc;
}

void stream_world_expect_range(struct stream_world *world, uint32_t entry,
                               uint64_t offset, size_t length)
{
    struct kf_file *file = kf_layer_file(world->layer, entry, &world->err);
    uint8_t *data = malloc(length);

    cr_assert(file && data, "%s", world->err.message);
    cr_assert_eq(stream_world_read(file, data, length, offset, &world->err), 0, "%s",
                 world->err.message);
    cr_assert(memcmp(data, world->stream.data + world->at[entry] + offset, length) == 0,
              "entry %u, offset %llu", entry, (unsigned long long)offset);
    free(data);
    kf_file_put(file);
}

void stream_world_expect_file(struct stream_world *world, uint32_t entry)
{
    uint64_t size = world->size[entry];

    cr_assert_eq(kf_layer_table(world->layer)->entries[entry].size, size);
    for (uint64_t at = 0; at < size; at += MIB(1))
        stream_world_expect_range(world, entry, at,
                                  (size_t)kf_min_u64(MIB(1), size - at));
}

void stream_world_expect_all(struct stream_world *world)
{
    const struct kf_table *table = kf_layer_table(world->layer);

    cr_assert_eq(table->count, world->form.is_tar ? ENTRIES : 1);
    for (uint32_t i = 0; i < table->count; i++)
        if (table->entries[i].type == KF_TYPE_FILE)
            stream_world_expect_file(world, i);
}

static unsigned entries_of_cache;

static int count_one(const char *path, const struct stat *status, int type,
                     struct FTW *place)
{
    if (type == FTW_F && !strstr(path, "/small/seek/"))
        entries_of_cache++;
    return 0;
}

void stream_world_expect_empty_cache(struct stream_world *world)
{
    entries_of_cache = 0;
    cr_assert_eq(nftw(world->folder, count_one, 8, FTW_PHYS), 0);
    cr_assert_eq(entries_of_cache, 0);
}
