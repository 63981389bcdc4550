/*
 * Something that may hang (a look at a mount, at another process's memory map), done in a
 * child process within a time limit. For commands: call it before any thread exists.
 */
#ifndef KF_FS_ASIDE_H
#define KF_FS_ASIDE_H

#include <stdint.h>

struct kf_buf;
struct kf_err;

/* Runs `task` in a child and appends what it writes to `out` within the buffer's limit.
 * At the limit the child is killed, and what came until then counts: no failure. */
int kf_aside(void (*task)(const void *arg, int out), const void *arg, int64_t limit_ns,
             struct kf_buf *ret, struct kf_err *err);

#endif
