#include "oci/kitstore.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/folder_read.h"
#include "oci/kitstore_files.h"

struct store {
    struct kf_origin_folder folder; /* its index: the repository's tags */
    struct kf_index manifests;      /* of the repository */
    char *name;                     /* of the repository, as people see it */
};

static struct store *store_of(struct kf_origin *origin)
{
    return kf_container_of(origin, struct store, folder.origin);
}

/* ---- its files ---- */

typedef int parse_index(struct kf_index *ret, const void *json, size_t length,
                        struct kf_err *err);

/* A file that is not there is an empty one; a name that is too long is of none. */
static int load(int dirfd, const char *name, parse_index *parse, struct kf_index *ret,
                struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf bytes;
    struct kf_err why = {0};

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    if (strlen(name) > NAME_MAX)
        return 0;
    if (kf_load_file(dirfd, name, &bytes, &why) != 0) {
        if (why.kind == KF_E_NOTFOUND)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    if (parse(ret, bytes.data ? bytes.data : (const uint8_t *)"", bytes.length, err) != 0)
        return kf_fail_wrap(err, "its file '%s'", name);
    return 0;
}

/* Its manifests are those of `index_name`, NULL: of its own. */
static int load_repository(int dirfd, const struct kf_ref *ref, const char *index_name,
                           struct kf_index *ret_tags, struct kf_index *ret_manifests,
                           struct kf_err *err)
{
    struct kf_kitstore_names names;
    int rc;

    if (kf_kitstore_names(&names, ref, err) != 0)
        return -1;
    rc = load(dirfd, names.tags, kf_index_parse_tags, ret_tags, err);
    if (rc == 0)
        rc = load(dirfd, index_name ? index_name : names.index, kf_index_parse,
                  ret_manifests, err);
    kf_kitstore_names_fini(&names);
    return rc;
}

static int refuse_old(const struct store *store, const struct kf_ref *ref,
                      struct kf_err *err)
{
    kf_auto(kf_free) char *path = NULL;

    if (asprintf(&path, "%s/%s/" KF_KITSTORE_INDEX, ref->registry, ref->repository) < 0)
        path = NULL;
    if (!path || faccessat(store->folder.fd, path, F_OK, 0) != 0)
        return 0;
    return kf_fail(err, KF_E_UNSUPPORTED,
                   "'%s' is as kit before 1.0 wrote it: run any command of a newer kit "
                   "once (kit list), which converts it",
                   path);
}

/* ---- what is in it ---- */

static bool lists(const struct kf_index *index, const struct kf_digest *digest)
{
    for (size_t i = 0; i < index->entry_count; i++)
        if (kf_digest_equal(&index->entries[i].digest, digest))
            return true;
    return false;
}

static int no_repository(const struct store *store, struct kf_err *err)
{
    return kf_fail(err, KF_E_NOTFOUND, "no '%s' in it", store->name);
}

static int no_tag(const struct store *store, const char *tag, struct kf_err *err)
{
    char tags[256];
    bool some = kf_origin_folder_list_tags(&store->folder, tags, sizeof(tags));

    if (!some && store->manifests.entry_count == 0)
        return no_repository(store, err);
    if (!some)
        return kf_fail(err, KF_E_NOTFOUND, "nothing has a tag in '%s': name a @digest",
                       store->name);
    if (!*tag)
        return kf_fail(err, KF_E_ARG, "no tag of '%s' is named (there are: %s)",
                       store->name, tags);
    return kf_fail(err, KF_E_NOTFOUND, "no such tag '%s' of '%s' in it (there are: %s)",
                   tag, store->name, tags);
}

static int holds(const struct store *store, const struct kf_ref *ref, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];

    if (ref->has_digest)
        return lists(&store->manifests, &ref->digest)
                   ? 0
                   : kf_fail(err, KF_E_NOTFOUND, "no such manifest '%s' of '%s' in it",
                             kf_digest_format(&ref->digest, text), store->name);
    if (ref->tag)
        return kf_origin_folder_find_tag(&store->folder, ref->tag)
                   ? 0
                   : no_tag(store, ref->tag, err);
    return store->manifests.entry_count + store->folder.index.entry_count > 0
               ? 0
               : no_repository(store, err);
}

/* By digest also what an image index of the repository names. */
static int store_manifest(struct kf_origin *origin, const char *tag_or_digest,
                          const struct kf_digest *known, struct kf_buf *ret_bytes,
                          struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct store *store = store_of(origin);
    const struct kf_desc *entry =
        kf_origin_folder_find_tag(&store->folder, tag_or_digest);
    struct kf_digest digest;
    struct kf_err why = {0};
    int rc;

    if (strncmp(tag_or_digest, "sha256:", 7) == 0) {
        if (kf_digest_parse(&digest, tag_or_digest, strlen(tag_or_digest), err) != 0)
            return -1;
    } else if (entry) {
        digest = entry->digest;
    } else {
        (void)no_tag(store, tag_or_digest, err);
        return kf_fail_wrap(err, "kit's store '%s'", store->folder.path);
    }
    rc = kf_origin_folder_manifest(&store->folder, &digest, known, ret_bytes, ret_digest,
                                   &why);
    if (rc >= 0)
        return rc;
    if (why.kind == KF_E_NOTFOUND) /* the store says that it is there */
        why.kind = KF_E_CORRUPT;
    return kf_fail(err, why.kind, "kit's store: %s", why.message);
}

static void store_close(struct kf_origin *origin)
{
    struct store *store = store_of(origin);

    kf_origin_folder_fini(&store->folder);
    kf_index_fini(&store->manifests);
    free(store->name);
    free(store);
}

static const struct kf_origin_ops store_ops = {
    .manifest = store_manifest,
    .blob = kf_origin_folder_blob,
    .tags = kf_origin_folder_tags,
    .close = store_close,
};

static int open_repository(struct store *store, const char *path,
                           const struct kf_ref *ref, const struct kf_origin_opts *opts,
                           struct kf_err *err)
{
    struct kf_ref named = {.registry = ref->registry, .repository = ref->repository};
    /* A bare digest names any manifest of the store. */
    const char *index =
        strcmp(ref->repository, KF_REF_NAMELESS) == 0 ? KF_KITSTORE_INDEX : NULL;
    struct kf_err why = {0};

    store->name = kf_ref_format_name(&named);
    if (!store->name)
        return kf_fail(err, KF_E_NOMEM, "no memory");
    if (kf_origin_folder_open(&store->folder, path, opts, err) != 0 ||
        load_repository(store->folder.fd, ref, index, &store->folder.index,
                        &store->manifests, err) != 0)
        return -1;
    if (holds(store, ref, &why) == 0)
        return 0;
    return refuse_old(store, ref, err) != 0 ? -1
                                            : kf_fail(err, why.kind, "%s", why.message);
}

int kf_kitstore_open(struct kf_origin **ret, const struct kf_ref *ref,
                     const struct kf_origin_opts *opts, struct kf_err *err)
{
    kf_auto(kf_free) char *path = NULL;
    struct store *store;

    if (kf_kitstore_path(&path, err) != 0) {
        if (err && err->kind == KF_E_ARG) /* nowhere is not there */
            err->kind = KF_E_NOTFOUND;
        return -1;
    }
    store = calloc(1, sizeof(*store));
    if (!store)
        return kf_fail(err, KF_E_NOMEM, "no memory for kit's store");
    store->folder.origin.ops = &store_ops;
    store->folder.origin.kind = "kit's store";
    store->folder.fd = -1;
    if (open_repository(store, path, ref, opts, err) != 0) {
        store_close(&store->folder.origin);
        return kf_fail_wrap(err, "kit's store '%s'", path);
    }
    *ret = &store->folder.origin;
    return 0;
}

/* ---- all of it ---- */

static int add_kit(struct kf_kitstore_list *list, const char *name,
                   const struct kf_desc *manifest, const struct kf_index *tags,
                   struct kf_err *err)
{
    const char *slash = strchr(name, '/');
    struct kf_kitstore_kit *grown, *kit;

    grown = realloc(list->kits, (list->count + 1) * sizeof(*grown));
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for a list of kits");
    list->kits = grown;
    kit = &grown[list->count++];
    *kit = (struct kf_kitstore_kit){
        .name = strdup(name),
        .ref = {.where = KF_REF_STORE,
                .registry = strndup(name, (size_t)(slash - name)),
                .repository = strdup(slash + 1),
                .has_digest = true,
                .digest = manifest->digest},
    };
    if (!kit->name || !kit->ref.registry || !kit->ref.repository)
        return kf_fail(err, KF_E_NOMEM, "no memory for a list of kits");
    for (size_t i = 0; i < tags->entry_count; i++)
        if (kf_digest_equal(&tags->entries[i].digest, &manifest->digest) &&
            kf_strings_add(&kit->tags, kf_desc_tag(&tags->entries[i]), err) != 0)
            return -1;
    kf_strings_sort(&kit->tags);
    return 0;
}

/* A name that is none of kit's is passed over. */
static int add_repository(struct kf_kitstore_list *list, int dirfd, const char *file,
                          struct kf_err *err)
{
    kf_auto(kf_free) char *name = kf_kitstore_repository(file);
    struct kf_index manifests = {0}, tags = {0};
    struct kf_ref ref = {0};
    kf_auto(kf_free) char *registry = NULL;
    int rc;

    if (!name)
        return 0;
    registry = strndup(name, strcspn(name, "/"));
    ref.registry = registry;
    ref.repository = strchr(name, '/') + 1;
    rc = registry ? load_repository(dirfd, &ref, NULL, &tags, &manifests, err)
                  : kf_fail(err, KF_E_NOMEM, "no memory for a list of kits");
    for (size_t i = 0; rc == 0 && i < manifests.entry_count; i++)
        rc = add_kit(list, name, &manifests.entries[i], &tags, err);
    kf_index_fini(&manifests);
    kf_index_fini(&tags);
    return rc;
}

static int compare(const void *a, const void *b)
{
    const struct kf_kitstore_kit *one = a, *other = b;
    int order = strcmp(one->name, other->name);

    return order != 0 ? order
                      : memcmp(one->ref.digest.bytes, other->ref.digest.bytes,
                               sizeof(one->ref.digest.bytes));
}

static int read_folder(struct kf_kitstore_list *list, DIR *dir, struct kf_err *err)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)))
        if (add_repository(list, dirfd(dir), entry->d_name, err) != 0)
            return -1;
    if (list->count > 0)
        qsort(list->kits, list->count, sizeof(*list->kits), compare);
    return 0;
}

int kf_kitstore_list(struct kf_kitstore_list *ret, struct kf_err *err)
{
    struct kf_kitstore_list list = {0};
    kf_auto(kf_free) char *path = NULL;
    struct kf_err why = {0};
    DIR *dir;
    int rc;

    if (kf_kitstore_path(&path, err) != 0)
        return -1;
    dir = opendir(path);
    if (!dir) {
        (void)kf_fail_errno(&why, "cannot open kit's store '%s'", path); /* its kind */
        if (why.kind == KF_E_NOTFOUND)
            *ret = list;
        else if (err)
            *err = why;
        return why.kind == KF_E_NOTFOUND ? 0 : -1;
    }
    rc = read_folder(&list, dir, err);
    (void)closedir(dir); /* only read */
    if (rc != 0) {
        kf_kitstore_list_fini(&list);
        return kf_fail_wrap(err, "kit's store '%s'", path);
    }
    *ret = list;
    return 0;
}

void kf_kitstore_list_fini(struct kf_kitstore_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->kits[i].name);
        kf_ref_fini(&list->kits[i].ref);
        kf_strings_fini(&list->kits[i].tags);
    }
    free(list->kits);
    *list = (struct kf_kitstore_list){0};
}
