#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/tree.h"

static void add(struct kf_table *table, const char *name, uint8_t type, uint64_t size,
                int64_t mtime, uint16_t mode)
{
    struct kf_table_entry entry = {
        .size = size, .mtime = mtime, .mode = mode, .type = type};

    cr_assert_eq(kf_table_add(table, &entry, name, strlen(name), NULL), 0);
}

static void add_file(struct kf_table *table, const char *name)
{
    add(table, name, KF_TYPE_FILE, 10, 0, 0644);
}

static void add_dir(struct kf_table *table, const char *name)
{
    add(table, name, KF_TYPE_DIR, 0, 0, 0755);
}

static int build(struct kf_tree *ret, const struct kf_table *tables, size_t count,
                 struct kf_err *err)
{
    struct kf_tree_layer layers[2] = {0};

    for (size_t i = 0; i < count; i++)
        layers[i] = (struct kf_tree_layer){&tables[i], ""};
    return kf_tree_build(ret, layers, count, 77, err);
}

/* "name name/ ..." in the order of nodes, as one string: folders with a slash. */
static void print_tree(const struct kf_tree *tree, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (uint32_t i = 1; i < tree->count; i++) {
        char *path = kf_tree_path(tree, i);

        used += (size_t)snprintf(out + used, size - used, "%s%s ", path,
                                 tree->nodes[i].type == KF_TYPE_DIR ? "/" : "");
        free(path);
    }
}

static void expect_tree(struct kf_tree *tree, const char *expected)
{
    char text[1024];

    print_tree(tree, text, sizeof(text));
    cr_assert_str_eq(text, expected);
}

Test(tree, nothing)
{
    struct kf_tree tree;

    cr_assert_eq(build(&tree, NULL, 0, NULL), 0);
    cr_assert_eq(tree.count, 1);
    cr_assert_eq(tree.nodes[0].type, KF_TYPE_DIR);
    cr_assert_eq(tree.nodes[0].mode, 0755);
    cr_assert_eq(tree.nodes[0].parent, 0);
    cr_assert_eq(tree.nodes[0].layer, KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "a"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "/"), 0);
    kf_tree_fini(&tree);
}

Test(tree, breadth_first_and_sorted)
{
    struct kf_table tables[2] = {0};
    struct kf_tree tree;

    add_dir(&tables[0], "m");
    add_file(&tables[0], "m/z");
    add_file(&tables[0], "m/a/deep");
    add_file(&tables[0], "m.txt");
    add_file(&tables[1], "m-a/x");
    add_file(&tables[1], "B");
    cr_assert_eq(build(&tree, tables, 2, NULL), 0);
    expect_tree(&tree, "B m/ m-a/ m.txt m/a/ m/z m-a/x m/a/deep ");
    cr_assert_eq(tree.file_count, 5);
    cr_assert_eq(tree.file_bytes, 50);
    cr_assert_eq(tree.nodes[0].child_count, 4);
    cr_assert_eq(tree.nodes[0].subdirs, 2);
    cr_assert_eq(tree.nodes[0].first_child, 1);
    cr_assert_eq(tree.nodes[2].child_count, 2);
    cr_assert_eq(tree.nodes[2].subdirs, 1);
    cr_assert_eq(tree.nodes[2].first_child, 5);
    cr_assert_eq(tree.nodes[7].parent, 3);
    cr_assert_eq(tree.nodes[7].layer, 1);
    cr_assert_eq(tree.nodes[7].entry, 0);
    kf_tree_fini(&tree);
    kf_table_fini(&tables[0]);
    kf_table_fini(&tables[1]);
}

Test(tree, looking_up)
{
    struct kf_table table = {0};
    struct kf_tree tree;
    uint32_t node;
    size_t length;
    char *path;

    add_file(&table, "a/b/c.bin");
    add_file(&table, "a/b/\xff");
    cr_assert_eq(build(&tree, &table, 1, NULL), 0);
    node = kf_tree_find(&tree, "a/b/c.bin");
    cr_assert_neq(node, KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "//a///b/c.bin/"), node);
    cr_assert_eq(strncmp(kf_tree_name(&tree, node, &length), "c.bin", 5), 0);
    cr_assert_eq(length, 5);
    cr_assert_eq(kf_tree_find(&tree, "a/b/c.bin/d"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "a/c.bin"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "a/b/c.bi"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_find(&tree, "a/b/c.binx"), KF_NODE_NONE);
    cr_assert_neq(kf_tree_find(&tree, "a/b/\xff"), KF_NODE_NONE);
    cr_assert_eq(kf_tree_child(&tree, 0, "a", 1), 1);
    cr_assert_eq(kf_tree_child(&tree, node, "a", 1), KF_NODE_NONE);
    path = kf_tree_path(&tree, node);
    cr_assert_str_eq(path, "a/b/c.bin");
    free(path);
    path = kf_tree_path(&tree, 0);
    cr_assert_str_eq(path, "");
    free(path);
    kf_tree_fini(&tree);
    kf_table_fini(&table);
}

Test(tree, attributes)
{
    struct kf_table tables[2] = {0};
    struct kf_tree tree;
    const struct kf_node *node;

    add(&tables[0], "a/f", KF_TYPE_FILE, 5, 123, 0600);
    add(&tables[0], "a/g", KF_TYPE_FILE, 6, 0, 0755);
    add(&tables[1], "a", KF_TYPE_DIR, 0, 9, 0700);
    add(&tables[1], "a", KF_TYPE_DIR, 0, 8, 0711); /* the first one counts */
    add(&tables[1], "b/c", KF_TYPE_FILE, 0, 0, 0644);
    cr_assert_eq(build(&tree, tables, 2, NULL), 0);
    node = &tree.nodes[kf_tree_find(&tree, "a/f")];
    cr_assert_eq(node->size, 5);
    cr_assert_eq(node->mtime, 123);
    cr_assert_eq(node->mode, 0600);
    node = &tree.nodes[kf_tree_find(&tree, "a/g")];
    cr_assert_eq(node->mtime, 77); /* the default */
    node = &tree.nodes[kf_tree_find(&tree, "a")];
    cr_assert_eq(node->mode, 0700);
    cr_assert_eq(node->mtime, 9);
    cr_assert_eq(node->layer, 1);
    cr_assert_eq(node->entry, 0);
    node = &tree.nodes[kf_tree_find(&tree, "b")]; /* made here */
    cr_assert_eq(node->mode, 0755);
    cr_assert_eq(node->mtime, 77);
    cr_assert_eq(node->layer, KF_NODE_NONE);
    kf_tree_fini(&tree);
    kf_table_fini(&tables[0]);
    kf_table_fini(&tables[1]);
}

static void expect_conflict(struct kf_table tables[2], const char *message)
{
    struct kf_tree tree;
    struct kf_err err;

    cr_assert_eq(build(&tree, tables, 2, &err), -1, "%s", message);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    cr_assert_str_eq(err.message, message);
    kf_table_fini(&tables[0]);
    kf_table_fini(&tables[1]);
}

Test(tree, conflicts)
{
    struct kf_table tables[2] = {0};

    add_file(&tables[0], "d/a");
    add_file(&tables[1], "d/a");
    expect_conflict(tables, "path 'd/a': it comes twice");

    add_file(&tables[0], "d/a");
    add_file(&tables[0], "d/a");
    expect_conflict(tables, "path 'd/a': it comes twice");

    add_file(&tables[0], "d");
    add_dir(&tables[1], "d");
    expect_conflict(tables, "path 'd': it comes twice");

    add_dir(&tables[0], "d");
    add_file(&tables[1], "d");
    expect_conflict(tables, "path 'd': it comes twice");

    add_file(&tables[0], "d/x");
    add_file(&tables[1], "d");
    expect_conflict(tables, "path 'd/x': a file is in the place of its folder");

    add_file(&tables[0], "d");
    add_file(&tables[1], "d/x/y");
    expect_conflict(tables, "path 'd/x/y': a file is in the place of its folder");
}

Test(tree, folders_in_several_layers)
{
    struct kf_table tables[2] = {0};
    struct kf_tree tree;

    add_dir(&tables[0], "d");
    add_file(&tables[0], "d/a");
    add_dir(&tables[1], "d");
    add_file(&tables[1], "d/b");
    cr_assert_eq(build(&tree, tables, 2, NULL), 0);
    expect_tree(&tree, "d/ d/a d/b ");
    kf_tree_fini(&tree);
    kf_table_fini(&tables[0]);
    kf_table_fini(&tables[1]);
}

Test(tree, prefixes)
{
    struct kf_table tables[3] = {0};
    struct kf_tree_layer layers[] = {
        {&tables[0], "models"}, {&tables[1], "./models/sub/"}, {&tables[2], "."}};
    struct kf_tree tree;
    struct kf_err err;

    add_file(&tables[0], "w.bin");
    add_file(&tables[1], "x");
    add_file(&tables[2], "root");
    cr_assert_eq(kf_tree_build(&tree, layers, 3, 0, &err), 0, "%s", err.message);
    expect_tree(&tree, "models/ root models/sub/ models/w.bin models/sub/x ");
    kf_tree_fini(&tree);
    layers[0].prefix = "../models";
    cr_assert_eq(kf_tree_build(&tree, layers, 3, 0, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    for (size_t i = 0; i < 3; i++)
        kf_table_fini(&tables[i]);
}

Test(tree, path_limit_counts_the_prefix)
{
    struct kf_table table = {0};
    struct kf_tree_layer layer = {&table, "p"};
    struct kf_tree tree;
    struct kf_err err;
    char name[KF_NAME_LIMIT + 1];

    memset(name, 'n', sizeof(name));
    for (size_t i = 100; i < KF_NAME_LIMIT - 2; i += 101)
        name[i] = '/';
    name[KF_NAME_LIMIT - 2] = '\0';
    add_file(&table, name);
    cr_assert_eq(kf_tree_build(&tree, &layer, 1, 0, &err), 0, "%s", err.message);
    kf_tree_fini(&tree);
    layer.prefix = "pp";
    cr_assert_eq(kf_tree_build(&tree, &layer, 1, 0, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_table_fini(&table);
}

Test(tree, sum_of_sizes)
{
    struct kf_table table = {0};
    struct kf_tree tree;
    struct kf_err err;

    add(&table, "a", KF_TYPE_FILE, UINT64_MAX - 1, 0, 0644);
    add(&table, "b", KF_TYPE_FILE, 1, 0, 0644);
    cr_assert_eq(build(&tree, &table, 1, &err), 0);
    cr_assert_eq(tree.file_bytes, UINT64_MAX);
    kf_tree_fini(&tree);
    add(&table, "c", KF_TYPE_FILE, 1, 0, 0644);
    cr_assert_eq(build(&tree, &table, 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_table_fini(&table);
}

/* Deep paths make many folders of few entries; the number of nodes has a ceiling. */
Test(tree, node_limit)
{
    struct kf_table table = {0};
    struct kf_tree tree;
    struct kf_err err;
    char name[KF_NAME_LIMIT];

    for (size_t i = 0; i < sizeof(name) - 1; i++)
        name[i] = i % 2 ? '/' : 'd';
    name[sizeof(name) - 1] = '\0';
    for (unsigned i = 0; i < KF_NODE_LIMIT / 2045 + 1; i++) {
        (void)snprintf(name, 8, "%07x", i);
        name[7] = '/';
        add_file(&table, name);
    }
    cr_assert_eq(build(&tree, &table, 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    kf_table_fini(&table);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The same names in another order give the same nodes: numbers depend on names alone. */
/* ---- a folder as the root ---- */

static void expect_root(const char *path, const char *nodes)
{
    struct kf_table tables[2] = {0};
    struct kf_tree tree;
    struct kf_err err;

    add_dir(&tables[0], "m");
    add_file(&tables[0], "m/z");
    add_file(&tables[0], "m/a/deep/er");
    add_dir(&tables[0], "m/a/empty");
    add_file(&tables[1], "m/a/b");
    add_file(&tables[1], "n/x");
    cr_assert_eq(build(&tree, tables, 2, NULL), 0);
    cr_assert_eq(kf_tree_root_at(&tree, path, &err), 0, "%s: %s", path, err.message);
    expect_tree(&tree, nodes);
    kf_tree_fini(&tree);
    kf_table_fini(&tables[0]);
    kf_table_fini(&tables[1]);
}

Test(root_at, folders)
{
    expect_root("m", "a/ z a/b a/deep/ a/empty/ a/deep/er ");
    expect_root("./m//a/", "b deep/ empty/ deep/er ");
    expect_root("/m/a/deep", "er ");
    expect_root("m/a/empty", "");
    expect_root("n", "x ");
    expect_root("/", "m/ n/ m/a/ m/z n/x m/a/b m/a/deep/ m/a/empty/ m/a/deep/er ");
    expect_root(".", "m/ n/ m/a/ m/z n/x m/a/b m/a/deep/ m/a/empty/ m/a/deep/er ");
    expect_root("", "m/ n/ m/a/ m/z n/x m/a/b m/a/deep/ m/a/empty/ m/a/deep/er ");
}

Test(root_at, sums_and_links)
{
    struct kf_table table = {0};
    struct kf_tree tree;
    char *path;
    uint32_t node;

    add_file(&table, "m/a/x");
    add_file(&table, "m/y");
    add_file(&table, "z");
    cr_assert_eq(build(&tree, &table, 1, NULL), 0);
    cr_assert_eq(kf_tree_root_at(&tree, "m", NULL), 0);
    cr_assert_eq(tree.count, 4);
    cr_assert_eq(tree.file_count, 2);
    cr_assert_eq(tree.file_bytes, 20);
    cr_assert_eq(tree.nodes[0].parent, 0);
    cr_assert_eq(tree.nodes[0].subdirs, 1);
    node = kf_tree_find(&tree, "a/x");
    cr_assert_neq(node, KF_NODE_NONE);
    cr_assert_eq(tree.nodes[node].layer, 0);
    cr_assert_eq(tree.nodes[node].entry, 0); /* where its bytes are stays */
    path = kf_tree_path(&tree, node);
    cr_assert_str_eq(path, "a/x");
    free(path);
    kf_tree_fini(&tree);
    kf_table_fini(&table);
}

Test(root_at, what_is_no_folder)
{
    static const struct {
        const char *path;
        enum kf_err_kind kind;
        const char *words;
    } rows[] = {
        {"n", KF_E_NOTFOUND, "there is no folder 'n' in it"},
        {"m/y/z", KF_E_NOTFOUND, "there is no folder 'm/y/z' in it"},
        {"..", KF_E_NOTFOUND, "there is no folder '..' in it"},
        {"m/../m", KF_E_NOTFOUND, "there is no folder 'm/../m' in it"},
        {"./m/y", KF_E_ARG, "'./m/y' is a file, not a folder"},
    };
    struct kf_table table = {0};
    struct kf_tree tree;

    add_file(&table, "m/y");
    cr_assert_eq(build(&tree, &table, 1, NULL), 0);
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_err err;

        cr_assert_eq(kf_tree_root_at(&tree, rows[i].path, &err), -1, "%s", rows[i].path);
        cr_assert_eq(err.kind, rows[i].kind, "%s", err.message);
        cr_assert_str_eq(err.message, rows[i].words);
        cr_assert_eq(tree.count, 3); /* as it was */
    }
    kf_tree_fini(&tree);
    kf_table_fini(&table);
}

Test(tree, order_of_entries_does_not_matter)
{
    enum { COUNT = 2000 };
    struct kf_table sorted = {0}, mixed = {0};
    struct kf_tree first, second;
    uint32_t order[COUNT], seed = 1;
    char name[64];

    for (uint32_t i = 0; i < COUNT; i++)
        order[i] = i;
    for (uint32_t i = COUNT - 1; i > 0; i--) {
        uint32_t other = next_random(&seed) % (i + 1), kept = order[i];

        order[i] = order[other];
        order[other] = kept;
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "d%u/e%u/f%u", i % 7, i % 31, i);
        add_file(&sorted, name);
        (void)snprintf(name, sizeof(name), "d%u/e%u/f%u", order[i] % 7, order[i] % 31,
                       order[i]);
        add_file(&mixed, name);
    }
    cr_assert_eq(build(&first, &sorted, 1, NULL), 0);
    cr_assert_eq(build(&second, &mixed, 1, NULL), 0);
    cr_assert_eq(first.count, second.count);
    for (uint32_t i = 0; i < first.count; i++) {
        char *a = kf_tree_path(&first, i), *b = kf_tree_path(&second, i);

        cr_assert_str_eq(a, b);
        cr_assert_eq(kf_tree_find(&first, a), i);
        cr_assert_eq(first.nodes[i].child_count, second.nodes[i].child_count);
        free(a);
        free(b);
    }
    kf_tree_fini(&first);
    kf_tree_fini(&second);
    kf_table_fini(&sorted);
    kf_table_fini(&mixed);
}

/* How long a large kit takes is printed, not judged. */
Test(tree, hundred_thousand_files)
{
    struct kf_table table = {0};
    struct kf_tree tree;
    char name[64];
    int64_t begin;

    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof(name), "data/%02x/sample-%05u.json", i % 256, i);
        add_file(&table, name);
    }
    begin = kf_now_ns();
    cr_assert_eq(build(&tree, &table, 1, NULL), 0);
    (void)fprintf(stderr, "tree of 100000 files: %lld ms\n",
                  (long long)((kf_now_ns() - begin) / KF_NS_PER_MS));
    cr_assert_eq(tree.file_count, 100000);
    cr_assert_eq(tree.count, 1 + 1 + 256 + 100000);
    cr_assert_neq(kf_tree_find(&tree, "data/ff/sample-00255.json"), KF_NODE_NONE);
    kf_tree_fini(&tree);
    kf_table_fini(&table);
}
