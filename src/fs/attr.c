#include "fs/attr.h"

#define BLOCK_SIZE 4096 /* what readers align direct reads to; they need no more */
#define STAT_UNIT 512u  /* of st_blocks */

uint64_t kf_id_of_node(uint32_t node)
{
    return node == 0 ? KF_ID_ROOT : UINT64_C(2) * node;
}

uint32_t kf_node_of_id(uint64_t id, uint32_t node_count)
{
    if (id == KF_ID_ROOT)
        return 0;
    if (id == 0 || id % 2 != 0 || id / 2 >= node_count)
        return KF_NODE_NONE;
    return (uint32_t)(id / 2);
}

void kf_attr_of_node(struct stat *ret, const struct kf_tree *tree, uint32_t node,
                     const struct kf_attr_rules *rules)
{
    const struct kf_node *from = &tree->nodes[node];
    mode_t permissions = (mode_t)(from->mode & 0777) & ~rules->umask;

    *ret = (struct stat){.st_ino = kf_id_of_node(node),
                         .st_uid = rules->uid,
                         .st_gid = rules->gid,
                         .st_blksize = BLOCK_SIZE,
                         .st_mtim.tv_sec = from->mtime,
                         .st_ctim.tv_sec = from->mtime,
                         .st_atim.tv_sec = from->mtime};
    if (from->type == KF_TYPE_DIR) {
        ret->st_mode = S_IFDIR | permissions;
        ret->st_nlink = (nlink_t)2 + from->subdirs;
    } else {
        ret->st_mode = S_IFREG | permissions;
        ret->st_nlink = 1;
        ret->st_size = (off_t)from->size;
        ret->st_blocks =
            (blkcnt_t)(from->size / STAT_UNIT + (from->size % STAT_UNIT != 0));
    }
}

void kf_attr_of_hidden(struct stat *ret, uint64_t id, const struct kf_attr_rules *rules)
{
    *ret = (struct stat){.st_ino = id,
                         .st_uid = rules->uid,
                         .st_gid = rules->gid,
                         .st_blksize = BLOCK_SIZE};
    if (id == KF_ID_HIDDEN) {
        ret->st_mode = S_IFDIR | (0555 & ~rules->umask);
        ret->st_nlink = 2;
    } else {
        ret->st_mode = S_IFREG | (0444 & ~rules->umask);
        ret->st_nlink = 1;
    }
}
