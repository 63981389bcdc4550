#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/cuts.h"
#include "kit/diff.h"

#define LAYERS 2
#define CHUNKS 16

/* A kit made of one or two layers; the stream of each holds its files in order. */
struct maker {
    struct kf_diff_kit kit;
    struct kf_diff_layer layers[LAYERS];
    struct kf_table tables[LAYERS];
    struct kf_tree tree;
    uint32_t stored[LAYERS][CHUNKS];
};

static struct maker a, b;
static struct kf_diff diff;
static struct kf_err err;

static struct kf_digest number(uint8_t value)
{
    struct kf_digest digest = {.bytes = {[0] = value, [31] = 1}};

    return digest;
}

static void set_up(void)
{
    a = b = (struct maker){0};
    kf_table_init(&a.tables[0]);
    kf_table_init(&a.tables[1]);
    kf_table_init(&b.tables[0]);
    kf_table_init(&b.tables[1]);
}

static void free_maker(struct maker *maker)
{
    for (size_t i = 0; i < LAYERS; i++) {
        kf_table_fini(&maker->tables[i]);
        kf_cuts_unref((struct kf_cuts *)(uintptr_t)maker->layers[i].cuts);
    }
    kf_tree_fini(&maker->tree);
}

static void tear_down(void)
{
    kf_diff_fini(&diff);
    free_maker(&a);
    free_maker(&b);
}

TestSuite(diff, .init = set_up, .fini = tear_down);

static void put_at(struct maker *maker, size_t layer, const char *name, uint64_t offset,
                   uint64_t size, uint16_t mode)
{
    struct kf_table_entry entry = {
        .offset = offset, .size = size, .mode = mode, .type = KF_TYPE_FILE};

    cr_assert_eq(kf_table_add(&maker->tables[layer], &entry, name, strlen(name), &err),
                 0);
}

static void put(struct maker *maker, const char *name, uint64_t offset, uint64_t size)
{
    put_at(maker, 0, name, offset, size, 0644);
}

static void put_dir(struct maker *maker, const char *name)
{
    struct kf_table_entry entry = {.mode = 0755, .type = KF_TYPE_DIR};

    cr_assert_eq(kf_table_add(&maker->tables[0], &entry, name, strlen(name), &err), 0);
}

static void blob(struct maker *maker, size_t layer, uint8_t digest, uint64_t size)
{
    maker->layers[layer] = (struct kf_diff_layer){
        .digest = number(digest), .size = size, .table = &maker->tables[layer]};
    maker->kit.layer_count = layer + 1;
}

/* The chunks of a layer, as pairs of length and digest, 0 at the end; each is stored in a
 * tenth of its length. */
static void cut(struct maker *maker, size_t layer, const unsigned *pairs)
{
    struct kf_cuts *cuts;
    size_t count = 0;

    while (pairs[2 * count])
        count++;
    cr_assert_leq(count, CHUNKS);
    cuts = kf_cuts_new(count, &err);
    cr_assert_not_null(cuts);
    cuts->offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        cuts->offsets[i + 1] = cuts->offsets[i] + pairs[2 * i];
        cuts->digests[i] = number((uint8_t)pairs[2 * i + 1]);
        maker->stored[layer][i] = pairs[2 * i] / 10;
    }
    maker->layers[layer].cuts = cuts;
    maker->layers[layer].stored_length = maker->stored[layer];
}

#define CUT(maker, layer, ...) cut(maker, layer, (const unsigned[]){__VA_ARGS__, 0, 0})

static void finish(struct maker *maker)
{
    struct kf_tree_layer layers[LAYERS];

    for (size_t i = 0; i < LAYERS; i++)
        layers[i] = (struct kf_tree_layer){&maker->tables[i], ""};
    cr_assert_eq(kf_tree_build(&maker->tree, layers, maker->kit.layer_count, 0, &err), 0,
                 "%s", err.message);
    maker->kit.tree = &maker->tree;
    maker->kit.layers = maker->layers;
}

/* "status path ..." */
static void expect(const char *expected)
{
    char text[1024] = "";
    size_t used = 0;

    finish(&a);
    finish(&b);
    cr_assert_eq(kf_diff(&diff, &a.kit, &b.kit, &err), 0, "%s", err.message);
    for (size_t i = 0; i < diff.count; i++) {
        const struct kf_diff_row *row = &diff.rows[i];
        kf_auto(kf_free) char *path = row->b == KF_NODE_NONE
                                          ? kf_tree_path(&a.tree, row->a)
                                          : kf_tree_path(&b.tree, row->b);

        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %s",
                             used ? ", " : "", kf_diff_status_name(row->status), path);
    }
    cr_assert_str_eq(text, expected);
}

Test(diff, names)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "gone", 0, 5);
    put(&a, "dir/gone", 0, 5);
    put(&a, "dir/longer", 0, 5);
    put(&a, "old/a/b", 0, 5);
    put_dir(&a, "empty");
    put(&b, "dir/longer", 0, 6);
    put(&b, "dir/new", 0, 5);
    put(&b, "new/a", 0, 5);
    put(&b, "new/b", 0, 5);
    put_dir(&b, "hollow");
    expect("removed dir/gone, changed dir/longer, added dir/new, removed empty, "
           "removed gone, added hollow, added new/a, added new/b, removed old/a/b");
    cr_expect_eq(diff.counts[KF_DIFF_ADDED], 4);
    cr_expect_eq(diff.counts[KF_DIFF_REMOVED], 4);
    cr_expect_eq(diff.counts[KF_DIFF_CHANGED], 1);
    cr_expect_eq(diff.same, 0);
}

Test(diff, a_file_where_a_folder_was)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "x/y", 0, 5);
    put(&b, "x", 0, 5);
    expect("removed x/y, added x");
}

Test(diff, the_same_place_of_the_same_layer)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 1, 100);
    put(&a, "same", 512, 5);
    put(&a, "elsewhere", 2048, 5);
    put(&a, "mode", 4096, 5);
    put(&b, "same", 512, 5);
    put(&b, "elsewhere", 3072, 5);
    put_at(&b, 0, "mode", 4096, 5, 0755);
    expect("unknown elsewhere, mode mode");
    cr_expect_eq(diff.same, 1);
}

/* Equal sizes in other layers say nothing, but for empty files. */
Test(diff, other_layers_without_chunks)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 70);
    put(&a, "w", 512, 5);
    put(&a, "none", 1024, 0);
    put(&b, "w", 512, 5);
    put(&b, "none", 512, 0);
    expect("unknown w");
    cr_expect_eq(diff.same, 1);
    cr_expect_eq(diff.total_bytes, 70);
    cr_expect_eq(diff.fetch_bytes, 70);
}

Test(diff, raw_layers_are_their_files)
{
    blob(&a, 0, 1, 5);
    blob(&a, 1, 2, 5);
    blob(&b, 0, 9, 512);
    blob(&b, 1, 3, 5);
    a.layers[0].is_content = a.layers[1].is_content = b.layers[1].is_content = true;
    put(&a, "one", 0, 5);
    put_at(&a, 1, "two", 0, 5, 0644);
    put(&b, "one", 500, 5); /* a chunk of its own: its digest is the file's */
    CUT(&b, 0, 500, 8, 5, 1, 7, 7);
    put_at(&b, 1, "two", 0, 5, 0644);
    expect("changed two");
    cr_expect_eq(diff.same, 1);
}

Test(diff, chunks_that_are_cut_alike)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "same", 10, 30);
    put(&a, "differs", 40, 30);
    CUT(&a, 0, 10, 1, 10, 2, 20, 3, 10, 4, 20, 5);
    put(&b, "same", 20, 30);
    put(&b, "differs", 50, 30);
    CUT(&b, 0, 20, 9, 10, 2, 20, 3, 10, 4, 20, 6);
    expect("changed differs");
    cr_expect_eq(diff.same, 1);
    cr_expect_eq(diff.chunks, 5);
    cr_expect_eq(diff.shared_chunks, 3);
    cr_expect_eq(diff.shared_bytes, 40);
    cr_expect_eq(diff.chunk_bytes, 80);
    cr_expect_eq(diff.fetch_bytes, 4, "two chunks of 20, stored in a tenth");
}

/* The same bytes cut elsewhere have other digests: no reason to say that they differ. */
Test(diff, chunks_that_are_cut_elsewhere)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "w", 0, 40);
    CUT(&a, 0, 10, 1, 30, 2);
    put(&b, "w", 0, 40);
    CUT(&b, 0, 20, 3, 20, 4);
    expect("unknown w");
}

/* One chunk that is cut alike and differs is enough. */
Test(diff, one_difference_among_other_cuts)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "w", 0, 40);
    CUT(&a, 0, 10, 1, 10, 2, 20, 3);
    put(&b, "w", 0, 40);
    CUT(&b, 0, 20, 4, 20, 5);
    expect("changed w");
}

/* Small files share chunks with their neighbours: equal chunks are equal files, others
 * may differ in the neighbour alone. */
Test(diff, files_that_share_a_chunk)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "a", 5, 5);
    put(&a, "b", 25, 5);
    put(&a, "c", 45, 5);
    CUT(&a, 0, 20, 1, 20, 2, 20, 3);
    put(&b, "a", 5, 5);
    put(&b, "b", 25, 5);
    put(&b, "c", 46, 5); /* at another place of an equal chunk */
    CUT(&b, 0, 20, 1, 20, 4, 20, 3);
    expect("unknown b, unknown c");
    cr_expect_eq(diff.same, 1);
}

/* A file's last chunk may hold what comes behind it. */
Test(diff, a_tail_in_a_shared_chunk)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 2, 100);
    put(&a, "w", 0, 25);
    CUT(&a, 0, 20, 1, 20, 2);
    put(&b, "w", 0, 25);
    CUT(&b, 0, 20, 1, 20, 3);
    expect("unknown w");
}

Test(diff, kitfile)
{
    static const char one[] = "a: 1\n", other[] = "a: 2\n";

    blob(&a, 0, 1, 100);
    blob(&b, 0, 1, 100);
    put(&a, "Kitfile", 0, strlen(one));
    put(&b, "Kitfile", 0, strlen(other));
    finish(&a);
    finish(&b);
    a.tree.nodes[1].layer = b.tree.nodes[1].layer = KF_NODE_NONE;
    a.kit.kitfile = one;
    b.kit.kitfile = other;
    cr_assert_eq(kf_diff(&diff, &a.kit, &b.kit, &err), 0);
    cr_assert_eq(diff.count, 1);
    cr_expect_eq(diff.rows[0].status, KF_DIFF_CHANGED);
    kf_diff_fini(&diff);
    b.kit.kitfile = one;
    cr_assert_eq(kf_diff(&diff, &a.kit, &b.kit, &err), 0);
    cr_expect_eq(diff.count, 0);
    cr_expect_eq(diff.same, 1);
}

/* Each blob and each chunk counts once, and what both have not at all. */
Test(diff, bytes_to_fetch)
{
    blob(&a, 0, 1, 100);
    blob(&b, 0, 1, 100);
    blob(&b, 1, 2, 60);
    put(&a, "w", 0, 40);
    put(&b, "w", 0, 40);
    put_at(&b, 1, "v", 0, 100, 0644);
    CUT(&b, 1, 50, 7, 50, 7);
    expect("added v");
    cr_expect_eq(diff.total_bytes, 160);
    cr_expect_eq(diff.chunks, 1);
    cr_expect_eq(diff.fetch_bytes, 5);
}

Test(diff, nothing)
{
    expect("");
    cr_expect_eq(diff.total_bytes, 0);
}
