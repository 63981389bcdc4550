/*
 * Roots of the other carriers and of empty layers, and what a reader of version 1.0 takes
 * or passes over: docs/formats/layer.md section 7, rules 3 and 7.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "toc_maker.h"

/* The same chunks in a plain tar: their end is the blob's but for the end mark. */
Test(toc_accept, tar_blob)
{
    const uint64_t sizes[] = {0, 1023, 1024, 1};

    for (size_t i = 0; i < KF_ARRAY_LEN(sizes); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err;

        toc_make_usual(&image, KF_CARRIER_TAR);
        image.blob_size = i < 3 ? sizes[i] : image.blob_size + sizes[i];
        cr_assert_eq(toc_decode(&image, &toc, &err), -1);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
        image.blob_size = image.source.stored_length;
        image.link.embedded = true;
        cr_assert_eq(toc_decode(&image, &toc, &err), -1);
        cr_assert_not_null(strstr(err.message, "no place for it"));
        toc_image_fini(&image);
    }
}

static void stored_is_not_stream(struct toc_image *image)
{
    image->rows[3].stored_length--;
    toc_encode_again(image);
}

Test(toc_accept, tar_stored_length_is_the_stream)
{
    struct toc_image image;
    struct kf_toc toc;
    struct kf_err err;

    toc_make_usual(&image, KF_CARRIER_TAR);
    stored_is_not_stream(&image);
    cr_assert_eq(toc_decode(&image, &toc, &err), -1);
    cr_assert_not_null(strstr(err.message, "not the stream's"), "%s", err.message);
    toc_image_fini(&image);
}

TOC_CHANGE(raw_offset, kf_put_le64(toc_file(image, 0), 1);
           toc_add64(toc_file(image, 0) + 8, -1))
TOC_CHANGE(raw_size, toc_add64(toc_file(image, 0) + 8, -1))
TOC_CHANGE(raw_mtime, kf_put_le64(toc_file(image, 0) + 16, 1))
TOC_CHANGE(raw_mode, kf_put_le32(toc_file(image, 0) + 32, 0644))
TOC_CHANGE(raw_type, toc_file(image, 0)[36] = 5; memset(toc_file(image, 0), 0, 16))
TOC_CHANGE(raw_blob, image->blob_size--)
TOC_CHANGE(raw_no_files, kf_put_le32(image->root.data + 44, 0);
           memcpy(toc_directory(image, "FILE"), "file\0\0\0\0", 8);
           toc_add_section(image, "FILE", 1))
TOC_CHANGE(raw_no_chunks, kf_put_le32(image->root.data + 40, 0))
TOC_CHANGE(raw_name, image->source.files[0].name_length = 1;
           image->source.names = realloc(image->source.names, 1);
           image->source.names[0] = 'a'; image->source.names_length = 1;
           toc_encode_again(image))

Test(toc_accept, raw)
{
    static void (*const raw_faults[])(struct toc_image * image) = {
        raw_offset, raw_size,     raw_mtime,     raw_mode, raw_type,
        raw_blob,   raw_no_files, raw_no_chunks, raw_name, stored_is_not_stream};
    const struct toc_entry entry = {"", MIB(4), false};

    for (size_t i = 0; i < KF_ARRAY_LEN(raw_faults); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err;

        toc_make(&image, KF_CARRIER_RAW, &entry, 1, CHUNK);
        toc_expect_round_trip(&image);
        raw_faults[i](&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), -1, "fault %zu", i);
        cr_assert_eq(err.kind, KF_E_MALFORMED, "fault %zu: %s", i, err.message);
        toc_image_fini(&image);
    }
}

TOC_CHANGE(empty_stream, kf_put_le64(image->root.data + 24, 1))
TOC_CHANGE(empty_stored, kf_put_le64(image->root.data + 32, 1); image->link.area_offset++)
TOC_CHANGE(empty_largest, kf_put_le32(image->root.data + 52, 1))
TOC_CHANGE(empty_slices, kf_put_le64(image->root.data + 56, 40);
           image->link.area_length += 40)
TOC_CHANGE(empty_chunks, kf_put_le32(image->root.data + 40, 1))

Test(toc_accept, empty)
{
    static void (*const empty_faults[])(struct toc_image * image) = {
        empty_stream, empty_stored, empty_largest, empty_slices, empty_chunks};

    for (size_t i = 0; i < KF_ARRAY_LEN(empty_faults); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err;

        toc_make(&image, KF_CARRIER_TAR_ZSTD, NULL, 0, CHUNK);
        toc_expect_round_trip(&image);
        empty_faults[i](&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), -1, "fault %zu", i);
        cr_assert_eq(err.kind, KF_E_MALFORMED, "fault %zu: %s", i, err.message);
        toc_image_fini(&image);
    }
}

TOC_CHANGE(minor, kf_put_le16(image->root.data + 10, 7))
TOC_CHANGE(unknown_optional, toc_add_section(image, "FDIG", 0);
           toc_add_section(image, "\0\1\2\3", 0))
TOC_CHANGE(empty_pref, toc_add_section(image, "PREF", 0))
TOC_CHANGE(no_meta, memcpy(toc_directory(image, "META"), "meta", 4))
TOC_CHANGE(largest_with_room, kf_put_le32(image->root.data + 52, 1u << 24))
TOC_CHANGE(chunk_size_other, kf_put_le32(image->root.data + 48, 1u << 24))
TOC_CHANGE(meta_at_limit, toc_set_meta(image, KIB(64)))

static void sections_32(struct toc_image *image)
{
    char type[] = "abc0";

    for (; kf_le32(image->root.data + 16) < 32; type[3]++)
        toc_add_section(image, type, 0);
}

TOC_CHANGE(blob_at_end,
           image->blob_size = image->link.area_offset + image->link.area_length)

/* What a reader of version 1.0 takes as it is. */
Test(toc_accept, accepted)
{
    static void (*const fine[])(struct toc_image * image) = {
        minor,       unknown_optional,  empty_pref,
        no_meta,     largest_with_room, chunk_size_other,
        sections_32, blob_at_end,       meta_at_limit};

    for (size_t i = 0; i < KF_ARRAY_LEN(fine); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err;

        toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
        fine[i](&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), 0, "case %zu: %s", i, err.message);
        kf_toc_fini(&toc);
        toc_image_fini(&image);
    }
}

TOC_CHANGE(higher_major, kf_put_le16(image->root.data + 8, 2);
           memset(image->root.data + 10, 0xee, image->root.length - 10))
TOC_CHANGE(higher_major_odd_length, higher_major(image); toc_grow(image, 1, 1))
TOC_CHANGE(must_understand, toc_add_section(image, "CODC", 1))

/* Rule 7: no table for us, and no error. */
Test(toc_accept, not_for_us)
{
    static void (*const unknown[])(struct toc_image * image) = {
        higher_major, higher_major_odd_length, must_understand};

    for (size_t i = 0; i < KF_ARRAY_LEN(unknown); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err;

        toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
        unknown[i](&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), 1, "case %zu", i);
        toc_image_fini(&image);
    }
}

/* One row more than a limit is refused above; these are rows that just fit. */
Test(toc_accept, limits_at_value)
{
    struct toc_image image;
    struct kf_toc toc;
    struct kf_err err;

    toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
    image.limits = (struct kf_toc_limits){.root_stored_bytes = image.link.root_stored,
                                          .root_raw_bytes = image.root.length,
                                          .area_bytes = image.link.area_length,
                                          .chunks = image.row_count,
                                          .files = TOC_USUAL_COUNT,
                                          .slices = 4,
                                          .chunk_bytes = CHUNK};
    cr_assert_eq(toc_decode(&image, &toc, &err), 0, "%s", err.message);
    kf_toc_fini(&toc);
    toc_image_fini(&image);
}

Test(toc_accept, longest_names)
{
    struct toc_image image;
    struct kf_toc toc;
    struct kf_err err;

    toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
    toc_long_name(&image, 4, 256, 255);
    cr_assert_eq(toc_decode(&image, &toc, &err), 0, "%s", err.message);
    kf_toc_fini(&toc);
    toc_long_name(&image, 4, 254, 4096); /* long enough, but nothing is its folder */
    cr_assert_eq(toc_decode(&image, &toc, &err), -1);
    cr_assert_not_null(strstr(err.message, "file 4: its folder is missing"), "%s",
                       err.message);
    toc_image_fini(&image);
}

/* Any length that is not the right one, in exact allocations. */
Test(toc_accept, cut_anywhere)
{
    struct toc_image image;
    size_t length;

    toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
    length = image.root.length;
    for (size_t i = 0; i < length; i++) {
        struct kf_toc toc;

        image.root.length = i;
        image.link.root_raw = i;
        cr_assert_eq(toc_decode(&image, &toc, NULL), -1, "%zu", i);
    }
    image.root.length = length;
    toc_image_fini(&image);
}
