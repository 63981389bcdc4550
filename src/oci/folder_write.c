#include "oci/folder_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define MARKER_NAME "oci-layout"
#define MARKER "{\"imageLayoutVersion\":\"1.0.0\"}"
#define BLOBS "blobs/sha256"
#define TEMPORARY ".kitfs-"
#define SUFFIX ".tmp"
#define NAME_TRIES 100u
#define LOCK_NS (30 * KF_NS_PER_S)
#define LOCK_PAUSE_NS (10 * KF_NS_PER_MS)

struct blob {
    struct kf_dest_blob blob;
    struct kf_dest_folder *folder;
    int fd;
    char name[64]; /* temporary */
};

static struct kf_dest_folder *folder_of(struct kf_dest *dest)
{
    return kf_container_of(dest, struct kf_dest_folder, dest);
}

static struct blob *blob_of(struct kf_dest_blob *blob)
{
    return kf_container_of(blob, struct blob, blob);
}

/* ---- blobs ---- */

int kf_dest_folder_has(struct kf_dest *dest, const struct kf_digest *digest,
                       uint64_t size, struct kf_err *err)
{
    const struct kf_dest_folder *folder = folder_of(dest);
    struct stat info;
    char hex[65];

    if (fstatat(folder->blobs_fd, kf_digest_hex(digest, hex), &info, 0) == 0)
        return S_ISREG(info.st_mode) && (uint64_t)info.st_size == size;
    return errno == ENOENT ? 0
                           : kf_fail_errno(err, "cannot look at '%s/" BLOBS "/%s'",
                                           folder->path, hex);
}

/* Makes and locks a file of a new name. Between the two it may be taken for a leftover
 * and removed: then another one. */
static int create_temporary(struct blob *blob)
{
    struct kf_dest_folder *folder = blob->folder;

    for (unsigned i = 0; i < NAME_TRIES; i++) {
        unsigned serial = __atomic_add_fetch(&folder->serial, 1, __ATOMIC_RELAXED);
        struct stat info;

        (void)snprintf(blob->name, sizeof(blob->name), TEMPORARY "%ld-%u" SUFFIX,
                       (long)getpid(), serial); /* always fits */
        blob->fd = openat(folder->blobs_fd, blob->name,
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, folder->blob_mode);
        if (blob->fd < 0 && errno != EEXIST)
            return -1;
        if (blob->fd < 0)
            continue;
        (void)flock(blob->fd, LOCK_EX); /* no locks here: no removing, too */
        if (fstat(blob->fd, &info) == 0 && info.st_nlink > 0)
            return 0;
        kf_close_fd(&blob->fd);
    }
    errno = EEXIST;
    return -1;
}

struct kf_dest_blob *kf_dest_folder_begin(struct kf_dest *dest, struct kf_err *err)
{
    struct blob *blob = calloc(1, sizeof(*blob));

    if (!blob) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a blob"); /* NULL says it */
        return NULL;
    }
    blob->folder = folder_of(dest);
    if (create_temporary(blob) != 0) {
        (void)kf_fail_errno(err, "cannot write to '%s/" BLOBS "'", blob->folder->path);
        free(blob);
        return NULL;
    }
    return &blob->blob;
}

int kf_dest_folder_write(struct kf_dest_blob *base, const void *data, size_t length,
                         struct kf_err *err)
{
    const struct blob *blob = blob_of(base);

    if (kf_write_all(blob->fd, data, length, err) != 0)
        return kf_fail_wrap(err, "cannot write a blob of '%s'", blob->folder->path);
    return 0;
}

int kf_dest_folder_commit(struct kf_dest_blob *base, const struct kf_digest *digest,
                          struct kf_err *err)
{
    struct blob *blob = blob_of(base);
    const struct kf_dest_folder *folder = blob->folder;
    char hex[65];

    (void)kf_digest_hex(digest, hex);
    if (fdatasync(blob->fd) != 0 ||
        renameat(folder->blobs_fd, blob->name, folder->blobs_fd, hex) != 0 ||
        fsync(folder->blobs_fd) != 0) {
        (void)kf_fail_errno(err, "cannot finish blob '%s/" BLOBS "/%s'", folder->path,
                            hex);
        kf_dest_folder_abandon(base);
        return -1;
    }
    kf_close_fd(&blob->fd);
    free(blob);
    return 0;
}

void kf_dest_folder_abandon(struct kf_dest_blob *base)
{
    struct blob *blob = blob_of(base);

    (void)unlinkat(blob->folder->blobs_fd, blob->name,
                   0); /* the next one to open tries */
    kf_close_fd(&blob->fd);
    free(blob);
}

/* ---- what dead writers left ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Under the lock that its writer would hold: who has just made the file waits for it, and
 * sees that the name is gone. */
static void remove_dead_blob(int dirfd, const char *name)
{
    kf_auto(kf_close_fd) int fd = -1;

    if (strncmp(name, TEMPORARY, strlen(TEMPORARY)) != 0 || !ends_with(name, SUFFIX))
        return;
    fd = openat(dirfd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(dirfd, name, 0); /* a leftover costs room alone */
}

/* kf_save_file's; under the lock nobody else saves. */
static void remove_dead_index(int dirfd, const char *name)
{
    if (strstr(name, ".json.") && ends_with(name, SUFFIX))
        (void)unlinkat(dirfd, name, 0); /* see above */
}

/* Best effort. */
static void sweep(int dirfd, void (*remove_dead)(int dirfd, const char *name))
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;

    if (!dir) {
        kf_close_fd(&fd);
        return;
    }
    while ((entry = readdir(dir)))
        remove_dead(dirfd, entry->d_name);
    (void)closedir(dir);
}

/* ---- the folder ---- */

/* Not by kf_save_file: the file is what writers lock, so it is made once and never
 * replaced. */
static int make_marker(const struct kf_dest_folder *folder, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = -1;
    char name[64];
    int rc;

    if (faccessat(folder->fd, MARKER_NAME, F_OK, 0) == 0)
        return 0;
    (void)snprintf(name, sizeof(name), MARKER_NAME ".%ld" SUFFIX, (long)getpid());
    fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return kf_fail_errno(err, "cannot write to '%s'", folder->path);
    if (kf_write_all(fd, MARKER, strlen(MARKER), err) != 0) {
        rc = kf_fail_wrap(err, "cannot write to '%s'", folder->path);
    } else if (fsync(fd) != 0 ||
               (linkat(folder->fd, name, folder->fd, MARKER_NAME, 0) != 0 &&
                errno != EEXIST)) {
        rc = kf_fail_errno(err, "cannot make '%s/" MARKER_NAME "'", folder->path);
    } else {
        rc = 0;
    }
    (void)unlinkat(folder->fd, name, 0); /* an empty name is harmless */
    return rc;
}

int kf_dest_folder_open(struct kf_dest_folder *folder, const char *path, mode_t blob_mode,
                        struct kf_err *err)
{
    folder->fd = folder->blobs_fd = -1;
    folder->blob_mode = blob_mode;
    folder->path = strdup(path);
    if (!folder->path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a folder");
    if (kf_make_dirs(AT_FDCWD, path, 0777, err) != 0)
        return -1;
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", path);
    if (kf_make_dirs(folder->fd, BLOBS, 0777, err) != 0)
        return kf_fail_wrap(err, "'%s'", path);
    folder->blobs_fd = openat(folder->fd, BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->blobs_fd < 0)
        return kf_fail_errno(err, "cannot open '%s/" BLOBS "'", path);
    sweep(folder->blobs_fd, remove_dead_blob);
    return make_marker(folder, err);
}

void kf_dest_folder_fini(struct kf_dest_folder *folder)
{
    kf_close_fd(&folder->blobs_fd);
    kf_close_fd(&folder->fd);
    free(folder->path);
}

/* Locks what is called oci-layout now: others may have replaced the file that we opened.
 * 1: done; 0: not yet; -1: errno. */
static int try_lock(const struct kf_dest_folder *folder, int *ret_fd)
{
    kf_auto(kf_close_fd) int fd = openat(folder->fd, MARKER_NAME, O_RDWR | O_CLOEXEC);
    struct stat ours, named;

    if (fd < 0 && (errno == EACCES || errno == EROFS))
        fd = openat(folder->fd, MARKER_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
    if (fstat(fd, &ours) != 0 || fstatat(folder->fd, MARKER_NAME, &named, 0) != 0)
        return -1;
    if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev)
        return 0;
    *ret_fd = fd;
    fd = -1;
    return 1;
}

int kf_dest_folder_lock(struct kf_dest_folder *folder, struct kf_err *err)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int64_t deadline_ns = kf_deadline_ns(LOCK_NS);
    int fd = -1, rc;

    while ((rc = try_lock(folder, &fd)) == 0) {
        if (kf_now_ns() >= deadline_ns)
            return kf_fail(err, KF_E_TIMEOUT,
                           "cannot lock '%s': another process holds it since %d s",
                           folder->path, (int)(LOCK_NS / KF_NS_PER_S));
        (void)nanosleep(&pause, NULL); /* a signal: look again */
    }
    if (rc < 0)
        return kf_fail_errno(err, "cannot lock '%s'", folder->path);
    sweep(folder->fd, remove_dead_index);
    return fd;
}
