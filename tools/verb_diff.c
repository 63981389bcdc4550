#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/diff.h"
#include "layer/chunk_map.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define CLOSE_TIME (2 * KF_NS_PER_S)

/* A kit in the form that kf_diff takes. */
struct side {
    struct kf_diff_kit kit;
    struct kf_diff_layer *layers;
    struct kf_chunk_map *maps;
};

static int fill_layer(struct kf_diff_layer *ret, struct kf_chunk_map *map,
                      const struct kf_kit_layer *layer, struct kf_err *err)
{
    *ret = (struct kf_diff_layer){.digest = layer->digest,
                                  .size = layer->size,
                                  .is_content = strcmp(layer->form, "raw") == 0,
                                  .table = kf_layer_table(layer->layer)};
    if (!kf_layer_toc(layer->layer))
        return 0;
    if (kf_layer_chunks(layer->layer, map, err) != 0)
        return -1;
    ret->cuts = map->cuts;
    ret->stored_length = map->stored_length;
    return 0;
}

static int fill_side(struct side *side, const struct kf_kit *kit, struct kf_err *err)
{
    const struct kf_tree *tree = kf_kit_tree(kit);
    size_t count = kf_kit_layer_count(kit);

    side->layers = calloc(count + 1, sizeof(*side->layers));
    side->maps = calloc(count + 1, sizeof(*side->maps));
    if (!side->layers || !side->maps)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu layers", count);
    side->kit =
        (struct kf_diff_kit){.tree = tree, .layers = side->layers, .layer_count = count};
    for (uint32_t i = 0; i < tree->count && !side->kit.kitfile; i++)
        side->kit.kitfile = kf_kit_bytes(kit, i);
    for (size_t i = 0; i < count; i++)
        if (fill_layer(&side->layers[i], &side->maps[i], kf_kit_layer(kit, i), err) != 0)
            return -1;
    return 0;
}

static void side_fini(struct side *side)
{
    for (size_t i = 0; side->maps && i < side->kit.layer_count; i++)
        kf_chunk_map_fini(&side->maps[i]);
    free(side->maps);
    free(side->layers);
}

/* ---- words ---- */

static const struct kf_node *node_of(const struct side *side, uint32_t index)
{
    return index == KF_NODE_NONE ? NULL : &side->kit.tree->nodes[index];
}

static char *path_of(const struct side *a, const struct side *b,
                     const struct kf_diff_row *row)
{
    return row->b == KF_NODE_NONE ? kf_tree_path(a->kit.tree, row->a)
                                  : kf_tree_path(b->kit.tree, row->b);
}

static int print_row(const struct side *a, const struct side *b,
                     const struct kf_diff_row *row, struct kf_err *err)
{
    const struct kf_node *one = node_of(a, row->a), *other = node_of(b, row->b);
    const struct kf_node *any = other ? other : one;
    kf_auto(kf_free) char *path = path_of(a, b, row);

    if (!path)
        return kf_fail(err, KF_E_NOMEM, "no memory for a path");
    if (isatty(STDOUT_FILENO) == 1)
        kf_make_plain(path);
    printf("%-8s %s%s", kf_diff_status_name(row->status), path,
           any->type == KF_TYPE_DIR ? "/" : "");
    if (row->status == KF_DIFF_MODE)
        printf(" (%03o, %03o)", one->mode, other->mode);
    if (row->status == KF_DIFF_UNKNOWN)
        printf(" (of the same size; to know, it would have to be read)");
    printf("\n");
    return 0;
}

static void print_sum(const struct kf_diff *diff)
{
    char fetch[32], total[32], shared[32];

    printf("%zu files are the same", diff->same);
    for (unsigned i = 0; i < KF_DIFF_STATUS_COUNT; i++)
        if (diff->counts[i] > 0)
            printf(", %zu %s", diff->counts[i], kf_diff_status_name(i));
    printf("\n");
    if (diff->chunks > 0)
        printf("%" PRIu64 " of %" PRIu64 " chunks are shared, %s\n", diff->shared_chunks,
               diff->chunks, kf_format_size(diff->shared_bytes, shared));
    printf("%s of %s to fetch when the first is in the cache\n",
           kf_format_size(diff->fetch_bytes, fetch),
           kf_format_size(diff->total_bytes, total));
}

static json_t *side_json(const struct kf_node *node)
{
    return node ? json_pack("{s:I, s:i}", "size", (json_int_t)node->size, "mode",
                            (int)node->mode)
                : json_null();
}

static int print_json(const struct kf_diff *diff, const struct side *a,
                      const struct side *b, struct kf_err *err)
{
    json_t *files = json_array(), *root;

    for (size_t i = 0; i < diff->count; i++) {
        const struct kf_diff_row *row = &diff->rows[i];
        kf_auto(kf_free) char *path = path_of(a, b, row);

        if (path)
            (void)json_array_append_new(
                files, json_pack("{s:o, s:s, s:o, s:o}", "path",
                                 kf_json_name(path, strlen(path)), "status",
                                 kf_diff_status_name(row->status), "a",
                                 side_json(node_of(a, row->a)), "b",
                                 side_json(node_of(b, row->b))));
    }
    root = json_pack(
        "{s:o, s:I, s:{s:I, s:I, s:I, s:I}, s:I, s:I}", "files", files, "same",
        (json_int_t)diff->same, "chunks", "count", (json_int_t)diff->chunks, "shared",
        (json_int_t)diff->shared_chunks, "bytes", (json_int_t)diff->chunk_bytes,
        "sharedBytes", (json_int_t)diff->shared_bytes, "totalBytes",
        (json_int_t)diff->total_bytes, "fetchBytes", (json_int_t)diff->fetch_bytes);
    if (!root || json_array_size(files) != diff->count) {
        json_decref(root);
        return kf_fail(err, KF_E_NOMEM, "no memory for a comparison");
    }
    kf_print_json(root);
    json_decref(root);
    return 0;
}

static int print_diff(const struct kf_diff *diff, const struct side *a,
                      const struct side *b, const struct kf_options *options,
                      struct kf_err *err)
{
    if (options->json)
        return print_json(diff, a, b, err);
    for (size_t i = 0; i < diff->count; i++)
        if (print_row(a, b, &diff->rows[i], err) != 0)
            return -1;
    if (!options->quiet)
        print_sum(diff);
    return 0;
}

static int compare(const struct kf_kit *first, const struct kf_kit *second,
                   const struct kf_options *options, struct kf_err *err)
{
    struct side a = {0}, b = {0};
    struct kf_diff diff;
    int rc = -1;

    if (fill_side(&a, first, err) == 0 && fill_side(&b, second, err) == 0 &&
        kf_diff(&diff, &a.kit, &b.kit, err) == 0) {
        rc = print_diff(&diff, &a, &b, options, err);
        kf_diff_fini(&diff);
    }
    side_fini(&a);
    side_fini(&b);
    return rc;
}

int kf_verb_diff(const struct kf_options *options)
{
    struct kf_opened opened;
    struct kf_kit *second = NULL;
    struct kf_err err = {0};
    bool closed = true;
    int rc;

    if (kf_opened_open(&opened, options, &err) != 0)
        return kf_report_ref("compare", options, &err);
    rc = kf_opened_another(&second, &opened, options, options->args[1], &err);
    if (rc == 0) {
        rc = compare(opened.kit, second, options, &err);
        closed = kf_kit_close(second, kf_deadline_ns(CLOSE_TIME)) == 0;
    }
    if (closed) /* else what it uses goes with the process */
        kf_opened_close(&opened);
    return rc == 0 ? 0 : kf_report("compare", options->args[1], &err);
}
