#include "kit/unpack_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/tree.h"
#include "kit/unpack_plan.h"

#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* A name of a node as a string. */
static void name_of(const struct kf_tree *tree, uint32_t node,
                    char out[KF_COMPONENT_LIMIT + 1])
{
    size_t length;
    const char *name = kf_tree_name(tree, node, &length);

    memcpy(out, name, length);
    out[length] = '\0';
}

static int say(struct kf_err *err, const char *what, const char *path)
{
    char text[KF_NAME_TEXT_SIZE];

    return kf_fail_errno(err, "%s '%s'", what, kf_name_text(text, path, strlen(path)));
}

static int say_node(struct kf_err *err, const char *what, const struct kf_tree *tree,
                    uint32_t node)
{
    int error = errno;
    kf_auto(kf_free) char *path = kf_tree_path(tree, node);

    errno = error;
    return say(err, what, path ? path : "");
}

/* The folder of a node, part by part. */
static int open_folder(const struct kf_tree *tree, int dir_fd, uint32_t node,
                       struct kf_err *err)
{
    kf_auto(kf_free) char *path = kf_tree_path(tree, node);
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);

    if (!path) {
        kf_close_fd(&fd);
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    }
    for (char *part = path, *end; fd >= 0 && *part; part = end) {
        int next;

        end = part + strcspn(part, "/");
        if (*end == '/')
            *end++ = '\0';
        next = openat(fd, part, FOLDER_FLAGS);
        (void)close(fd); /* only read */
        fd = next;
    }
    return fd >= 0 ? fd : say_node(err, "cannot open", tree, node);
}

/* ---- what is there ---- */

static uint8_t kind_of(const struct stat *info, dev_t device)
{
    if (S_ISREG(info->st_mode))
        return KF_THERE_FILE;
    if (S_ISLNK(info->st_mode))
        return KF_THERE_LINK;
    if (S_ISDIR(info->st_mode))
        return info->st_dev == device ? KF_THERE_DIR : KF_THERE_DEVICE;
    return KF_THERE_OTHER;
}

static int scan_folder(const struct kf_place_scan *scan, uint32_t node, dev_t device,
                       uint8_t *ret, struct kf_err *err)
{
    const struct kf_node *folder = &scan->tree->nodes[node];
    kf_auto(kf_close_fd) int fd = open_folder(scan->tree, scan->dir_fd, node, err);
    char name[KF_COMPONENT_LIMIT + 1];
    struct stat info;

    if (fd < 0)
        return -1;
    for (uint32_t i = folder->first_child; i < folder->first_child + folder->child_count;
         i++) {
        name_of(scan->tree, i, name);
        if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            ret[i] = kind_of(&info, device);
        else if (errno != ENOENT)
            return say_node(err, "cannot look at", scan->tree, i);
        if (ret[i] == KF_THERE_FILE && scan->tree->nodes[i].type == KF_TYPE_FILE &&
            scan->same(scan->arg, i, fd, name))
            ret[i] = KF_THERE_SAME;
    }
    return 0;
}

int kf_place_scan(const struct kf_place_scan *scan, uint8_t *ret, struct kf_err *err)
{
    struct stat info;

    if (fstat(scan->dir_fd, &info) != 0)
        return kf_fail_errno(err, "cannot look at the folder");
    memset(ret, KF_THERE_NOTHING, scan->tree->count);
    ret[0] = KF_THERE_DIR;
    for (uint32_t i = 0; i < scan->tree->count; i++)
        if (scan->tree->nodes[i].type == KF_TYPE_DIR && ret[i] == KF_THERE_DIR &&
            scan_folder(scan, i, info.st_dev, ret, err) != 0)
            return -1;
    return 0;
}

/* ---- moving ---- */

/* Until all is in it, its owner can write into a folder. */
static int make_folder(const struct kf_place_moves *moves, int fd, const char *name,
                       uint32_t node, struct kf_err *err)
{
    mode_t mode = (moves->tree->nodes[node].mode & 0777 & ~moves->umask) | 0700;

    if (mkdirat(fd, name, mode) != 0)
        return say_node(err, "cannot make the folder", moves->tree, node);
    return 0;
}

/* Where the file system cannot refuse to replace, nearly the same. */
static int move_new(int from_fd, const char *from, int fd, const char *name)
{
    struct stat info;

    if (renameat2(from_fd, from, fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(from_fd, from, fd, name);
}

static int move_file(const struct kf_place_moves *moves, int fd, const char *name,
                     uint32_t node, struct kf_err *err)
{
    mode_t mode = moves->tree->nodes[node].mode & 0777 & ~moves->umask;
    char from[KF_PLACE_FROM_SIZE];
    int rc;

    if (moves->from(moves->arg, node, from, err) != 0)
        return -1;
    rc = fchmodat(moves->from_fd, from, mode, 0);
    if (rc == 0)
        rc = moves->actions[node] == KF_UNPACK_MAKE
                 ? move_new(moves->from_fd, from, fd, name)
                 : renameat(moves->from_fd, from, fd, name);
    return rc == 0 ? 0 : say_node(err, "cannot put into place", moves->tree, node);
}

static bool is_kitfile(const struct kf_tree *tree, uint32_t node)
{
    return tree->nodes[node].parent == 0 && tree->nodes[node].layer == KF_NODE_NONE &&
           tree->nodes[node].type == KF_TYPE_FILE;
}

/* What is in a folder without the Kitfile, or it alone. */
static int fill_folder(const struct kf_place_moves *moves, uint32_t node, bool kitfile,
                       struct kf_err *err)
{
    const struct kf_tree *tree = moves->tree;
    const struct kf_node *folder = &tree->nodes[node];
    kf_auto(kf_close_fd) int fd = open_folder(tree, moves->dir_fd, node, err);
    char name[KF_COMPONENT_LIMIT + 1];

    if (fd < 0)
        return -1;
    for (uint32_t i = folder->first_child; i < folder->first_child + folder->child_count;
         i++) {
        int rc;

        if (moves->actions[i] == KF_UNPACK_LEAVE || is_kitfile(tree, i) != kitfile)
            continue;
        name_of(tree, i, name);
        rc = tree->nodes[i].type == KF_TYPE_DIR ? make_folder(moves, fd, name, i, err)
                                                : move_file(moves, fd, name, i, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int set_folder_mode(const struct kf_place_moves *moves, uint32_t node,
                           struct kf_err *err)
{
    mode_t mode = moves->tree->nodes[node].mode & 0777 & ~moves->umask;
    kf_auto(kf_close_fd) int path = -1, fd = -1;

    if (moves->actions[node] != KF_UNPACK_MAKE || (mode & 0700) == 0700)
        return 0;
    path = open_folder(moves->tree, moves->dir_fd, node, err);
    if (path < 0)
        return -1;
    fd = openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, mode) != 0)
        return say_node(err, "cannot set the mode of", moves->tree, node);
    return 0;
}

int kf_place_move(const struct kf_place_moves *moves, struct kf_err *err)
{
    const struct kf_tree *tree = moves->tree;

    for (uint32_t i = 0; i < tree->count; i++)
        if (tree->nodes[i].type == KF_TYPE_DIR && tree->nodes[i].child_count > 0 &&
            fill_folder(moves, i, false, err) != 0)
            return -1;
    /* What is below first: the modes may shut us out. */
    for (uint32_t i = tree->count; i-- > 1;)
        if (tree->nodes[i].type == KF_TYPE_DIR && set_folder_mode(moves, i, err) != 0)
            return -1;
    return fill_folder(moves, 0, true, err);
}
