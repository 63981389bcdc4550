#include "cache/spool.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "cache/private.h"

#define FILE_NAME "spool"

struct kf_spool {
    struct kf_store *store;
    int fd;
    uint64_t bytes; /* written and not taken */
};

/* Not every file system can make a file without a name. */
static int open_nameless(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDWR | O_CLOEXEC | O_TMPFILE, 0600);

    if (fd >= 0)
        return fd;
    (void)unlinkat(folder_fd, FILE_NAME, 0); /* of one who was killed right here */
    fd = openat(folder_fd, FILE_NAME, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL | O_NOFOLLOW,
                0600);
    if (fd >= 0)
        (void)unlinkat(folder_fd, FILE_NAME, 0); /* else the next one does */
    return fd;
}

int kf_spool_open(struct kf_spool **ret, struct kf_store *store, struct kf_err *err)
{
    struct kf_spool *spool = calloc(1, sizeof(*spool));

    if (!spool)
        return kf_fail(err, KF_E_NOMEM, "no memory for a spool");
    spool->store = store;
    spool->fd = open_nameless(store->folder_fd);
    if (spool->fd < 0) {
        free(spool);
        return kf_fail_errno(err, "cannot make a file in cache '%s'", store->path);
    }
    *ret = spool;
    return 0;
}

void kf_spool_close(struct kf_spool *spool)
{
    if (!spool)
        return;
    kf_close_fd(&spool->fd);
    free(spool);
}

static int check_room(const struct kf_spool *spool, size_t length, struct kf_err *err)
{
    struct kf_store_space space;
    uint64_t spare;

    if (kf_store_space(spool->store, &space, err) != 0)
        return -1;
    spare = space.size_bytes / 200 * spool->store->space.min_free_percent;
    if (spool->bytes + length > space.limit_bytes || space.free_bytes < spare + length)
        return kf_fail(err, KF_E_LIMIT, "no room in cache '%s'", spool->store->path);
    return 0;
}

int kf_spool_write(struct kf_spool *spool, const void *data, size_t length,
                   uint64_t offset, struct kf_err *err)
{
    if (check_room(spool, length, err) != 0 ||
        kf_pwrite_all(spool->fd, data, length, offset, "spool", err) != 0)
        return -1;
    spool->bytes += length;
    return 0;
}

int kf_spool_take(struct kf_spool *spool, void *data, size_t length, uint64_t offset,
                  struct kf_err *err)
{
    if (kf_pread_all(spool->fd, data, length, offset, "spool", err) != 0)
        return -1;
    /* Where it cannot be done the room is given back at the end. */
    (void)fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                    (off_t)length);
    spool->bytes -= length;
    return 0;
}
