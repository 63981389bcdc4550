/*
 * Layers with a TOC, read: every carrier, what is asked for and how often, and damage at
 * each place (docs/formats/layer.md, section 7, rules 2 to 4 and 7).
 */
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fail_alloc.h"
#include "fake_source.h"
#include "layer/table.h"
#include "toc_world.h"

/* Files on both sides of each bound: 64 KiB and 16 MiB. */
static const struct pack_file weights = {.seed = 1, .alphabet = 256};
static const struct pack_file text = {.seed = 2, .alphabet = 9};

#define NEARLY_LARGE (MIB(16) - 1)

static void pack_mixed(struct toc_world *world, enum kf_toc_carrier carrier)
{
    const struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/empty", 0, NULL),
        pack_entry("d/small", 5000, &text),
        pack_entry("d/sixty-four", KIB(64), &text),
        pack_entry("d/one", 1, &text),
        pack_entry("large", MIB(16), &weights),
        pack_entry("nearly", NEARLY_LARGE, &text),
    };

    toc_world_pack(world, carrier, entries, KF_ARRAY_LEN(entries), KIB(64));
}

/* One large file of 16 MiB whose slice (1.3 MB) does not come with the root. */
static void cut_large(struct toc_world *world)
{
    static const struct toc_world_file files[] = {
        {"a", 3000}, {"large", MIB(16)}, {"z", 70000}};

    toc_world_cut(world, files, KF_ARRAY_LEN(files), 512);
    cr_assert_gt(world->link.area_length, MIB(1));
}

Test(toc_read, every_byte_of_packed_and_plain_layers)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        pack_mixed(&world, carriers[i]);
        toc_world_start(&world, i == 0);
        toc_world_expect_open(&world);
        cr_assert_eq(kf_layer_table(world.layer)->count, 7);
        cr_assert_eq(toc_world_requests(&world), 1); /* the TOC, and nothing else */
        toc_world_expect_all(&world, MIB(1));
        toc_world_expect_all(&world, 700001);
        cr_assert_null(kf_layer_plain_blob(world.layer));
        cr_assert_null(kf_layer_whole(world.layer, NULL));
        toc_world_end(&world);
    }
}

Test(toc_read, raw_layers_of_every_size)
{
    static const uint64_t sizes[] = {1, KIB(64), NEARLY_LARGE, MIB(16), MIB(16) + 1};
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++) {
        const struct kf_pack_entry entry = pack_entry("x", sizes[i], &weights);
        const struct kf_table *table;

        toc_world_pack(&world, KF_CARRIER_RAW, &entry, 1, MIB(1));
        toc_world_start(&world, false);
        toc_world_expect_open(&world);
        table = kf_layer_table(world.layer);
        cr_assert_eq(table->count, 1);
        cr_assert_eq(table->entries[0].size, sizes[i]);
        cr_assert_eq(table->entries[0].mode, 0600);
        cr_assert_eq(table->entries[0].mtime, 77);
        cr_assert_eq(toc_world_entry(&world, "models/raw.bin"), 0);
        toc_world_expect_all(&world, MIB(1));
        toc_world_end(&world);
    }
}

Test(toc_read, layers_without_bytes)
{
    const struct kf_pack_entry empty = pack_entry("empty", 0, NULL);
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct toc_world world;
    struct kf_file *file;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        toc_world_pack(&world, carriers[i], NULL, 0, MIB(1));
        toc_world_start(&world, false);
        toc_world_expect_open(&world);
        cr_assert_eq(kf_layer_table(world.layer)->count, 0);
        toc_world_end(&world);

        toc_world_pack(&world, carriers[i], &empty, 1, MIB(1));
        toc_world_start(&world, true);
        toc_world_expect_open(&world);
        file = toc_world_file(&world, "empty");
        cr_assert_eq(kf_file_size(file), 0);
        cr_assert_eq(kf_layer_local_bytes(world.layer, 0), 0);
        kf_file_put(file);
        toc_world_end(&world);
    }
}

/* ---- kept ---- */

static void expect_again_without_network(struct toc_world *world)
{
    toc_world_start(world, true);
    toc_world_expect_open(world);
    toc_world_expect_all(world, MIB(1));
    toc_world_stop(world);

    toc_world_start(world, true);
    toc_world_unplug(world);
    toc_world_expect_open(world);
    for (uint32_t i = 0; i < kf_layer_table(world->layer)->count; i++) {
        const struct kf_table_entry *entry = &kf_layer_table(world->layer)->entries[i];

        if (entry->size >= KF_LARGE_FILE)
            cr_assert_eq(kf_layer_local_bytes(world->layer, i), entry->size);
    }
    toc_world_expect_all(world, MIB(1));
    cr_assert_eq(toc_world_requests(world), 0);
    toc_world_end(world);
}

Test(toc_read, second_opening_needs_no_network)
{
    struct toc_world world;

    pack_mixed(&world, KF_CARRIER_TAR_ZSTD);
    expect_again_without_network(&world);
}

Test(toc_read, slices_of_a_large_area_come_when_needed_and_are_kept)
{
    struct toc_world world;
    struct kf_fake_range range;

    cut_large(&world);
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    cr_assert_eq(toc_world_requests(&world), 1);
    cr_assert(kf_fake_source_range(world.toc_fake, 0, &range));
    cr_assert_eq(range.length, world.link.root_stored);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE);
    cr_assert(kf_fake_source_range(world.toc_fake, 1, &range));
    cr_assert_eq(range.length, MIB(16) / 512 * KF_TOC_ROW_SIZE);
    cr_assert_eq(kf_fake_source_requests(world.toc_fake), 2);
    toc_world_stop(&world);
    expect_again_without_network(&world);
}

/* ---- damage of the TOC ---- */

Test(toc_read, damaged_root_is_asked_for_once_more)
{
    struct toc_world world;

    for (unsigned times = 1; times <= 2; times++) {
        pack_mixed(&world, KF_CARRIER_TAR_ZSTD);
        toc_world_start(&world, true);
        kf_fake_source_flip(world.fake, world.link.area_offset + 3, times);
        cr_assert_eq(toc_world_open(&world), times == 1 ? 0 : -1);
        cr_assert_eq(toc_world_requests(&world), 2);
        if (times == 2) {
            cr_assert_eq(world.err.kind, KF_E_CORRUPT);
            cr_assert_not_null(strstr(world.err.message, "layer 'sha256:010203"));
            cr_assert_eq(toc_world_open(&world), 0); /* nothing of it was kept */
        }
        toc_world_end(&world);
    }
}

/* Slices that came with the root are checked with it: else damage would be kept. */
Test(toc_read, damaged_slice_beside_the_root_is_asked_for_once_more)
{
    struct toc_world world;

    for (unsigned times = 1; times <= 2; times++) {
        pack_mixed(&world, KF_CARRIER_TAR_ZSTD);
        cr_assert_gt(world.link.area_length, world.link.root_stored);
        toc_world_start(&world, true);
        kf_fake_source_flip(world.fake, world.link.area_offset + world.link.root_stored,
                            times);
        cr_assert_eq(toc_world_open(&world), times == 1 ? 0 : -1);
        if (times == 2)
            cr_assert_eq(world.err.kind, KF_E_CORRUPT);
        else
            cr_assert_eq(toc_world_read(&world, "large", 77, 1000), KF_E_NONE);
        toc_world_end(&world);
    }
}

/* Asked for ahead of the read, it may come, and be refused, before the read waits for it;
 * so it is held back until then. */
static enum kf_err_kind read_with_the_toc_held(struct toc_world *world)
{
    struct toc_read read;
    enum kf_err_kind kind;

    kf_fake_source_hold(world->toc_fake, true);
    toc_read_begin(world, &read, "large", 77, 1000);
    kf_fake_source_hold(world->toc_fake, false);
    kind = toc_read_end(&read);
    if (kind != KF_E_NONE)
        memcpy(world->err.message, read.message, sizeof(read.message));
    return kind;
}

Test(toc_read, damaged_slice_is_asked_for_once_more)
{
    struct toc_world world;

    for (unsigned times = 1; times <= 2; times++) {
        cut_large(&world);
        toc_world_start(&world, true);
        toc_world_expect_open(&world);
        kf_fake_source_flip(world.toc_fake, world.link.root_stored + 5000, times);
        cr_assert_eq(read_with_the_toc_held(&world),
                     times == 1 ? KF_E_NONE : KF_E_CORRUPT);
        cr_assert_eq(kf_fake_source_requests(world.toc_fake), 3); /* the root, twice */
        if (times == 2)
            cr_assert_not_null(strstr(world.err.message, "slice"));
        cr_assert_eq(toc_world_read(&world, "large", 77, 1000), KF_E_NONE);
        toc_world_end(&world);
    }
}

/* What is kept of a TOC is checked like what comes. */
Test(toc_read, damaged_copy_of_the_toc_is_fetched_anew)
{
    struct toc_world world;

    pack_mixed(&world, KF_CARRIER_TAR);
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    toc_world_stop(&world);
    toc_world_start(&world, true);
    cr_assert_eq(kf_store_save(world.store, KF_SMALL_TOC, &world.link.root_digest,
                               world.blob.data, world.link.area_length, NULL),
                 0);
    toc_world_expect_open(&world);
    cr_assert_eq(toc_world_requests(&world), 1);
    cr_assert_eq(toc_world_read(&world, "large", 0, 1000), KF_E_NONE);
    toc_world_end(&world);
}

static unsigned spoiled;

/* The data of the object of slices, "...-s". */
static int spoil_slices(const char *path, const struct stat *status, int type,
                        struct FTW *place)
{
    FILE *file;

    if (type != FTW_F || !strstr(path + place->base, "-s") ||
        status->st_size < (off_t)MIB(1))
        return 0;
    file = fopen(path, "r+b");
    cr_assert_not_null(file);
    cr_assert_geq(fputs("spoiled", file), 0);
    cr_assert_eq(fclose(file), 0);
    spoiled++;
    return 0;
}

/* The cache has changed under us: one read fails, and the next fetches them again. */
Test(toc_read, slices_spoiled_in_the_cache_are_fetched_anew)
{
    struct toc_world world;

    cut_large(&world);
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE);
    toc_world_stop(&world);
    cr_assert_eq(nftw(world.folder, spoil_slices, 8, FTW_PHYS), 0);
    cr_assert_eq(spoiled, 1);
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_CORRUPT);
    cr_assert_eq(toc_world_read(&world, "large", 0, 10), KF_E_NONE, "%s",
                 world.err.message);
    cr_assert_eq(kf_fake_source_requests(world.toc_fake), 1);
    toc_world_end(&world);
}

/* ---- damage of chunks ---- */

Test(toc_read, damaged_chunk_is_asked_for_once_more)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        for (unsigned times = 1; times <= 2; times++) {
            pack_mixed(&world, carriers[i]);
            toc_world_start(&world, true);
            toc_world_expect_open(&world);
            kf_fake_source_flip(world.fake, 700, times); /* in the second chunk */
            cr_assert_eq(toc_world_read(&world, "d/small", 0, 5000),
                         times == 1 ? KF_E_NONE : KF_E_CORRUPT);
            if (times == 2)
                cr_assert_not_null(strstr(world.err.message, "chunk 0 of layer '"), "%s",
                                   world.err.message);
            cr_assert_eq(toc_world_read(&world, "d/small", 0, 5000), KF_E_NONE);
            toc_world_end(&world);
        }
    }
}

/* The message has all that is needed to find the place. */
Test(toc_read, damaged_chunk_is_named)
{
    const struct kf_pack_entry entries[] = {pack_entry("a", KIB(64), &weights),
                                            pack_entry("b", KIB(128), &weights)};
    struct toc_world world;
    char expected[200], want[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;
    uint64_t at;

    toc_world_pack(&world, KF_CARRIER_TAR, entries, 2, KIB(64));
    toc_world_start(&world, false);
    toc_world_expect_open(&world);
    at = kf_layer_table(world.layer)->entries[toc_world_entry(&world, "b")].offset;
    kf_fake_source_flip(world.fake, at + KIB(64), 2);
    cr_assert_eq(toc_world_read(&world, "b", KIB(64), 10), KF_E_CORRUPT);
    cr_assert_eq(kf_digest_of(&digest, world.stream + at + KIB(64), KIB(64), NULL), 0);
    (void)snprintf(expected, sizeof(expected), ", not %s",
                   kf_digest_format(&digest, want));
    cr_assert_not_null(strstr(world.err.message, expected), "%s", world.err.message);
    /* Headers, a, headers, b's first: it is the fifth. */
    cr_assert_not_null(strstr(world.err.message, "chunk 4 of layer '"), "%s",
                       world.err.message);
    toc_world_end(&world);
}

/* ---- what is no TOC of this layer ---- */

Test(toc_read, toc_of_another_kind_of_layer_is_refused)
{
    struct toc_world world;

    pack_mixed(&world, KF_CARRIER_TAR_ZSTD);
    world.carrier = KF_CARRIER_TAR; /* what the media type says */
    toc_world_start(&world, false);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED);
    toc_world_end(&world);

    pack_mixed(&world, KF_CARRIER_TAR);
    world.carrier = KF_CARRIER_RAW;
    toc_world_start(&world, false);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED);
    toc_world_end(&world);
}

Test(toc_read, toc_of_another_layer_is_refused)
{
    struct toc_world world;

    pack_mixed(&world, KF_CARRIER_TAR);
    world.blob.length -= 512;
    toc_world_start(&world, false);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_MALFORMED);
    toc_world_end(&world);
}

Test(toc_read, toc_that_cannot_be_found_counts_as_none)
{
    struct toc_world world;

    pack_mixed(&world, KF_CARRIER_TAR);
    toc_world_start(&world, false);
    kf_fake_source_fail(world.toc_fake, 0, KF_E_NOTFOUND, 0);
    toc_world_expect_open(&world);
    cr_assert_eq(kf_layer_table(world.layer)->count, 7);
    toc_world_expect_all(&world, MIB(1));
    toc_world_end(&world);

    /* A failure of another kind may pass: then nothing is served unchecked. */
    pack_mixed(&world, KF_CARRIER_TAR);
    toc_world_start(&world, false);
    kf_fake_source_fail(world.toc_fake, 0, KF_E_UNREACHABLE, 0);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_UNREACHABLE);
    toc_world_end(&world);

    /* An embedded one is in the layer itself. */
    pack_mixed(&world, KF_CARRIER_TAR_ZSTD);
    toc_world_start(&world, false);
    kf_fake_source_fail(world.fake, 0, KF_E_NOTFOUND, 0);
    cr_assert_eq(toc_world_open(&world), -1);
    cr_assert_eq(world.err.kind, KF_E_NOTFOUND);
    toc_world_end(&world);
}

/* ---- without memory ---- */

/* From the cache, so that no other thread allocates. */
Test(toc_read, opening_without_memory)
{
    static const struct toc_world_file files[] = {{"a", 3000}, {"b", 5000}};
    struct toc_world world;
    bool opened = false;

    toc_world_cut(&world, files, KF_ARRAY_LEN(files), 100);
    toc_world_start(&world, true);
    toc_world_expect_open(&world);
    toc_world_stop(&world);
    toc_world_start(&world, true);
    toc_world_unplug(&world);
    for (long count = 0; !opened; count++) {
        int rc;

        fail_alloc_after(count);
        rc = toc_world_open(&world);
        opened = !fail_alloc_happened();
        fail_alloc_after(-1);
        if (rc != 0)
            cr_assert(world.err.kind == KF_E_NOMEM || world.err.kind == KF_E_UNREACHABLE,
                      "%s", world.err.message);
        else if (!opened) /* one that it could do without */
            kf_layer_close(kf_steal(world.layer));
    }
    cr_assert_eq(kf_layer_table(world.layer)->count, 2);
    toc_world_end(&world);
}
