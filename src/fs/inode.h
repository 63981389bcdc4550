/*
 * The open files of a mount, by node: however often a file is opened there is one
 * kf_file, so that its readers share streams. Opening costs no network. Locks itself.
 */
#ifndef KF_FS_INODE_H
#define KF_FS_INODE_H

#include <stdint.h>

struct kf_err;
struct kf_file;
struct kf_inodes;
struct kf_kit;

/* The kit is borrowed and outlives the table. */
int kf_inodes_new(struct kf_inodes **ret, struct kf_kit *kit, struct kf_err *err);
/* Puts back whatever is still open; nothing may be reading. NULL is fine. */
void kf_inodes_free(struct kf_inodes *inodes);

/* One more user of the node's file: an open, or a read on its way. */
int kf_inodes_get(struct kf_inodes *inodes, uint32_t node, struct kf_err *err);
void kf_inodes_put(struct kf_inodes *inodes, uint32_t node);

/* Borrowed, for as long as the caller's own use lasts; NULL when nobody uses it. */
struct kf_file *kf_inodes_file(struct kf_inodes *inodes, uint32_t node);

#endif
