/* Layers without random access: one pass into the cache. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/turn.h"
#include "fake_source.h"
#include "layer/layer_state.h"
#include "packed.h"
#include "stream_world.h"

#define KIB(n) ((uint64_t)(n) << 10)

/* ---- the pass ---- */

/* For zstd its end is looked at first, where a seek table would be. */
static void expect_streamed_once(struct stream_world *world)
{
    uint64_t bytes = kf_fake_source_bytes(world->fake);

    cr_assert_geq(bytes, world->blob.length);
    cr_assert_leq(bytes, world->blob.length +
                             (world->form.packing == KF_LAYER_ZSTD ? KIB(64) : 0));
}

static void expect_once(struct stream_form form, size_t raw_size)
{
    struct stream_world world;
    uint64_t requests;

    stream_world_begin(&world, form, raw_size, true);
    stream_world_expect_open(&world);
    requests = kf_fake_source_requests(world.fake);
    expect_streamed_once(&world);
    cr_assert_gt(world.told, 0);
    cr_assert_eq(world.told_done, world.blob.length);
    stream_world_expect_all(&world);
    cr_assert_eq(kf_fake_source_requests(world.fake), requests, "all is in the cache");

    stream_world_restart(&world);
    stream_world_expect_open(&world);
    stream_world_expect_all(&world);
    cr_assert_eq(kf_fake_source_requests(world.fake), 0, "a second mount asks nothing");
    stream_world_end(&world);
}

Test(stream, once, .timeout = 60)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(stream_forms); i++)
        expect_once(stream_forms[i], MIB(17) + 5);
}

/* The sizes where files change their object, and chunks end. */
Test(stream, raw_sizes, .timeout = 60)
{
    static const size_t sizes[] = {1,          MIB(1) - 1,  MIB(1),
                                   MIB(1) + 1, MIB(16) - 1, MIB(16)};

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++)
        expect_once(stream_forms[2 + i % 2], sizes[i]);
}

Test(stream, nothing_in_it)
{
    struct stream_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(stream_forms); i++) {
        memset(&world, 0, sizeof(world));
        world.form = stream_forms[i];
        kf_buf_init(&world.stream, MIB(1));
        kf_buf_init(&world.blob, MIB(1));
        if (world.form.packing == KF_LAYER_GZIP)
            packed_add_gzip(&world.blob, "", 0, false);
        else
            packed_add_zstd(&world.blob, "", 0, 0);
        cr_assert_eq(
            kf_digest_of(&world.digest, world.blob.data, world.blob.length, NULL), 0);
        stream_world_start(&world, true);
        stream_world_expect_open(&world);
        cr_assert_eq(kf_layer_table(world.layer)->count, world.form.is_tar ? 0 : 1);
        cr_assert_eq(kf_layer_table(world.layer)->stream_size, 0);
        stream_world_end(&world);
    }
}

Test(stream, attributes_of_a_raw_file)
{
    struct stream_world world;
    const struct kf_table *table;
    const char *name;
    size_t length;

    stream_world_begin(&world, stream_forms[3], 1000, true);
    stream_world_expect_open(&world);
    table = kf_layer_table(world.layer);
    name = kf_table_name(table, 0, &length);
    cr_assert_eq(length, 5);
    cr_assert_eq(memcmp(name, "m/raw", 5), 0);
    cr_assert_eq(table->entries[0].mode, 0600);
    stream_world_end(&world);
}

/* One blob, two ways to read it: neither takes the other's table or bytes. */
Test(stream, an_archive_and_a_file_of_one_blob)
{
    struct stream_world world;

    stream_world_begin(&world, stream_forms[0], 0, true);
    stream_world_expect_open(&world);
    stream_world_expect_file(&world, SMALL_ENTRY);
    kf_layer_close(world.layer);
    world.form.is_tar = false;
    world.at[0] = 0;
    world.size[0] = world.stream.length;
    stream_world_expect_open(&world);
    cr_assert_eq(kf_layer_table(world.layer)->count, 1);
    stream_world_expect_file(&world, 0);
    stream_world_end(&world);
}

/* ---- archives with odd ends ---- */

static void with_end(struct stream_world *world, const void *data, size_t length,
                     size_t cut)
{
    memset(world, 0, sizeof(*world));
    world->form = stream_forms[0];
    kf_buf_init(&world->stream, MIB(8));
    stream_world_add_file(world, 0, "one", 700);
    world->stream.length -= cut;
    if (length > 0)
        cr_assert_eq(kf_buf_append(&world->stream, data, length, NULL), 0);
    stream_world_pack(world);
    stream_world_start(world, true);
}

/* As kit takes them: no end mark, half of one, GNU's padding, a cut last block. */
Test(stream, ends_that_are_fine)
{
    static const uint8_t zeros[20 * 512];
    static const struct {
        size_t zeros, cut;
    } ends[] = {{0, 0}, {0, 324}, {512, 0}, {1024, 0}, {1536, 0}, {sizeof(zeros), 0}};
    struct stream_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(ends); i++) {
        with_end(&world, zeros, ends[i].zeros, ends[i].cut);
        cr_assert_eq(stream_world_open(&world, false), 0, "end %zu: %s", i,
                     world.err.message);
        stream_world_expect_file(&world, 0);
        stream_world_end(&world);
    }
}

Test(stream, ends_that_are_not)
{
    static const uint8_t part[100] = {1};
    struct stream_world world;

    with_end(&world, NULL, 0, 325); /* inside the file */
    stream_world_expect_refused(&world, KF_E_CORRUPT, "inside a file");
    stream_world_end(&world);
    with_end(&world, part, sizeof(part), 0);
    stream_world_expect_refused(&world, KF_E_MALFORMED, "ends inside a header");
    stream_world_end(&world);
}

/* ---- what is not right ---- */

Test(stream, another_digest, .timeout = 60)
{
    struct stream_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(stream_forms); i++) {
        stream_world_begin(&world, stream_forms[i], MIB(17), true);
        world.digest.bytes[0] ^= 1;
        stream_world_expect_refused(&world, KF_E_CORRUPT, "the blob's digest is");
        stream_world_expect_empty_cache(&world);
        stream_world_end(&world);
    }
}

Test(stream, damaged, .timeout = 60)
{
    struct stream_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(stream_forms); i++) {
        stream_world_begin(&world, stream_forms[i], MIB(17), true);
        world.blob.data[world.blob.length - 1000] ^= 4;
        stream_world_expect_refused(&world, KF_E_CORRUPT, "");
        stream_world_expect_empty_cache(&world);
        world.blob.data[world.blob.length - 1000] ^= 4;
        stream_world_expect_open(&world);
        stream_world_expect_all(&world);
        stream_world_end(&world);
    }
}

/* The digest is that of a blob which is no whole stream. */
Test(stream, cut_but_rightly_named)
{
    struct stream_world world;

    stream_world_make(&world, stream_forms[0], 0);
    world.blob.length -= 5;
    cr_assert_eq(kf_digest_of(&world.digest, world.blob.data, world.blob.length, NULL),
                 0);
    stream_world_start(&world, true);
    stream_world_expect_refused(&world, KF_E_CORRUPT, "in the middle");
    stream_world_expect_empty_cache(&world);
    stream_world_end(&world);
}

Test(stream, a_source_that_fails)
{
    struct stream_world world;

    stream_world_begin(&world, stream_forms[1], 0, true);
    kf_fake_source_fail(world.fake, 3, KF_E_UNREACHABLE, 1000);
    stream_world_expect_refused(&world, KF_E_UNREACHABLE, "");
    stream_world_expect_empty_cache(&world);
    kf_fake_source_fail(world.fake, 0, KF_E_NONE, 0);
    stream_world_expect_open(&world);
    stream_world_expect_all(&world);
    stream_world_end(&world);
}

Test(stream, stopped)
{
    struct stream_world world;

    stream_world_begin(&world, stream_forms[0], 0, true);
    world.stop = true;
    stream_world_expect_refused(&world, KF_E_CANCELLED, "stopped");
    stream_world_expect_empty_cache(&world);
    stream_world_end(&world);
}

/* ---- one for all ---- */

struct opener {
    struct stream_world *world;
    struct kf_layer *layer;
    pthread_t thread;
    int rc;
    struct kf_err err;
};

static void *open_too(void *arg)
{
    struct opener *opener = arg;
    struct stream_world *world = opener->world;
    const struct kf_layer_spec spec = {.digest = world->digest,
                                       .source = &world->fake->source,
                                       .is_tar = world->form.is_tar,
                                       .packing = world->form.packing,
                                       .store = world->store,
                                       .fetch = world->fetch,
                                       .timeout_ns = 10 * KF_NS_PER_S};

    opener->rc = kf_layer_open(&opener->layer, &spec, &opener->err);
    return NULL;
}

static void expect_opened_by(struct stream_world *world, unsigned passes)
{
    struct opener openers[4];

    for (unsigned i = 0; i < KF_ARRAY_LEN(openers); i++) {
        openers[i] = (struct opener){.world = world};
        cr_assert_eq(pthread_create(&openers[i].thread, NULL, open_too, &openers[i]), 0);
    }
    for (unsigned i = 0; i < KF_ARRAY_LEN(openers); i++) {
        (void)pthread_join(openers[i].thread, NULL);
        cr_assert_eq(openers[i].rc, 0, "%s", openers[i].err.message);
        kf_layer_close(openers[i].layer);
    }
    cr_assert_eq(kf_fake_source_bytes(world->fake), passes * world->blob.length);
}

Test(stream, many_open_it_at_once)
{
    struct stream_world world;

    stream_world_begin(&world, stream_forms[0], 0, true);
    expect_opened_by(&world, 1);
    stream_world_end(&world);
}

/* Who has the lock and says nothing is not waited for for ever. */
Test(stream, one_who_does_not_go_on)
{
    struct stream_world world;
    struct kf_turn *turn;
    struct kf_layer *known;
    struct kf_digest name;
    char path[128], hex[65];

    stream_world_begin(&world, stream_forms[0], 0, true);
    cr_assert_eq(stream_world_open(&world, true), 0);
    name = world.layer->name;
    cr_assert_eq(kf_turn_take(&turn, world.store, &name, KF_NS_PER_S, NULL, NULL, NULL),
                 0);
    cr_assert_not_null(turn);
    {
        const struct kf_layer_spec spec = {.digest = world.digest,
                                           .source = &world.fake->source,
                                           .is_tar = true,
                                           .packing = KF_LAYER_GZIP,
                                           .store = world.store,
                                           .fetch = world.fetch,
                                           .timeout_ns = KF_NS_PER_S / 4};

        cr_assert_eq(kf_layer_open(&known, &spec, &world.err), 0, "%s",
                     world.err.message);
    }
    cr_assert_eq(kf_layer_table(known)->count, ENTRIES);
    kf_layer_close(known);
    (void)snprintf(path, sizeof(path), "%s/turn/%s", world.folder,
                   kf_digest_hex(&name, hex));
    cr_assert_eq(access(path, F_OK), 0);
    kf_turn_end(turn);
    cr_assert_neq(access(path, F_OK), 0);
    stream_world_end(&world);
}
