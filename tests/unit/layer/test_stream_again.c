/*
 * Layers without random access: what the cache does not hold is streamed again, and what
 * was not streamed is looked into.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/object.h"
#include "cache/store.h"
#include "fake_source.h"
#include "fetch/queue.h"
#include "layer/layer_state.h"
#include "layer/pass.h"
#include "packed.h"
#include "stream_world.h"
#include "tar_maker.h"

/* ---- chunks that are not there ---- */

static struct kf_object *open_object(const struct stream_world *world, uint32_t entry,
                                     bool rest)
{
    const struct kf_table *table = kf_layer_table(world->layer);
    struct kf_object_spec spec = {.chunk_size = KF_PLAIN_CHUNK};
    struct kf_object *object;

    spec.size = rest ? table->stream_size : table->entries[entry].size;
    kf_slot_object_name(world->layer, rest ? NULL : &table->entries[entry], spec.name);
    cr_assert_eq(kf_object_open(&object, world->store, &spec, NULL), 0);
    return object;
}

static void drop_all(struct kf_object *object)
{
    for (uint64_t i = 0; i < kf_object_chunk_count(object); i++)
        kf_object_drop(object, i);
    kf_object_unref(object);
}

/* The rest holds no chunk that lies inside a large file. */
Test(stream_again, large_files_are_not_kept_twice)
{
    struct stream_world world;
    struct kf_object *object;

    stream_world_begin(&world, stream_forms[0], 0, true);
    stream_world_expect_open(&world);
    object = open_object(&world, 0, true);
    cr_assert(kf_object_has(object, 0));
    cr_assert_not(kf_object_has(object, 8));
    cr_assert_not(kf_object_has(object, 25));
    cr_assert_lt(kf_object_local_bytes(object), MIB(8));
    kf_object_unref(object);
    object = open_object(&world, A_ENTRY, false);
    cr_assert(kf_object_complete(object));
    kf_object_unref(object);
    stream_world_end(&world);
}

Test(stream_again, evicted, .timeout = 60)
{
    struct stream_world world;
    uint64_t before;

    for (size_t i = 0; i < 2; i++) {
        stream_world_begin(&world, stream_forms[i], 0, true);
        stream_world_expect_open(&world);
        before = kf_fake_source_bytes(world.fake);
        drop_all(open_object(&world, 0, true));
        stream_world_expect_file(&world, A_ENTRY);
        cr_assert_eq(kf_fake_source_bytes(world.fake), before);
        stream_world_expect_range(&world, B_ENTRY, 0, 1000);
        cr_assert_gt(kf_fake_source_bytes(world.fake), before);
        drop_all(open_object(&world, A_ENTRY, false));
        before = kf_fake_source_bytes(world.fake);
        stream_world_expect_range(&world, A_ENTRY, MIB(10), MIB(1));
        cr_assert_gt(kf_fake_source_bytes(world.fake), before);
        stream_world_expect_all(&world);
        stream_world_end(&world);
    }
}

Test(stream_again, without_a_cache, .timeout = 60)
{
    struct stream_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(stream_forms); i++) {
        stream_world_begin(&world, stream_forms[i], MIB(17), false);
        stream_world_expect_open(&world);
        stream_world_expect_all(&world);
        if (stream_forms[i].is_tar)
            stream_world_expect_range(&world, SMALL_ENTRY, 100,
                                      1000); /* behind where it was */
        stream_world_end(&world);
    }
}

static void ignore(struct kf_object_put *put)
{
}

/* Bytes of a stream that was never seen whole may lie in the cache: of a process that was
 * killed. They are not taken for good ones. */
Test(stream_again, what_an_unfinished_pass_left)
{
    struct stream_world world;
    struct kf_object *object;
    struct kf_budget budget;
    struct kf_block *block;
    struct kf_digest digest;
    struct kf_object_put put = {.done = ignore};
    char path[128], hex[65];

    stream_world_begin(&world, stream_forms[1], 0, true);
    stream_world_expect_open(&world); /* for the names */
    object = open_object(&world, A_ENTRY, false);
    kf_object_drop(object, 3);
    kf_budget_init(&budget, MIB(4), NULL, NULL);
    block = kf_block_new(&budget, KF_PLAIN_CHUNK, false);
    memset(block->data, 'x', block->length);
    cr_assert_eq(kf_digest_of(&digest, block->data, block->length, NULL), 0);
    cr_assert(kf_object_put(object, 3, block, &digest, &put));
    kf_store_hurry(world.store);
    for (unsigned i = 0; i < 1000 && !kf_object_has(object, 3); i++)
        (void)usleep(1000);
    cr_assert(kf_object_has(object, 3));
    kf_block_unref(block);
    kf_object_unref(object);
    (void)snprintf(path, sizeof(path), "%s/small/table/%s", world.folder,
                   kf_digest_hex(&world.layer->name, hex));
    cr_assert_eq(unlink(path), 0);

    stream_world_restart(&world);
    stream_world_expect_open(&world);
    stream_world_expect_file(&world, A_ENTRY);
    stream_world_end(&world);
}

/* ---- the source that begins again ---- */

struct reader {
    struct stream_world *world;
    uint32_t entry;
    unsigned seed;
    pthread_t thread;
};

static void *read_here_and_there(void *arg)
{
    struct reader *reader = arg;
    uint64_t size = reader->world->size[reader->entry];

    for (unsigned i = 0; i < 6; i++) {
        uint64_t offset = (uint64_t)rand_r(&reader->seed) % (size - 1);

        stream_world_expect_range(reader->world, reader->entry, offset,
                                  (size_t)kf_min_u64(70000, size - offset));
    }
    return NULL;
}

Test(stream_again, readers_at_many_places, .timeout = 60)
{
    struct stream_world world;
    struct reader readers[6];

    stream_world_begin(&world, stream_forms[1], 0, false);
    stream_world_expect_open(&world);
    for (unsigned i = 0; i < KF_ARRAY_LEN(readers); i++) {
        readers[i] = (struct reader){
            &world, (const uint32_t[]){A_ENTRY, B_ENTRY, MIDDLE_ENTRY}[i % 3], i, 0};
        cr_assert_eq(
            pthread_create(&readers[i].thread, NULL, read_here_and_there, &readers[i]),
            0);
    }
    for (unsigned i = 0; i < KF_ARRAY_LEN(readers); i++)
        (void)pthread_join(readers[i].thread, NULL);
    stream_world_end(&world);
}

static void start_read(struct stream_wait *wait, struct kf_file *file, uint8_t *into,
                       int64_t deadline_ns)
{
    *wait = (struct stream_wait){.read = {.offset = MIB(12),
                                          .length = 1000,
                                          .deadline_ns = deadline_ns,
                                          .done = stream_world_read_done},
                                 .into = into,
                                 .length = 1000};
    (void)sem_init(&wait->done, 0, 0);
    kf_file_read(file, &wait->read);
}

static void finish_read(struct stream_wait *wait)
{
    while (sem_wait(&wait->done) != 0)
        ;
    (void)sem_destroy(&wait->done);
}

/* The source gives nothing: deadlines hold, cancelling ends, closing is quick. */
Test(stream_again, a_source_that_hangs, .timeout = 30)
{
    struct stream_world world;
    struct kf_file *file;
    uint8_t into[1000];
    struct stream_wait wait;
    int64_t began_ns;

    stream_world_begin(&world, stream_forms[0], 0, false);
    stream_world_expect_open(&world);
    kf_fake_source_hold(world.fake, true);
    file = kf_layer_file(world.layer, A_ENTRY, NULL);
    start_read(&wait, file, into, kf_deadline_ns(KF_NS_PER_S / 5));
    finish_read(&wait);
    cr_assert_eq(wait.rc, -1);
    cr_assert_eq(wait.err.kind, KF_E_TIMEOUT, "%s", wait.err.message);

    start_read(&wait, file, into, 0);
    kf_file_cancel(file, &wait.read);
    finish_read(&wait);
    cr_assert_eq(wait.err.kind, KF_E_CANCELLED, "%s", wait.err.message);

    start_read(&wait, file, into, 0);
    began_ns = kf_now_ns();
    cr_assert_eq(kf_fetch_stop(world.fetch, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    finish_read(&wait);
    cr_assert_eq(wait.err.kind, KF_E_CANCELLED, "%s", wait.err.message);
    kf_file_put(file);
    stream_world_end(&world);
    cr_assert_lt(kf_now_ns() - began_ns, 2 * KF_NS_PER_S);
}

Test(stream_again, a_later_pass_that_fails)
{
    struct stream_world world;
    struct kf_file *file;
    uint8_t into[1000];
    struct stream_wait wait;

    stream_world_begin(&world, stream_forms[0], 0, false);
    stream_world_expect_open(&world);
    file = kf_layer_file(world.layer, A_ENTRY, NULL);
    kf_fake_source_fail(world.fake, 0, KF_E_UNREACHABLE, 0);
    start_read(&wait, file, into, 0);
    finish_read(&wait);
    cr_assert_eq(wait.err.kind, KF_E_UNREACHABLE, "%s", wait.err.message);
    kf_fake_source_fail(world.fake, 0, KF_E_NONE, 0);
    world.blob.data[20] ^= 0xff;
    start_read(&wait, file, into, 0);
    finish_read(&wait);
    cr_assert_eq(wait.rc, -1);
    cr_assert_eq(wait.err.kind, KF_E_CORRUPT, "%s", wait.err.message);
    world.blob.data[20] ^= 0xff;
    kf_file_put(file);
    stream_world_expect_range(&world, A_ENTRY, MIB(12), 1000);
    stream_world_end(&world);
}

/* ---- layers that were not streamed ---- */

static int gather(void *arg, const void *data, size_t length, struct kf_err *err)
{
    return kf_buf_append(arg, data, length, err);
}

static struct kf_scan scan_for(const char *path, uint64_t offset, uint64_t length,
                               struct kf_buf *into)
{
    kf_buf_init(into, MIB(64));
    return (struct kf_scan){
        .path = path, .offset = offset, .length = length, .write = gather, .arg = into};
}

static void expect_scanned(struct stream_world *world, const char *path, int entry,
                           uint64_t offset, uint64_t length)
{
    struct kf_buf bytes;
    struct kf_scan scan = scan_for(path, offset, length, &bytes);
    uint64_t skip = kf_min_u64(offset, world->size[entry]);
    uint64_t expected = kf_min_u64(length, world->size[entry] - skip);

    cr_assert_eq(kf_layer_scan(world->layer, &scan, &world->err), 0, "%s",
                 world->err.message);
    cr_assert(scan.found);
    cr_assert_eq(bytes.length, expected);
    cr_assert(
        expected == 0 ||
        memcmp(bytes.data, world->stream.data + world->at[entry] + skip, expected) == 0);
    kf_buf_fini(&bytes);
}

Test(stream_again, scan, .timeout = 60)
{
    struct stream_world world;
    struct kf_buf bytes;
    struct kf_scan scan;

    stream_world_begin(&world, stream_forms[0], 0, true);
    cr_assert_eq(stream_world_open(&world, true), 0);
    cr_assert(kf_layer_is_deferred(world.layer));
    cr_assert_eq(kf_layer_table(world.layer)->count, 0);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0);
    expect_scanned(&world, "d/small", SMALL_ENTRY, 0, UINT64_MAX);
    expect_scanned(&world, "d/small", SMALL_ENTRY, 4990, 100);
    expect_scanned(&world, "d/small", SMALL_ENTRY, 5000, 1);
    expect_scanned(&world, "d/small", SMALL_ENTRY, UINT64_MAX, UINT64_MAX);
    expect_scanned(&world, "a", A_ENTRY, 0, UINT64_MAX);
    expect_scanned(&world, "d/middle", MIDDLE_ENTRY, MIB(1) + 3, MIB(1));
    expect_scanned(&world, "tail", TAIL_ENTRY, 0, UINT64_MAX);
    scan = scan_for("d", 0, 1, &bytes);
    cr_assert_eq(kf_layer_scan(world.layer, &scan, &world.err), -1);
    cr_assert_eq(world.err.kind, KF_E_ARG);
    scan = scan_for("nowhere", 0, 1, &bytes);
    cr_assert_eq(kf_layer_scan(world.layer, &scan, &world.err), 0);
    cr_assert_not(scan.found);
    stream_world_expect_empty_cache(&world);
    stream_world_end(&world);
}

Test(stream_again, scan_asks_for_little)
{
    struct stream_world world;

    stream_world_begin(&world, stream_forms[0], 0, false);
    /* What is packed this well is gone at once: make it long. */
    kf_buf_fini(&world.blob);
    kf_buf_init(&world.blob, MIB(128));
    {
        uint8_t *noise = malloc(MIB(12));
        uint32_t state = 1;

        for (size_t i = 0; i < MIB(12); i++) {
            state = state * 1664525 + 1013904223;
            noise[i] = (uint8_t)(state >> 24);
        }
        world.stream.length = 512 + 512 + 5120; /* d, d/small */
        tar_add_file(&world.stream, "noise", noise, MIB(12));
        tar_end(&world.stream);
        free(noise);
    }
    packed_add_gzip(&world.blob, world.stream.data, world.stream.length, false);
    kf_source_close(&world.fake->source);
    world.fake = kf_fake_source_new(world.workq, world.blob.data, world.blob.length);
    cr_assert_gt(world.blob.length, MIB(10));
    cr_assert_eq(stream_world_open(&world, true), 0);
    expect_scanned(&world, "d/small", SMALL_ENTRY, 0, UINT64_MAX);
    cr_assert_lt(kf_fake_source_bytes(world.fake), MIB(4));
    stream_world_end(&world);
}

Test(stream_again, scan_of_a_raw_layer)
{
    struct stream_world world;
    struct kf_buf bytes;
    struct kf_scan scan;

    stream_world_begin(&world, stream_forms[2], MIB(2) + 7, false);
    cr_assert_eq(stream_world_open(&world, true), 0);
    expect_scanned(&world, "m/raw", 0, 0, UINT64_MAX);
    expect_scanned(&world, "m/raw", 0, MIB(2), UINT64_MAX);
    expect_scanned(&world, "m/raw", 0, MIB(3), 5);
    scan = scan_for("m/other", 0, 1, &bytes);
    cr_assert_eq(kf_layer_scan(world.layer, &scan, &world.err), 0);
    cr_assert_not(scan.found);
    world.digest.bytes[3] ^= 1; /* the file is all of it: its digest is looked at */
    kf_layer_close(world.layer);
    cr_assert_eq(stream_world_open(&world, true), 0);
    scan = scan_for("m/raw", 0, UINT64_MAX, &bytes);
    cr_assert_eq(kf_layer_scan(world.layer, &scan, &world.err), -1);
    cr_assert_eq(world.err.kind, KF_E_CORRUPT);
    kf_buf_fini(&bytes);
    stream_world_end(&world);
}
