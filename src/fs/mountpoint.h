/*
 * The folder that a kit is mounted on: its true path, whether it can be used, and taking
 * a mount off it. Paths are looked at without touching what is mounted there, which may
 * hang.
 */
#ifndef KF_FS_MOUNTPOINT_H
#define KF_FS_MOUNTPOINT_H

#include <stdbool.h>

struct kf_err;

/* The absolute path without symbolic links, its last part left as it is (unless it is "."
 * or ".."). Yours to free; NULL on failure. */
char *kf_mountpoint_resolve(const char *dir, struct kf_err *err);

/* Makes `dir` ready to be mounted on: made when missing (its parents are not); a dead
 * mount of ours is taken off (*ret_cleared, else untouched). Fails when it is no folder,
 * not empty, or mounted by us already. *ret_path is as from kf_mountpoint_resolve. Before
 * any thread exists. */
int kf_mountpoint_prepare(const char *dir, char **ret_path, bool *ret_cleared,
                          struct kf_err *err);

/* Unmounts what is on top at `path`, by fusermount3 where we may not ourselves; `lazy`
 * detaches it although it is used. Busy is KF_E_IO with os_errno EBUSY. */
int kf_mountpoint_unmount(const char *path, bool lazy, struct kf_err *err);

#endif
