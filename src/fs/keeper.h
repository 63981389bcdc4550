/*
 * The keeper: mounts, holds /dev/fuse, writes the readahead setting, watches over the
 * worker and decides when all ends. One thread, one loop; it parses nothing that comes
 * from the network. Credentials that the worker asks for are looked up by a child of its
 * own (fs/creds_channel.h).
 *
 *   SIGTERM, SIGINT   detach the mount, let readers finish for 5 s, then end the worker;
 *                     a second one ends it at once
 *   worker ends       the mount is detached, so that no dead one stays
 *   umount by others  the worker ends by itself; when it was lazy and files are still
 * open, they can be read until closed, but no read waits long any more
 */
#ifndef KF_FS_KEEPER_H
#define KF_FS_KEEPER_H

struct kf_err;
struct kf_mount_opts;

/* The life of a mount at `dir` (resolved, empty): starts the worker, returns when it has
 * ended and nothing is mounted any more. Messages for people, failure and readiness go to
 * `up` (LINE, FAIL, READY; closed after the last), which is taken; the keeper leaves when
 * the other end is closed before READY. With -1 lines go to stderr unless quiet. 0 when
 * it was unmounted in order; the error that ended it else. Call it before any thread
 * exists. */
int kf_keeper_run(const struct kf_mount_opts *opts, const char *dir, int up,
                  struct kf_err *err);

#endif
