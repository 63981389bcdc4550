/*
 * Giving up power for good.
 */
#ifndef KF_FS_CONFINE_H
#define KF_FS_CONFINE_H

struct kf_err;

/* This process (before any thread exists) and what it starts lose all capabilities and
 * can regain none; no core dumps, no tracing by others of the same user; as many
 * descriptors as allowed. The user stays the same. */
int kf_confine(struct kf_err *err);

#endif
