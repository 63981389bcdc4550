/*
 * Rows of slices: docs/formats/layer.md section 7, the end of rule 3.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/toc_private.h"
#include "toc_maker.h"

/* Slice 0, inline: header; 100 KiB; header, 10 bytes, header. Slice 1, not inline: the 70
 * chunks of "y". */
static const struct toc_entry entries[] = {
    {"a", KIB(100), false}, {"b", 10, false}, {"y", MIB(70) - 512, false}};

struct world {
    struct toc_image image;
    struct kf_toc toc;
    struct kf_chunk_row rows[70];
    struct kf_err err;
};

static void decode_root(struct world *world)
{
    cr_assert_eq(toc_decode(&world->image, &world->toc, &world->err), 0, "%s",
                 world->err.message);
}

static void make(struct world *world, enum kf_toc_carrier carrier)
{
    memset(world, 0, sizeof(*world));
    toc_make(&world->image, carrier, entries, KF_ARRAY_LEN(entries), CHUNK);
    decode_root(world);
}

static void finish(struct world *world)
{
    kf_toc_fini(&world->toc);
    toc_image_fini(&world->image);
}

/* Decodes a copy of a slice's bytes, one word of which may be another. */
static int decode_with(struct world *world, uint32_t slice, size_t at, uint32_t word)
{
    size_t length;
    const uint8_t *bytes = toc_slice_bytes(&world->image, &world->toc, slice, &length);
    uint8_t *copy = malloc(length);
    int rc;

    memcpy(copy, bytes, length);
    kf_put_le32(copy + at, word);
    rc = kf_toc_slice_decode(&world->toc, slice, copy, length, world->rows, &world->err);
    free(copy);
    return rc;
}

static void expect(struct world *world, int rc, enum kf_err_kind kind, const char *text)
{
    cr_assert_eq(rc, -1);
    cr_assert_eq(world->err.kind, kind, "%s", world->err.message);
    cr_assert_not_null(strstr(world->err.message, text), "%s", world->err.message);
}

Test(toc_slice, other_bytes_are_corrupt)
{
    struct world world;
    size_t length;
    const uint8_t *bytes;

    make(&world, KF_CARRIER_TAR_ZSTD);
    expect(&world, decode_with(&world, 1, 40 * 69 + 36, 1), KF_E_CORRUPT,
           "slice 1 of a table of contents: its digest");
    bytes = toc_slice_bytes(&world.image, &world.toc, 1, &length);
    for (size_t i = 0; i < length; i += 40)
        expect(&world,
               kf_toc_slice_decode(&world.toc, 1, bytes, i, world.rows, &world.err),
               KF_E_CORRUPT, "its length");
    expect(&world,
           kf_toc_slice_decode(&world.toc, 1, bytes, length + 40, world.rows, &world.err),
           KF_E_CORRUPT, "its length");
    finish(&world);
}

/* Rows of an inline slice have no digest of their own: each rule meets them alone. */
Test(toc_slice, lengths)
{
    struct world world;

    make(&world, KF_CARRIER_TAR_ZSTD);
    cr_assert_eq(decode_with(&world, 0, 4, 512), 0, "%s", world.err.message);
    expect(&world, decode_with(&world, 0, 4, 0), KF_E_MALFORMED, "length of a chunk");
    expect(&world, decode_with(&world, 0, 4, CHUNK + 1), KF_E_MALFORMED,
           "length of a chunk");
    expect(&world, decode_with(&world, 0, 4, 511), KF_E_MALFORMED, "do not add up");
    expect(&world, decode_with(&world, 0, 4, 513), KF_E_MALFORMED, "do not add up");
    expect(&world, decode_with(&world, 0, 0, 0), KF_E_MALFORMED, "stored length");
    expect(&world, decode_with(&world, 0, 0, 275), KF_E_MALFORMED, "do not add up");
    expect(&world, decode_with(&world, 0, 0, UINT32_MAX), KF_E_MALFORMED,
           "stored length");
    expect(&world, decode_with(&world, 0, 0, (uint32_t)kf_toc_stored_limit(512)),
           KF_E_MALFORMED, "do not add up"); /* long, but not too long */
    expect(&world, decode_with(&world, 0, 0, (uint32_t)kf_toc_stored_limit(512) + 1),
           KF_E_MALFORMED, "stored length");
    finish(&world);
}

Test(toc_slice, stored_length_at_the_limit)
{
    struct world world;

    make(&world, KF_CARRIER_TAR_ZSTD);
    kf_toc_fini(&world.toc);
    world.image.rows[0].stored_length = (uint32_t)kf_toc_stored_limit(512);
    toc_encode_again(&world.image);
    toc_expect_round_trip(&world.image);
    decode_root(&world);
    finish(&world);
}

Test(toc_slice, stored_is_length_where_nothing_is_compressed)
{
    struct world world;

    make(&world, KF_CARRIER_TAR);
    cr_assert_eq(decode_with(&world, 0, 0, 512), 0, "%s", world.err.message);
    expect(&world, decode_with(&world, 0, 0, 511), KF_E_MALFORMED, "stored length");
    finish(&world);
}

/* Bytes moved over a chunk border: the sums stay, the border of a file does not. */
static void move_border(struct kf_chunk_row *rows, uint32_t index, uint32_t bytes)
{
    rows[index].length += bytes;
    rows[index].stored_length += bytes;
    rows[index + 1].length -= bytes;
    rows[index + 1].stored_length -= bytes;
}

Test(toc_slice, borders)
{
    for (uint32_t border = 0; border < 2; border++) {
        struct world world;

        make(&world, KF_CARRIER_TAR);
        kf_toc_fini(&world.toc);
        move_border(world.image.rows, border, 1);
        toc_encode_again(&world.image);
        decode_root(&world);
        expect(&world, decode_with(&world, 0, 4, world.image.rows[0].length),
               KF_E_MALFORMED, "crosses a file's border");
        finish(&world);
    }
}

/* Of many files, around the place where a run is cut at 8192 chunks. */
Test(toc_slice, borders_of_each_file)
{
    const uint32_t files = 10000;
    struct toc_entry *many = calloc(files, sizeof(*many));
    char(*names)[8] = calloc(files, sizeof(*names));
    struct toc_image image;

    for (uint32_t i = 0; i < files; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%05u", i);
        many[i] = (struct toc_entry){names[i], KIB(64) * (1 + i % 2), false};
    }
    toc_make(&image, KF_CARRIER_TAR, many, files, (uint32_t)KIB(64));
    toc_expect_round_trip(&image);
    for (uint32_t i = 8000; i < 8400; i += 5) {
        struct kf_toc toc;
        struct kf_chunk_row *rows = calloc(8192, sizeof(*rows));
        struct kf_err err = {0};
        uint32_t failed = 0;

        cr_assert_eq(image.rows[i].length, 512); /* a header: every fifth chunk is */
        move_border(image.rows, i, 1);
        toc_encode_again(&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), 0, "%s", err.message);
        for (uint32_t k = 0; k < toc.slice_count; k++) {
            size_t length;
            const uint8_t *bytes = toc_slice_bytes(&image, &toc, k, &length);

            if (kf_toc_slice_decode(&toc, k, bytes, length, rows, &err) != 0)
                failed++;
        }
        cr_assert_eq(failed, 1, "chunk %u", i);
        cr_assert_not_null(strstr(err.message, "border"), "%s", err.message);
        move_border(image.rows, i, (uint32_t)-1);
        kf_toc_fini(&toc);
        free(rows);
    }
    toc_image_fini(&image);
    free(names);
    free(many);
}

Test(toc_slice, content_id)
{
    struct world world;
    size_t length;
    const uint8_t *bytes;

    make(&world, KF_CARRIER_TAR_ZSTD);
    world.toc.slices[1].content_id.bytes[31] ^= 1;
    bytes = toc_slice_bytes(&world.image, &world.toc, 1, &length);
    expect(&world,
           kf_toc_slice_decode(&world.toc, 1, bytes, length, world.rows, &world.err),
           KF_E_MALFORMED, "its content id");
    finish(&world);
}
