/*
 * kit's local store (kitstore_files.h) as a destination. kit takes no locks; ours is
 * among kitfs' own writers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/folder_write.h"
#include "oci/index_write.h"
#include "oci/kitstore_files.h"

struct store {
    struct kf_dest_folder folder;
    struct kf_kitstore_names names;
    char *tag; /* NULL: none */
};

static struct store *store_of(struct kf_dest *dest)
{
    return kf_container_of(dest, struct store, folder.dest);
}

/* kit's files do not have the artifact type. */
static int put_manifest(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                        struct kf_err *err)
{
    struct store *store = store_of(dest);
    struct kf_index_entry entry = {.digest = manifest->digest,
                                   .size = manifest->length,
                                   .media_type = manifest->media_type};
    int fd = store->folder.fd, rc;
    kf_auto(kf_close_fd) int lock = -1;

    if (kf_dest_put(dest, manifest->json, manifest->length, manifest->digest, err) != 0)
        return -1;
    lock = kf_dest_folder_lock(&store->folder, err);
    if (lock < 0)
        return -1;
    rc = kf_index_add(fd, KF_KITSTORE_INDEX, &entry, NULL, err);
    if (rc == 0)
        rc = kf_index_add(fd, store->names.index, &entry, NULL, err);
    if (rc == 0 && store->tag)
        rc = kf_index_set_tag(fd, store->names.tags, &entry, store->tag, err);
    return rc == 0 ? 0 : kf_fail_wrap(err, "kit's store '%s'", store->folder.path);
}

static void close_store(struct kf_dest *dest)
{
    struct store *store = store_of(dest);

    kf_dest_folder_fini(&store->folder);
    kf_kitstore_names_fini(&store->names);
    free(store->tag);
    free(store);
}

static const struct kf_dest_ops store_ops = {kf_dest_folder_has,
                                             kf_dest_folder_begin,
                                             kf_dest_folder_write,
                                             kf_dest_folder_commit,
                                             kf_dest_folder_abandon,
                                             put_manifest,
                                             close_store};

int kf_store_create(struct kf_dest **ret, const struct kf_ref *ref, struct kf_err *err)
{
    struct store *store = calloc(1, sizeof(*store));
    kf_auto(kf_free) char *storage = NULL;
    int rc;

    if (!store)
        return kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
    store->folder.dest.ops = &store_ops;
    store->folder.dest.kind = "kit's store";
    store->folder.fd = store->folder.blobs_fd = -1;
    if (ref->tag && !(store->tag = strdup(ref->tag)))
        rc = kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
    else if ((rc = kf_kitstore_names(&store->names, ref, err)) == 0)
        rc = kf_kitstore_path(&storage, err);
    if (rc == 0) /* as kit makes them: for their owner alone */
        rc = kf_dest_folder_open(&store->folder, storage, 0600, err);
    if (rc != 0) {
        close_store(&store->folder.dest);
        return -1;
    }
    *ret = &store->folder.dest;
    return 0;
}
