/*
 * The merged tree of a kit: names, attributes and where bytes are. Immutable after
 * building: no locks, any thread. The same layers give the same node numbers, on every
 * machine.
 *
 * Nodes are in breadth-first order, the children of a folder side by side and sorted by
 * name bytes: node 0 is the root. Parents that no layer names are made, 0755. A name that
 * comes twice, in two layers or in one, is an error (KF_E_MALFORMED) unless both are
 * folders: the first one's attributes count. So is a file in the place of a folder.
 *
 * Limits: 4,194,304 nodes, parents included; 4096 bytes a path below its prefix.
 */
#ifndef KF_KIT_TREE_H
#define KF_KIT_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/table.h"

struct kf_err;

#define KF_NODE_NONE UINT32_MAX
#define KF_NODE_LIMIT (UINT32_C(1) << 22)

struct kf_node {
    uint64_t size; /* of a file */
    int64_t mtime;
    uint64_t name_offset;
    uint32_t name_length;
    uint32_t parent;      /* of the root: itself */
    uint32_t first_child; /* folders */
    uint32_t child_count;
    uint32_t subdirs; /* folders: for st_nlink */
    uint32_t layer;   /* index among the layers given; KF_NODE_NONE: none */
    uint32_t entry;   /* index in that layer's table */
    uint16_t mode;
    uint8_t type; /* enum kf_file_type */
};

struct kf_tree {
    struct kf_node *nodes;
    uint32_t count;
    char *names;
    uint64_t file_bytes; /* of all files */
    uint32_t file_count;
};

struct kf_tree_layer {
    const struct kf_table *table;
    const char *prefix; /* a folder that its names are relative to; "" for the root */
};

/* Times of 0 become default_mtime, that of folders made here is default_mtime. Fills an
 * uninitialized tree; keeps nothing of the tables. */
int kf_tree_build(struct kf_tree *ret, const struct kf_tree_layer *layers,
                  size_t layer_count, int64_t default_mtime, struct kf_err *err);
void kf_tree_fini(struct kf_tree *tree);
/* Makes a folder the root, and drops all that is not below it; leading "./", doubled and
 * trailing slashes do not matter. KF_E_NOTFOUND when there is none, KF_E_ARG for a file;
 * then the tree is as it was. */
int kf_tree_root_at(struct kf_tree *tree, const char *path, struct kf_err *err);

const char *kf_tree_name(const struct kf_tree *tree, uint32_t node, size_t *ret_length);
/* KF_NODE_NONE when absent. */
uint32_t kf_tree_child(const struct kf_tree *tree, uint32_t parent, const char *name,
                       size_t name_length);
/* By path from the root; leading, trailing and doubled slashes are ignored. */
uint32_t kf_tree_find(const struct kf_tree *tree, const char *path);
/* The path without a leading slash; yours to free; NULL on no memory. */
char *kf_tree_path(const struct kf_tree *tree, uint32_t node);

#endif
