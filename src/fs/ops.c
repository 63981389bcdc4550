#include "fs/ops.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stats.h"
#include "fs/fuse.h"
#include "fs/inode.h"
#include "fs/reads.h"
#include "fs/status.h"
#include "fs/view.h"
#include "kit/open.h"
#include "kit/tree.h"
#include "layer/layer.h"

#define FOR_EVER_S (10.0 * 365 * 24 * 3600) /* the tree never changes */
#define STATFS_BLOCK 4096u
#define DOT_ENTRIES 2u /* "." and ".." */

static struct kf_view *view_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* ---- set-up ---- */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    static const unsigned unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                                     FUSE_CAP_SPLICE_MOVE | FUSE_CAP_AUTO_INVAL_DATA;

    conn->max_background = KF_MAX_BACKGROUND;
    conn->congestion_threshold = KF_CONGESTION_THRESHOLD;
    conn->want &= ~unwanted;
    conn->want |= conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
}

/* ---- names and attributes ---- */

static void fill_entry(const struct kf_view *view, uint32_t node,
                       struct fuse_entry_param *ret)
{
    *ret = (struct fuse_entry_param){.ino = kf_id_of_node(node),
                                     .attr_timeout = FOR_EVER_S,
                                     .entry_timeout = FOR_EVER_S};
    kf_attr_of_node(&ret->attr, view->tree, node, &view->rules);
}

static void reply_hidden(fuse_req_t req, uint64_t id)
{
    struct fuse_entry_param entry = {.ino = id};

    kf_attr_of_hidden(&entry.attr, id, &view_of(req)->rules);
    (void)fuse_reply_entry(req, &entry);
}

static bool is_hidden_name(const struct kf_view *view, fuse_ino_t parent,
                           const char *name)
{
    return parent == KF_ID_ROOT && !view->hidden_taken &&
           strcmp(name, KF_HIDDEN_NAME) == 0;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct kf_view *view = view_of(req);
    uint32_t folder = kf_node_of_id(parent, view->tree->count);
    struct fuse_entry_param entry = {.entry_timeout =
                                         FOR_EVER_S}; /* "not there" is kept */
    uint32_t node;

    if (parent == KF_ID_HIDDEN) {
        if (strcmp(name, KF_STATUS_NAME) == 0)
            reply_hidden(req, KF_ID_STATUS);
        else
            (void)fuse_reply_err(req, ENOENT);
        return;
    }
    if (is_hidden_name(view, parent, name)) {
        reply_hidden(req, KF_ID_HIDDEN);
        return;
    }
    if (folder == KF_NODE_NONE || view->tree->nodes[folder].type != KF_TYPE_DIR) {
        (void)fuse_reply_err(req, folder == KF_NODE_NONE ? ENOENT : ENOTDIR);
        return;
    }
    node = kf_tree_child(view->tree, folder, name, strlen(name));
    if (node != KF_NODE_NONE)
        fill_entry(view, node, &entry);
    (void)fuse_reply_entry(req, &entry);
}

/* Nodes are static: nothing is counted, so nothing is forgotten. */
static void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t count)
{
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
                            struct fuse_forget_data *forgets)
{
    fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    const struct kf_view *view = view_of(req);
    uint32_t node = kf_node_of_id(id, view->tree->count);
    struct stat attr;

    if (id == KF_ID_HIDDEN || id == KF_ID_STATUS) {
        kf_attr_of_hidden(&attr, id, &view->rules);
        (void)fuse_reply_attr(req, &attr, 0);
    } else if (node == KF_NODE_NONE) {
        (void)fuse_reply_err(req, ENOENT);
    } else {
        kf_attr_of_node(&attr, view->tree, node, &view->rules);
        (void)fuse_reply_attr(req, &attr, FOR_EVER_S);
    }
}

static void op_statfs(fuse_req_t req, fuse_ino_t id)
{
    const struct kf_tree *tree = view_of(req)->tree;
    struct statvfs answer = {.f_bsize = STATFS_BLOCK,
                             .f_frsize = STATFS_BLOCK,
                             .f_blocks = tree->file_bytes / STATFS_BLOCK +
                                         (tree->file_bytes % STATFS_BLOCK != 0),
                             .f_files = tree->count,
                             .f_namemax = KF_COMPONENT_LIMIT};

    (void)fuse_reply_statfs(req, &answer);
}

/* ---- listings ---- */

/* One entry of a listing: 0, or the room it would have needed. */
typedef size_t add_entry(fuse_req_t req, char *at, size_t room, const char *name,
                         const struct fuse_entry_param *entry, off_t next);

static size_t add_plain(fuse_req_t req, char *at, size_t room, const char *name,
                        const struct fuse_entry_param *entry, off_t next)
{
    return fuse_add_direntry(req, at, room, name, &entry->attr, next);
}

static size_t add_plus(fuse_req_t req, char *at, size_t room, const char *name,
                       const struct fuse_entry_param *entry, off_t next)
{
    return fuse_add_direntry_plus(req, at, room, name, entry, next);
}

/* Entry number `index` of a folder: ".", "..", then the children. False behind the last.
 */
static bool entry_at(const struct kf_view *view, uint32_t folder, uint64_t index,
                     char name[KF_COMPONENT_LIMIT + 1], struct fuse_entry_param *ret)
{
    const struct kf_node *node = &view->tree->nodes[folder];
    const char *from;
    size_t length;

    if (index < DOT_ENTRIES) {
        fill_entry(view, index == 0 ? folder : node->parent, ret);
        ret->ino = 0; /* no lookup by this name */
        memcpy(name, "..", 3);
        name[index + 1] = '\0';
        return true;
    }
    if (index - DOT_ENTRIES >= node->child_count)
        return false;
    folder = node->first_child + (uint32_t)(index - DOT_ENTRIES);
    fill_entry(view, folder, ret);
    from = kf_tree_name(view->tree, folder, &length);
    memcpy(name, from, length);
    name[length] = '\0';
    return true;
}

static bool hidden_entry_at(const struct kf_view *view, uint64_t index,
                            char name[KF_COMPONENT_LIMIT + 1],
                            struct fuse_entry_param *ret)
{
    static const struct {
        const char *name;
        uint64_t id;
    } rows[] = {{".", KF_ID_HIDDEN}, {"..", KF_ID_ROOT}, {KF_STATUS_NAME, KF_ID_STATUS}};

    if (index >= KF_ARRAY_LEN(rows))
        return false;
    memcpy(name, rows[index].name, strlen(rows[index].name) + 1);
    *ret = (struct fuse_entry_param){.ino = index < DOT_ENTRIES ? 0 : rows[index].id};
    kf_attr_of_hidden(&ret->attr, rows[index].id, &view->rules);
    return true;
}

static void list(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, add_entry *add)
{
    const struct kf_view *view = view_of(req);
    uint32_t folder = kf_node_of_id(id, view->tree->count);
    char name[KF_COMPONENT_LIMIT + 1];
    struct fuse_entry_param entry;
    size_t used = 0;

    if (id != KF_ID_HIDDEN &&
        (folder == KF_NODE_NONE || view->tree->nodes[folder].type != KF_TYPE_DIR)) {
        (void)fuse_reply_err(req, ENOTDIR);
        return;
    }
    kf_auto(kf_free) char *listing = malloc(size);
    if (!listing) {
        (void)fuse_reply_err(req, ENOMEM);
        return;
    }
    for (uint64_t i = (uint64_t)offset;
         id == KF_ID_HIDDEN ? hidden_entry_at(view, i, name, &entry)
                            : entry_at(view, folder, i, name, &entry);
         i++) {
        size_t needed =
            add(req, listing + used, size - used, name, &entry, (off_t)(i + 1));

        if (needed > size - used)
            break;
        used += needed;
    }
    (void)fuse_reply_buf(req, listing, used);
}

/* The kernel stops asking then, and keeps listings by itself (FUSE_NO_OPENDIR_SUPPORT).
 */
static void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    (void)fuse_reply_err(req, ENOSYS);
}

static void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    list(req, id, size, offset, add_plain);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                           struct fuse_file_info *info)
{
    list(req, id, size, offset, add_plus);
}

/* ---- files ---- */

/* The content is the one of the moment of opening. */
static void open_status(fuse_req_t req, struct fuse_file_info *info)
{
    struct kf_err err;
    char *text = kf_status_json(view_of(req), &err);

    if (!text) {
        (void)fuse_reply_err(req, kf_err_reader_errno(&err));
        return;
    }
    info->fh = (uint64_t)(uintptr_t)text;
    info->direct_io = 1;
    if (fuse_reply_open(req, info) != 0)
        free(text); /* the open was interrupted: there will be no release */
}

static const char *status_text(const struct fuse_file_info *info)
{
    return (const char *)(uintptr_t)info->fh;
}

/* An empty file, or one in memory, has nothing behind it that would have to be open. */
static bool has_file(const struct kf_view *view, uint32_t node)
{
    return view->tree->nodes[node].size > 0 &&
           view->tree->nodes[node].layer != KF_NODE_NONE;
}

static struct kf_layer *layer_of(const struct kf_view *view, uint32_t node)
{
    return kf_kit_layer(view->kit, view->tree->nodes[node].layer)->layer;
}

static void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    struct kf_view *view = view_of(req);
    uint32_t node = kf_node_of_id(id, view->tree->count);
    struct kf_err err;

    if ((info->flags & O_ACCMODE) != O_RDONLY) {
        (void)fuse_reply_err(req, EROFS);
        return;
    }
    if (id == KF_ID_STATUS) {
        open_status(req, info);
        return;
    }
    if (node == KF_NODE_NONE) {
        (void)fuse_reply_err(req, ENOENT);
        return;
    }
    /* Of a layer that has failed the kernel may still have pages. */
    if (has_file(view, node) && (kf_layer_has_failed(layer_of(view, node), &err) ||
                                 kf_inodes_get(view->inodes, node, &err) != 0)) {
        kf_reads_fail(view->reads, req, node, 0, &err);
        return;
    }
    info->keep_cache = 1;
    if (fuse_reply_open(req, info) != 0 && has_file(view, node))
        kf_inodes_put(view->inodes, node); /* interrupted: there will be no release */
}

static void op_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *info)
{
    struct kf_view *view = view_of(req);
    uint32_t node = kf_node_of_id(id, view->tree->count);

    if (id == KF_ID_STATUS)
        free((void *)(uintptr_t)info->fh);
    else if (node != KF_NODE_NONE && has_file(view, node))
        kf_inodes_put(view->inodes, node);
    (void)fuse_reply_err(req, 0);
}

/* A buffer of KF_READ_LIMIT bytes for each FUSE thread; NULL on no memory. */
static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void)
{
    if (pthread_key_create(&buffer_key, free) != 0)
        abort(); /* no key in a process that made none: our own mistake */
}

static void *thread_buffer(void)
{
    void *buffer;

    (void)pthread_once(&buffer_once, make_buffer_key);
    buffer = pthread_getspecific(buffer_key);
    if (!buffer) {
        buffer = aligned_alloc(STATFS_BLOCK, KF_READ_LIMIT);
        if (buffer && pthread_setspecific(buffer_key, buffer) != 0)
            free(kf_steal(buffer));
    }
    return buffer;
}

/* From a copy: once the answer is in the kernel another thread may get to release the
 * text, before our own write has returned. */
static void read_status(fuse_req_t req, size_t size, off_t offset,
                        const struct fuse_file_info *info)
{
    const char *text = status_text(info);
    size_t length = strlen(text);
    size_t from = (uint64_t)offset < length ? (size_t)offset : length;
    void *buffer = thread_buffer();

    size = (size_t)kf_min_u64(kf_min_u64(size, KF_READ_LIMIT), length - from);
    if (!buffer) {
        (void)fuse_reply_err(req, ENOMEM);
        return;
    }
    memcpy(buffer, text + from, size);
    (void)fuse_reply_buf(req, buffer, size);
}

static void read_file(fuse_req_t req, uint32_t node, size_t size, uint64_t offset)
{
    struct kf_view *view = view_of(req);
    const char *bytes = kf_kit_bytes(view->kit, node);
    struct kf_file *file = kf_inodes_file(view->inodes, node);
    void *buffer = thread_buffer();

    if (bytes) {
        kf_stats_add(view->stats, KF_STAT_READ_BYTES, size);
        (void)fuse_reply_buf(req, bytes + offset, size); /* the reader may be gone */
        return;
    }
    if (!file) {
        (void)fuse_reply_err(req, EBADF);
        return;
    }
    if (buffer && kf_file_read_now(file, buffer, size, offset) == (ssize_t)size) {
        kf_stats_add(view->stats, KF_STAT_READ_BYTES, size);
        (void)fuse_reply_buf(req, buffer, size); /* the reader may be gone */
        return;
    }
    kf_reads_submit(view->reads, req, node, offset, size);
}

static void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    struct kf_view *view = view_of(req);
    uint32_t node = kf_node_of_id(id, view->tree->count);
    uint64_t from = (uint64_t)offset;

    if (id == KF_ID_STATUS) {
        read_status(req, size, offset, info);
        return;
    }
    if (node == KF_NODE_NONE || size > KF_READ_LIMIT) {
        (void)fuse_reply_err(req, node == KF_NODE_NONE ? EBADF : EINVAL);
        return;
    }
    kf_stats_add(view->stats, KF_STAT_READ_REQUESTS, 1);
    if (from >= view->tree->nodes[node].size || size == 0) {
        (void)fuse_reply_buf(req, NULL, 0);
        return;
    }
    size = (size_t)kf_min_u64(size, view->tree->nodes[node].size - from);
    read_file(req, node, size, from);
}

const struct fuse_lowlevel_ops kf_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .statfs = op_statfs,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .open = op_open,
    .release = op_release,
    .read = op_read,
};
