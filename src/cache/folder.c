#include "cache/folder.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "cache/store.h"

char *kf_store_default_path(void)
{
    const char *named = getenv("KITFS_CACHE_DIR");
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;

    if (named && *named)
        return strdup(named);
    if (geteuid() == 0)
        return strdup("/var/cache/kitfs");
    /* The XDG base directory specification: a relative path is to be ignored. */
    if (xdg && *xdg == '/')
        return asprintf(&path, "%s/kitfs", xdg) < 0 ? NULL : path;
    if (home && *home)
        return asprintf(&path, "%s/.cache/kitfs", home) < 0 ? NULL : path;
    return NULL;
}

/* Locks, mappings and "written before marked" hold only where one kernel sees all. From
 * linux/magic.h and the file systems' own sources. */
static const struct {
    uint64_t f_type;
    const char *name;
} remote_types[] = {
    {0x6969, "NFS"},        {0x517b, "SMB"},        {0xff534d42, "CIFS"},
    {0xfe534d42, "SMB"},    {0x01021997, "9p"},     {0x65735546, "FUSE"},
    {0x00c36400, "Ceph"},   {0x0bd00bd0, "Lustre"}, {0x5346414f, "AFS"},
    {0x6b414653, "AFS"},    {0x73757245, "Coda"},   {0x564c, "NCP"},
    {0x01161970, "GFS2"},   {0x7461636f, "OCFS2"},  {0x47504653, "GPFS"},
    {0xaad7aaea, "PanFS"},  {0x19830326, "BeeGFS"}, {0x786f4256, "VirtualBox"},
    {0xbacbacbc, "VMware"},
};

const char *kf_folder_remote_type(uint64_t f_type)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(remote_types); i++)
        if (remote_types[i].f_type == f_type)
            return remote_types[i].name;
    return NULL;
}

static int check(int fd, const char *path, struct kf_err *err)
{
    struct statfs fs;
    struct stat st;

    if (fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0)
        return kf_fail_errno(err, "cannot examine cache folder '%s'", path);
    if (st.st_uid != geteuid())
        return kf_fail(
            err, KF_E_REFUSED,
            "cache folder '%s' belongs to uid %u, not to uid %u: choose another "
            "with --cache-dir, or chown it",
            path, st.st_uid, geteuid());
    if ((st.st_mode & 0777) != 0700)
        return kf_fail(err, KF_E_REFUSED,
                       "cache folder '%s' has mode %04o: others must not write there; "
                       "chmod 0700 it",
                       path, st.st_mode & 0777);
    /* f_type is signed on some machines; its magic numbers have 32 bits. */
    const char *remote = kf_folder_remote_type((uint32_t)fs.f_type);

    if (remote)
        return kf_fail(err, KF_E_REFUSED,
                       "cache folder '%s' is on a %s file system: choose one on a local "
                       "disk with --cache-dir",
                       path, remote);
    return 0;
}

int kf_folder_open(const char *path, struct kf_err *err)
{
    static const char *const parts[] = {"objects",    "small/blob", "small/table",
                                        "small/toc",  "small/seek", "small/tag",
                                        "small/sums", "turn"};

    if (kf_make_dirs(AT_FDCWD, path, 0700, err) != 0)
        return kf_fail_wrap(err, "cannot make cache folder '%s'", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return kf_fail_errno(err, "cannot open cache folder '%s'", path);
    if (check(fd, path, err) != 0) {
        (void)close(fd); /* a folder: nothing to lose */
        return -1;
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(parts); i++)
        if (kf_make_dirs(fd, parts[i], 0700, err) != 0) {
            (void)close(fd); /* a folder: nothing to lose */
            return kf_fail_wrap(err, "cannot make folders in cache '%s'", path);
        }
    return fd;
}
