/*
 * kit's local store as a destination. Below $KITOPS_HOME, $XDG_DATA_HOME/kitops or
 * ~/.local/share/kitops lies storage/: an image layout whose index.json lists every
 * manifest without a tag, and beside it for each repository
 *   BASE64-index.json  an image index of the repository's manifests
 *   BASE64-tags.json   {"tag": descriptor, ...}
 * with BASE64 the name "registry/repository" in URL-safe base64, padded. Source: kitops
 * pkg/lib/repo/local and stores made by kit 1.7 to 1.15. kit takes no locks; ours is
 * among kitfs' own packers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/folder_write.h"
#include "oci/index_write.h"

struct store {
    struct kf_dest_folder folder;
    char *index_name, *tags_name;
    char *tag; /* NULL: none */
};

static struct store *store_of(struct kf_dest *dest)
{
    return kf_container_of(dest, struct store, folder.dest);
}

static int put_manifest(struct kf_dest *dest, const void *json, size_t length,
                        const struct kf_digest *digest, const char *artifact_type,
                        struct kf_err *err)
{
    struct store *store = store_of(dest);
    struct kf_index_entry entry = {digest, length, NULL};
    int fd = store->folder.fd, rc;
    kf_auto(kf_close_fd) int lock = -1;

    (void)artifact_type; /* kit's files do not have it */
    if (kf_dest_put(dest, json, length, digest, err) != 0)
        return -1;
    lock = kf_dest_folder_lock(&store->folder, err);
    if (lock < 0)
        return -1;
    rc = kf_index_add(fd, "index.json", &entry, NULL, err);
    if (rc == 0)
        rc = kf_index_add(fd, store->index_name, &entry, NULL, err);
    if (rc == 0 && store->tag)
        rc = kf_index_set_tag(fd, store->tags_name, &entry, store->tag, err);
    return rc == 0 ? 0 : kf_fail_wrap(err, "kit's store '%s'", store->folder.path);
}

static void close_store(struct kf_dest *dest)
{
    struct store *store = store_of(dest);

    kf_dest_folder_fini(&store->folder);
    free(store->index_name);
    free(store->tags_name);
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

/* RFC 4648 section 5, padded; NULL: no memory. */
static char *base64(const char *text)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = (const unsigned char *)text;
    size_t length = strlen(text), groups = (length + 2) / 3;
    char *out = malloc(4 * groups + 1), *at = out;

    if (!out)
        return NULL;
    for (size_t i = 0; i < length; i += 3) {
        unsigned second = i + 1 < length ? in[i + 1] : 0;
        unsigned third = i + 2 < length ? in[i + 2] : 0;
        unsigned bits = (unsigned)in[i] << 16 | second << 8 | third;

        *at++ = digits[bits >> 18];
        *at++ = digits[bits >> 12 & 63];
        *at++ = i + 1 < length ? digits[bits >> 6 & 63] : '=';
        *at++ = i + 2 < length ? digits[bits & 63] : '=';
    }
    *at = '\0';
    return out;
}

static int name_files(struct store *store, const struct kf_ref *ref)
{
    kf_auto(kf_free) char *name = NULL;
    kf_auto(kf_free) char *encoded = NULL;

    if (asprintf(&name, "%s/%s", ref->registry, ref->repository) < 0) {
        name = NULL;
        return -1;
    }
    encoded = base64(name);
    if (!encoded || asprintf(&store->index_name, "%s-index.json", encoded) < 0) {
        store->index_name = NULL;
        return -1;
    }
    if (asprintf(&store->tags_name, "%s-tags.json", encoded) < 0) {
        store->tags_name = NULL;
        return -1;
    }
    return ref->tag && !(store->tag = strdup(ref->tag)) ? -1 : 0;
}

/* A variable that is set to nothing counts as not set. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static int find_storage(char **ret, struct kf_err *err)
{
    const char *kit = variable("KITOPS_HOME"), *data = variable("XDG_DATA_HOME");
    const char *home = variable("HOME");
    int rc;

    *ret = NULL;
    if (kit)
        rc = asprintf(ret, "%s/storage", kit);
    else if (data)
        rc = asprintf(ret, "%s/kitops/storage", data);
    else if (home)
        rc = asprintf(ret, "%s/.local/share/kitops/storage", home);
    else
        return kf_fail(err, KF_E_ARG, "cannot find kit's store: set KITOPS_HOME or HOME");
    if (rc >= 0)
        return 0;
    *ret = NULL;
    return kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
}

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
    rc = name_files(store, ref) == 0
             ? find_storage(&storage, err)
             : kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
    if (rc == 0) /* as kit makes them: for their owner alone */
        rc = kf_dest_folder_open(&store->folder, storage, 0600, err);
    if (rc != 0) {
        close_store(&store->folder.dest);
        return -1;
    }
    *ret = &store->folder.dest;
    return 0;
}
