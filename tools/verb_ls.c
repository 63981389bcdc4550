#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

struct listing {
    const struct kf_tree *tree;
    const struct kf_options *options;
    json_t *array; /* --json */
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

static int add_json(struct listing *listing, const struct kf_node *node, const char *path,
                    size_t length)
{
    /* A name that is not UTF-8 has no JSON form: its bytes are replaced. */
    json_t *name = json_stringn(path, length);
    json_t *item = json_pack("{s:o, s:s, s:I, s:i, s:I}", "path",
                             name ? name : json_string("(name is not UTF-8)"), "type",
                             node->type == KF_TYPE_DIR ? "dir" : "file", "size",
                             (json_int_t)node->size, "mode", (int)node->mode, "mtime",
                             (json_int_t)node->mtime);

    return item ? json_array_append_new(listing->array, item) : -1;
}

static int show(struct listing *listing, uint32_t index, const char *prefix,
                struct kf_err *err)
{
    const struct kf_node *node = &listing->tree->nodes[index];
    size_t length;
    const char *name = kf_tree_name(listing->tree, index, &length);
    kf_auto(kf_free) char *path = NULL;
    int path_length;

    path_length =
        asprintf(&path, "%s%s%.*s", prefix, *prefix ? "/" : "", (int)length, name);
    if (path_length < 0) {
        path = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a listing");
    }
    if (listing->array) {
        if (add_json(listing, node, path, (size_t)path_length) != 0)
            return kf_fail(err, KF_E_NOMEM, "no memory for a listing");
    } else {
        if (listing->options->long_listing)
            print_mode(node);
        printf("%s%s\n", path, node->type == KF_TYPE_DIR ? "/" : "");
    }
    if (node->type != KF_TYPE_DIR || !listing->options->recursive)
        return 0;
    for (uint32_t i = 0; i < node->child_count; i++)
        if (show(listing, node->first_child + i, path, err) != 0)
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
    path = kf_tree_path(listing->tree, node->type == KF_TYPE_DIR ? index : node->parent);
    if (!path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a listing");
    if (node->type != KF_TYPE_DIR)
        return show(listing, index, path, err);
    for (uint32_t i = 0; i < node->child_count; i++)
        if (show(listing, node->first_child + i, path, err) != 0)
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
                                  .array = options->json ? json_array() : NULL};

        rc = list(&listing, &err);
        if (rc == 0 && listing.array) {
            (void)json_dumpf(listing.array, stdout,
                             JSON_INDENT(2)); /* checked by fflush */
            printf("\n");
        }
        json_decref(listing.array);
        kf_opened_close(&opened);
    }
    if (rc == 0 && fflush(stdout) != 0)
        rc = errno == EPIPE ? 0 : kf_fail_errno(&err, "cannot write");
    return rc == 0 ? 0 : kf_report("list", options, &err);
}
