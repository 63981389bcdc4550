/*
 * Node numbers of the tree as FUSE ids, and attributes as stat. Pure.
 *
 * Ids are the same for the same kit in every mount and process: the root is 1, node i >=
 * 1 is 2i. 2i + 1 is kept for a second id of the same file. Inode numbers are the ids.
 * The hidden folder .kitfs and its files lie beyond every tree.
 */
#ifndef KF_FS_ATTR_H
#define KF_FS_ATTR_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "kit/tree.h"

#define KF_ID_ROOT UINT64_C(1)
#define KF_ID_HIDDEN (UINT64_C(1) << 62)
#define KF_ID_STATUS (KF_ID_HIDDEN + 1)

struct kf_attr_rules {
    uid_t uid;
    gid_t gid;
    mode_t umask;
};

uint64_t kf_id_of_node(uint32_t node);
/* KF_NODE_NONE for an id that is none of the tree's. */
uint32_t kf_node_of_id(uint64_t id, uint32_t node_count);

void kf_attr_of_node(struct stat *ret, const struct kf_tree *tree, uint32_t node,
                     const struct kf_attr_rules *rules);
/* Of KF_ID_HIDDEN and KF_ID_STATUS. */
void kf_attr_of_hidden(struct stat *ret, uint64_t id, const struct kf_attr_rules *rules);

#endif
