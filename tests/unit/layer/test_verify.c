/* Everything about a layer that can be checked, and damage at every place. */
#include "layer/verify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fake_source.h"
#include "layer/layer_state.h"
#include "stream_world.h"
#include "toc_world.h"

static const struct pack_file weights = {.seed = 1, .alphabet = 256};
static const struct pack_file text = {.seed = 2, .alphabet = 9};

struct said {
    unsigned problems;
    uint64_t bytes;
    char all[4096];
};

static void on_problem(void *arg, const char *line)
{
    struct said *said = arg;
    size_t used = strlen(said->all);

    said->problems++;
    (void)snprintf(said->all + used, sizeof(said->all) - used, "%s\n", line);
}

static void on_progress(void *arg, uint64_t bytes)
{
    ((struct said *)arg)->bytes += bytes;
}

static void pack(struct toc_world *world, enum kf_toc_carrier carrier)
{
    const struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/small", 5000, &text),
        pack_entry("d/weights", KIB(200), &weights),
    };

    toc_world_pack(world, carrier, carrier == KF_CARRIER_RAW ? &entries[2] : entries,
                   carrier == KF_CARRIER_RAW ? 1 : KF_ARRAY_LEN(entries), KIB(64));
}

/* With its real digest: the world's layers have a made-up one. */
static void open_layer(struct toc_world *world, enum kf_toc_carrier carrier)
{
    pack(world, carrier);
    toc_world_start(world, false);
    toc_world_expect_open(world);
    cr_assert_eq(
        kf_digest_of(&world->layer->digest, world->blob.data, world->blob.length, NULL),
        0);
}

static void verify(struct toc_world *world, struct said *said,
                   const struct kf_digest *diff_id)
{
    const struct kf_verify_opts opts = {.diff_id = diff_id,
                                        .timeout_ns = 10 * KF_NS_PER_S,
                                        .problem = on_problem,
                                        .progress = on_progress,
                                        .arg = said};
    struct kf_err err;

    *said = (struct said){0};
    if (kf_layer_verify(world->layer, &opts, &err) != 0)
        on_problem(said, err.message);
}

static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR,
                                               KF_CARRIER_RAW};

Test(verify, what_the_packer_makes_is_right)
{
    struct toc_world world;
    struct said said;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        open_layer(&world, carriers[i]);
        verify(&world, &said, NULL);
        cr_assert_eq(said.problems, 0, "%s", said.all);
        cr_assert_eq(said.bytes, world.blob.length);
        toc_world_end(&world);
    }
}

/* The TOC itself is checked when the layer is opened. */
Test(verify, any_flipped_byte_is_found)
{
    struct toc_world world;
    struct said said;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        open_layer(&world, carriers[i]);
        for (size_t at = 0; at < world.blob.length;
             at += at + 3000 < world.blob.length ? 2999 : 7) {
            bool in_toc = world.link.embedded && at >= world.link.area_offset &&
                          at < world.link.area_offset + world.link.area_length;

            if (in_toc)
                continue;
            world.blob.data[at] ^= 0x40;
            verify(&world, &said, NULL);
            cr_assert_gt(said.problems, 0, "carrier %zu, byte %zu", i, at);
            world.blob.data[at] ^= 0x40;
        }
        toc_world_end(&world);
    }
}

Test(verify, says_which_chunk_and_nothing_misleading)
{
    struct toc_world world;
    struct said said;

    open_layer(&world, KF_CARRIER_TAR);
    world.blob.data[3] ^= 1; /* in the first header */
    world.blob.data[world.blob.length - 5000] ^= 1;
    verify(&world, &said, NULL);
    cr_assert_eq(said.problems, 3, "%s", said.all);
    cr_assert_not_null(strstr(said.all, "chunk 0 at offset 0"));
    cr_assert_not_null(strstr(said.all, "chunk 4 at offset"), "%s", said.all);
    cr_assert_not_null(strstr(said.all, "the blob's digest is"), "%s", said.all);
    toc_world_end(&world);
}

Test(verify, the_unpacked_digest_is_compared)
{
    const struct kf_digest wrong = {{9}};
    struct toc_world world;
    struct said said;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        open_layer(&world, carriers[i]);
        verify(&world, &said, &wrong);
        cr_assert_eq(said.problems, 1, "%s", said.all);
        cr_assert_not_null(strstr(said.all, "unpacked content"));
        toc_world_end(&world);
    }
}

/* All digests hold, and still the table of contents tells of another archive. */
Test(verify, an_archive_that_says_other_things_is_found)
{
    static const enum kf_toc_carrier archives[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct toc_world world;
    struct said said;

    for (size_t i = 0; i < KF_ARRAY_LEN(archives); i++) {
        open_layer(&world, archives[i]);
        world.layer->table.entries[toc_world_entry(&world, "d/weights")].mode ^= 0100;
        verify(&world, &said, NULL);
        cr_assert_eq(said.problems, 1, "%s", said.all);
        cr_assert_not_null(strstr(said.all, "different things"), "%s", said.all);
        toc_world_end(&world);
    }
}

Test(verify, a_source_that_fails_is_a_problem)
{
    struct toc_world world;
    struct said said;

    open_layer(&world, KF_CARRIER_TAR_ZSTD);
    toc_world_unplug(&world);
    verify(&world, &said, NULL);
    cr_assert_gt(said.problems, 0);
    toc_world_end(&world);
}

static const struct toc_world_file framed_files[] = {{"a", 3000}, {"b", MIB(2)}};

/* A layer of others, by its frames: the blob and what it unpacks to. */
Test(verify, layer_read_by_frames)
{
    struct toc_world world;
    struct said said = {0};
    struct kf_digest diff, other = {{9}};
    struct kf_verify_opts opts = {.problem = on_problem,
                                  .progress = on_progress,
                                  .timeout_ns = 10 * KF_NS_PER_S,
                                  .diff_id = &diff,
                                  .arg = &said};

    toc_world_frames(&world, framed_files, 2, KIB(300), false);
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(
        kf_digest_of(&world.layer->digest, world.blob.data, world.blob.length, NULL), 0);
    cr_assert_eq(kf_digest_of(&diff, world.stream, world.layer->table.stream_size, NULL),
                 0);
    cr_assert_eq(kf_layer_verify(world.layer, &opts, &world.err), 0);
    cr_assert_eq(said.problems, 0, "%s", said.all);
    cr_assert_eq(said.bytes, world.blob.length);

    opts.diff_id = &other;
    cr_assert_eq(kf_layer_verify(world.layer, &opts, &world.err), 0);
    cr_assert_eq(said.problems, 1, "%s", said.all);
    cr_assert_not_null(strstr(said.all, "unpacked content"));

    memset(&said, 0, sizeof(said));
    world.blob.data[world.blob.length / 2] ^= 1;
    cr_assert_eq(kf_layer_verify(world.layer, &opts, &world.err), 0);
    cr_assert_eq(said.problems, 2, "%s", said.all);
    cr_assert_not_null(strstr(said.all, "the blob's digest is"));
    cr_assert_not_null(strstr(said.all, "zstd frame 3"), "%s", said.all);
    toc_world_end(&world);
}

/* ---- layers that are streamed ---- */

static void verify_streamed(struct stream_world *world, struct said *said,
                            const struct kf_digest *diff_id)
{
    const struct kf_verify_opts opts = {.diff_id = diff_id,
                                        .timeout_ns = 10 * KF_NS_PER_S,
                                        .problem = on_problem,
                                        .progress = on_progress,
                                        .arg = said};
    struct kf_err err;

    *said = (struct said){0};
    if (kf_layer_verify(world->layer, &opts, &err) != 0)
        on_problem(said, err.message);
}

Test(verify, streamed_layers)
{
    const struct kf_digest wrong = {{9}};
    struct stream_world world;
    struct kf_digest diff;
    struct said said;

    for (size_t i = 0; i < STREAM_FORMS; i++) {
        stream_world_begin(&world, stream_forms[i], MIB(2), false);
        cr_assert_eq(stream_world_open(&world, true), 0);
        cr_assert_eq(kf_digest_of(&diff, world.stream.data, world.stream.length, NULL),
                     0);
        verify_streamed(&world, &said, &diff);
        cr_assert_eq(said.problems, 0, "%s", said.all);
        cr_assert_eq(said.bytes, world.blob.length);
        verify_streamed(&world, &said, &wrong);
        cr_assert_eq(said.problems, 1, "%s", said.all);
        cr_assert_not_null(strstr(said.all, "unpacked content"), "%s", said.all);
        stream_world_end(&world);
    }
}

/* The blob is read to its end all the same, and its digest told. */
Test(verify, damaged_streamed_layers)
{
    struct stream_world world;
    struct said said;

    for (size_t i = 0; i < STREAM_FORMS; i++) {
        stream_world_begin(&world, stream_forms[i], MIB(2), false);
        cr_assert_eq(stream_world_open(&world, true), 0);
        world.blob.data[world.blob.length / 2 + 5000] ^= 0x10;
        verify_streamed(&world, &said, NULL);
        cr_assert_eq(said.problems, 2, "form %zu: %s", i, said.all);
        cr_assert_not_null(strstr(said.all, "the blob's digest is"), "%s", said.all);
        cr_assert_eq(said.bytes, world.blob.length);
        stream_world_end(&world);
    }
}
