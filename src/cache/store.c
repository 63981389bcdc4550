#include "cache/store.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/folder.h"
#include "cache/private.h"

#define WRITE_QUEUE_BYTES (UINT64_C(64) << 20)

/* Without its threads. */
static void free_store(struct kf_store *store)
{
    if (!store)
        return;
    assert(!store->objects);
    kf_close_fd(&store->objects_fd);
    kf_close_fd(&store->folder_fd);
    (void)pthread_mutex_destroy(&store->lock); /* nobody holds it */
    kf_dedup_fini(&store->dedup);
    free(store->path);
    free(store);
}

KF_DEFINE_AUTO(store, struct kf_store *, free_store)

static int open_folders(struct kf_store *store, struct kf_err *err)
{
    store->folder_fd = kf_folder_open(store->path, err);
    if (store->folder_fd < 0)
        return -1;
    store->objects_fd =
        openat(store->folder_fd, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->objects_fd < 0)
        return kf_fail_errno(err, "cannot open the objects in cache '%s'", store->path);
    return 0;
}

int kf_store_open(struct kf_store **ret, const struct kf_store_opts *opts,
                  struct kf_err *err)
{
    kf_auto(kf_auto_store) struct kf_store *store = calloc(1, sizeof(*store));

    if (!store)
        return kf_fail(err, KF_E_NOMEM, "no memory for the cache");
    store->folder_fd = store->objects_fd = -1;
    store->stats = opts->stats;
    store->look_only = opts->look_only;
    (void)pthread_mutex_init(&store->lock, NULL); /* cannot fail without attributes */
    kf_dedup_init(&store->dedup);
    store->path = opts->path ? strdup(opts->path) : kf_store_default_path();
    if (!store->path)
        return kf_fail(err, KF_E_NOTFOUND,
                       "no place for a cache: set HOME, or name a folder by --cache-dir");
    kf_identity_read(&store->identity);
    if (open_folders(store, err) != 0 ||
        kf_space_init(&store->space, store->objects_fd, opts, err) != 0 ||
        kf_syncer_start(&store->syncer, err) != 0)
        return -1;
    if (kf_writer_start(&store->writer, store,
                        opts->write_queue_bytes ? opts->write_queue_bytes
                                                : WRITE_QUEUE_BYTES,
                        err) != 0) {
        kf_syncer_stop(&store->syncer);
        return -1;
    }
    *ret = kf_steal(store);
    return 0;
}

void kf_store_end_writes(struct kf_store *store, int64_t deadline_ns)
{
    if (!store || store->writes_ended)
        return;
    kf_writer_stop(&store->writer, deadline_ns);
    store->writes_ended = true;
}

/* The writer first: it hands objects to the syncer. */
void kf_store_close(struct kf_store *store, int64_t deadline_ns)
{
    if (!store)
        return;
    kf_store_end_writes(store, deadline_ns);
    kf_syncer_stop(&store->syncer);
    free_store(store);
}

bool kf_store_remove(struct kf_store *store, const char *name)
{
    char path[KF_PAIR_PATH_SIZE];

    return kf_pair_path(path, name, NULL) == 0 && kf_pair_delete(store->objects_fd, path);
}

void kf_store_hurry(struct kf_store *store)
{
    kf_writer_hurry(&store->writer);
}

int kf_store_space(struct kf_store *store, struct kf_store_space *ret, struct kf_err *err)
{
    return kf_space_report(&store->space, ret, err);
}

const char *kf_store_path(const struct kf_store *store)
{
    return store->path;
}

void kf_store_delete(struct kf_store *store, const char *name)
{
    char path[KF_PAIR_PATH_SIZE];

    if (store && kf_pair_path(path, name, NULL) == 0)
        (void)kf_pair_delete(store->objects_fd, path); /* in use: another time */
}
