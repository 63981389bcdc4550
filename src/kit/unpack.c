#include "kit/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "kit/open.h"
#include "kit/unpack_folder.h"
#include "kit/unpack_layer.h"
#include "kit/unpack_parts.h"
#include "kit/unpack_place.h"
#include "kit/unpack_plan.h"

#define LOOK_NS (100 * KF_NS_PER_MS)
#define KITFILE_FILE "kitfile" /* its content, until it is moved */

struct layer {
    char name[KF_UNPACK_LAYER_NAME_SIZE];
    bool *wanted; /* by entry; NULL: nothing of it */
    struct kf_unpack_layer *unpacking;
};

struct unpack {
    struct kf_kit *kit;
    const struct kf_tree *tree;
    const struct kf_unpack_opts *opts;
    int dir_fd, folder_fd;
    char digest[KF_DIGEST_TEXT_SIZE];
    bool placing; /* files of this kit were being moved when it ended */
    uint8_t *there, *actions;
    struct layer *layers;
    size_t layer_count;
    uint64_t total, resumed;

    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t next, running, finished; /* lock */
    uint64_t done;                  /* lock */
    bool failed;                    /* lock */
    struct kf_err error;            /* lock; the first */
};

/* ---- what is there ---- */

static int open_target(struct unpack *u, bool make, struct kf_err *err)
{
    int rc;

    if (make && kf_make_dirs(AT_FDCWD, u->opts->dir, 0777, err) != 0)
        return -1;
    u->dir_fd = open(u->opts->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (u->dir_fd < 0 && errno == ENOENT && !make)
        return 0;
    if (u->dir_fd < 0)
        return kf_fail_errno(err, "cannot open folder '%s'", u->opts->dir);
    rc = kf_unpack_folder_open(&u->folder_fd, u->dir_fd, make, err);
    if (rc == 0 && !make)
        u->placing = kf_unpack_is_marked(u->folder_fd, KF_UNPACK_PLACING, u->digest);
    return rc < 0 ? kf_fail_wrap(err, "folder '%s'", u->opts->dir) : 0;
}

static void close_target(struct unpack *u)
{
    kf_close_fd(&u->folder_fd);
    kf_close_fd(&u->dir_fd);
    u->folder_fd = u->dir_fd = -1;
}

static int from_path(void *arg, uint32_t node, char out[KF_PLACE_FROM_SIZE],
                     struct kf_err *err)
{
    const struct unpack *u = arg;
    const struct kf_node *which = &u->tree->nodes[node];
    char file[KF_UNPACK_FILE_NAME_SIZE];

    (void)err;
    if (which->layer == KF_NODE_NONE) {
        (void)snprintf(out, KF_PLACE_FROM_SIZE, KITFILE_FILE); /* fits */
        return 0;
    }
    kf_unpack_file_name(which->entry, file);
    (void)snprintf(out, KF_PLACE_FROM_SIZE, "%s/%s", u->layers[which->layer].name,
                   file); /* fits */
    return 0;
}

static bool has_text(int parent_fd, const char *name, const char *text)
{
    size_t length = strlen(text);
    kf_auto(kf_buf_fini) struct kf_buf found;

    kf_buf_init(&found, length + 1);
    return kf_load_file(parent_fd, name, &found, NULL) == 0 && found.length == length &&
           (length == 0 || memcmp(found.data, text, length) == 0);
}

/* The same Kitfile; or a file that an earlier call has moved. */
static bool is_same(void *arg, uint32_t node, int parent_fd, const char *name)
{
    struct unpack *u = arg;
    const char *text = kf_kit_bytes(u->kit, node);
    char path[KF_PLACE_FROM_SIZE];

    if (text)
        return has_text(parent_fd, name, text);
    return u->placing && from_path(u, node, path, NULL) == 0 &&
           faccessat(u->folder_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

static uint32_t kitfile_node(const struct unpack *u)
{
    uint32_t node = kf_tree_find(u->tree, "Kitfile");

    return node != KF_NODE_NONE && kf_kit_bytes(u->kit, node) ? node : KF_NODE_NONE;
}

static int plan(struct unpack *u, struct kf_err *err)
{
    const struct kf_place_scan scan = {
        .tree = u->tree, .dir_fd = u->dir_fd, .same = is_same, .arg = u};
    const struct kf_unpack_rules rules = {.overwrite = u->opts->overwrite,
                                          .keep = u->opts->keep,
                                          .kitfile = kitfile_node(u)};

    if (kf_tree_child(u->tree, 0, KF_UNPACK_FOLDER, strlen(KF_UNPACK_FOLDER)) !=
        KF_NODE_NONE)
        return kf_fail(err, KF_E_UNSUPPORTED,
                       "it has a '" KF_UNPACK_FOLDER "' of its own");
    u->there = calloc(u->tree->count, 1);
    u->actions = calloc(u->tree->count, 1);
    if (!u->there || !u->actions)
        return kf_fail(err, KF_E_NOMEM, "no memory for %u files", u->tree->count);
    u->there[0] = KF_THERE_DIR;
    if (u->dir_fd >= 0 && kf_place_scan(&scan, u->there, err) != 0)
        return -1;
    return kf_unpack_plan(u->tree, u->there, &rules, u->actions, err);
}

/* ---- the layers ---- */

static int name_layers(struct unpack *u, struct kf_err *err)
{
    u->layer_count = kf_kit_layer_count(u->kit);
    u->layers = calloc(u->layer_count + 1, sizeof(*u->layers));
    if (!u->layers)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers", u->layer_count);
    for (size_t i = 0; i < u->layer_count; i++)
        if (kf_unpack_layer_name(kf_kit_layer(u->kit, i), u->layers[i].name, err) != 0)
            return -1;
    return 0;
}

static int mark_wanted(struct unpack *u, struct kf_err *err)
{
    for (uint32_t i = 0; i < u->tree->count; i++) {
        const struct kf_node *node = &u->tree->nodes[i];
        struct layer *layer;

        if (node->type != KF_TYPE_FILE || node->layer == KF_NODE_NONE ||
            u->actions[i] == KF_UNPACK_LEAVE)
            continue;
        layer = &u->layers[node->layer];
        if (!layer->wanted)
            layer->wanted =
                calloc(kf_layer_table(kf_kit_layer(u->kit, node->layer)->layer)->count,
                       sizeof(bool));
        if (!layer->wanted)
            return kf_fail(err, KF_E_NOMEM, "no memory for a layer");
        layer->wanted[node->entry] = true;
    }
    return 0;
}

static bool is_stopped(void *arg)
{
    struct unpack *u = arg;
    bool failed;

    (void)pthread_mutex_lock(&u->lock);
    failed = u->failed;
    (void)pthread_mutex_unlock(&u->lock);
    return failed || u->opts->stopped(u->opts->arg);
}

static void add_progress(void *arg, uint64_t bytes)
{
    struct unpack *u = arg;

    (void)pthread_mutex_lock(&u->lock);
    u->done += bytes;
    (void)pthread_mutex_unlock(&u->lock);
}

static int open_layers(struct unpack *u, struct kf_err *err)
{
    for (size_t i = 0; i < u->layer_count; i++) {
        const struct kf_unpack_layer_opts opts = {.info = kf_kit_layer(u->kit, i),
                                                  .wanted = u->layers[i].wanted,
                                                  .folder_fd = u->folder_fd,
                                                  .timeout_ns = u->opts->timeout_ns,
                                                  .stopped = is_stopped,
                                                  .progress = add_progress,
                                                  .arg = u};
        uint64_t total, have;

        if (!u->layers[i].wanted)
            continue;
        if (kf_unpack_layer_open(&u->layers[i].unpacking, &opts, &total, &have, err) != 0)
            return -1;
        u->total += total;
        u->resumed += have;
    }
    return 0;
}

/* Takes the next layer until none is left or one has failed. */
static void *run_some(void *arg)
{
    struct unpack *u = arg;

    (void)pthread_mutex_lock(&u->lock);
    while (!u->failed && u->next < u->layer_count) {
        struct kf_unpack_layer *layer = u->layers[u->next++].unpacking;
        struct kf_err err;
        int rc;

        (void)pthread_mutex_unlock(&u->lock);
        rc = layer ? kf_unpack_layer_run(layer, &err) : 0;
        (void)pthread_mutex_lock(&u->lock);
        u->finished += rc == 0;
        if (rc != 0 && !u->failed) {
            u->failed = true;
            u->error = err;
        }
    }
    u->running--;
    (void)pthread_cond_signal(&u->cond);
    (void)pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void show_progress(struct unpack *u)
{
    uint64_t total = u->total - u->resumed, done;
    size_t finished;

    (void)pthread_mutex_lock(&u->lock);
    done = kf_min_u64(u->done, total); /* more when a layer had to begin anew */
    finished = u->finished;
    (void)pthread_mutex_unlock(&u->lock);
    u->opts->progress(u->opts->arg, finished, u->layer_count, done, total);
}

static bool wait_a_while(struct unpack *u)
{
    bool running;

    (void)pthread_mutex_lock(&u->lock);
    if (u->running > 0)
        (void)kf_cond_wait_until(&u->cond, &u->lock, kf_deadline_ns(LOOK_NS));
    running = u->running > 0;
    (void)pthread_mutex_unlock(&u->lock);
    return running;
}

static int run_layers(struct unpack *u, struct kf_err *err)
{
    pthread_t threads[KF_UNPACK_LAYERS_AT_ONCE];
    size_t wanted = kf_min_u64(u->layer_count, KF_ARRAY_LEN(threads)), started = 0;

    u->running = wanted;
    while (started < wanted && pthread_create(&threads[started], NULL, run_some, u) == 0)
        started++;
    (void)pthread_mutex_lock(&u->lock);
    u->running -= wanted - started; /* with fewer it only takes longer */
    (void)pthread_mutex_unlock(&u->lock);
    while (wait_a_while(u))
        show_progress(u);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(threads[i], NULL); /* cannot fail: ours, joined once */
    if (u->layer_count > 0 && started == 0)
        return kf_fail(err, KF_E_NOMEM, "no thread to unpack with");
    if (u->failed && err)
        *err = u->error;
    return u->failed ? -1 : 0;
}

/* ---- into place ---- */

static int write_kitfile(struct unpack *u, struct kf_err *err)
{
    uint32_t node = kitfile_node(u);

    return node == KF_NODE_NONE || u->actions[node] == KF_UNPACK_LEAVE
               ? 0
               : kf_unpack_mark(u->folder_fd, KITFILE_FILE, kf_kit_bytes(u->kit, node),
                                err);
}

static int place(struct unpack *u, struct kf_err *err)
{
    const struct kf_place_moves moves = {.tree = u->tree,
                                         .dir_fd = u->dir_fd,
                                         .actions = u->actions,
                                         .umask = u->opts->umask,
                                         .from_fd = u->folder_fd,
                                         .from = from_path,
                                         .arg = u};

    if (u->opts->stopped(u->opts->arg))
        return kf_fail(err, KF_E_CANCELLED, "interrupted");
    if (write_kitfile(u, err) != 0 ||
        kf_unpack_mark(u->folder_fd, KF_UNPACK_PLACING, u->digest, err) != 0)
        return -1;
    if (kf_place_move(&moves, err) == 0)
        return 0;
    if (err && err->kind == KF_E_NOTFOUND) /* then it is no use going on from here */
        (void)kf_unpack_folder_remove(u->folder_fd, NULL, NULL);
    return -1;
}

static void count(const struct unpack *u, struct kf_unpacked *ret)
{
    *ret = (struct kf_unpacked){.resumed_bytes = u->resumed};
    for (uint32_t i = 0; i < u->tree->count; i++) {
        const struct kf_node *node = &u->tree->nodes[i];

        if (node->type != KF_TYPE_FILE)
            continue;
        if (u->actions[i] == KF_UNPACK_LEAVE && u->there[i] != KF_THERE_SAME) {
            ret->kept++;
            continue;
        }
        ret->files++;
        ret->bytes += node->size;
    }
}

static int unpack(struct unpack *u, struct kf_err *err)
{
    if (open_target(u, false, err) != 0 || name_layers(u, err) != 0 || plan(u, err) != 0)
        return -1;
    if (u->folder_fd < 0) {
        close_target(u);
        if (open_target(u, true, err) != 0)
            return -1;
    }
    if (!u->placing &&
        (mark_wanted(u, err) != 0 || open_layers(u, err) != 0 || run_layers(u, err) != 0))
        return -1;
    if (place(u, err) != 0 || kf_unpack_folder_remove(u->folder_fd, NULL, err) != 0)
        return -1;
    return kf_unpack_folder_end(u->dir_fd, err);
}

int kf_kit_unpack(struct kf_unpacked *ret, struct kf_kit *kit,
                  const struct kf_unpack_opts *opts, struct kf_err *err)
{
    struct unpack u = {.kit = kit,
                       .tree = kf_kit_tree(kit),
                       .opts = opts,
                       .dir_fd = -1,
                       .folder_fd = -1,
                       .lock = PTHREAD_MUTEX_INITIALIZER};
    int rc;

    if (kf_cond_init(&u.cond) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory to unpack");
    (void)kf_digest_format(kf_kit_digest(kit), u.digest);
    rc = unpack(&u, err);
    if (rc == 0)
        count(&u, ret);
    for (size_t i = 0; u.layers && i < u.layer_count; i++) {
        kf_unpack_layer_close(u.layers[i].unpacking);
        free(u.layers[i].wanted);
    }
    free(u.layers);
    free(u.there);
    free(u.actions);
    close_target(&u);
    (void)pthread_cond_destroy(&u.cond); /* nobody waits */
    return rc;
}
