/*
 * A disk that fails: these calls of the C library are replaced by ones that do as they
 * are told, in this program alone.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cache/private.h"
#include "common.h"

#define NAME "faulty"
#define SIZE (4 * (uint64_t)CHUNK)

static int write_errno, range_errno, sync_errno; /* atomic; 0: works */
static size_t write_at_most;

static int order(const int *what)
{
    return __atomic_load_n(what, __ATOMIC_SEQ_CST);
}

static void tell(int *what, int value)
{
    __atomic_store_n(what, value, __ATOMIC_SEQ_CST);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    size_t length = iov->iov_len;

    errno = order(&write_errno);
    if (errno != 0)
        return -1;
    if (write_at_most && length > write_at_most)
        length = write_at_most;
    return write_at_most ? pwrite(fd, iov->iov_base, length, offset)
                         : syscall(SYS_pwritev, fd, iov, count, offset, 0);
}

int sync_file_range(int fd, off_t offset, off_t length, unsigned flags)
{
    errno = order(&range_errno);
    return errno ? -1 : (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
}

int fdatasync(int fd)
{
    errno = order(&sync_errno);
    return errno ? -1 : (int)syscall(SYS_fdatasync, fd);
}

TestSuite(faults, .init = cache_setup, .fini = cache_teardown);

Test(faults, a_failing_write_drops_the_chunk_alone)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert(put_chunk(object, 0));
    tell(&write_errno, EIO);
    cr_assert_not(put_chunk(object, 1));
    cr_assert_eq(kf_stats_get(&cache_stats, KF_STAT_CACHE_SKIPPED), 1);
    cr_assert_eq(read_chunk(object, 0), KF_E_NONE);
    cr_assert_eq(read_chunk(object, 1), KF_E_NOTFOUND);
    tell(&write_errno, 0);
    cr_assert(put_chunk(object, 1)); /* tried again at once */
    kf_object_unref(object);
    cache_close(store);
}

Test(faults, partial_writes_are_continued)
{
    struct kf_store *store = cache_open_with(&(struct kf_store_opts){0});
    struct kf_object *object = object_open(store, NAME, SIZE);
    struct put *puts[4];

    write_at_most = 40000; /* neither divides a chunk nor ends with one */
    for (uint64_t i = 0; i < 4; i++)
        puts[i] = put_start(object, i);
    for (uint64_t i = 0; i < 4; i++) {
        put_wait(puts[i]);
        cr_assert_eq(read_chunk(object, i), KF_E_NONE);
    }
    kf_object_unref(object);
    cache_close(store);
}

Test(faults, writes_that_were_lost_later_drop_the_object)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    cr_assert(put_chunk(object, 0));
    cr_assert(put_chunk(object, 1));
    tell(&range_errno, EIO);
    cr_assert_not(put_chunk(object, 2));
    cr_assert_eq(kf_object_local_bytes(object), 0);
    tell(&range_errno, 0);
    cr_assert(put_chunk(object, 2));
    cr_assert_eq(kf_object_local_bytes(object), CHUNK);
    while (order(&object->refs) > 1) /* the writer lets go after it told of its end */
        (void)sched_yield();
    tell(&range_errno, EIO);
    kf_object_unref(object); /* closing looks too */
    tell(&range_errno, 0);
    object = object_open(store, NAME, SIZE);
    cr_assert_eq(kf_object_local_bytes(object), 0);
    kf_object_unref(object);
    cache_close(store);
}

Test(faults, a_file_system_without_range_sync_is_fine)
{
    const bool stopping = false;
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    tell(&range_errno, EINVAL);
    put_all(object);
    kf_object_make_durable(object, &stopping);
    cr_assert(kf_map_is_durable(&object->files.map));
    kf_object_unref(object);
    cache_close(store);
}

Test(faults, a_failing_sync_drops_the_object)
{
    struct kf_store *store = cache_open();
    struct kf_object *object = object_open(store, NAME, SIZE);

    tell(&sync_errno, EIO);
    for (uint64_t chunk = 0; chunk < 4; chunk++)
        (void)put_chunk(object, chunk); /* the last may be gone again by now */
    kf_object_unref(object);
    cache_wait_idle(store);
    object = object_open(store, NAME, SIZE);
    cr_assert_not(kf_object_complete(object));
    cr_assert_not(kf_map_is_durable(&object->files.map));
    kf_object_unref(object);
    cache_close(store);
}
