#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/map.h"

#define CHUNK (UINT32_C(64) << 10)

static const struct kf_identity here = {"the boot id here", "this machine's.."};
static const struct kf_identity rebooted = {"another boot id.", "this machine's.."};
static const struct kf_identity moved = {"another boot id.", "another machine."};

static int new_file(void)
{
    int fd = memfd_create("map", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

static struct kf_map new_map(uint64_t chunk_count)
{
    struct kf_map_header header = {.shape = kf_map_uniform(chunk_count * CHUNK, CHUNK),
                                   .identity = here};
    struct kf_map map;
    int fd = new_file();

    cr_assert_eq(kf_map_create(fd, &header, NULL, NULL), 0);
    cr_assert_eq(kf_map_attach(&map, fd, &header.shape, NULL), 0);
    close(fd);
    return map;
}

static void fill(struct kf_map *map)
{
    struct kf_digest digest = {{1, 2, 3}};

    for (uint64_t chunk = 0; chunk < map->chunk_count; chunk++)
        kf_map_set_verified(map, chunk, &digest);
}

Test(map, header_survives_coding)
{
    struct kf_map_header header = {
        .shape = {0x123456789aULL, UINT32_C(1) << 20, 0x30201, true},
        .flags = KF_MAP_DURABLE,
        .identity = here};
    uint8_t bytes[KF_MAP_HEADER_SIZE];
    struct kf_map_header found;

    cr_assert_eq(kf_map_encode(&header, bytes, NULL), 0);
    cr_assert_eq(memcmp(bytes, "KITFSMAP\1\0\0\0\0\x10\0\0\x9a\x78\x56\x34\x12", 21), 0);
    cr_assert_eq(memcmp(bytes + 72, "the boot id herethis machine's..", 32), 0);
    cr_assert_eq(kf_map_decode(&found, bytes, sizeof(bytes), NULL), 0);
    cr_assert_eq(memcmp(bytes + 28, "\1\2\3\0", 4), 0);
    cr_assert_eq(found.shape.size, header.shape.size);
    cr_assert_eq(found.shape.chunk_size, header.shape.chunk_size);
    cr_assert_eq(found.shape.chunk_count, header.shape.chunk_count);
    cr_assert(found.shape.has_cuts);
    cr_assert_eq(found.flags, header.flags);
    cr_assert_eq(memcmp(&found.identity, &here, sizeof(here)), 0);
}

Test(map, header_is_refused_when_any_fixed_byte_differs)
{
    struct kf_map_header header = {.shape = kf_map_uniform(1000, CHUNK)};
    uint8_t bytes[KF_MAP_HEADER_SIZE];
    struct kf_map_header found;
    struct kf_err err;

    cr_assert_eq(kf_map_encode(&header, bytes, NULL), 0);
    for (size_t i = 0; i < 64; i++) {
        bytes[i] ^= 0x10;
        cr_assert_eq(kf_map_decode(&found, bytes, sizeof(bytes), &err), -1, "byte %zu",
                     i);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
        bytes[i] ^= 0x10;
    }
    cr_assert_eq(kf_map_decode(&found, bytes, sizeof(bytes) - 1, &err), -1);
    cr_assert_eq(kf_map_decode(&found, NULL, 0, &err), -1);
    cr_assert_eq(kf_map_decode(&found, bytes, sizeof(bytes), &err), 0);
}

Test(map, header_with_impossible_sizes_is_refused)
{
    struct kf_map_header bad[] = {
        {.shape = {1, 0, 1, false}},
        {.shape = {1, CHUNK - 1, 1, false}},
        {.shape = {UINT64_MAX, CHUNK, 1, false}},
        {.shape = {1, CHUNK, 0, false}},
        {.shape = {0, CHUNK, 1, false}},
        {.shape = {2, CHUNK, 3, false}},
        {.shape = {CHUNK * KF_MAP_CHUNK_LIMIT, CHUNK, KF_MAP_CHUNK_LIMIT + 1, false}},
    };
    uint8_t bytes[KF_MAP_HEADER_SIZE];
    struct kf_map_header found;
    struct kf_err err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(kf_map_encode(&bad[i], bytes, NULL), 0);
        cr_assert_eq(kf_map_decode(&found, bytes, sizeof(bytes), &err), -1);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
    }
}

static int kind_of_check(uint64_t size, uint32_t chunk_size, uint64_t chunk_count)
{
    struct kf_map_shape shape = {size, chunk_size, chunk_count, false};
    struct kf_err err = {.kind = KF_E_NONE};

    (void)kf_map_check(&shape, &err); /* the record says it */
    return (int)err.kind;
}

Test(map, limits_hold_at_value_and_one_above)
{
    struct kf_map_shape most = kf_map_uniform(CHUNK * KF_MAP_CHUNK_LIMIT, CHUNK);
    struct kf_map_shape over = kf_map_uniform(CHUNK * KF_MAP_CHUNK_LIMIT + 1, CHUNK);

    cr_assert_eq(kind_of_check(0, KF_CHUNK_SIZE_MIN, 0), KF_E_NONE);
    cr_assert_eq(kind_of_check(0, KF_CHUNK_SIZE_MIN - 1, 0), KF_E_ARG);
    cr_assert_eq(kind_of_check(0, KF_CHUNK_SIZE_MAX, 0), KF_E_NONE);
    cr_assert_eq(kind_of_check(0, KF_CHUNK_SIZE_MAX + 1, 0), KF_E_ARG);
    cr_assert_eq(kf_map_check(&most, NULL), 0);
    cr_assert_eq(kind_of_check(over.size, CHUNK, over.chunk_count), KF_E_LIMIT);
    cr_assert_eq(kind_of_check(INT64_MAX, KF_CHUNK_SIZE_MAX, 1), KF_E_NONE);
    cr_assert_eq(kind_of_check(UINT64_C(1) << 63, KF_CHUNK_SIZE_MAX, 1), KF_E_ARG);
}

Test(map, shape_of_cuts_follows_from_the_content)
{
    struct kf_map_shape shape = kf_map_of_cuts(10 * 1000 * 1000, 10);

    cr_assert_eq(shape.chunk_size, 1000 * 1000);
    cr_assert_eq(kf_map_of_cuts(1000, 100).chunk_size, KF_CHUNK_SIZE_MIN);
    cr_assert_eq(kf_map_of_cuts(UINT64_C(1) << 40, 2).chunk_size, KF_CHUNK_SIZE_MAX);
    cr_assert_eq(kf_map_of_cuts(0, 0).chunk_count, 0);
}

static uint64_t length_of(uint64_t chunk_count, bool has_cuts)
{
    struct kf_map_shape shape = {
        .chunk_size = CHUNK, .chunk_count = chunk_count, .has_cuts = has_cuts};

    return kf_map_file_length(&shape);
}

Test(map, file_length_is_that_of_the_format)
{
    cr_assert_eq(length_of(0, false), 4096);
    cr_assert_eq(length_of(1, false), 4096 + 64 + 32);
    cr_assert_eq(length_of(64, false), 4096 + 64 + 64 * 32);
    cr_assert_eq(length_of(65, false), 4096 + 128 + 65 * 32);
    cr_assert_eq(length_of(65, true), 4096 + 128 + 65 * 32 + 66 * 8);
}

Test(map, says_where_its_chunks_lie)
{
    const uint64_t cuts[] = {0, 5, 70000, 70001}, others[] = {0, 6, 70000, 70001};
    struct kf_map_header header = {.shape = kf_map_of_cuts(70001, 3), .identity = here};
    struct kf_map map;
    uint64_t offset;
    uint32_t length;
    int fd = new_file();

    cr_assert_eq(kf_map_create(fd, &header, cuts, NULL), 0);
    cr_assert_eq(kf_map_attach(&map, fd, &header.shape, NULL), 0);
    close(fd);
    cr_assert(kf_map_has_cuts(&map, cuts));
    cr_assert_not(kf_map_has_cuts(&map, others));
    cr_assert(kf_map_place(&map, &header.shape, 1, &offset, &length));
    cr_assert_eq(offset, 5);
    cr_assert_eq(length, 69995);
    cr_assert_not(kf_map_place(&map, &header.shape, 3, &offset, &length));
    kf_map_detach(&map);
}

Test(map, counts_chunks_across_words)
{
    struct kf_digest digest = {{0}};

    for (uint64_t count = 0; count <= 20; count++) {
        struct kf_map map = new_map(count);

        cr_assert_eq(kf_map_first_absent(&map), 0);
        cr_assert_eq(kf_map_here(&map), 0);
        for (uint64_t chunk = 0; chunk < count; chunk++) {
            kf_map_set_verified(&map, chunk, &digest);
            cr_assert_eq(kf_map_here(&map), chunk + 1);
            cr_assert_eq(kf_map_first_absent(&map), chunk + 1);
        }
        if (count > 3) {
            kf_map_drop(&map, 2);
            cr_assert_eq(kf_map_here(&map), count - 1);
            cr_assert_eq(kf_map_first_absent(&map), 2);
        }
        kf_map_detach(&map);
    }
}

Test(map, keeps_digest_and_state_apart_for_each_chunk)
{
    struct kf_map map = new_map(3);
    struct kf_digest a = {{1}}, b = {{2, [31] = 9}}, found;

    kf_map_set_verified(&map, 0, &a);
    kf_map_set_verified(&map, 2, &b);
    cr_assert_eq(kf_map_state(&map, 0), KF_CHUNK_VERIFIED);
    cr_assert_eq(kf_map_state(&map, 1), KF_CHUNK_ABSENT);
    kf_map_digest(&map, 2, &found);
    cr_assert(kf_digest_equal(&found, &b));
    kf_map_digest(&map, 0, &found);
    cr_assert(kf_digest_equal(&found, &a));
    kf_map_detach(&map);
}

Test(map, changes_only_what_was_seen)
{
    struct kf_map map = new_map(1);

    fill(&map);
    cr_assert_not(kf_map_change(&map, 0, KF_CHUNK_PRESENT, KF_CHUNK_ABSENT));
    cr_assert(kf_map_change(&map, 0, KF_CHUNK_VERIFIED, KF_CHUNK_PRESENT));
    cr_assert_eq(kf_map_state(&map, 0), KF_CHUNK_PRESENT);
    kf_map_detach(&map);
}

Test(map, of_another_boot_loses_what_was_verified)
{
    struct kf_map map = new_map(11);

    fill(&map);
    kf_map_drop(&map, 4);
    cr_assert(kf_map_is_current(&map, &here));
    cr_assert_not(kf_map_is_current(&map, &rebooted));
    kf_map_make_current(&map, &rebooted);
    cr_assert(kf_map_is_current(&map, &rebooted));
    for (uint64_t chunk = 0; chunk < 11; chunk++)
        cr_assert_eq(kf_map_state(&map, chunk),
                     chunk == 4 ? KF_CHUNK_ABSENT : KF_CHUNK_PRESENT);
    kf_map_detach(&map);
}

Test(map, that_is_durable_survives_a_boot_on_its_machine_only)
{
    struct kf_map map = new_map(2);

    fill(&map);
    kf_map_set_durable(&map, kf_map_drops(&map));
    kf_map_make_current(&map, &rebooted);
    cr_assert(kf_map_is_durable(&map));
    cr_assert_eq(kf_map_state(&map, 1), KF_CHUNK_VERIFIED);

    kf_map_make_current(&map, &here);
    kf_map_make_current(&map, &moved);
    cr_assert_not(kf_map_is_durable(&map));
    cr_assert_eq(kf_map_state(&map, 1), KF_CHUNK_PRESENT);
    kf_map_detach(&map);
}

Test(map, that_says_durable_but_lacks_chunks_is_not_believed)
{
    struct kf_map map = new_map(2);
    struct kf_digest digest = {{0}};

    kf_map_set_verified(&map, 0, &digest);
    kf_map_set_durable(&map, kf_map_drops(&map));
    kf_map_make_current(&map, &rebooted);
    cr_assert_not(kf_map_is_durable(&map));
    cr_assert_eq(kf_map_state(&map, 0), KF_CHUNK_PRESENT);
    kf_map_detach(&map);
}

Test(map, drop_ends_and_prevents_durability)
{
    struct kf_map map = new_map(2);
    uint32_t drops = kf_map_drops(&map);

    fill(&map);
    kf_map_set_durable(&map, drops);
    cr_assert(kf_map_is_durable(&map));
    kf_map_drop(&map, 1);
    cr_assert_not(kf_map_is_durable(&map));
    kf_map_set_durable(&map, drops);
    cr_assert_not(kf_map_is_durable(&map));
    kf_map_detach(&map);
}

Test(map, of_wrong_length_or_for_another_object_is_refused)
{
    struct kf_map_header header = {.shape = kf_map_uniform(10 * (uint64_t)CHUNK, CHUNK)};
    const struct kf_map_shape others[] = {
        {header.shape.size - 1, CHUNK, 10, false},
        {header.shape.size, CHUNK + 1, 10, false},
        {header.shape.size, CHUNK, 11, false},
        {header.shape.size, CHUNK, 10, true},
    };
    struct kf_map map;
    struct kf_err err;
    int fd = new_file();

    cr_assert_eq(kf_map_attach(&map, fd, &header.shape, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    cr_assert_eq(kf_map_create(fd, &header, NULL, NULL), 0);
    for (size_t i = 0; i < KF_ARRAY_LEN(others); i++) {
        cr_assert_eq(kf_map_attach(&map, fd, &others[i], &err), -1);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
    }
    cr_assert_eq(kf_map_attach(&map, fd, &header.shape, &err), 0);
    kf_map_detach(&map);
    cr_assert_eq(ftruncate(fd, 5000), 0);
    cr_assert_eq(kf_map_attach(&map, fd, &header.shape, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    close(fd);
}

Test(map, identity_is_stable_within_a_boot)
{
    struct kf_identity a, b;

    kf_identity_read(&a);
    kf_identity_read(&b);
    cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
    cr_assert_neq(memcmp(a.boot_id, (uint8_t[KF_ID_SIZE]){0}, KF_ID_SIZE), 0);
}
