#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "common.h"

TestSuite(store, .init = cache_setup, .fini = cache_teardown);

static const char *small_path(const char *folder, const struct kf_digest *key)
{
    static char path[256];
    char hex[65];

    (void)snprintf(path, sizeof(path), "%s/small/%s/%s", cache_path, folder,
                   kf_digest_hex(key, hex));
    return path;
}

static void flip_byte(const char *path, long offset)
{
    FILE *file = fopen(path, "r+");

    cr_assert_not_null(file);
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);

    fseek(file, offset, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

/* The kind of the error; on success what was found is compared. */
static int load(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                const char *expected)
{
    struct kf_err err = {.kind = KF_E_NONE};
    struct kf_buf buf;

    kf_buf_init(&buf, 100);
    cr_assert_eq(kf_buf_append_text(&buf, ">", NULL), 0);
    if (kf_store_load(store, kind, key, &buf, &err) == 0) {
        cr_assert_eq(buf.length, 1 + strlen(expected));
        cr_assert_eq(memcmp(buf.data + 1, expected, strlen(expected)), 0);
    } else {
        cr_assert_eq(buf.length, 1);
    }
    kf_buf_fini(&buf);
    return (int)err.kind;
}

Test(store, keeps_blobs_under_their_digest)
{
    struct kf_store *store = cache_open();
    struct kf_digest key, other = {{7}};

    kf_digest_of(&key, "manifest", 8, NULL);
    cr_assert_eq(load(store, KF_SMALL_BLOB, &key, ""), KF_E_NOTFOUND);
    cr_assert_eq(kf_store_save(store, KF_SMALL_BLOB, &key, "manifest", 8, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_BLOB, &key, "manifest"), KF_E_NONE);
    cr_assert_eq(load(store, KF_SMALL_TABLE, &key, ""), KF_E_NOTFOUND);
    cr_assert_eq(kf_store_save(store, KF_SMALL_BLOB, &other, "manifest", 8, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_BLOB, &other, ""), KF_E_NOTFOUND);
    flip_byte(small_path("blob", &key), 3);
    cr_assert_eq(load(store, KF_SMALL_BLOB, &key, ""), KF_E_NOTFOUND);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_DAMAGED), 2);
    cache_close(store);
}

Test(store, keeps_tables_and_tags_with_a_checksum)
{
    struct kf_store *store = cache_open();
    struct kf_digest key = {{1, 2, 3}};
    struct stat st;

    cr_assert_eq(kf_store_save(store, KF_SMALL_TAG, &key, "sha256:1", 8, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_TAG, &key, "sha256:1"), KF_E_NONE);
    cr_assert_eq(kf_store_save(store, KF_SMALL_TAG, &key, "sha256:22", 9, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_TAG, &key, "sha256:22"), KF_E_NONE);
    cr_assert_eq(kf_store_save(store, KF_SMALL_TABLE, &key, NULL, 0, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_TABLE, &key, ""), KF_E_NONE);
    cr_assert_eq(stat(small_path("tag", &key), &st), 0);
    cr_assert_eq(st.st_size, 9 + 40);
    cr_assert_eq(st.st_mode & 07777, 0600);
    for (long at = 0; at < st.st_size; at++) {
        flip_byte(small_path("tag", &key), at);
        cr_assert_eq(load(store, KF_SMALL_TAG, &key, ""), KF_E_NOTFOUND, "byte %ld", at);
        flip_byte(small_path("tag", &key), at);
    }
    for (long length = 0; length < st.st_size; length++) {
        cr_assert_eq(kf_store_save(store, KF_SMALL_TAG, &key, "sha256:22", 9, NULL), 0);
        cr_assert_eq(truncate(small_path("tag", &key), length), 0);
        cr_assert_eq(load(store, KF_SMALL_TAG, &key, ""), KF_E_NOTFOUND);
    }
    cache_close(store);
}

Test(store, loads_up_to_the_limit_of_the_buffer)
{
    struct kf_store *store = cache_open();
    struct kf_digest key = {{1}};
    char text[101] = {0};

    memset(text, 'x', 99);
    cr_assert_eq(kf_store_save(store, KF_SMALL_TABLE, &key, text, 99, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_TABLE, &key, text), KF_E_NONE);
    text[99] = 'x';
    cr_assert_eq(kf_store_save(store, KF_SMALL_TABLE, &key, text, 100, NULL), 0);
    cr_assert_eq(load(store, KF_SMALL_TABLE, &key, text), KF_E_LIMIT);
    cache_close(store);
}

Test(store, may_be_missing_altogether)
{
    struct kf_digest key = {{0}};
    struct kf_err err;

    cr_assert_eq(load(NULL, KF_SMALL_TAG, &key, ""), KF_E_NOTFOUND);
    cr_assert_eq(kf_store_save(NULL, KF_SMALL_TAG, &key, "x", 1, &err), -1);
    kf_store_close(NULL, 0);
}

Test(store, refuses_impossible_shares)
{
    struct kf_store_opts opts = {.path = cache_path, .min_free_percent = 101};
    struct kf_store *store;
    struct kf_err err;

    cr_assert_eq(kf_store_open(&store, &opts, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    opts = (struct kf_store_opts){.path = cache_path, .size_limit_percent = 101};
    cr_assert_eq(kf_store_open(&store, &opts, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    opts.size_limit_percent = 100;
    cr_assert_eq(kf_store_open(&store, &opts, &err), 0);
    kf_store_close(store, 0);
}

static uint64_t used(struct kf_store *store)
{
    struct kf_store_space space;

    cr_assert_eq(kf_store_space(store, &space, NULL), 0);
    return space.used_bytes;
}

/* A complete object of so many chunks, closed and synced. */
static void keep(struct kf_store *store, const char *name, uint64_t chunks)
{
    struct kf_object *object = object_open(store, name, chunks * CHUNK);

    put_all(object);
    kf_object_unref(object);
    cache_wait_idle(store);
}

Test(store, counts_what_it_uses)
{
    struct kf_store_space space;
    struct kf_store *store = cache_open();

    cr_assert_eq(used(store), 0);
    keep(store, "one", 8);
    uint64_t after = used(store);

    cr_assert_geq(after, 8 * CHUNK);
    cr_assert_leq(after, 8 * CHUNK + 65536);
    cache_close(store);

    store = cache_open();
    cr_assert_eq(used(store), after);
    cr_assert_eq(kf_store_space(store, &space, NULL), 0);
    cr_assert_eq(space.limit_bytes, UINT64_MAX);
    cr_assert_gt(space.size_bytes, space.free_bytes);
    cache_close(store);
}

static struct kf_store *open_limited(uint64_t limit_bytes)
{
    return cache_open_with(&(struct kf_store_opts){
        .size_limit_bytes = limit_bytes, .write_queue_bytes = CHUNK + CHUNK / 2});
}

Test(store, evicts_the_least_recently_used)
{
    struct kf_store *store = open_limited(40 * (uint64_t)CHUNK);
    struct kf_store_space space;

    keep(store, "a", 10);
    keep(store, "b", 10);
    keep(store, "c", 10);
    file_set_time("a", 3000);
    file_set_time("b", 1000);
    file_set_time("c", 2000);
    keep(store, "d", 10);
    cr_assert(file_exists("a", "data"));
    cr_assert_not(file_exists("b", "data"));
    cr_assert_not(file_exists("b", "map"));
    cr_assert(file_exists("c", "data"));
    cr_assert_eq(kf_store_space(store, &space, NULL), 0);
    cr_assert_eq(space.limit_bytes, 40 * CHUNK);
    cr_assert_leq(space.used_bytes, space.limit_bytes);
    cache_close(store);
}

Test(store, never_evicts_what_is_open)
{
    struct kf_store *store = open_limited(30 * (uint64_t)CHUNK);
    struct kf_store *other = cache_open();

    keep(store, "here", 10);
    keep(store, "there", 10);
    keep(store, "idle", 5);
    file_set_time("here", 1000);
    file_set_time("there", 1000);
    struct kf_object *here = object_open(store, "here", 10 * CHUNK);
    struct kf_object *there = object_open(other, "there", 10 * CHUNK);
    struct kf_object *more = object_open(store, "more", 50 * CHUNK);
    unsigned kept = 0;

    for (uint64_t chunk = 0; chunk < 50; chunk++)
        kept += put_chunk(more, chunk);
    cr_assert_gt(kept, 5);
    cr_assert_lt(kept, 11);
    cr_assert_not(file_exists("idle", "data"));
    cr_assert_eq(read_chunk(here, 9), KF_E_NONE);
    cr_assert_eq(read_chunk(there, 9), KF_E_NONE);
    cr_assert(file_exists("here", "data"));
    cr_assert(file_exists("there", "data"));
    cr_assert_gt(kf_stats_get(&cache_stats, KF_STAT_CACHE_SKIPPED), 0);
    cr_assert_leq(used(store), 30 * CHUNK);
    kf_object_unref(here);
    kf_object_unref(there);
    kf_object_unref(more);
    cache_close(store);
    cache_close(other);
}

Test(store, keeps_again_when_there_is_room_again)
{
    struct kf_store *store = open_limited(12 * (uint64_t)CHUNK);
    struct kf_object *first = object_open(store, "first", 20 * CHUNK);
    struct kf_object *second = object_open(store, "second", 20 * CHUNK);
    int64_t now = kf_now_ns();

    kf_clock_fake(now);
    for (uint64_t chunk = 0; chunk < 20; chunk++)
        (void)put_chunk(first, chunk);
    cr_assert_not(put_chunk(second, 0));
    kf_object_unref(first);
    cr_assert_null(put_start(second, 0)); /* for a second it does not even try */
    kf_clock_fake(now + 2 * KF_NS_PER_S);
    cr_assert(put_chunk(second, 0));
    cr_assert_not(file_exists("first", "data"));
    kf_object_unref(second);
    cache_close(store);
}

Test(store, leaves_the_file_system_its_share)
{
    struct kf_store *store = cache_open_with(&(struct kf_store_opts){
        .min_free_percent = 100, .write_queue_bytes = CHUNK + CHUNK / 2});
    struct kf_object *object = object_open(store, "a", CHUNK);
    struct kf_store_space space;

    cr_assert_not(put_chunk(object, 0));
    cr_assert_eq(kf_store_space(store, &space, NULL), 0);
    cr_assert_eq(space.limit_bytes, space.used_bytes);
    kf_object_unref(object);
    cache_close(store);
}

Test(store, removes_stray_files_of_objects)
{
    struct kf_store *store = open_limited(12 * (uint64_t)CHUNK);

    keep(store, "no-map", 5);
    keep(store, "no-data", 5);
    file_unlink("no-map", "map");
    file_unlink("no-data", "data");
    keep(store, "new", 10);
    cr_assert_not(file_exists("no-map", "data"));
    cr_assert_not(file_exists("no-map", "map"));
    cache_close(store);
}

/* A file system of 4 MiB that is full soon. */
static bool mount_small(void)
{
    if (geteuid() == 0 ? unshare(CLONE_NEWNS) : unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", cache_path, "tmpfs", 0, "size=4m,mode=0700") == 0;
}

Test(store, goes_on_without_keeping_on_a_full_disk)
{
    if (!mount_small())
        cr_skip_test("cannot mount a small file system");
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, "a", 80 * CHUNK);
    int64_t now = kf_now_ns();
    uint64_t kept = 0;

    kf_clock_fake(now);
    for (uint64_t chunk = 0; chunk < 80; chunk++)
        kept += put_chunk(object, chunk);
    cr_assert_gt(kept, 32);
    cr_assert_lt(kept, 64);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_SKIPPED), 80 - kept);
    for (uint64_t chunk = 0; chunk < 80; chunk++)
        cr_assert_eq(read_chunk(object, chunk),
                     kf_object_has(object, chunk) ? KF_E_NONE : KF_E_NOTFOUND);

    kf_clock_fake(now + 9 * KF_NS_PER_S);
    cr_assert_null(put_start(object, 79)); /* not tried for ten seconds */
    kf_clock_fake(now + 11 * KF_NS_PER_S);
    put_wait(put_start(object, 79));
    kf_object_unref(object);

    object = object_open(store, "b", 800000 * (uint64_t)CHUNK);
    cr_assert_null(put_start(object, 0)); /* not even its map fits */
    kf_object_unref(object);
    cache_close(store);
    cr_assert_eq(umount(cache_path), 0);
}

Test(store, look_only_reads_and_keeps_nothing)
{
    struct kf_store *store = cache_open();

    keep(store, "here", 2);
    cache_close(store);
    store = cache_open_with(&(struct kf_store_opts){.look_only = true});
    struct kf_object *here = object_open(store, "here", 4 * CHUNK);
    struct kf_object *more = object_open(store, "more", 4 * CHUNK);

    cr_assert_not(put_chunk(more, 0));
    cr_assert_not(file_exists("more", "data"));
    cr_assert_not(file_exists("more", "map"));
    kf_object_unref(here);
    here = object_open(store, "here", 2 * CHUNK);
    cr_assert_eq(read_chunk(here, 1), KF_E_NONE);
    kf_object_drop(here, 1);
    cr_assert_not(put_chunk(here, 1));
    cr_assert_not(kf_object_has(here, 1));
    kf_object_unref(here);
    kf_object_unref(more);

    struct kf_object_spec dear = {
        .name = "dear", .size = 2 * CHUNK, .chunk_size = CHUNK, .kept_anyway = true};
    struct kf_err err;

    cr_assert_eq(kf_object_open(&more, store, &dear, &err), 0, "%s", err.message);
    put_all(more);
    kf_object_unref(more);
    cache_wait_idle(store);
    more = object_open(store, "dear", 2 * CHUNK);
    cr_assert_eq(read_chunk(more, 1), KF_E_NONE);
    kf_object_unref(more);
    cache_close(store);
}
