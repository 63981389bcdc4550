/*
 * The target folder of an unpacking: what is there at each name of the kit, and moving
 * finished files to their places. Symbolic links below the folder are never followed:
 * each part of a path is opened by itself. Blocking; one thread.
 */
#ifndef KF_KIT_UNPACK_PLACE_H
#define KF_KIT_UNPACK_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kf_err;
struct kf_tree;

struct kf_place_scan {
    const struct kf_tree *tree;
    int dir_fd;
    /* Whether a file that is there counts as KF_THERE_SAME; `parent_fd` and `name` say
     * where it is. */
    bool (*same)(void *arg, uint32_t node, int parent_fd, const char *name);
    void *arg;
};

/* Fills `ret`, enum kf_there by node. */
int kf_place_scan(const struct kf_place_scan *scan, uint8_t *ret, struct kf_err *err);

struct kf_place_moves {
    const struct kf_tree *tree;
    int dir_fd;
    const uint8_t *actions; /* enum kf_unpack_action by node */
    mode_t umask;
    int from_fd; /* paths of finished files begin here */
    /* Path of a file's finished content; -1: `err` is set. */
#define KF_PLACE_FROM_SIZE 96
    int (*from)(void *arg, uint32_t node, char out[KF_PLACE_FROM_SIZE],
                struct kf_err *err);
    void *arg;
};

/* Makes the folders and moves all files whose action is not to leave them, the Kitfile
 * (the file of no layer) last, so that who waits for it finds everything. A file
 * whose content is not where `from` says is KF_E_NOTFOUND. Folders get their own modes
 * when all is in them. */
int kf_place_move(const struct kf_place_moves *moves, struct kf_err *err);

#endif
