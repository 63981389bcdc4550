#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/toc_private.h"
#include "toc_maker.h"

static const enum kf_toc_carrier tars[] = {KF_CARRIER_TAR_ZSTD, KF_CARRIER_TAR};

/* Round trip in both tar carriers; returns the slices of the last. */
static uint32_t expect_slices(const struct toc_entry *entries, uint32_t count,
                              uint32_t chunk_size)
{
    uint32_t slices = 0;

    for (size_t i = 0; i < KF_ARRAY_LEN(tars); i++) {
        struct toc_image image;

        toc_make(&image, tars[i], entries, count, chunk_size);
        toc_expect_round_trip(&image);
        slices = (uint32_t)(kf_le64(toc_directory(&image, "SLIC") + 16) / 104);
        toc_image_fini(&image);
    }
    return slices;
}

Test(toc, no_entries)
{
    struct toc_image image;
    struct kf_toc toc;
    struct kf_err err;

    toc_make(&image, KF_CARRIER_TAR_ZSTD, NULL, 0, CHUNK);
    cr_assert_eq(image.link.area_offset, 8);
    cr_assert_eq(toc_decode(&image, &toc, &err), 0, "%s", err.message);
    cr_assert(toc.chunk_count == 0 && toc.file_count == 0 && toc.slice_count == 0 &&
              toc.stream_length == 0 && toc.largest_chunk == 0);
    kf_toc_fini(&toc);
    toc_image_fini(&image);
}

Test(toc, folders_and_small_files)
{
    const struct toc_entry entries[] = {
        {"model", 0, true},     {"model/empty", 0, false},   {"model-x", 1, false},
        {"model/sub", 0, true}, {"model/sub/a", 511, false}, {"a", 65535, false},
        {"b", 65536, false},    {"c", 65537, false}};

    cr_assert_eq(expect_slices(entries, KF_ARRAY_LEN(entries), CHUNK), 1);
    cr_assert_eq(expect_slices(entries, KF_ARRAY_LEN(entries), (uint32_t)KIB(64)), 1);
}

Test(toc, file_of_16_mib_is_a_slice)
{
    const struct toc_entry below[] = {{"a", MIB(16) - 1, false}};
    const struct toc_entry at[] = {{"a", MIB(16), false}};
    const struct toc_entry above[] = {{"a", MIB(16) + 1, false}};

    cr_assert_eq(expect_slices(below, 1, CHUNK), 1);
    cr_assert_eq(expect_slices(at, 1, CHUNK), 2);    /* header, file */
    cr_assert_eq(expect_slices(above, 1, CHUNK), 3); /* and padding */
}

Test(toc, slices_of_large_files_and_between)
{
    const struct toc_entry entries[] = {{"z", MIB(64), false}, /* 64 chunks: inline */
                                        {"k", 10, false},
                                        {"b", MIB(64) + 1, false}, /* 65: not inline */
                                        {"a", MIB(16), false},
                                        {"c", 0, false}};

    cr_assert_eq(expect_slices(entries, KF_ARRAY_LEN(entries), CHUNK), 7);
}

/* A run between large files is cut at 8192 chunks; a large file never. */
Test(toc, slices_of_8192_chunks)
{
    enum { FILES = 4096 };
    struct toc_entry *entries = calloc(FILES + 1, sizeof(*entries));
    char(*names)[16] = calloc(FILES + 1, sizeof(*names));

    for (uint32_t i = 0; i < FILES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%05u", i);
        entries[i] = (struct toc_entry){names[i], KIB(64), false};
    }
    cr_assert_eq(expect_slices(entries, FILES, CHUNK), 1); /* header and data each */
    entries[FILES] = (struct toc_entry){"z", 0, false};
    cr_assert_eq(expect_slices(entries, FILES + 1, CHUNK), 2);
    entries[FILES].size = KIB(64) * 8193;
    cr_assert_eq(expect_slices(entries, FILES + 1, (uint32_t)KIB(64)), 3);
    free(entries);
    free(names);
}

Test(toc, raw)
{
    const uint64_t sizes[] = {1, KIB(64), MIB(16) - 1, MIB(16), MIB(100)};

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++) {
        const struct toc_entry entry = {"", sizes[i], false};
        struct toc_image image;

        toc_make(&image, KF_CARRIER_RAW, &entry, 1, CHUNK);
        toc_expect_round_trip(&image);
        toc_image_fini(&image);
    }
}

/* More than a quadratic check could do in the time of a test. */
Test(toc, many_small_files)
{
    enum { FILES = 100000, FOLDERS = 100 };
    struct toc_entry *entries = calloc(FOLDERS + FILES, sizeof(*entries));
    char(*names)[16] = calloc(FOLDERS + FILES, sizeof(*names));

    for (uint32_t i = 0; i < FOLDERS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "d%02u", i);
        entries[i] = (struct toc_entry){names[i], 0, true};
    }
    for (uint32_t i = FOLDERS; i < FOLDERS + FILES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "d%02u/%u", i % FOLDERS, i);
        entries[i] = (struct toc_entry){names[i], i % 200, false};
    }
    cr_assert_eq(expect_slices(entries, FOLDERS + FILES, CHUNK), 1);
    free(entries);
    free(names);
}

/* By the numbers of docs/formats/layer.md section 4, not by the encoder's own. */
Test(toc, layout)
{
    const struct toc_entry entries[] = {{"d", 0, true}, {"d/f", MIB(16), false}};
    struct toc_image image;
    uint8_t *root, *file, *slice;
    struct kf_digest id;

    toc_make(&image, KF_CARRIER_TAR, entries, 2, CHUNK);
    root = image.root.data;
    cr_assert_eq(memcmp(root, "KITFSTOC\1\0\0\0\x40\0\0\0\5\0\0\0\2\1\0\0", 24), 0);
    cr_assert_eq(kf_le64(root + 24), 1024 + MIB(16));
    cr_assert_eq(kf_le64(root + 32), 1024 + MIB(16));
    cr_assert_eq(kf_le32(root + 40), 17);
    cr_assert_eq(kf_le32(root + 44), 2);
    cr_assert_eq(kf_le32(root + 48), CHUNK);
    cr_assert_eq(kf_le32(root + 52), CHUNK);
    cr_assert_eq(kf_le64(root + 56), 0);
    cr_assert_eq(memcmp(toc_directory(&image, "FILE") + 4, "\1\0\0\0", 4), 0);
    cr_assert_eq(memcmp(toc_directory(&image, "META") + 4, "\0\0\0\0", 4), 0);
    file = toc_section(&image, "FILE") + 48;
    cr_assert(kf_le64(file) == 1024 && kf_le64(file + 8) == MIB(16) &&
              kf_le64(file + 16) == UINT64_MAX && kf_le32(file + 24) == 1 &&
              kf_le32(file + 28) == 3 && kf_le32(file + 32) == 0644 && file[36] == 0);
    cr_assert_eq(file[36 - 48], 5);
    cr_assert_eq(memcmp(toc_section(&image, "NAME"), "dd/f\0\0\0\0", 8), 0);
    slice = toc_section(&image, "SLIC") + 104;
    cr_assert(kf_le32(slice) == 1 && kf_le32(slice + 4) == 1 &&
              kf_le32(slice + 8) == 16 && kf_le32(slice + 12) == 1 &&
              kf_le64(slice + 16) == 1024 && kf_le64(slice + 24) == 1024 &&
              kf_le64(slice + 32) == 40);
    cr_assert_eq(kf_le32(slice - 104), UINT32_MAX);
    cr_assert_eq(kf_toc_content_id(image.rows + 1, 16, &id, NULL), 0);
    cr_assert_eq(memcmp(slice + 72, id.bytes, 32), 0);
    cr_assert_eq(kf_le32(toc_section(&image, "ROWS") + 40), CHUNK);
    toc_image_fini(&image);
}

/* sha256 over {u32 length, sha256}; by hand for a chunk of 1 byte with digest 0. */
Test(toc, content_id)
{
    const struct kf_chunk_row row = {.stored_length = 9, .length = 1};
    char hex[65];
    struct kf_digest id;

    cr_assert_eq(kf_toc_content_id(&row, 1, &id, NULL), 0);
    cr_assert_str_eq(kf_digest_hex(&id, hex),
                     "11bc115c0226329c9a35a7fee1d29c1f5248e0f7841d57829b50278263149113");
}

Test(toc, prefetch)
{
    const struct toc_entry entries[] = {{"a", MIB(16), false}};
    struct toc_image image;
    struct kf_toc_run runs[] = {{0, 1}, {1, 16}, {0, 17}, {16, 1}, {3, 2}, {3, 2}};

    toc_make(&image, KF_CARRIER_TAR, entries, 1, CHUNK);
    image.source.prefetch = malloc(sizeof(runs));
    memcpy(image.source.prefetch, runs, sizeof(runs));
    image.source.prefetch_count = KF_ARRAY_LEN(runs);
    toc_encode_again(&image);
    toc_expect_round_trip(&image);
    toc_image_fini(&image);
}

/* The format's bound is that of the library that made the first layers. */
Test(toc, stored_limit)
{
    for (uint32_t length = 0; length <= MIB(16); length += 4093)
        cr_assert_eq(kf_toc_stored_limit(length), ZSTD_compressBound(length) + 64);
}

static int encode(struct toc_image *image, struct kf_err *err)
{
    kf_buf_clear(&image->root);
    kf_buf_clear(&image->slices);
    return kf_toc_encode(&image->source, image->rows, image->row_count, &image->root,
                         &image->slices, err);
}

Test(toc, encoder_refuses_large_files_without_borders)
{
    const struct toc_entry entries[] = {{"a", MIB(16), false}};
    struct toc_image image;
    struct kf_err err;

    toc_make(&image, KF_CARRIER_TAR, entries, 1, CHUNK);
    image.source.files[0].offset++;
    cr_assert_eq(encode(&image, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG, "%s", err.message);
    image.source.files[0].offset--;
    image.source.files[0].size++;
    cr_assert_eq(encode(&image, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG, "%s", err.message);
    image.source.files[0].size--;
    cr_assert_eq(encode(&image, &err), 0);
    toc_image_fini(&image);
}

Test(toc, encoder_keeps_to_its_buffers)
{
    const struct toc_entry entries[] = {{"a", MIB(65), false}};
    struct toc_image image;
    size_t root_length, slices_length;
    struct kf_err err;

    toc_make(&image, KF_CARRIER_TAR, entries, 1, CHUNK);
    root_length = image.root.length;
    slices_length = image.slices.length;
    for (size_t limit = 0; limit < root_length; limit++) {
        image.root.limit = limit;
        cr_assert_eq(encode(&image, &err), -1);
        cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    }
    image.root.limit = root_length;
    image.slices.limit = slices_length - 1;
    cr_assert_eq(encode(&image, &err), -1);
    image.slices.limit = slices_length;
    cr_assert_eq(encode(&image, &err), 0);
    toc_image_fini(&image);
}

Test(toc, encoder_refuses_too_many)
{
    struct toc_image image;
    struct kf_err err;

    toc_make(&image, KF_CARRIER_TAR, NULL, 0, CHUNK);
    image.source.file_count = (1u << 22) + 1; /* refused before it looks at them */
    cr_assert_eq(encode(&image, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    image.source.file_count = 0;
    image.row_count = (1u << 26) + 1;
    cr_assert_eq(encode(&image, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    toc_image_fini(&image);
}
