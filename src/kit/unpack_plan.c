#include "kit/unpack_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/tree.h"

/* What is in the way, and how it is said. */
enum hindrance { NONE, OTHER_KITFILE, EXISTS, LINK, NO_FILE, NO_FOLDER, OTHER_DEVICE };

static const char *const texts[] = {
    [OTHER_KITFILE] = "is there already, and is another one",
    [EXISTS] = "is there already",
    [LINK] = "is a symbolic link, and is not followed",
    [NO_FILE] = "is there already, and is no regular file",
    [NO_FOLDER] = "is there already, and is no folder",
    [OTHER_DEVICE] = "is on another file system than the folder it is in",
};

static enum hindrance place_folder(uint8_t there, uint8_t *ret)
{
    *ret = there == KF_THERE_NOTHING ? KF_UNPACK_MAKE : KF_UNPACK_LEAVE;
    if (there == KF_THERE_LINK)
        return LINK;
    if (there == KF_THERE_DEVICE)
        return OTHER_DEVICE;
    return there == KF_THERE_NOTHING || there == KF_THERE_DIR ? NONE : NO_FOLDER;
}

static enum hindrance place_file(uint8_t there, const struct kf_unpack_rules *rules,
                                 bool is_kitfile, uint8_t *ret)
{
    bool is_file = there == KF_THERE_FILE;

    *ret = KF_UNPACK_LEAVE;
    if (there == KF_THERE_SAME || (rules->keep && !is_kitfile && there))
        return NONE;
    *ret = is_file ? KF_UNPACK_REPLACE : KF_UNPACK_MAKE;
    if (there == KF_THERE_NOTHING || (is_file && rules->overwrite))
        return NONE;
    if (there == KF_THERE_LINK)
        return LINK;
    if (!is_file)
        return NO_FILE;
    return is_kitfile ? OTHER_KITFILE : EXISTS;
}

static const char *remedy(enum hindrance first)
{
    if (first == EXISTS)
        return " (-o overwrites what is there, -i keeps it)";
    return first == OTHER_KITFILE ? " (-o overwrites it)" : "";
}

static int refuse(const struct kf_tree *tree, uint32_t node, enum hindrance first,
                  uint32_t count, struct kf_err *err)
{
    kf_auto(kf_free) char *path = kf_tree_path(tree, node);
    char text[KF_NAME_TEXT_SIZE], more[48] = "";

    if (!path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    if (count > 1)
        (void)snprintf(more, sizeof(more), ", and %" PRIu32 " more are in the way",
                       count - 1); /* fits */
    return kf_fail(err, KF_E_REFUSED, "'%s' %s%s%s",
                   kf_name_text(text, path, strlen(path)), texts[first], more,
                   remedy(first));
}

int kf_unpack_plan(const struct kf_tree *tree, const uint8_t *there,
                   const struct kf_unpack_rules *rules, uint8_t *ret, struct kf_err *err)
{
    enum hindrance first = NONE;
    uint32_t count = 0, node = 0;

    for (uint32_t i = 0; i < tree->count; i++) {
        enum hindrance found =
            tree->nodes[i].type == KF_TYPE_DIR
                ? place_folder(there[i], &ret[i])
                : place_file(there[i], rules, i == rules->kitfile, &ret[i]);

        if (found == NONE)
            continue;
        if (count == 0) {
            first = found;
            node = i;
        }
        count++;
    }
    return count == 0 ? 0 : refuse(tree, node, first, count, err);
}
