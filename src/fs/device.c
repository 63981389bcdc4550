#include "fs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "fs/fuse.h"
#include "fs/mountinfo.h"

#define DEFAULT_READAHEAD_KIB 128u

static int add_options(struct fuse_args *args, const char *name, bool allow_other)
{
    char *options = NULL;
    int rc = 0;

    rc |= fuse_opt_add_opt(&options, "ro,nosuid,nodev,noatime,default_permissions");
    rc |= fuse_opt_add_opt(&options, "subtype=kitfs");
    if (allow_other)
        rc |= fuse_opt_add_opt(&options, "allow_other");
    kf_auto(kf_free) char *source = NULL;
    if (asprintf(&source, "fsname=%s", name) < 0) {
        source = NULL;
        rc = -1;
    }
    if (rc == 0)
        rc = fuse_opt_add_opt_escaped(&options, source);
    if (rc == 0)
        rc |= fuse_opt_add_arg(args, "kitfs") | fuse_opt_add_arg(args, "-o") |
              fuse_opt_add_arg(args, options);
    free(options);
    return rc;
}

/* libfuse and fusermount3 say why they fail on stderr only: meanwhile that is a file in
 * memory, whose last line becomes our cause. */
static int catch_stderr(int *ret_saved)
{
    int caught = memfd_create("kitfs-stderr", MFD_CLOEXEC);

    *ret_saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (caught >= 0 && dup2(caught, STDERR_FILENO) < 0)
        kf_close_fd(&caught);
    return caught;
}

static void release_stderr(int caught, int saved, char *ret_cause, size_t size)
{
    ssize_t got = caught >= 0 ? pread(caught, ret_cause, size - 1, 0) : 0;
    char *line;

    ret_cause[got > 0 ? got : 0] = '\0';
    kf_close_fd(&caught);
    if (saved >= 0)
        (void)dup2(saved, STDERR_FILENO); /* both are open */
    kf_close_fd(&saved);
    while (got > 0 && ret_cause[got - 1] == '\n')
        ret_cause[--got] = '\0';
    line = strrchr(ret_cause, '\n');
    if (line)
        memmove(ret_cause, line + 1, strlen(line + 1) + 1);
}

static int mount_session(struct fuse_args *args, const char *dir, struct kf_err *err)
{
    static const struct fuse_lowlevel_ops nothing = {.init = NULL};
    char cause[256];
    int saved, fd = -1;
    int caught = catch_stderr(&saved);
    struct fuse_session *session =
        fuse_session_new(args, &nothing, sizeof(nothing), NULL);
    bool mounted = session && fuse_session_mount(session, dir) == 0;

    release_stderr(caught, saved, cause, sizeof(cause));
    /* Only the descriptor is needed; a copy outlives the session, whose end does not
     * unmount. */
    if (mounted)
        fd = fcntl(fuse_session_fd(session), F_DUPFD_CLOEXEC, 3);
    if (mounted && fd < 0)
        fuse_session_unmount(session);
    if (session)
        fuse_session_destroy(session);
    if (fd < 0)
        return kf_fail(err, KF_E_IO, "cannot mount at '%s'%s%s", dir,
                       cause[0] ? ": " : "", cause);
    return fd;
}

int kf_device_mount(const char *dir, const char *name, bool allow_other,
                    struct kf_err *err)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int fd;

    if (access("/dev/fuse", F_OK) != 0)
        return kf_fail_errno(err, "FUSE is not available: /dev/fuse");
    if (add_options(&args, name, allow_other) != 0)
        fd = kf_fail(err, KF_E_NOMEM, "no memory for mount options");
    else
        fd = mount_session(&args, dir, err);
    fuse_opt_free_args(&args);
    return fd;
}

/* The value in effect, or the kernel's default where it cannot be read. */
static uint32_t read_number(const char *path)
{
    kf_auto(kf_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[32];
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (got <= 0)
        return DEFAULT_READAHEAD_KIB;
    text[got] = '\0';
    return (uint32_t)strtoul(text, NULL, 10);
}

uint32_t kf_device_set_readahead(const struct kf_mount_point *point, uint32_t wanted_kib)
{
    char path[128];
    kf_auto(kf_close_fd) int fd = -1;

    (void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", point->major,
                   point->minor); /* fits */
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)dprintf(fd, "%u\n", wanted_kib); /* what came of it is read back */
    return read_number(path);
}
