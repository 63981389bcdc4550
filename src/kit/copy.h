/*
 * A range of a file given to a function in order, blocking: for tools. Several reads are
 * on their way at once, in a ring of buffers of 1 MiB, so that the link stays busy while
 * the caller writes.
 */
#ifndef KF_KIT_COPY_H
#define KF_KIT_COPY_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_file;

#define KF_COPY_READS 8u

typedef int kf_copy_write(void *arg, const void *data, size_t length, struct kf_err *err);

/* The range lies inside the file. Stops at the first failure, of a read or of `write`,
 * and returns when no read is left under way. */
int kf_copy_range(struct kf_file *file, uint64_t offset, uint64_t length,
                  int64_t timeout_ns, kf_copy_write *write, void *arg,
                  struct kf_err *err);

#endif
