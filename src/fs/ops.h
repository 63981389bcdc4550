/*
 * FUSE requests translated to calls of tree and layer. Every operation answers at once,
 * from memory, except reads of what is not there yet (fs/reads). The session's user data
 * is the struct kf_view.
 */
#ifndef KF_FS_OPS_H
#define KF_FS_OPS_H

struct fuse_lowlevel_ops;

extern const struct fuse_lowlevel_ops kf_ops;

#endif
