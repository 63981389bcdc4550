/*
 * The worker: opens the kit and serves the mount, without any capability. It parses what
 * comes from the network; what it tells the keeper is distrusted there (fs/channel).
 */
#ifndef KF_FS_WORKER_H
#define KF_FS_WORKER_H

struct kf_mount_opts;

/* The whole life of the worker's process; its exit code. `channel` leads to the keeper,
 * `creds` too, for credentials (-1: there are none); both are taken;
 * `dir` is where it will be mounted, for status.json. SIGTERM and the like are ignored:
 * the keeper decides. When the keeper is killed the worker goes on until it is unmounted.
 */
int kf_worker_main(const struct kf_mount_opts *opts, const char *dir, int channel,
                   int creds);

#endif
