#include "kit/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/open.h"
#include "layer/pass.h"

/* As kf_tree_find reads it: leading, trailing and doubled slashes do not count. NULL: no
 * memory. */
static char *make_plain(const char *path)
{
    char *plain = malloc(strlen(path) + 1), *to = plain;

    while (plain && *(path += strspn(path, "/"))) {
        size_t length = strcspn(path, "/");

        if (to != plain)
            *to++ = '/';
        memcpy(to, path, length);
        to += length;
        path += length;
    }
    if (plain)
        *to = '\0';
    return plain;
}

/* Whether the Kitfile says that the file is in that layer. */
static bool is_likely(const struct kf_kit_layer *layer, const char *path)
{
    const char *folder = layer->path;
    size_t length;

    if (!folder)
        return false;
    if (strncmp(folder, "./", 2) == 0)
        folder += 2;
    length = strlen(folder);
    while (length > 0 && folder[length - 1] == '/')
        length--;
    if (length == 0 || strcmp(folder, ".") == 0)
        return true;
    return strncmp(path, folder, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

/* The path as the layer's names are; NULL: it is in another folder. */
static const char *inside(const struct kf_kit_layer *layer, const char *path)
{
    size_t length = strlen(layer->prefix);

    if (length == 0)
        return path;
    return strncmp(path, layer->prefix, length) == 0 && path[length] == '/'
               ? path + length + 1
               : NULL;
}

static int scan_some(struct kf_kit *kit, struct kf_scan *scan, const char *path,
                     bool likely, struct kf_err *err)
{
    for (size_t i = 0; i < kf_kit_layer_count(kit) && !scan->found; i++) {
        const struct kf_kit_layer *layer = kf_kit_layer(kit, i);

        scan->path = inside(layer, path);
        if (scan->path && kf_layer_is_deferred(layer->layer) &&
            is_likely(layer, scan->path) == likely &&
            kf_layer_scan(layer->layer, scan, err) != 0)
            return -1;
    }
    return 0;
}

int kf_kit_scan(struct kf_kit *kit, const char *path, uint64_t offset, uint64_t length,
                kf_copy_write *write, void *arg, bool *ret_found, struct kf_err *err)
{
    kf_auto(kf_free) char *plain = make_plain(path);
    struct kf_scan scan = {
        .offset = offset, .length = length, .write = write, .arg = arg};

    if (!plain)
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    if (scan_some(kit, &scan, plain, true, err) != 0 ||
        scan_some(kit, &scan, plain, false, err) != 0)
        return -1;
    *ret_found = scan.found;
    return 0;
}
