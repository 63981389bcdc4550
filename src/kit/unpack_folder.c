#include "kit/unpack_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define MARK_LIMIT 100u

static int check_owner(int fd, struct kf_err *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return kf_fail_errno(err, "cannot look at '" KF_UNPACK_FOLDER "'");
    if (info.st_uid != geteuid() || (info.st_mode & 077) != 0)
        return kf_fail(err, KF_E_REFUSED,
                       "'" KF_UNPACK_FOLDER "' in it is not ours alone: remove it");
    return 0;
}

int kf_unpack_folder_open(int *ret, int dir_fd, bool make, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = -1;

    *ret = -1;
    if (make && mkdirat(dir_fd, KF_UNPACK_FOLDER, 0700) != 0 && errno != EEXIST)
        return kf_fail_errno(err, "cannot make '" KF_UNPACK_FOLDER "'");
    fd = openat(dir_fd, KF_UNPACK_FOLDER, FOLDER_FLAGS);
    if (fd < 0 && errno == ENOENT && !make)
        return 1;
    if (fd < 0)
        return kf_fail_errno(err, "cannot open '" KF_UNPACK_FOLDER "'");
    if (check_owner(fd, err) != 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? kf_fail(err, KF_E_REFUSED, "another kitfs is unpacking into it")
                   : kf_fail_errno(err, "cannot lock '" KF_UNPACK_FOLDER "'");
    *ret = fd;
    fd = -1;
    return 0;
}

int kf_unpack_folder_layer(int *ret, int folder_fd, const char *name, struct kf_err *err)
{
    int fd;

    if (mkdirat(folder_fd, name, 0700) != 0 && errno != EEXIST)
        return kf_fail_errno(err, "cannot make a folder in '" KF_UNPACK_FOLDER "'");
    fd = openat(folder_fd, name, FOLDER_FLAGS);
    if (fd < 0)
        return kf_fail_errno(err, "cannot open a folder in '" KF_UNPACK_FOLDER "'");
    *ret = fd;
    return 0;
}

static void close_listing(DIR **listing)
{
    if (*listing)
        (void)closedir(*listing); /* only read */
}

/* Files of a flat folder. Takes the descriptor. */
static int remove_files(int fd, struct kf_err *err)
{
    kf_auto(close_listing) DIR *listing = fdopendir(fd);
    const struct dirent *entry;

    if (!listing) {
        kf_close_fd(&fd);
        return kf_fail_errno(err, "cannot list '" KF_UNPACK_FOLDER "'");
    }
    while ((entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(listing), entry->d_name, 0) != 0 && errno != ENOENT)
            return kf_fail_errno(err, "cannot remove a file in '" KF_UNPACK_FOLDER "'");
    return 0;
}

static int remove_one(int folder_fd, const char *name, struct kf_err *err)
{
    int fd = openat(folder_fd, name, FOLDER_FLAGS);

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 && errno == ENOTDIR) {
        if (unlinkat(folder_fd, name, 0) == 0)
            return 0;
        return kf_fail_errno(err, "cannot remove a file in '" KF_UNPACK_FOLDER "'");
    }
    if (fd < 0)
        return kf_fail_errno(err, "cannot open a folder in '" KF_UNPACK_FOLDER "'");
    if (remove_files(fd, err) != 0)
        return -1;
    if (unlinkat(folder_fd, name, AT_REMOVEDIR) != 0)
        return kf_fail_errno(err, "cannot remove a folder in '" KF_UNPACK_FOLDER "'");
    return 0;
}

int kf_unpack_folder_remove(int folder_fd, const char *name, struct kf_err *err)
{
    kf_auto(close_listing) DIR *listing = NULL;
    const struct dirent *entry;
    int fd;

    if (name)
        return remove_one(folder_fd, name, err);
    fd = openat(folder_fd, ".", FOLDER_FLAGS);
    listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (!listing) {
        kf_close_fd(&fd);
        return kf_fail_errno(err, "cannot list '" KF_UNPACK_FOLDER "'");
    }
    while ((entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, KF_UNPACK_PLACING) != 0 &&
            remove_one(folder_fd, entry->d_name, err) != 0)
            return -1;
    /* Last: until then a later call knows that all is in its place. */
    return remove_one(folder_fd, KF_UNPACK_PLACING, err);
}

int kf_unpack_folder_end(int dir_fd, struct kf_err *err)
{
    if (unlinkat(dir_fd, KF_UNPACK_FOLDER, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return kf_fail_errno(err, "cannot remove '" KF_UNPACK_FOLDER "'");
    return 0;
}

int kf_unpack_mark(int fd, const char *name, const char *text, struct kf_err *err)
{
    kf_auto(kf_close_fd) int file =
        openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (file < 0)
        return kf_fail_errno(err, "cannot write in '" KF_UNPACK_FOLDER "'");
    if (kf_write_all(file, text, strlen(text), err) != 0)
        return kf_fail_wrap(err, "in '" KF_UNPACK_FOLDER "'");
    return 0;
}

bool kf_unpack_is_marked(int fd, const char *name, const char *text)
{
    kf_auto(kf_buf_fini) struct kf_buf found;

    kf_buf_init(&found, MARK_LIMIT);
    return kf_load_file(fd, name, &found, NULL) == 0 && found.length == strlen(text) &&
           (found.length == 0 || memcmp(found.data, text, found.length) == 0);
}

void kf_unpack_boot(char out[KF_UNPACK_BOOT_SIZE])
{
    kf_auto(kf_buf_fini) struct kf_buf found;

    kf_buf_init(&found, KF_UNPACK_BOOT_SIZE - 1);
    if (kf_load_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &found, NULL) != 0 ||
        found.length == 0) {
        (void)snprintf(out, KF_UNPACK_BOOT_SIZE, "unknown"); /* fits */
        return;
    }
    (void)snprintf(out, KF_UNPACK_BOOT_SIZE, "%s", (const char *)found.data); /* fits */
}
