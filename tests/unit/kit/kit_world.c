#include "kit_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/workq.h"
#include "oci/media.h"
#include "tar_maker.h"

void world_begin(struct world *world)
{
    memset(world, 0, sizeof(*world));
    layout_begin(&world->layout);
    world->workq = kf_workq_new(2, NULL);
}

void world_end(struct world *world)
{
    cr_assert_eq(kf_kit_close(world->kit, kf_deadline_ns(10 * KF_NS_PER_S)), 0);
    kf_workq_free(world->workq);
    layout_end(&world->layout);
}

int world_open(struct world *world)
{
    world->opts.ref = world->layout.ref;
    world->opts.workq = world->workq;
    return kf_kit_open(&world->kit, &world->opts, &world->err);
}

void world_expect_open(struct world *world)
{
    cr_assert_eq(world_open(world), 0, "%s", world->err.message);
}

const char *layout_file_layer(struct layout *layout, const char *type, const char *name,
                              const char *content)
{
    struct kf_buf tar;
    const char *desc;

    kf_buf_init(&tar, MIB(1));
    tar_add_file(&tar, name, content, strlen(content));
    tar_end(&tar);
    desc = layout_blob(layout, type, tar.data, tar.length, "");
    kf_buf_fini(&tar);
    return desc;
}

const char *layout_config(struct layout *layout, const char *layer, const char *more)
{
    char text[1024], digest[KF_DIGEST_TEXT_SIZE];
    struct kf_digest parsed = digest_in(layer);

    (void)snprintf(text, sizeof(text),
                   "{\"manifestVersion\":\"1.0.0\",\"package\":{},\"model\":{\"path\":"
                   "\"a\",\"digest\":\"%s\"}%s}",
                   kf_digest_format(&parsed, digest), more);
    return layout_text(layout, KF_MEDIA_MODELKIT_CONFIG, text);
}

const char *layout_simple_kit(struct layout *layout, const char *content)
{
    const char *layer = layout_file_layer(layout, TAR_TYPE("model"), "a", content);
    const char *config = layout_config(layout, layer, "");
    char layers[512];

    (void)snprintf(layers, sizeof(layers), "[%s]", layer);
    return layout_manifest(layout, KF_MEDIA_MODELKIT_ARTIFACT, config, layers, "");
}

int collect_take(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct collect *collect = arg;

    if (collect->stop_at && collect->bytes.length + length > collect->stop_at)
        return kf_fail(err, KF_E_IO, "enough");
    return kf_buf_append(&collect->bytes, data, length, err);
}

void world_expect_copy(struct world *world, const uint8_t *data, uint64_t offset,
                       uint64_t length)
{
    struct collect collect = {0};

    kf_buf_init(&collect.bytes, MIB(64));
    cr_assert_eq(kf_kit_copy(world->kit, FILE_NODE, offset, length, collect_take,
                             &collect, &world->err),
                 0, "%s", world->err.message);
    cr_assert_eq(collect.bytes.length, length);
    if (length > 0)
        cr_assert_arr_eq(collect.bytes.data, data + offset, length);
    kf_buf_fini(&collect.bytes);
}
