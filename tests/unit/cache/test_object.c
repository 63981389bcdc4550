#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/block.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "cache/private.h"
#include "common.h"

#define NAME "0123abcd-remainder"

TestSuite(object, .init = cache_setup, .fini = cache_teardown);

/* An object of five chunks, the last one short, complete and closed. */
#define SIZE (4 * (uint64_t)CHUNK + 1000)

static void make_complete(void)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    put_all(object);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, starts_empty)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);
    struct kf_digest digest;
    uint8_t byte;

    cr_assert_eq(kf_object_size(object), SIZE);
    cr_assert_eq(kf_object_chunk_length(object, 0), CHUNK);
    cr_assert_eq(kf_object_chunk_count(object), 5);
    cr_assert_eq(kf_object_local_bytes(object), 0);
    cr_assert_not(kf_object_complete(object));
    cr_assert_not(kf_object_has(object, 0));
    cr_assert_not(kf_object_has(object, 5));
    cr_assert_not(kf_object_digest(object, 0, &digest));
    cr_assert_eq(kf_object_read_now(object, &byte, 1, 0), -1);
    cr_assert_eq(read_chunk(object, 0), KF_E_NOTFOUND);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, keeps_what_was_put)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);
    struct kf_digest expected, found;

    cr_assert(put_chunk(object, 4));
    cr_assert_eq(kf_object_local_bytes(object), 1000);
    cr_assert(put_chunk(object, 1));
    cr_assert_eq(kf_object_local_bytes(object), CHUNK + 1000);
    cr_assert_eq(read_chunk(object, 1), KF_E_NONE);
    cr_assert_eq(read_chunk(object, 4), KF_E_NONE);
    cr_assert_eq(read_chunk(object, 0), KF_E_NOTFOUND);
    kf_block_unref(chunk_block(object, 4, &expected));
    cr_assert(kf_object_digest(object, 4, &found));
    cr_assert(kf_digest_equal(&expected, &found));
    put_all(object);
    cr_assert(kf_object_complete(object));
    cr_assert_eq(kf_object_local_bytes(object), SIZE);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_WRITTEN_BYTES), SIZE);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, reads_across_chunks_and_not_beyond_the_end)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);
    static uint8_t whole[SIZE], part[SIZE];
    struct kf_err err;

    put_all(object);
    cr_assert_eq(kf_object_read(object, whole, SIZE, 0, &err), 0);
    cr_assert_eq(kf_object_read(object, part, CHUNK + 2, CHUNK - 1, &err), 0);
    cr_assert_eq(memcmp(part, whole + CHUNK - 1, CHUNK + 2), 0);
    cr_assert_eq(kf_object_read(object, part, 0, SIZE, &err), 0);
    cr_assert_eq(kf_object_read(object, part, 2, SIZE - 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    cr_assert_eq(kf_object_read(object, part, 1, UINT64_MAX, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    cr_assert_eq(kf_object_read_now(object, part, 2, SIZE - 1), -1);
    kf_object_unref(object);
    cache_close(store);
}

static bool can_read_without_waiting(void)
{
    char path[128];
    struct iovec iov = {.iov_base = path, .iov_len = 1};

    (void)snprintf(path, sizeof(path), "%s/probe", cache_path);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    bool able = pwrite(fd, "x", 1, 0) == 1 && preadv2(fd, &iov, 1, 0, RWF_NOWAIT) == 1;

    close(fd);
    return able;
}

Test(object, answers_at_once_only_what_is_verified)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);
    static uint8_t expected[CHUNK], data[2 * CHUNK];

    if (!can_read_without_waiting())
        cr_skip_test("no RWF_NOWAIT on the file system of /tmp");
    put_chunk(object, 1);
    put_chunk(object, 2);
    cr_assert_eq(kf_object_read(object, expected, CHUNK, CHUNK + 10, NULL), 0);
    cr_assert_eq(kf_object_read_now(object, data, CHUNK, CHUNK + 10), CHUNK);
    cr_assert_eq(memcmp(data, expected, CHUNK), 0);
    cr_assert_eq(kf_object_read_now(object, data, 11, CHUNK - 10), -1);
    kf_object_unref(object);
    cache_close(store);

    file_reboot_not_durable(NAME);
    store = cache_open();
    object = object_open(store, NAME, SIZE);
    cr_assert_eq(kf_object_read_now(object, data, CHUNK, CHUNK + 10), -1);
    cr_assert_eq(kf_object_read(object, data, 1, CHUNK, NULL), 0);
    cr_assert_eq(kf_object_read_now(object, data, 1, CHUNK), 1);
    cr_assert_eq(kf_object_read_now(object, data, CHUNK, CHUNK + 10), -1);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, is_one_for_all_who_open_it)
{
    struct kf_store *store = cache_open();
    struct kf_object *a = object_open(store, NAME, SIZE);
    struct kf_object *b = object_open(store, NAME, SIZE);
    struct kf_object *other = object_open(store, NAME "2", SIZE);

    cr_assert_eq(a, b);
    cr_assert_neq(a, other);
    kf_object_unref(a);
    cr_assert(put_chunk(b, 0));
    kf_object_unref(b);
    a = object_open(store, NAME, SIZE);
    cr_assert(kf_object_has(a, 0));
    kf_object_unref(a);
    kf_object_unref(other);
    cache_close(store);
}

Test(object, is_shared_with_other_processes)
{
    struct kf_store *here = cache_open(), *there = cache_open();
    struct kf_object *a = object_open(here, NAME, SIZE);
    struct kf_object *b = object_open(there, NAME, SIZE);

    cr_assert_neq(a, b);
    for (uint64_t chunk = 0; chunk < 5; chunk++)
        cr_assert(put_chunk(chunk % 2 ? a : b, chunk));
    cr_assert(kf_object_complete(a));
    cr_assert(kf_object_complete(b));
    cr_assert_eq(read_chunk(a, 2), KF_E_NONE);
    kf_object_drop(a, 2);
    cr_assert_not(kf_object_complete(b));
    kf_object_unref(a);
    kf_object_unref(b);
    cache_close(here);
    cache_close(there);
}

Test(object, survives_closing_and_restart)
{
    make_complete();
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert(kf_object_complete(object));
    for (uint64_t chunk = 0; chunk < 5; chunk++)
        cr_assert_eq(read_chunk(object, chunk), KF_E_NONE);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, of_another_size_or_chunk_size_is_made_anew)
{
    make_complete();
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE + 1);

    cr_assert_eq(kf_object_local_bytes(object), 0);
    cr_assert(put_chunk(object, 0));
    kf_object_unref(object);

    struct kf_object_spec spec = {
        .name = NAME, .size = SIZE + 1, .chunk_size = 2 * CHUNK};

    cr_assert_eq(kf_object_open(&object, store, &spec, NULL), 0);
    cr_assert_eq(kf_object_local_bytes(object), 0);
    cr_assert_eq(kf_object_chunk_count(object), 3);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, that_others_use_in_another_size_is_served_but_not_kept)
{
    struct kf_store *here = cache_open(), *there = cache_open();
    struct kf_object *a = object_open(here, NAME, SIZE);
    struct kf_object *b = object_open(there, NAME, SIZE + 1);

    cr_assert_null(put_start(b, 0));
    cr_assert(put_chunk(a, 0));
    cr_assert_eq(read_chunk(a, 0), KF_E_NONE);
    cr_assert_eq(read_chunk(b, 0), KF_E_NOTFOUND);
    kf_object_unref(b);
    kf_object_unref(a);
    cache_close(here);
    cache_close(there);
}

Test(object, without_a_store_keeps_nothing)
{
    struct kf_object *object = object_open(NULL, NAME, SIZE);
    struct kf_digest digest;
    uint8_t byte;

    cr_assert_eq(kf_object_chunk_count(object), 5);
    cr_assert_null(put_start(object, 0));
    cr_assert_not(kf_object_has(object, 0));
    cr_assert_not(kf_object_complete(object));
    cr_assert_not(kf_object_digest(object, 0, &digest));
    cr_assert_eq(kf_object_local_bytes(object), 0);
    cr_assert_eq(kf_object_read_now(object, &byte, 1, 0), -1);
    cr_assert_eq(read_chunk(object, 0), KF_E_NOTFOUND);
    kf_object_drop(object, 0);
    kf_object_unref(kf_object_ref(object));
    kf_object_unref(object);
    kf_object_unref(NULL);
}

Test(object, refuses_bad_names_and_sizes)
{
    static const char *const names[] = {"", "a/b", "..", "a.data", "a b", "\xc3\xa4"};
    struct kf_store *store = cache_open();
    struct kf_object_spec spec = {.size = 1, .chunk_size = CHUNK};
    struct kf_object *object;
    struct kf_err err;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(spec.name, sizeof(spec.name), "%s", names[i]);
        cr_assert_eq(kf_object_open(&object, store, &spec, &err), -1);
        cr_assert_eq(err.kind, KF_E_ARG, "'%s'", names[i]);
    }
    memset(spec.name, 'a', sizeof(spec.name)); /* no end */
    cr_assert_eq(kf_object_open(&object, store, &spec, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    spec.name[sizeof(spec.name) - 1] = '\0';
    cr_assert_eq(kf_object_open(&object, store, &spec, &err), 0);
    kf_object_unref(object);
    spec.chunk_size = 1;
    cr_assert_eq(kf_object_open(&object, store, &spec, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    spec = (struct kf_object_spec){
        .name = NAME, .size = (KF_MAP_CHUNK_LIMIT + 1) * CHUNK, .chunk_size = CHUNK};
    cr_assert_eq(kf_object_open(&object, NULL, &spec, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cache_close(store);
}

Test(object, that_is_dropped_can_be_put_again)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    put_all(object);
    kf_object_drop(object, 3);
    kf_object_drop(object, 99);
    cr_assert_not(kf_object_has(object, 3));
    cr_assert_not(kf_object_complete(object));
    cr_assert_eq(read_chunk(object, 3), KF_E_NOTFOUND);
    cr_assert(put_chunk(object, 3));
    cr_assert(kf_object_complete(object));
    cr_assert_eq(read_chunk(object, 3), KF_E_NONE);
    kf_object_unref(object);
    cache_close(store);
}

/* Damage: whatever is done to the files, a read gives the right bytes or says that it has
 * none, and the chunk can be put again. */
static void check_recovers(struct kf_object *object, uint64_t chunk)
{
    cr_assert_not(kf_object_has(object, chunk));
    cr_assert(put_chunk(object, chunk));
    cr_assert_eq(read_chunk(object, chunk), KF_E_NONE);
}

Test(object, that_is_discarded_is_empty_and_goes_with_its_last_user)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, "a", 3 * CHUNK);
    struct kf_object *other = kf_object_ref(object);

    put_all(object);
    kf_object_discard(object);
    cr_assert_eq(kf_object_local_bytes(other), 0);
    cr_assert_eq(read_chunk(other, 1), KF_E_NOTFOUND);
    kf_object_unref(object);
    cr_assert(file_exists("a", "data"));
    kf_object_unref(other); /* the syncer may still have it for a moment */
    for (unsigned i = 0; i < 10000 && file_exists("a", "map"); i++)
        (void)usleep(1000);
    cr_assert_not(file_exists("a", "data"));
    cr_assert_not(file_exists("a", "map"));

    object = object_open(store, "a", 3 * CHUNK); /* made anew, and kept */
    put_all(object);
    kf_object_unref(object);
    cache_wait_idle(store);
    cr_assert(file_exists("a", "data"));
    cache_close(store);
}

Test(object, small_files_are_forgotten)
{
    const struct kf_digest key = {{7}};
    struct kf_store *store = cache_open();
    struct kf_buf bytes;

    kf_buf_init(&bytes, 100);
    cr_assert_eq(kf_store_save(store, KF_SMALL_SUMS, &key, "text", 4, NULL), 0);
    cr_assert_eq(kf_store_load(store, KF_SMALL_SUMS, &key, &bytes, NULL), 0);
    kf_store_forget(store, KF_SMALL_SUMS, &key);
    kf_store_forget(store, KF_SMALL_SUMS, &key); /* not there any more */
    kf_store_forget(NULL, KF_SMALL_SUMS, &key);
    cr_assert_eq(kf_store_load(store, KF_SMALL_SUMS, &key, &bytes, NULL), -1);
    kf_buf_fini(&bytes);
    cache_close(store);
}

Test(object, finds_a_flipped_bit_after_a_boot)
{
    make_complete();
    file_write(NAME, "data", 2 * CHUNK + 77, "!", 1);
    file_reboot_not_durable(NAME);
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert(kf_object_has(object, 2));
    cr_assert_eq(read_chunk(object, 1), KF_E_NONE);
    cr_assert_eq(read_chunk(object, 2), KF_E_CORRUPT);
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_DAMAGED), 1);
    check_recovers(object, 2);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, finds_a_flipped_bit_in_the_map)
{
    make_complete();
    file_write(NAME, "map", 4096 + 64 + 32 * 2, "!", 1);
    file_reboot_not_durable(NAME);
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert_eq(read_chunk(object, 2), KF_E_CORRUPT);
    check_recovers(object, 2);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, takes_no_impossible_state_for_verified)
{
    make_complete();
    file_write(NAME, "map", 4096 + 1, "\xff\x01\x80", 3);
    file_write(NAME, "data", CHUNK, "damage", 6);
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert_eq(read_chunk(object, 1), KF_E_CORRUPT);
    check_recovers(object, 1);
    check_recovers(object, 2);
    check_recovers(object, 3);
    kf_object_unref(object);
    cache_close(store);
}

static void check_is_made_anew(void)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert_eq(kf_object_local_bytes(object), 0);
    for (uint64_t chunk = 0; chunk < 5; chunk++)
        check_recovers(object, chunk);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, with_a_shortened_data_file_is_made_anew)
{
    make_complete();
    file_truncate(NAME, "data", 3 * CHUNK);
    check_is_made_anew();
}

Test(object, without_its_data_file_is_made_anew)
{
    make_complete();
    file_unlink(NAME, "data");
    check_is_made_anew();
}

Test(object, without_its_map_is_made_anew)
{
    make_complete();
    file_unlink(NAME, "map");
    check_is_made_anew();
}

Test(object, with_an_empty_map_is_made_anew)
{
    make_complete();
    file_truncate(NAME, "map", 0);
    check_is_made_anew();
}

Test(object, with_a_torn_map_is_made_anew)
{
    static const char zeros[4096];

    make_complete();
    file_truncate(NAME, "map", 4100);
    check_is_made_anew();
    file_write(NAME, "map", 0, zeros, sizeof(zeros));
    check_is_made_anew();
    file_write(NAME, "map", 20, "x", 1);
    check_is_made_anew();
}

Test(object, finds_a_data_file_cut_while_it_is_open)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    put_all(object);
    file_truncate(NAME, "data", CHUNK);
    cr_assert_eq(read_chunk(object, 0), KF_E_NONE);
    cr_assert_eq(read_chunk(object, 2), KF_E_CORRUPT);
    check_recovers(object, 2);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, becomes_durable_when_it_is_complete)
{
    const bool stopping = false;
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    put_chunk(object, 0);
    kf_object_make_durable(object, &stopping);
    cr_assert_not(kf_map_is_durable(&object->files.map));
    put_all(object);
    kf_object_make_durable(object, &stopping);
    cr_assert(kf_map_is_durable(&object->files.map));
    kf_object_unref(object);
    cache_close(store);

    file_reboot(NAME);
    store = cache_open();
    object = object_open(store, NAME, SIZE);
    cr_assert_eq(kf_map_state(&object->files.map, 0), KF_CHUNK_VERIFIED);
    kf_object_unref(object);
    cache_close(store);

    file_reboot(NAME);
    file_other_machine(NAME);
    store = cache_open();
    object = object_open(store, NAME, SIZE);
    cr_assert_eq(kf_map_state(&object->files.map, 0), KF_CHUNK_PRESENT);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, is_not_durable_when_stopped_early)
{
    const bool stopping = true;
    struct kf_object bare = {.spec = {.size = SIZE, .chunk_size = CHUNK},
                             .shape = kf_map_uniform(SIZE, CHUNK)};

    make_complete();
    struct kf_store *store = cache_open();
    char path[KF_PAIR_PATH_SIZE];

    /* Opened beside the store, whose own thread would sync it. */
    cr_assert_eq(kf_pair_path(path, NAME, NULL), 0);
    cr_assert_eq(kf_pair_open(&bare.files, store->objects_fd, path, &bare.shape, NULL,
                              &store->identity, NULL),
                 0);
    bare.store = store;
    bare.files.map.base[64] = 0;
    kf_object_make_durable(&bare, &stopping);
    cr_assert_not(kf_map_is_durable(&bare.files.map));
    kf_pair_close(&bare.files);
    cache_close(store);
}

Test(object, without_bytes_is_complete)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, 0);
    struct kf_err err;

    cr_assert(kf_object_complete(object));
    cr_assert_eq(kf_object_local_bytes(object), 0);
    cr_assert_eq(kf_object_read(object, NULL, 0, 0, &err), 0);
    kf_object_unref(object);
    cache_close(store);
}

Test(object, data_file_can_back_a_file_of_the_mount)
{
    make_complete();
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);
    struct stat st;

    cr_assert_eq(fstat(object->files.data_fd, &st), 0);
    cr_assert_eq((uint64_t)st.st_size, SIZE);
    cr_assert_eq(st.st_mode & 07777, 0600);
    kf_object_unref(object);
    cache_close(store);
}
