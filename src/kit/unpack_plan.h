/*
 * What unpacking a kit into a folder does with each of its names, from what is there
 * already. Pure.
 *
 * As kit: folders that are there stay as they are; a file that is there is a conflict,
 * unless it is to be overwritten or kept. Stricter than kit: a symbolic link is never
 * followed, and a folder on another file system is refused, since finished files are
 * moved into place.
 */
#ifndef KF_KIT_UNPACK_PLAN_H
#define KF_KIT_UNPACK_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_tree;

enum kf_there {
    KF_THERE_NOTHING,
    KF_THERE_FILE,
    KF_THERE_SAME, /* a file that need not be written: the same Kitfile, or one that an
                      unpacking which was cut off had put in its place */
    KF_THERE_DIR,
    KF_THERE_LINK,
    KF_THERE_OTHER,  /* a device, a pipe ... */
    KF_THERE_DEVICE, /* a folder on another file system */
};

enum kf_unpack_action {
    KF_UNPACK_LEAVE,   /* what is there stays */
    KF_UNPACK_MAKE,    /* nothing is there, and nothing may have come */
    KF_UNPACK_REPLACE, /* the file that is there */
};

struct kf_unpack_rules {
    bool overwrite;   /* files that are there */
    bool keep;        /* them, whatever `overwrite` says; but not the Kitfile, as kit */
    uint32_t kitfile; /* its node, or KF_NODE_NONE */
};

/* `there` says what is at each node's place, by node: enum kf_there, KF_THERE_NOTHING
 * below what is no folder. Fills `ret`, enum kf_unpack_action by node. -1 when it cannot
 * be done: KF_E_REFUSED, with the first name in the way, how many there are, and what
 * would help. */
int kf_unpack_plan(const struct kf_tree *tree, const uint8_t *there,
                   const struct kf_unpack_rules *rules, uint8_t *ret, struct kf_err *err);

#endif
