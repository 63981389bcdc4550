/*
 * zstd layers that no annotation leads into: by the frames of their seek table, or by a
 * TOC that it leads to (docs/formats/layer.md section 7 rule 8, and section 8).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/mem.h"
#include "fake_source.h"
#include "layer/layer_state.h"
#include "layer/le.h"
#include "layer/table.h"
#include "toc_world.h"

static const struct pack_file weights = {.seed = 1, .alphabet = 256};
static const struct pack_file text = {.seed = 2, .alphabet = 9};

/* ---- frames ---- */

static const struct toc_world_file files[] = {
    {"a", 3000}, {"b", 70000}, {"large", MIB(16) + 77}, {"z", MIB(1)}};

static void expect_twice(struct toc_world *world)
{
    toc_world_start(world, true);
    toc_world_expect_open(world);
    cr_assert_eq(kf_layer_access(world->layer), KF_ACCESS_FRAMES);
    cr_assert_null(kf_layer_toc(world->layer));
    toc_world_expect_all(world, MIB(1));
    toc_world_stop(world);

    toc_world_start(world, true);
    toc_world_unplug(world);
    toc_world_expect_open(world);
    cr_assert_eq(kf_layer_access(world->layer), KF_ACCESS_FRAMES);
    toc_world_expect_all(world, 700001);
    cr_assert_eq(toc_world_requests(world), 0);
    toc_world_end(world);
}

Test(seek_layer, every_byte_and_again_without_network)
{
    static const uint32_t cuts[] = {50000, MIB(1), MIB(5)};
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(cuts); i++) {
        toc_world_frames(&world, files, KF_ARRAY_LEN(files), cuts[i], false);
        expect_twice(&world);
    }
}

Test(seek_layer, raw)
{
    struct toc_world world;

    toc_world_frames(&world, &files[2], 1, MIB(1), true);
    world.raw_size = files[2].size;
    expect_twice(&world);
    toc_world_frames(&world, &files[0], 1, MIB(1), true);
    expect_twice(&world);
}

Test(seek_layer, raw_of_another_size_than_its_metadata_says)
{
    struct toc_world world;

    toc_world_frames(&world, &files[1], 1, MIB(1), true);
    toc_world_start(&world, false);
    world.raw_size = files[1].size + 1;
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED);
    cr_assert_not_null(
        strstr(world.err.message, "has 70000 bytes, and its metadata says 70001"), "%s",
        world.err.message);
    toc_world_end(&world);
}

/* The headers of a tar whose files are large are a small part of it. */
Test(seek_layer, opening_fetches_little)
{
    struct toc_world world;

    toc_world_frames(&world, files, KF_ARRAY_LEN(files), KIB(256), false);
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_leq(kf_fake_source_bytes(world.fake), MIB(2));
    toc_world_end(&world);
}

Test(seek_layer, damage_is_an_error_of_the_read)
{
    struct toc_world world;

    toc_world_frames(&world, files, KF_ARRAY_LEN(files), MIB(1), false);
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    world.blob.data[world.blob.length / 2] ^= 1;
    cr_assert_eq(toc_world_read(&world, "large", MIB(8), MIB(1)), KF_E_CORRUPT);
    world.blob.data[world.blob.length / 2] ^= 1;
    cr_assert_eq(toc_world_read(&world, "large", MIB(8), MIB(1)), KF_E_NONE);
    toc_world_end(&world);
}

/* ---- a TOC without its annotation ---- */

static void pack(struct toc_world *world, uint32_t chunk_size)
{
    const struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/small", 5000, &text),
        pack_entry("large", MIB(16), &weights),
        pack_entry("middle", KIB(200), &text),
    };

    toc_world_pack(world, KF_CARRIER_TAR_ZSTD, entries, KF_ARRAY_LEN(entries),
                   chunk_size);
    world->unlinked = true;
}

Test(seek_layer, toc_is_found)
{
    struct toc_world world;

    pack(&world, KIB(64));
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FOUND_TOC);
    cr_assert(kf_digest_equal(&world.layer->root_digest, &world.link.root_digest));
    cr_assert_eq(toc_world_requests(&world), 2); /* the table, the area */
    world.blob.data[world.link.area_offset / 2] ^= 1;
    cr_assert_eq(toc_world_read(&world, "large", MIB(8), MIB(1)), KF_E_CORRUPT);
    cr_assert_not_null(strstr(world.err.message, "has the digest"), "%s",
                       world.err.message);
    world.blob.data[world.link.area_offset / 2] ^= 1;
    toc_world_expect_all(&world, MIB(1));
    toc_world_stop(&world);

    toc_world_start(&world, true);
    toc_world_unplug(&world);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FOUND_TOC);
    toc_world_expect_all(&world, MIB(1));
    cr_assert_eq(toc_world_requests(&world), 0);
    toc_world_end(&world);
}

/* The link leads to the same, and then no table is asked for. */
Test(seek_layer, annotation_comes_first)
{
    struct toc_world world;

    pack(&world, KIB(64));
    world.unlinked = false;
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_TOC);
    cr_assert_eq(toc_world_requests(&world), 1);
    toc_world_end(&world);
}

Test(seek_layer, empty_layer_with_a_toc)
{
    struct toc_world world;

    toc_world_pack(&world, KF_CARRIER_TAR_ZSTD, NULL, 0, MIB(1));
    world.unlinked = true;
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FOUND_TOC);
    cr_assert_eq(kf_layer_table(world.layer)->count, 0);
    toc_world_end(&world);
}

static uint8_t *area_of(struct toc_world *world)
{
    return world->blob.data + world->link.area_offset;
}

static void other_magic(struct toc_world *world)
{
    area_of(world)[-8] ^= 1;
}

static void other_length(struct toc_world *world)
{
    area_of(world)[-4] ^= 1;
}

static void no_frame(struct toc_world *world)
{
    area_of(world)[0] ^= 1;
}

/* A frame of other content in the place of the root. */
static void put_frame(struct toc_world *world, const char *content, size_t length)
{
    uint8_t frame[256];
    size_t got = ZSTD_compress(frame, sizeof(frame), content, length, 1);

    cr_assert(!ZSTD_isError(got) && got <= world->link.root_stored);
    memcpy(area_of(world), frame, got);
}

static void other_content(struct toc_world *world)
{
    put_frame(world, "KITFSTOK and so on", 18);
}

static void short_content(struct toc_world *world)
{
    put_frame(world, "KITFST", 6);
}

/* A content size that is over the limit of a root. */
static void too_long(struct toc_world *world)
{
    uint8_t header[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 1, 0, 0, 0x20, 1, 0, 0};

    memcpy(area_of(world), header, sizeof(header));
}

/* A block that runs beyond the area. */
static void cut_off(struct toc_world *world)
{
    uint8_t header[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 2, 0, 0, 0, 0x10};

    memcpy(area_of(world), header, sizeof(header));
}

/* Entries of the seek table, from the end. */
static uint8_t *entry_of(struct toc_world *world, unsigned from_end)
{
    return world->blob.data + world->blob.length - 9 - 8 * (size_t)from_end;
}

static void other_end_mark(struct toc_world *world)
{
    kf_put_le32(entry_of(world, 1) + 4, 1023);
}

static const struct {
    const char *what;
    void (*change)(struct toc_world *world);
    bool unreadable; /* since the end of the archive is not what the table says */
} not_fitting[] = {
    {"magic of the frame", other_magic, false},
    {"length of the frame", other_length, false},
    {"no frame inside", no_frame, false},
    {"other content", other_content, false},
    {"short content", short_content, false},
    {"content over the limit", too_long, false},
    {"a frame cut off", cut_off, false},
    {"length of the end mark", other_end_mark, true},
};

Test(seek_layer, what_is_no_toc_is_read_by_frames)
{
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(not_fitting); i++) {
        int rc;

        pack(&world, MIB(1));
        not_fitting[i].change(&world);
        toc_world_start(&world, false);
        rc = toc_world_open(&world);
        if (not_fitting[i].unreadable) {
            cr_assert_eq(rc, -1);
            cr_assert_eq(world.err.kind, KF_E_CORRUPT, "%s", world.err.message);
        } else {
            cr_assert_eq(rc, 0, "%s: %s", not_fitting[i].what, world.err.message);
            cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FRAMES, "%s",
                         not_fitting[i].what);
            toc_world_expect_all(&world, MIB(1));
        }
        toc_world_end(&world);
    }
}

/* A TOC that is there and fails is an error (rule 3). */
Test(seek_layer, broken_toc_is_an_error)
{
    struct toc_world world;

    pack(&world, MIB(1));
    put_frame(&world, "KITFSTOC\1\0\0\0@\0\0\0 and what is no section", 40);
    toc_world_start(&world, false);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED, "%s", world.err.message);
    toc_world_end(&world);
}

/* One of a later version counts as none (rule 7). */
Test(seek_layer, later_toc_is_left_out)
{
    struct toc_world world;
    char root[64] = "KITFSTOC\2";

    pack(&world, MIB(1));
    put_frame(&world, root, sizeof(root));
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FRAMES);
    toc_world_expect_all(&world, MIB(1));
    toc_world_end(&world);
}

#define MANY 25000u

/* A root of more than 1 MiB, which does not come whole with the first request. */
Test(seek_layer, large_toc_is_found)
{
    struct kf_pack_entry *entries = calloc(MANY, sizeof(*entries));
    char(*names)[64] = calloc(MANY, sizeof(*names));
    struct toc_world world;
    uint64_t x = 88172645463325252u;

    for (uint32_t i = 0; i < MANY; i++) {
        for (size_t at = 0; at < 48; at++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            names[i][at] = (char)('0' + (x >> 33) % 75);
        }
        (void)snprintf(names[i] + 48, 16, "%06u", i);
        entries[i] = pack_entry(names[i], i % 900, &weights);
    }
    toc_world_pack(&world, KF_CARRIER_TAR_ZSTD, entries, MANY, MIB(1));
    cr_assert_gt(world.link.root_stored, MIB(1));
    world.unlinked = true;
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_access(world.layer), KF_ACCESS_FOUND_TOC);
    cr_assert_eq(kf_layer_table(world.layer)->count, MANY);
    cr_assert_eq(toc_world_requests(&world), 3);
    toc_world_end(&world);
    free(entries);
    free(names);
}

/* ---- checked as a whole, by the digest of the unpacked stream ---- */

static bool wait_for(struct toc_world *world, enum kf_trust trust)
{
    struct kf_err why;

    for (unsigned i = 0; i < 10000; i++) {
        if (kf_layer_trust(world->layer, &why) == trust)
            return true;
        (void)usleep(1000);
    }
    return false;
}

/* Opens frames whose Kitfile says that digest of the stream. */
static void open_whole(struct toc_world *world, const struct kf_digest *digest,
                       enum kf_layer_check check)
{
    world->stream_digest = digest;
    world->check = check;
    toc_world_start(world, true);
    toc_world_expect_open(world);
}

static struct kf_digest stream_digest(struct toc_world *world)
{
    struct kf_digest digest;

    toc_world_start(world, false);
    toc_world_expect_open(world);
    cr_assert_eq(
        kf_digest_of(&digest, world->stream, world->layer->table.stream_size, NULL), 0);
    toc_world_stop(world);
    return digest;
}

Test(seek_layer, frames_are_checked_once_all_of_them_are_here)
{
    struct toc_world world;
    struct kf_digest digest;

    toc_world_frames(&world, files, KF_ARRAY_LEN(files), MIB(1), false);
    digest = stream_digest(&world);
    open_whole(&world, &digest, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    toc_world_expect_all(&world, MIB(1));
    cr_assert(wait_for(&world, KF_TRUST_VERIFIED));
    toc_world_stop(&world);
    open_whole(&world, &digest, KF_CHECK_FULL);
    cr_assert_eq(toc_world_requests(&world), 0);
    toc_world_end(&world);

    toc_world_frames(&world, files, KF_ARRAY_LEN(files), MIB(1), false);
    digest.bytes[0] ^= 1;
    open_whole(&world, &digest, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, false);
    toc_world_expect_all(&world, MIB(1));
    cr_assert(wait_for(&world, KF_TRUST_FAILED));
    cr_assert_eq(toc_world_read(&world, "a", 0, 10), KF_E_CORRUPT);
    toc_world_end(&world);
}

Test(seek_layer, frames_are_checked_before_they_are_read)
{
    struct toc_world world;
    struct kf_digest digest;
    uint64_t requests;

    toc_world_frames(&world, files, KF_ARRAY_LEN(files), MIB(1), false);
    digest = stream_digest(&world);
    open_whole(&world, &digest, KF_CHECK_FULL);
    requests = toc_world_requests(&world);
    toc_world_expect_all(&world, MIB(1));
    cr_assert_eq(toc_world_requests(&world), requests);
    toc_world_stop(&world);

    digest.bytes[0] ^= 1;
    world.check = KF_CHECK_FULL;
    toc_world_start(&world, false);
    cr_assert_eq(toc_world_open(&world), -1); /* without a cache */
    cr_assert_eq(world.err.kind, KF_E_LIMIT);
    world.layer = NULL;
    world.stream_digest = NULL; /* streamed then: the blob has one, here a wrong one */
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_CORRUPT);
    cr_assert_not_null(strstr(world.err.message, "the blob's digest is"));
    world.layer = NULL;
    toc_world_end(&world);
}

/* Nothing that is trusted leads to such a TOC: it is not used where all must be checked
 * first. */
Test(seek_layer, a_toc_that_was_found_is_not_trusted)
{
    struct toc_world world;
    struct kf_digest digest;
    struct kf_err why;

    pack(&world, MIB(1));
    open_whole(&world, NULL, KF_CHECK_DEFERRED);
    kf_layer_watch(world.layer, true);
    toc_world_expect_all(&world, MIB(1));
    cr_assert_eq(kf_layer_trust(world.layer, &why), KF_TRUST_UNVERIFIED);
    toc_world_stop(&world);

    cr_assert_eq(kf_digest_of(&digest, "", 0, NULL), 0);
    world.stream_digest = &digest;
    world.check = KF_CHECK_FULL;
    toc_world_start(&world, true);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_CORRUPT);
    world.layer = NULL;
    world.check = KF_CHECK_REQUIRE_TOC;
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_REFUSED);
    world.layer = NULL;
    toc_world_end(&world);
}
