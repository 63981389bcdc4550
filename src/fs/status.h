/*
 * The hidden file .kitfs/status.json: what a mount is and does, as JSON. docs/CLI.md,
 * "kitfs status".
 */
#ifndef KF_FS_STATUS_H
#define KF_FS_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kf_buf;
struct kf_err;
struct kf_view;

#define KF_HIDDEN_NAME ".kitfs"
#define KF_STATUS_NAME "status.json"
#define KF_STATUS_LIMIT ((size_t)1 << 20)

/* A snapshot as text, NUL-terminated, yours to free. Any thread; no I/O but looking up
 * the state of open objects. */
char *kf_status_json(struct kf_view *view, struct kf_err *err);

/* What the mount at `dir` tells of itself: appends its status.json, or nothing when it
 * does not answer within the limit. In a child process: for commands, before any thread
 * exists. */
int kf_status_ask(const char *dir, int64_t limit_ns, struct kf_buf *ret,
                  struct kf_err *err);

/* Of the text of a status.json, for unmounting: who serves the mount. The text is
 * foreign: a process number is only as good as the caller's check of it. */
int kf_status_pids(const char *text, size_t length, pid_t *ret_keeper, pid_t *ret_worker,
                   struct kf_err *err);

#endif
