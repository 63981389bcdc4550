/*
 * What needs privilege about a mount: mounting (by fusermount3 for users) and the
 * kernel's readahead. The keeper's.
 */
#ifndef KF_FS_DEVICE_H
#define KF_FS_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_mount_point;

/* Mounts a FUSE file system that nobody serves yet; gives its /dev/fuse, or -1. `name` is
 * what stands in /proc/mounts as the source. */
int kf_device_mount(const char *dir, const char *name, bool allow_other,
                    struct kf_err *err);

/* Tries to set the mount's readahead; gives what is in effect. */
uint32_t kf_device_set_readahead(const struct kf_mount_point *point, uint32_t wanted_kib);

#endif
