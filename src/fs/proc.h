/*
 * What /proc tells about other processes. Nothing here touches a mount.
 */
#ifndef KF_FS_PROC_H
#define KF_FS_PROC_H

#include <stdbool.h>
#include <sys/types.h>

struct kf_buf;
struct kf_err;

/* Whether SIGKILL is pending for the task (of its own thread number), be it sent or what
 * another fatal signal becomes. False when the task is unknown (another pid namespace).
 */
bool kf_proc_being_killed(pid_t tid);
/* The same from the text of /proc/TID/status. Pure. */
bool kf_proc_status_killed(const char *status);

/* The name of a process (at most 15 characters); false when it does not exist. */
bool kf_proc_name(pid_t pid, char ret[16]);

/* Up to three users of what is mounted at `dir` (an open file, a working or root folder,
 * a mapping), as text: "llama-server (4711), bash (12)". Empty when none is seen: those
 * of others are only seen by root. Looks for at most a second. */
int kf_proc_users(const char *dir, struct kf_buf *ret, struct kf_err *err);

#endif
