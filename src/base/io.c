#include "base/io.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define CHUNK 16384u
#define NAMES_TRIED 1000

int kf_pread_all(int fd, void *data, size_t length, uint64_t offset, const char *name,
                 struct kf_err *err)
{
    uint8_t *to = data;

    while (length > 0) {
        ssize_t got = pread(fd, to, length, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kf_fail_errno(err, "cannot read '%s'", name);
        if (got == 0)
            return kf_fail(err, KF_E_CORRUPT, "cannot read '%s': it ends early", name);
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int kf_pwrite_all(int fd, const void *data, size_t length, uint64_t offset,
                  const char *name, struct kf_err *err)
{
    const uint8_t *from = data;

    while (length > 0) {
        ssize_t put = pwrite(fd, from, length, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return kf_fail_errno(err, "cannot write '%s'", name);
        from += put;
        offset += (uint64_t)put;
        length -= (size_t)put;
    }
    return 0;
}

int kf_write_all(int fd, const void *data, size_t length, struct kf_err *err)
{
    const uint8_t *from = data;

    while (length > 0) {
        ssize_t put = write(fd, from, length);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return kf_fail_errno(err, "cannot write");
        from += put;
        length -= (size_t)put;
    }
    return 0;
}

static int load(int fd, const char *path, struct kf_buf *buf, struct kf_err *err)
{
    uint8_t chunk[CHUNK];

    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kf_fail_errno(err, "cannot read '%s'", path);
        if (got == 0)
            return 0;
        if (kf_buf_append(buf, chunk, (size_t)got, err) != 0)
            return kf_fail_wrap(err, "cannot read '%s'", path);
    }
}

int kf_load_file(int dirfd, const char *path, struct kf_buf *buf, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    size_t before = buf->length;

    if (fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", path);
    if (load(fd, path, buf, err) == 0)
        return 0;
    buf->length = before;
    if (buf->data)
        buf->data[before] = 0;
    return -1;
}

static int write_and_sync(int fd, const void *data, size_t length, mode_t mode,
                          const char *path, struct kf_err *err)
{
    if (fchmod(fd, mode) != 0)
        return kf_fail_errno(err, "cannot save '%s'", path);
    if (kf_write_all(fd, data, length, err) != 0)
        return kf_fail_wrap(err, "cannot save '%s'", path);
    if (fsync(fd) != 0)
        return kf_fail_errno(err, "cannot save '%s'", path);
    return 0;
}

/* Opens a new file beside `path` under a name that no thread or process uses. A name may
 * be taken: by another container with the same process numbers, or by one that crashed.
 */
static int open_temporary(int dirfd, const char *path, mode_t mode, char *ret_name,
                          size_t size, struct kf_err *err)
{
    static unsigned counter;
    int fd = -1;

    for (int i = 0; i < NAMES_TRIED && fd < 0; i++) {
        unsigned serial = __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
        int length =
            snprintf(ret_name, size, "%s.%ld.%u.tmp", path, (long)getpid(), serial);

        if (length < 0 || (size_t)length >= size)
            return kf_fail(err, KF_E_ARG, "cannot save '%s': path too long", path);
        fd = openat(dirfd, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0)
        return kf_fail_errno(err, "cannot save '%s'", path);
    return fd;
}

static int sync_folder_of(int dirfd, const char *path, struct kf_err *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;

    if (length >= sizeof(folder))
        return kf_fail(err, KF_E_ARG, "path too long");
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (length == 0)
        memcpy(folder, slash ? "/" : ".", 2);
    kf_auto(kf_close_fd) int fd =
        openat(dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return kf_fail_errno(err, "cannot sync the folder of '%s'", path);
    return 0;
}

int kf_save_file(int dirfd, const char *path, const void *data, size_t length,
                 mode_t mode, struct kf_err *err)
{
    char temporary[PATH_MAX];
    kf_auto(kf_close_fd) int fd =
        open_temporary(dirfd, path, mode, temporary, sizeof(temporary), err);
    int rc;

    if (fd < 0)
        return -1;
    rc = write_and_sync(fd, data, length, mode, path, err);
    if (rc == 0 && renameat(dirfd, temporary, dirfd, path) != 0)
        rc = kf_fail_errno(err, "cannot save '%s'", path);
    if (rc != 0) {
        (void)unlinkat(dirfd, temporary, 0); /* the failure is already told */
        return -1;
    }
    return sync_folder_of(dirfd, path, err);
}

int kf_make_dirs(int dirfd, const char *path, mode_t mode, struct kf_err *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    struct stat info;

    if (length >= sizeof(part))
        return kf_fail(err, KF_E_ARG, "path too long");
    for (size_t i = 1; i <= length; i++) {
        if (i < length && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdirat(dirfd, part, mode) != 0 && errno != EEXIST)
            return kf_fail_errno(err, "cannot make folder '%s'", part);
    }
    /* EEXIST is also said of a file. */
    if (length > 0 && fstatat(dirfd, path, &info, 0) != 0)
        return kf_fail_errno(err, "cannot make folder '%s'", path);
    if (length > 0 && !S_ISDIR(info.st_mode))
        return kf_fail(err, KF_E_IO, "cannot make folder '%s': a file is in its place",
                       path);
    return 0;
}
