#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "kit/scan.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

static int write_out(void *arg, const void *data, size_t length, struct kf_err *err)
{
    (void)arg;
    return kf_write_all(STDOUT_FILENO, data, length, err);
}

/* It may be in a layer that was not streamed yet. */
static int scan(struct kf_kit *kit, const struct kf_options *options, struct kf_err *err)
{
    bool found = false;

    if (kf_kit_scan(kit, options->args[1], options->offset, options->length, write_out,
                    NULL, &found, err) != 0)
        return -1;
    return found ? 0
                 : kf_fail(err, KF_E_NOTFOUND,
                           "no '%s' in it (kitfs ls lists what there is)",
                           options->args[1]);
}

static int copy(struct kf_kit *kit, const struct kf_options *options, struct kf_err *err)
{
    const struct kf_tree *tree = kf_kit_tree(kit);
    uint32_t node = kf_tree_find(tree, options->args[1]);
    uint64_t size;

    if (node == KF_NODE_NONE)
        return scan(kit, options, err);
    if (tree->nodes[node].type == KF_TYPE_DIR)
        return kf_fail(err, KF_E_ARG, "'%s' is a folder", options->args[1]);
    size = tree->nodes[node].size;
    if (options->offset >= size)
        return 0;
    return kf_kit_copy(kit, node, options->offset,
                       kf_min_u64(options->length, size - options->offset), write_out,
                       NULL, err);
}

int kf_verb_cat(const struct kf_options *options)
{
    struct kf_opened opened;
    struct kf_err err = {0};
    /* A folder that becomes the root has to be known. */
    int rc = options->subdir ? kf_opened_open(&opened, options, &err)
                             : kf_opened_open_deferred(&opened, options, &err);

    if (rc == 0) {
        rc = copy(opened.kit, options, &err);
        kf_opened_close(&opened);
    }
    if (rc != 0 && err.os_errno == EPIPE)
        return 1; /* the reader has gone: it knows */
    return rc == 0 ? 0 : kf_report_ref("read", options, &err);
}
