#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "fs/aside.h"
#include "fs/mountinfo.h"

#define FOLDER_MODE 0755

extern char **environ;

/* "a/b/" -> "a" and "b"; "b" -> "." and "b"; "/b" -> "/" and "b". The last part is empty
 * for "/" and "". Both fit PATH_MAX, as `dir` does. */
static int split(const char *dir, char *ret_parent, char *ret_last, struct kf_err *err)
{
    size_t length = strlen(dir);
    size_t start;

    if (length >= PATH_MAX)
        return kf_fail(err, KF_E_ARG, "path too long");
    while (length > 0 && dir[length - 1] == '/')
        length--;
    for (start = length; start > 0 && dir[start - 1] != '/'; start--)
        ;
    memcpy(ret_last, dir + start, length - start);
    ret_last[length - start] = '\0';
    while (start > 1 && dir[start - 1] == '/')
        start--;
    memcpy(ret_parent, start > 0 ? dir : ".", start > 0 ? start : 1);
    ret_parent[start > 0 ? start : 1] = '\0';
    return 0;
}

static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

char *kf_mountpoint_resolve(const char *dir, struct kf_err *err)
{
    char parent[PATH_MAX], last[PATH_MAX];
    char *path = NULL;

    if (split(dir, parent, last, err) != 0)
        return NULL;
    kf_auto(kf_free) char *folder = realpath(is_plain_name(last) ? parent : dir, NULL);
    if (!folder) {
        (void)kf_fail_errno(err, "cannot find '%s'", dir); /* NULL says it */
        return NULL;
    }
    if (!is_plain_name(last))
        return kf_steal(folder);
    if (asprintf(&path, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, last) < 0) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a path"); /* NULL says it */
        return NULL;
    }
    return path;
}

/* In a child: what statfs says, one byte. It is the one question that the kernel cannot
 * answer from what it has cached. */
static void ask_statfs(const void *arg, int out)
{
    struct statfs info;
    bool dead = statfs(arg, &info) != 0 && errno == ENOTCONN;

    if (dead)
        (void)kf_write_all(out, "d", 1, NULL); /* else it counts as living */
}

static int is_dead(const char *path, struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf answer;

    kf_buf_init(&answer, 1);
    if (kf_aside(ask_statfs, path, KF_NS_PER_S, &answer, err) != 0)
        return -1;
    return answer.length > 0;
}

/* Takes a dead mount of ours off. Only a dead one: a living one may be in use. */
static int clear_dead(const char *path, bool *ret_cleared, struct kf_err *err)
{
    struct kf_mount_point point;
    int found = kf_mount_at(path, &point, err);
    int dead;

    *ret_cleared = false;
    if (found < 0)
        return -1;
    if (found == 0 || strcmp(point.type, KF_MOUNT_TYPE) != 0)
        return 0;
    dead = is_dead(path, err);
    if (dead < 0)
        return -1;
    if (!dead)
        return kf_fail(err, KF_E_ARG, "'%s' is already a mount of %s", path,
                       point.source);
    if (kf_mountpoint_unmount(path, true, err) != 0)
        return kf_fail_wrap(err, "a dead mount is in the way");
    *ret_cleared = true;
    return 0;
}

static int check_empty(const char *path, struct kf_err *err)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    bool empty = true;

    if (!folder && errno == ENOTDIR)
        return kf_fail(err, KF_E_ARG, "'%s' is no folder", path);
    if (!folder)
        return kf_fail_errno(err, "cannot look into '%s'", path);
    while (empty && (entry = readdir(folder)))
        empty = !is_plain_name(entry->d_name);
    (void)closedir(folder);
    return empty ? 0 : kf_fail(err, KF_E_ARG, "'%s' is not empty", path);
}

int kf_mountpoint_prepare(const char *dir, char **ret_path, bool *ret_cleared,
                          struct kf_err *err)
{
    bool cleared;

    kf_auto(kf_free) char *path = kf_mountpoint_resolve(dir, err);

    if (!path)
        return -1;
    do /* one dead mount may lie on top of another */
        if (clear_dead(path, &cleared, err) != 0)
            return -1;
        else
            *ret_cleared |= cleared;
    while (cleared);
    if (mkdir(path, FOLDER_MODE) != 0 && errno != EEXIST)
        return kf_fail_errno(err, "cannot make folder '%s'", path);
    if (check_empty(path, err) != 0)
        return -1;
    *ret_path = kf_steal(path);
    return 0;
}

/* The set-uid helper of libfuse, for users; it says only that it failed. */
static int run_fusermount(const char *path, bool lazy, struct kf_err *err)
{
    const char *const arguments[] = {"fusermount3", "-u", lazy ? "-qz" : "-q",
                                     "--",          path, NULL};
    pid_t child;
    int status;
    int rc = posix_spawnp(&child, arguments[0], NULL, NULL,
                          (char *const *)(uintptr_t)arguments, environ);

    if (rc != 0) {
        errno = rc;
        return kf_fail_errno(err, "cannot run fusermount3");
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return kf_fail_errno(err, "cannot wait for fusermount3");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = EBUSY; /* nearly always */
        return kf_fail_errno(err, "fusermount3 cannot unmount '%s'", path);
    }
    return 0;
}

int kf_mountpoint_unmount(const char *path, bool lazy, struct kf_err *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return 0;
    if (errno == EPERM && geteuid() != 0)
        return run_fusermount(path, lazy, err);
    return kf_fail_errno(err, "cannot unmount '%s'", path);
}
