/*
 * An OCI image layout folder (image spec 1.1, image-layout.md) as an origin.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/folder_read.h"

#define MARKER_LIMIT 4096u

static int not_found(const struct kf_origin_folder *folder, const char *wanted,
                     struct kf_err *err)
{
    char tags[256];
    bool some = kf_origin_folder_list_tags(folder, tags, sizeof(tags));

    if (folder->index.entry_count == 0)
        return kf_fail(err, KF_E_NOTFOUND, "'%s' is empty", folder->path);
    if (!some)
        return kf_fail(err, KF_E_NOTFOUND, "nothing has a tag in '%s': name a @digest",
                       folder->path);
    if (!*wanted)
        return kf_fail(err, KF_E_ARG, "several kits in '%s': name a tag (%s)",
                       folder->path, tags);
    return kf_fail(err, KF_E_NOTFOUND, "no such tag '%s' in '%s' (there are: %s)", wanted,
                   folder->path, tags);
}

/* The digest of a tag, of a digest in text, or (nothing wanted) of the only manifest. */
static int find(const struct kf_origin_folder *folder, const char *wanted,
                struct kf_digest *ret, struct kf_err *err)
{
    const struct kf_index *index = &folder->index;
    const struct kf_desc *entry;

    if (strncmp(wanted, "sha256:", 7) == 0)
        return kf_digest_parse(ret, wanted, strlen(wanted), err);
    if (!*wanted && index->entry_count == 1)
        entry = &index->entries[0];
    else
        entry = *wanted ? kf_origin_folder_find_tag(folder, wanted) : NULL;
    if (!entry)
        return not_found(folder, wanted, err);
    *ret = entry->digest;
    return 0;
}

static int layout_manifest(struct kf_origin *origin, const char *tag_or_digest,
                           const struct kf_digest *known, struct kf_buf *ret_bytes,
                           struct kf_digest *ret_digest, struct kf_err *err)
{
    const struct kf_origin_folder *folder =
        kf_container_of(origin, struct kf_origin_folder, origin);
    struct kf_digest digest;

    if (find(folder, tag_or_digest, &digest, err) != 0)
        return -1;
    return kf_origin_folder_manifest(folder, &digest, known, ret_bytes, ret_digest, err);
}

static void layout_close(struct kf_origin *origin)
{
    struct kf_origin_folder *folder =
        kf_container_of(origin, struct kf_origin_folder, origin);

    kf_origin_folder_fini(folder);
    free(folder);
}

static const struct kf_origin_ops layout_ops = {
    .manifest = layout_manifest,
    .blob = kf_origin_folder_blob,
    .tags = kf_origin_folder_tags,
    .close = layout_close,
};

static int load_index(struct kf_origin_folder *folder, struct kf_err *err)
{
    struct kf_buf bytes;
    int rc;

    kf_buf_init(&bytes, MARKER_LIMIT);
    rc = kf_load_file(folder->fd, "oci-layout", &bytes, err);
    if (rc == 0 && (bytes.length == 0 ||
                    !memmem(bytes.data, bytes.length, "imageLayoutVersion", 18)))
        rc = kf_fail(err, KF_E_MALFORMED, "its file 'oci-layout' is not one");
    kf_buf_fini(&bytes);
    if (rc != 0)
        return -1;
    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    rc = kf_load_file(folder->fd, "index.json", &bytes, err);
    if (rc == 0)
        rc = kf_index_parse(&folder->index, bytes.data, bytes.length, err);
    kf_buf_fini(&bytes);
    return rc;
}

int kf_layout_open(struct kf_origin **ret, const struct kf_ref *ref,
                   const struct kf_origin_opts *opts, struct kf_err *err)
{
    struct kf_origin_folder *folder = calloc(1, sizeof(*folder));

    if (!folder)
        return kf_fail(err, KF_E_NOMEM, "no memory for a layout");
    folder->origin.ops = &layout_ops;
    folder->origin.kind = "the layout";
    if (kf_origin_folder_open(folder, ref->dir, opts, err) != 0) {
        (void)kf_fail_wrap(err, "layout");
    } else if (load_index(folder, err) == 0) {
        *ret = &folder->origin;
        return 0;
    } else {
        (void)kf_fail_wrap(err, "'%s' is not an OCI layout", ref->dir);
    }
    layout_close(&folder->origin);
    return -1;
}
