/*
 * The mounted view: what FUSE requests and status.json are answered from. Set up by the
 * worker before the session starts; constant afterwards, except what locks itself.
 */
#ifndef KF_FS_VIEW_H
#define KF_FS_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/attr.h"
#include "fs/trouble.h"

struct kf_inodes;
struct kf_kit;
struct kf_reads;
struct kf_stats;
struct kf_tree;

#define KF_MAX_BACKGROUND 128u
#define KF_CONGESTION_THRESHOLD 96u

struct kf_view {
    struct kf_kit *kit;
    const struct kf_tree *tree;
    struct kf_inodes *inodes;
    struct kf_reads *reads;
    struct kf_stats *stats;
    struct kf_trouble trouble;
    struct kf_attr_rules rules;
    bool hidden_taken; /* the kit has a .kitfs of its own, which wins */

    /* for status.json */
    const char *dir;
    pid_t keeper;
    int64_t since_s; /* wall clock */
    bool cached;     /* there is a store */
    bool offline;
    uint32_t readahead_kib; /* in effect */
};

#endif
