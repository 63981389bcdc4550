/*
 * An OCI image layout folder as a destination (image spec 1.1, image-layout.md).
 * index.json is replaced whole under a lock, so that several packers do not lose each
 * other's tags.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/folder_write.h"
#include "oci/index_write.h"

struct layout {
    struct kf_dest_folder folder;
    char *tag; /* NULL: none */
};

static struct layout *layout_of(struct kf_dest *dest)
{
    return kf_container_of(dest, struct layout, folder.dest);
}

static int put_manifest(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                        struct kf_err *err)
{
    struct layout *layout = layout_of(dest);
    struct kf_index_entry entry = {.digest = manifest->digest,
                                   .size = manifest->length,
                                   .media_type = manifest->media_type,
                                   .artifact_type = manifest->artifact_type};
    kf_auto(kf_close_fd) int lock = -1;

    if (kf_dest_put(dest, manifest->json, manifest->length, manifest->digest, err) != 0)
        return -1;
    lock = kf_dest_folder_lock(&layout->folder, err);
    if (lock < 0)
        return -1;
    if (kf_index_add(layout->folder.fd, "index.json", &entry, layout->tag, err) != 0)
        return kf_fail_wrap(err, "layout '%s'", layout->folder.path);
    return 0;
}

static void close_layout(struct kf_dest *dest)
{
    struct layout *layout = layout_of(dest);

    kf_dest_folder_fini(&layout->folder);
    free(layout->tag);
    free(layout);
}

static const struct kf_dest_ops layout_ops = {
    kf_dest_folder_has,    kf_dest_folder_begin,   kf_dest_folder_write,
    kf_dest_folder_commit, kf_dest_folder_abandon, put_manifest,
    close_layout};

int kf_layout_create(struct kf_dest **ret, const struct kf_ref *ref, struct kf_err *err)
{
    struct layout *layout = calloc(1, sizeof(*layout));

    if (!layout || (ref->tag && !(layout->tag = strdup(ref->tag)))) {
        free(layout);
        return kf_fail(err, KF_E_NOMEM, "no memory for a layout");
    }
    layout->folder.dest.ops = &layout_ops;
    layout->folder.dest.kind = "the layout";
    if (kf_dest_folder_open(&layout->folder, ref->dir, 0666, err) != 0) {
        close_layout(&layout->folder.dest);
        return -1;
    }
    *ret = &layout->folder.dest;
    return 0;
}
