/*
 * /proc/PID/mountinfo (proc_pid_mountinfo(5)): what is mounted where. Parsing is pure; a
 * line that cannot be parsed is skipped. Looking here touches no mounted file system, so
 * it cannot hang on a dead one.
 */
#ifndef KF_FS_MOUNTINFO_H
#define KF_FS_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct kf_err;

#define KF_MOUNT_TYPE "fuse.kitfs"

struct kf_mount_point {
    unsigned major; /* of st_dev; the connection's number in /sys/fs/fuse is `minor` */
    unsigned minor;
    char dir[PATH_MAX];    /* octal escapes resolved */
    char type[64];         /* cut when longer */
    char source[PATH_MAX]; /* fsname; octal escapes resolved */
};

/* The line at *cursor; moves the cursor to the next one. False at the end. A line that is
 * not well-formed is skipped. `text` ends with NUL. */
bool kf_mountinfo_next(const char **cursor, struct kf_mount_point *ret);

/* The topmost mount at exactly `dir` (an absolute path without symbolic links). */
bool kf_mountinfo_find(const char *text, const char *dir, struct kf_mount_point *ret);

/* Whether that device is mounted anywhere. */
bool kf_mountinfo_has(const char *text, unsigned major, unsigned minor);

/* The same two in this process's mounts: 1 found, 0 not, -1 when they cannot be read. */
int kf_mount_at(const char *dir, struct kf_mount_point *ret, struct kf_err *err);
int kf_mount_exists(unsigned major, unsigned minor, struct kf_err *err);

#endif
