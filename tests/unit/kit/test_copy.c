#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "kit/copy.h"
#include "kit/open.h"
#include "kit_world.h"
#include "layout_maker.h"
#include "oci/media.h"
#include "tar_maker.h"

static uint8_t *big_kit(struct world *world, size_t length)
{
    uint8_t *data = malloc(length);
    struct kf_buf tar;
    const char *layer;
    char layers[512];

    cr_assert_not_null(data);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 11));
    kf_buf_init(&tar, MIB(64));
    tar_add_file(&tar, "a", data, length);
    tar_end(&tar);
    layer = layout_blob(&world->layout, TAR_TYPE("model"), tar.data, tar.length, "");
    kf_buf_fini(&tar);
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    layout_tag(&world->layout,
               layout_manifest(&world->layout, KF_MEDIA_MODELKIT_ARTIFACT,
                               layout_config(&world->layout, layer, ""), layers, ""));
    world_expect_open(world);
    return data;
}

Test(copy, ranges_of_a_large_file)
{
    const size_t size = MIB(24) + 12345;
    struct world world;
    uint8_t *data;

    world_begin(&world);
    data = big_kit(&world, size);
    world_expect_copy(&world, data, 0, size);
    world_expect_copy(&world, data, 77, MIB(9));
    world_expect_copy(&world, data, size - 1, 1);
    world_expect_copy(&world, data, size, 0);
    world_expect_copy(&world, data, MIB(1), MIB(1));
    free(data);
    world_end(&world);
}

Test(copy, stops_when_the_writer_does)
{
    struct collect collect = {.stop_at = MIB(3)};
    struct world world;

    world_begin(&world);
    free(big_kit(&world, MIB(20)));
    kf_buf_init(&collect.bytes, MIB(64));
    cr_assert_eq(
        kf_kit_copy(world.kit, FILE_NODE, 0, MIB(20), collect_take, &collect, &world.err),
        -1);
    cr_assert_eq(world.err.kind, KF_E_IO);
    cr_assert_str_eq(world.err.message, "enough");
    cr_assert_eq(collect.bytes.length, MIB(3));
    kf_buf_fini(&collect.bytes);
    world_end(&world);
}

Test(copy, bad_ranges_and_folders)
{
    struct collect collect = {0};
    struct world world;

    world_begin(&world);
    layout_tag(&world.layout, layout_simple_kit(&world.layout, "one"));
    world_expect_open(&world);
    cr_assert_eq(
        kf_kit_copy(world.kit, FILE_NODE, 4, 0, collect_take, &collect, &world.err), -1);
    cr_assert_eq(world.err.kind, KF_E_ARG);
    cr_assert_eq(
        kf_kit_copy(world.kit, FILE_NODE, 1, 3, collect_take, &collect, &world.err), -1);
    cr_assert_eq(kf_kit_copy(world.kit, FILE_NODE, 1, UINT64_MAX, collect_take, &collect,
                             &world.err),
                 -1);
    cr_assert_eq(kf_kit_copy(world.kit, 0, 0, 0, collect_take, &collect, &world.err), -1);
    cr_assert_eq(world.err.kind, KF_E_ARG);
    cr_assert_null(kf_kit_file(world.kit, 99, &world.err));
    cr_assert_eq(world.err.kind, KF_E_ARG);
    world_end(&world);
}

/* ---- pieces of many files ---- */

#define FILES 300u

struct many {
    struct world world;
    uint32_t next, written; /* files */
    uint32_t fail_next, fail_write, stop_at;
    uint32_t most_ahead;
};

static void many_begin(struct many *many)
{
    char name[16], layers[512];
    const char *layer;
    struct kf_buf tar;

    *many = (struct many){
        .fail_next = UINT32_MAX, .fail_write = UINT32_MAX, .stop_at = UINT32_MAX};
    world_begin(&many->world);
    kf_buf_init(&tar, MIB(4));
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "f%05u", i);
        tar_add_file(&tar, name, name, 6);
    }
    tar_end(&tar);
    layer = layout_blob(&many->world.layout, TAR_TYPE("model"), tar.data, tar.length, "");
    kf_buf_fini(&tar);
    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    layout_tag(&many->world.layout,
               layout_manifest(&many->world.layout, KF_MEDIA_MODELKIT_ARTIFACT,
                               layout_config(&many->world.layout, layer, ""), layers,
                               ""));
    world_expect_open(&many->world);
}

static int next_file(void *arg, struct kf_copy_piece *ret, struct kf_err *err)
{
    struct many *many = arg;

    if (many->next == many->fail_next)
        return kf_fail(err, KF_E_IO, "no next");
    if (many->next == FILES)
        return 0;
    ret->file = kf_kit_file(many->world.kit, FILE_NODE + many->next++, err);
    ret->offset = 1;
    ret->length = 5;
    if (many->next - many->written > many->most_ahead)
        many->most_ahead = many->next - many->written;
    return ret->file ? 1 : -1;
}

static int write_file(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct many *many = arg;
    char expected[16];

    if (many->written == many->fail_write)
        return kf_fail(err, KF_E_IO, "no room");
    (void)snprintf(expected, sizeof(expected), "%05u", many->written++);
    cr_assert_eq(length, 5);
    cr_assert_arr_eq(data, expected, 5);
    return 0;
}

static bool is_stopped(void *arg)
{
    const struct many *many = arg;

    return many->written >= many->stop_at;
}

static int copy_many(struct many *many, unsigned reads, size_t window)
{
    const struct kf_copy_opts opts = {.reads = reads,
                                      .window_bytes = window,
                                      .timeout_ns = 10 * KF_NS_PER_S,
                                      .next = next_file,
                                      .write = write_file,
                                      .stopped = is_stopped,
                                      .arg = many};

    many->next = many->written = many->most_ahead = 0;
    return kf_copy_pieces(&opts, &many->world.err);
}

Test(copy, many_files_in_order_within_the_window)
{
    static const struct {
        unsigned reads;
        size_t window;
        uint32_t ahead; /* and one that has no room yet */
    } rows[] = {{1000, MIB(1), FILES}, {7, MIB(1), 8}, {1000, 50, 11}, {1, 1, 2}};
    struct many many;

    many_begin(&many);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(copy_many(&many, rows[i].reads, rows[i].window), 0);
        cr_assert_eq(many.written, FILES);
        cr_assert_eq(many.most_ahead, rows[i].ahead);
    }
    world_end(&many.world);
}

Test(copy, many_files_cut_short)
{
    struct many many;

    many_begin(&many);
    many.fail_next = 0;
    cr_assert_eq(copy_many(&many, 8, MIB(1)), -1);
    cr_assert_str_eq(many.world.err.message, "no next");
    many.fail_next = 100;
    cr_assert_eq(copy_many(&many, 8, MIB(1)), -1);
    cr_assert_str_eq(many.world.err.message, "no next");
    many.fail_next = UINT32_MAX;
    many.fail_write = 200;
    cr_assert_eq(copy_many(&many, 8, MIB(1)), -1);
    cr_assert_str_eq(many.world.err.message, "no room");
    many.fail_write = UINT32_MAX;
    many.stop_at = 50;
    cr_assert_eq(copy_many(&many, 8, MIB(1)), -1);
    cr_assert_eq(many.world.err.kind, KF_E_CANCELLED);
    cr_assert_eq(many.written, 50);
    world_end(&many.world);
}
