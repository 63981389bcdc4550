/*
 * A kit as a mounted directory: two processes. The keeper mounts, holds /dev/fuse and
 * writes the readahead setting; it parses nothing that comes from the network. The worker
 * opens the kit and serves it without any capability. docs/ARCHITECTURE.md, section 4.
 */
#ifndef KF_FS_MOUNT_H
#define KF_FS_MOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "cache/store.h"
#include "kit/open.h"

struct kf_err;

struct kf_mount_opts {
    const char *dir;
    struct kf_kit_opts kit; /* workq, store and stats are the worker's own: NULL */
    struct kf_store_opts cache;
    bool foreground;
    bool allow_other;
    bool quiet;
    bool progress; /* of streaming is shown */
    uid_t uid;     /* owner of every node */
    gid_t gid;
    mode_t umask;
    uint32_t readahead_bytes; /* the kernel's; 0: 1 MiB */
    bool check;               /* what is checked in the background may be fetched */
    enum kf_log_level log_level;
    enum kf_log_format log_format;
    int64_t started_ns; /* when the command began, for "Ready in" */
};

/* Forks keeper and worker and returns in the calling process when the mount can be read
 * (0; lines for people went to stderr unless quiet) or has failed (-1, nothing is left
 * behind). With `foreground` the caller becomes the keeper and it returns after unmount.
 * Call it before any thread exists. */
int kf_mount(const struct kf_mount_opts *opts, struct kf_err *err);

/* Unmounts, waiting until the worker is gone. `lazy` detaches a busy mount, `abort` ends
 * its connection first (readers get ENOTCONN). KF_E_ARG when DIR is no mount of ours;
 * busy is KF_E_IO with os_errno EBUSY and a message that names who uses it. */
int kf_umount(const char *dir, bool lazy, bool abort_connection, struct kf_err *err);

#endif
