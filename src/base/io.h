/*
 * Whole reads and writes at an offset, and files that appear complete or not at all.
 * Blocking; not for FUSE or network threads. Interrupted and partial calls are continued.
 */
#ifndef KF_BASE_IO_H
#define KF_BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kf_buf;
struct kf_err;

/* Exactly `length` bytes; an early end is KF_E_CORRUPT. `name` is for messages. */
int kf_pread_all(int fd, void *data, size_t length, uint64_t offset, const char *name,
                 struct kf_err *err);
int kf_pwrite_all(int fd, const void *data, size_t length, uint64_t offset,
                  const char *name, struct kf_err *err);
int kf_write_all(int fd, const void *data, size_t length, struct kf_err *err);

/* The whole file below `dirfd`, appended to `buf` within its limit (more is KF_E_LIMIT);
 * nothing is appended on failure. */
int kf_load_file(int dirfd, const char *path, struct kf_buf *buf, struct kf_err *err);

/* Writes a temporary file beside it, fsyncs it, renames it over `path` and fsyncs the
 * folder: after a crash either the old or the new file is there, and perhaps a left-over
 * "PATH.PID.NUMBER.tmp", which the folder's owner removes. The mode is as given, whatever
 * the umask. */
int kf_save_file(int dirfd, const char *path, const void *data, size_t length,
                 mode_t mode, struct kf_err *err);

/* mkdir -p below dirfd; existing folders are fine, a file in their place is KF_E_IO. */
int kf_make_dirs(int dirfd, const char *path, mode_t mode, struct kf_err *err);

#endif
