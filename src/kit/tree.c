/*
 * Building: all paths of all layers are sorted, a slash before every other byte. In that
 * order a folder comes right before what it holds, and children come by name: one pass
 * makes the nodes, depth first. Numbering them by depth, stable, gives the final order.
 * Sorting instead of hashing, since the names are a stranger's and could be made to
 * collide.
 */
#include "kit/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define FIRST_NODES 1024u
#define MADE_FOLDER_MODE 0755
#define DEPTH_LIMIT (KF_NAME_LIMIT / 2 + 1) /* components of a path, and the root */

/* An entry of a layer on its way to its place. */
struct item {
    const char *path; /* of a table, or of builder.joined */
    uint32_t length;
    uint32_t layer;
    uint32_t entry;
};

struct draft {
    struct kf_node node; /* parent: a draft's number; name and children come later */
    const char *name;
    uint32_t depth;
};

struct builder {
    const struct kf_tree_layer *layers;
    size_t layer_count;
    int64_t default_mtime;
    struct item *items;
    size_t item_count;
    char **joined; /* by layer: its paths with their prefix, where there is one */
    struct draft *drafts;
    uint32_t count;
    uint32_t capacity;
    uint32_t path[DEPTH_LIMIT]; /* drafts from the root to the one made last */
    uint32_t path_depth;
    uint64_t names_length;
};

static void builder_fini(struct builder *builder)
{
    for (size_t i = 0; builder->joined && i < builder->layer_count; i++)
        free(builder->joined[i]);
    free(builder->joined);
    free(builder->items);
    free(builder->drafts);
}

/* ---- all paths, sorted ---- */

/* Writes prefix and name behind one another; where the next one can go. */
static char *join(char *out, const char *prefix, size_t prefix_length, struct item *item)
{
    memcpy(out, prefix, prefix_length);
    out[prefix_length] = '/';
    memcpy(out + prefix_length + 1, item->path, item->length);
    item->path = out;
    item->length += (uint32_t)prefix_length + 1;
    return out + item->length;
}

static int add_prefix(struct builder *builder, uint32_t layer, struct item *items,
                      const char *prefix, size_t prefix_length, struct kf_err *err)
{
    const struct kf_table *table = builder->layers[layer].table;
    char *out = malloc(table->names_length + table->count * (prefix_length + 1) + 1);

    if (!out)
        return kf_fail(err, KF_E_NOMEM, "no memory for the paths of a layer");
    builder->joined[layer] = out;
    for (uint32_t i = 0; i < table->count; i++) {
        out = join(out, prefix, prefix_length, &items[i]);
        if (items[i].length > KF_NAME_LIMIT)
            return kf_fail(err, KF_E_LIMIT, "a path is longer than %u bytes",
                           KF_NAME_LIMIT);
    }
    return 0;
}

static int add_layer(struct builder *builder, uint32_t layer, struct kf_err *err)
{
    const struct kf_table *table = builder->layers[layer].table;
    const char *prefix = builder->layers[layer].prefix;
    size_t prefix_length = strlen(prefix);
    struct item *items = builder->items + builder->item_count;

    for (uint32_t i = 0; i < table->count; i++) {
        size_t length;

        items[i].path = kf_table_name(table, i, &length);
        items[i].length = (uint32_t)length;
        items[i].layer = layer;
        items[i].entry = i;
    }
    builder->item_count += table->count;
    if (prefix_length == 0)
        return 0;
    if (kf_name_check(&prefix, &prefix_length, err) != 0)
        return -1;
    return prefix_length ? add_prefix(builder, layer, items, prefix, prefix_length, err)
                         : 0;
}

static int compare_paths(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t common = a_length < b_length ? a_length : b_length;

    for (size_t i = 0; i < common; i++) {
        if (a[i] != b[i]) {
            int first = a[i] == '/' ? -1 : (unsigned char)a[i];
            int second = b[i] == '/' ? -1 : (unsigned char)b[i];

            return first - second;
        }
    }
    return (a_length > b_length) - (a_length < b_length);
}

/* By path; the same path in the order of the layers. */
static int compare_items(const void *a, const void *b)
{
    const struct item *first = a, *second = b;
    int order = compare_paths(first->path, first->length, second->path, second->length);

    if (order == 0)
        order = (first->layer > second->layer) - (first->layer < second->layer);
    if (order == 0)
        order = (first->entry > second->entry) - (first->entry < second->entry);
    return order;
}

static int gather(struct builder *builder, struct kf_err *err)
{
    size_t total = 0;

    for (size_t i = 0; i < builder->layer_count; i++)
        total += builder->layers[i].table->count;
    builder->items = reallocarray(NULL, total + 1, sizeof(struct item));
    builder->joined = calloc(builder->layer_count + 1, sizeof(char *));
    if (!builder->items || !builder->joined)
        return kf_fail(err, KF_E_NOMEM, "no memory for %zu paths", total);
    for (size_t i = 0; i < builder->layer_count; i++) {
        if (add_layer(builder, (uint32_t)i, err) != 0)
            return -1;
    }
    qsort(builder->items, builder->item_count, sizeof(struct item), compare_items);
    return 0;
}

/* ---- nodes, depth first ---- */

/* A folder that nobody has named so far, below the one at `depth` of the path. */
static int push_node(struct builder *builder, const char *name, size_t length,
                     uint32_t depth, struct kf_err *err)
{
    uint32_t parent = depth > 0 ? builder->path[depth - 1] : 0;

    if (builder->count == KF_NODE_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u files and folders", KF_NODE_LIMIT);
    if (builder->count == builder->capacity) {
        uint32_t capacity = builder->capacity ? 2 * builder->capacity : FIRST_NODES;
        struct draft *grown = reallocarray(builder->drafts, capacity, sizeof(*grown));

        if (!grown)
            return kf_fail(err, KF_E_NOMEM, "no memory for %u files and folders",
                           capacity);
        builder->drafts = grown;
        builder->capacity = capacity;
    }
    builder->drafts[builder->count] = (struct draft){
        .name = name,
        .depth = depth,
        .node = {.mtime = builder->default_mtime,
                 .name_length = (uint32_t)length,
                 .parent = parent,
                 .layer = KF_NODE_NONE,
                 .mode = MADE_FOLDER_MODE,
                 .type = KF_TYPE_DIR},
    };
    builder->names_length += length;
    builder->path[depth] = builder->count++;
    builder->path_depth = depth;
    return 0;
}

static bool is_named(const struct draft *draft, const char *name, size_t length)
{
    return draft->node.name_length == length && memcmp(draft->name, name, length) == 0;
}

/* Makes the nodes of a path that the one before it did not have; the last one is then at
 * path[path_depth]. */
static int go_to(struct builder *builder, const struct item *item, struct kf_err *err)
{
    const char *name = item->path, *end = item->path + item->length;
    uint32_t depth = 1;

    for (; name < end; depth++) {
        const char *slash = memchr(name, '/', (size_t)(end - name));
        size_t length = (size_t)((slash ? slash : end) - name);

        if (builder->drafts[builder->path[depth - 1]].node.type != KF_TYPE_DIR)
            return kf_fail(err, KF_E_MALFORMED, "a file is in the place of its folder");
        if (depth > builder->path_depth ||
            !is_named(&builder->drafts[builder->path[depth]], name, length)) {
            if (push_node(builder, name, length, depth, err) != 0)
                return -1;
        }
        name += length + 1;
    }
    builder->path_depth = depth - 1;
    return 0;
}

static int place(struct builder *builder, const struct item *item, struct kf_err *err)
{
    const struct kf_table_entry *entry =
        &builder->layers[item->layer].table->entries[item->entry];
    uint32_t before = builder->count;
    struct kf_node *node;

    if (go_to(builder, item, err) != 0)
        return -1;
    node = &builder->drafts[builder->path[builder->path_depth]].node;
    if (builder->count == before) {
        /* There already, from an entry of the same path. */
        if (node->type != KF_TYPE_DIR || entry->type != KF_TYPE_DIR)
            return kf_fail(err, KF_E_MALFORMED, "it comes twice");
        return 0;
    }
    node->type = entry->type;
    node->mode = entry->mode;
    node->size = entry->size;
    node->layer = item->layer;
    node->entry = item->entry;
    if (entry->mtime != 0)
        node->mtime = entry->mtime;
    return 0;
}

static int make_nodes(struct builder *builder, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE];

    if (push_node(builder, "", 0, 0, err) != 0)
        return -1;
    for (size_t i = 0; i < builder->item_count; i++) {
        const struct item *item = &builder->items[i];

        if (place(builder, item, err) != 0)
            return kf_fail_wrap(err, "path '%s'",
                                kf_name_text(text, item->path, item->length));
    }
    return 0;
}

/* ---- the final order ---- */

/* By depth: where the next node of that depth goes. */
static void count_depths(const struct builder *builder, uint32_t next[DEPTH_LIMIT + 1])
{
    uint32_t begin = 0;

    memset(next, 0, (DEPTH_LIMIT + 1) * sizeof(*next));
    for (uint32_t i = 0; i < builder->count; i++)
        next[builder->drafts[i].depth]++;
    for (uint32_t depth = 0; depth <= DEPTH_LIMIT; depth++) {
        uint32_t count = next[depth];

        next[depth] = begin;
        begin += count;
    }
}

static int add_to_parent(struct kf_tree *tree, uint32_t index, struct kf_err *err)
{
    const struct kf_node *node = &tree->nodes[index];
    struct kf_node *parent = &tree->nodes[node->parent];

    if (index != 0) {
        if (parent->child_count++ == 0)
            parent->first_child = index;
        parent->subdirs += node->type == KF_TYPE_DIR;
    }
    if (node->type == KF_TYPE_FILE) {
        tree->file_count++;
        if (!kf_add_u64(tree->file_bytes, node->size, &tree->file_bytes))
            return kf_fail(err, KF_E_LIMIT, "the sizes of all files are beyond 2^64");
    }
    return 0;
}

/* `number` gives each draft its final number; a parent's draft comes before its children.
 */
static int number_nodes(const struct builder *builder, struct kf_tree *tree,
                        uint32_t *number, struct kf_err *err)
{
    uint32_t next[DEPTH_LIMIT + 1];
    uint64_t names_used = 0;

    count_depths(builder, next);
    for (uint32_t i = 0; i < builder->count; i++) {
        const struct draft *draft = &builder->drafts[i];
        struct kf_node *node = &tree->nodes[next[draft->depth]];

        number[i] = next[draft->depth]++;
        *node = draft->node;
        node->parent = number[draft->node.parent];
        node->name_offset = names_used;
        memcpy(tree->names + names_used, draft->name, draft->node.name_length);
        names_used += draft->node.name_length;
        if (add_to_parent(tree, number[i], err) != 0)
            return -1;
    }
    return 0;
}

static int finish(const struct builder *builder, struct kf_tree *tree, struct kf_err *err)
{
    kf_auto(kf_free) uint32_t *number = calloc(builder->count, sizeof(*number));

    tree->count = builder->count;
    tree->nodes = calloc(builder->count, sizeof(*tree->nodes));
    tree->names = malloc(builder->names_length + 1);
    if (!number || !tree->nodes || !tree->names)
        return kf_fail(err, KF_E_NOMEM, "no memory for a tree of %u nodes",
                       builder->count);
    return number_nodes(builder, tree, number, err);
}

int kf_tree_build(struct kf_tree *ret, const struct kf_tree_layer *layers,
                  size_t layer_count, int64_t default_mtime, struct kf_err *err)
{
    kf_auto(builder_fini) struct builder builder = {
        .layers = layers, .layer_count = layer_count, .default_mtime = default_mtime};
    kf_auto(kf_tree_fini) struct kf_tree tree = {0};

    if (gather(&builder, err) != 0 || make_nodes(&builder, err) != 0 ||
        finish(&builder, &tree, err) != 0)
        return -1;
    *ret = tree;
    memset(&tree, 0, sizeof(tree));
    return 0;
}

void kf_tree_fini(struct kf_tree *tree)
{
    if (!tree)
        return;
    free(tree->nodes);
    free(tree->names);
    memset(tree, 0, sizeof(*tree));
}

/* ---- a part of it ---- */

/* Copies the nodes below `root` in their order: what a folder holds stays together.
 * `part` has room for as many nodes and names as `tree`. */
static void copy_below(struct kf_tree *part, const struct kf_tree *tree, uint32_t root)
{
    uint64_t names_used = 0;

    part->nodes[part->count++] = tree->nodes[root];
    part->nodes[0].name_length = 0;
    part->nodes[0].parent = 0;
    for (uint32_t i = 0; i < part->count; i++) {
        struct kf_node *node = &part->nodes[i];
        uint32_t first = node->first_child;

        memcpy(part->names + names_used, tree->names + node->name_offset,
               node->name_length);
        node->name_offset = names_used;
        names_used += node->name_length;
        node->first_child = node->child_count > 0 ? part->count : 0;
        for (uint32_t k = 0; k < node->child_count; k++) {
            part->nodes[part->count] = tree->nodes[first + k];
            part->nodes[part->count++].parent = i;
        }
        if (node->type == KF_TYPE_FILE) {
            part->file_count++;
            part->file_bytes += node->size; /* at most that of the whole tree */
        }
    }
}

static size_t names_length(const struct kf_tree *tree)
{
    size_t length = 0;

    for (uint32_t i = 0; i < tree->count; i++)
        length += tree->nodes[i].name_length;
    return length;
}

int kf_tree_root_at(struct kf_tree *tree, const char *path, struct kf_err *err)
{
    kf_auto(kf_tree_fini) struct kf_tree part = {0};
    char text[KF_NAME_TEXT_SIZE];
    uint32_t root;

    (void)kf_name_text(text, path, strlen(path));
    while (strncmp(path, "./", 2) == 0)
        path += 2 + strspn(path + 2, "/");
    root = strcmp(path, ".") == 0 ? 0 : kf_tree_find(tree, path);
    if (root == KF_NODE_NONE)
        return kf_fail(err, KF_E_NOTFOUND, "there is no folder '%s' in it", text);
    if (tree->nodes[root].type != KF_TYPE_DIR)
        return kf_fail(err, KF_E_ARG, "'%s' is a file, not a folder", text);
    part.nodes = calloc(tree->count, sizeof(*part.nodes));
    part.names = malloc(names_length(tree) + 1);
    if (!part.nodes || !part.names)
        return kf_fail(err, KF_E_NOMEM, "no memory for a tree of %u nodes", tree->count);
    copy_below(&part, tree, root);
    kf_tree_fini(tree);
    *tree = part;
    memset(&part, 0, sizeof(part));
    return 0;
}

/* ---- looking up ---- */

const char *kf_tree_name(const struct kf_tree *tree, uint32_t node, size_t *ret_length)
{
    *ret_length = tree->nodes[node].name_length;
    return tree->names + tree->nodes[node].name_offset;
}

uint32_t kf_tree_child(const struct kf_tree *tree, uint32_t parent, const char *name,
                       size_t name_length)
{
    uint32_t low = tree->nodes[parent].first_child;
    uint32_t high = low + tree->nodes[parent].child_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t length;
        const char *found = kf_tree_name(tree, middle, &length);
        int order = compare_paths(name, name_length, found, length);

        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return KF_NODE_NONE;
}

uint32_t kf_tree_find(const struct kf_tree *tree, const char *path)
{
    uint32_t node = 0;

    while (node != KF_NODE_NONE) {
        size_t length;

        path += strspn(path, "/");
        length = strcspn(path, "/");
        if (length == 0)
            break;
        node = kf_tree_child(tree, node, path, length);
        path += length;
    }
    return node;
}

char *kf_tree_path(const struct kf_tree *tree, uint32_t node)
{
    size_t length = 0;
    char *path;

    for (uint32_t up = node; up != 0; up = tree->nodes[up].parent)
        length += tree->nodes[up].name_length + 1;
    path = malloc(length + 1);
    if (!path)
        return NULL;
    /* From the end: name, slash before it; the first component's slash is not wanted. */
    path[length ? length - 1 : 0] = '\0';
    for (uint32_t up = node; up != 0; up = tree->nodes[up].parent) {
        size_t name_length = tree->nodes[up].name_length;

        if (up != node)
            path[length - 1] = '/';
        length -= name_length + 1;
        memcpy(path + length, tree->names + tree->nodes[up].name_offset, name_length);
    }
    return path;
}
