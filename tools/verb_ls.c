#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

struct listing {
    const struct kf_tree *tree;
    const struct kf_options *options;
    json_t *array; /* --json */
    bool terminal; /* where control characters of names would do something */
    size_t skip;   /* what each path begins with and is not shown */
};

static void print_mode(const struct kf_node *node)
{
    static const char letters[] = "rwxrwxrwx";
    char text[11];

    text[0] = node->type == KF_TYPE_DIR ? 'd' : '-';
    for (int i = 0; i < 9; i++)
        text[1 + i] = (node->mode >> (8 - i) & 1) != 0 ? letters[i] : '-';
    text[10] = '\0';
    printf("%s %13llu ", text, (unsigned long long)node->size);
}

static int add_json(struct listing *listing, const struct kf_node *node, char *path)
{
    json_t *item = json_pack(
        "{s:o, s:s, s:I, s:i, s:I}", "path", kf_json_name(path, strlen(path)), "type",
        node->type == KF_TYPE_DIR ? "dir" : "file", "size", (json_int_t)node->size,
        "mode", (int)node->mode, "mtime", (json_int_t)node->mtime);

    return item ? json_array_append_new(listing->array, item) : -1;
}

static void print_line(const struct listing *listing, const struct kf_node *node,
                       char *name)
{
    if (listing->terminal)
        kf_make_plain(name);
    if (listing->options->long_listing)
        print_mode(node);
    printf("%s%s\n", name, node->type == KF_TYPE_DIR ? "/" : "");
}

/* Names are shown from the folder that is listed on, as ls does; in JSON from the root.
 */
static int show(struct listing *listing, uint32_t index, struct kf_err *err)
{
    const struct kf_node *node = &listing->tree->nodes[index];
    kf_auto(kf_free) char *path = kf_tree_path(listing->tree, index);

    if (!path || (listing->array && add_json(listing, node, path) != 0))
        return kf_fail(err, KF_E_NOMEM, "no memory for a listing");
    if (!listing->array)
        print_line(listing, node, path + listing->skip);
    if (node->type != KF_TYPE_DIR || !listing->options->recursive)
        return 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (show(listing, node->first_child + i, err) != 0)
            return -1;
    return 0;
}

static int list(struct listing *listing, struct kf_err *err)
{
    const char *where = listing->options->arg_count > 1 ? listing->options->args[1] : "";
    uint32_t index = kf_tree_find(listing->tree, where);
    const struct kf_node *node;
    kf_auto(kf_free) char *path = NULL;

    if (index == KF_NODE_NONE)
        return kf_fail(err, KF_E_NOTFOUND, "no '%s' in it", where);
    node = &listing->tree->nodes[index];
    if (node->type != KF_TYPE_DIR)
        return show(listing, index, err);
    path = kf_tree_path(listing->tree, index);
    if (!path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a listing");
    listing->skip = *path ? strlen(path) + 1 : 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (show(listing, node->first_child + i, err) != 0)
            return -1;
    return 0;
}

int kf_verb_ls(const struct kf_options *options)
{
    struct kf_opened opened;
    struct kf_err err = {0};
    int rc = kf_opened_open(&opened, options, &err);

    if (rc == 0) {
        struct listing listing = {.tree = kf_kit_tree(opened.kit),
                                  .options = options,
                                  .array = options->json ? json_array() : NULL,
                                  .terminal = isatty(STDOUT_FILENO) == 1};

        rc = list(&listing, &err);
        if (rc == 0 && listing.array)
            kf_print_json(listing.array);
        json_decref(listing.array);
        kf_opened_close(&opened);
    }
    return rc == 0 ? 0 : kf_report_ref("list", options, &err);
}
