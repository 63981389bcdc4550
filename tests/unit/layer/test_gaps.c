/* The background check of an archive against its TOC. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "fake_source.h"
#include "layer/layer_state.h"
#include "toc_world.h"

static const struct pack_file text = {.seed = 2, .alphabet = 9};

static void open_mixed(struct toc_world *world, enum kf_toc_carrier carrier)
{
    const struct kf_pack_entry entries[] = {
        pack_dir("d"),
        pack_entry("d/small", 5000, &text),
        pack_entry("large", MIB(16) + 5, &text),
        pack_entry("larger", MIB(17), &text),
    };

    toc_world_pack(world, carrier, entries, KF_ARRAY_LEN(entries), MIB(1));
    toc_world_start(world, true);
    toc_world_expect_open(world);
}

static bool has_failed(const struct toc_world *world)
{
    return __atomic_load_n(&world->layer->failed, __ATOMIC_ACQUIRE);
}

/* The check ends without a sign when all is well: what it asks for has come then. */
static void wait_for_check(struct toc_world *world)
{
    uint64_t seen = 0, quiet = 0;

    for (unsigned tries = 0; tries < 5000 && quiet < 300 && !has_failed(world); tries++) {
        uint64_t now = toc_world_requests(world);

        quiet = now == seen ? quiet + 1 : 0;
        seen = now;
        (void)usleep(1000);
    }
}

Test(gaps, a_right_archive_stays_readable_and_costs_its_headers)
{
    static const enum kf_toc_carrier carriers[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};
    struct toc_world world;

    for (size_t i = 0; i < KF_ARRAY_LEN(carriers); i++) {
        open_mixed(&world, carriers[i]);
        kf_layer_check(world.layer);
        wait_for_check(&world);
        cr_assert_not(has_failed(&world), "%s", world.layer->failure.message);
        cr_assert_leq(toc_world_requests(&world), 5); /* the TOC, and four runs */
        toc_world_expect_all(&world, MIB(1));
        toc_world_end(&world);
    }
}

Test(gaps, an_archive_that_says_other_things_is_not_read)
{
    struct toc_world world;

    for (int field = 0; field < 3; field++) {
        struct kf_table_entry *entry;

        open_mixed(&world, KF_CARRIER_TAR_ZSTD);
        entry = &world.layer->table.entries[toc_world_entry(&world, "larger")];
        cr_assert_eq(toc_world_read(&world, "d/small", 0, 100), KF_E_NONE);
        if (field == 0)
            entry->mode ^= 0100;
        else if (field == 1)
            entry->mtime = 5;
        else
            world.layer->table.names[entry->name_offset] ^= 1;
        kf_layer_check(world.layer);
        wait_for_check(&world);
        cr_assert(has_failed(&world));
        if (field != 2)
            cr_assert_not_null(strstr(world.layer->failure.message, "'larger'"));
        cr_assert_eq(toc_world_read(&world, "d/small", 0, 100), KF_E_CORRUPT);
        toc_world_end(&world);
    }
}

Test(gaps, what_cannot_be_read_is_left_unchecked)
{
    struct toc_world world;

    open_mixed(&world, KF_CARRIER_TAR);
    toc_world_unplug(&world);
    kf_layer_check(world.layer);
    wait_for_check(&world);
    cr_assert_not(has_failed(&world));
    toc_world_end(&world);
}
