#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
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
