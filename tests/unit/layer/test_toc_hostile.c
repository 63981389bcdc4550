/*
 * Roots with one fault each: docs/formats/layer.md section 7, rule 3, a row a rule.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "toc_maker.h"

/* A name of the same length in place of one. */
static void rename_file(struct toc_image *image, uint32_t index, const char *name)
{
    memcpy(toc_section(image, "NAME") + kf_le32(toc_file(image, index) + 24), name,
           strlen(name));
}

/* header */
TOC_CHANGE(magic, image->root.data[0] = 'k')
TOC_CHANGE(major_0, kf_put_le16(image->root.data + 8, 0))
TOC_CHANGE(header_size, kf_put_le32(image->root.data + 12, 72))
TOC_CHANGE(carrier_0, image->root.data[20] = 0)
TOC_CHANGE(carrier_4, image->root.data[20] = 4)
TOC_CHANGE(digest_2, image->root.data[21] = 2)
TOC_CHANGE(reserved_22, image->root.data[22] = 1)
TOC_CHANGE(reserved_23, image->root.data[23] = 1)
TOC_CHANGE(stream_longer, toc_add64(image->root.data + 24, 1))
TOC_CHANGE(stream_shorter, toc_add64(image->root.data + 24, -1))
TOC_CHANGE(stored_longer, toc_add64(image->root.data + 32, 1))
TOC_CHANGE(stored_shorter, toc_add64(image->root.data + 32, -1))
TOC_CHANGE(more_chunks, toc_add32(image->root.data + 40, 1))
TOC_CHANGE(less_chunks, toc_add32(image->root.data + 40, -1))
TOC_CHANGE(no_chunks, kf_put_le32(image->root.data + 40, 0))
TOC_CHANGE(more_files, toc_add32(image->root.data + 44, 1))
TOC_CHANGE(less_files, toc_add32(image->root.data + 44, -1))
TOC_CHANGE(largest_0, kf_put_le32(image->root.data + 52, 0))
TOC_CHANGE(largest_too_small, kf_put_le32(image->root.data + 52, CHUNK / 2))
TOC_CHANGE(slices_longer, toc_add64(image->root.data + 56, 40);
           image->link.area_length += 40)
TOC_CHANGE(slices_shorter, toc_add64(image->root.data + 56, -40);
           image->link.area_length -= 40)
TOC_CHANGE(too_many_sections, kf_put_le32(image->root.data + 16, 33))
TOC_CHANGE(too_many_chunks, kf_put_le32(image->root.data + 40, (1u << 26) + 1))
TOC_CHANGE(too_many_files, kf_put_le32(image->root.data + 44, (1u << 22) + 1))
TOC_CHANGE(chunk_size_too_large, kf_put_le32(image->root.data + 48, (1u << 24) + 1))
TOC_CHANGE(largest_too_large, kf_put_le32(image->root.data + 52, (1u << 24) + 1))
TOC_CHANGE(slices_too_long, kf_put_le64(image->root.data + 56, (1ull << 32) - 8))

/* directory */
TOC_CHANGE(directory_cut, image->root.length = image->link.root_raw = 64 + 24 * 5 - 8)
TOC_CHANGE(flag_2, toc_directory(image, "META")[4] = 2)
TOC_CHANGE(flag_high, toc_directory(image, "FILE")[7] = 0x80)
TOC_CHANGE(not_aligned, toc_add64(toc_directory(image, "META") + 8, 4))
TOC_CHANGE(section_in_header, kf_put_le64(toc_directory(image, "META") + 8, 56))
TOC_CHANGE(section_in_directory, kf_put_le64(toc_directory(image, "META") + 8, 64))
TOC_CHANGE(section_beyond, kf_put_le64(toc_directory(image, "META") + 16, 1 << 20))
TOC_CHANGE(section_far, kf_put_le64(toc_directory(image, "META") + 8, 1ull << 62))
TOC_CHANGE(section_overflows,
           kf_put_le64(toc_directory(image, "META") + 16, UINT64_MAX - 15))
TOC_CHANGE(section_twice, memcpy(toc_directory(image, "META"), "ROWS", 4))
TOC_CHANGE(unknown_twice, toc_add_section(image, "abcd", 0);
           toc_add_section(image, "abcd", 0))
TOC_CHANGE(sections_overlap, toc_add64(toc_directory(image, "META") + 8, -8);
           toc_add64(toc_directory(image, "META") + 16, 8))
TOC_CHANGE(empty_section_inside, toc_add_section(image, "abcd", 0);
           toc_add64(toc_directory(image, "abcd") + 8, -8))
TOC_CHANGE(no_file, memcpy(toc_directory(image, "FILE"), "file\0\0\0\0", 8))
TOC_CHANGE(no_name, memcpy(toc_directory(image, "NAME"), "name\0\0\0\0", 8))
TOC_CHANGE(no_slic, memcpy(toc_directory(image, "SLIC"), "slic\0\0\0\0", 8))
TOC_CHANGE(no_rows, memcpy(toc_directory(image, "ROWS"), "rows\0\0\0\0", 8))
TOC_CHANGE(gap,
           toc_section(image, "NAME")[kf_le64(toc_directory(image, "NAME") + 16)] = 1)
TOC_CHANGE(last_gap, image->root.data[image->root.length - 1] = 1)
TOC_CHANGE(too_long, toc_grow(image, 8, 0))
TOC_CHANGE(odd_length, toc_grow(image, 1, 0))
TOC_CHANGE(length_63, image->root.length = 63; image->link.root_raw = 63)
TOC_CHANGE(length_0, image->root.length = 0; image->link.root_raw = 0)
TOC_CHANGE(other_raw_size, image->link.root_raw += 8)

/* FILE and NAME */
TOC_CHANGE(file_type, toc_file(image, 2)[36] = 1)
TOC_CHANGE(file_mode, kf_put_le32(toc_file(image, 2) + 32, 01000))
TOC_CHANGE(file_reserved_37, toc_file(image, 2)[37] = 1)
TOC_CHANGE(file_reserved_47, toc_file(image, 2)[47] = 1)
TOC_CHANGE(file_name_beyond, kf_put_le32(toc_file(image, 2) + 24, 1000))
TOC_CHANGE(file_name_overflow, kf_put_le32(toc_file(image, 2) + 24, UINT32_MAX))
TOC_CHANGE(file_name_shared, memcpy(toc_file(image, 3) + 24, toc_file(image, 0) + 24, 8);
           memcpy(toc_file(image, 2) + 24, toc_file(image, 1) + 24, 8);
           kf_put_le32(toc_file(image, 0) + 28, 6))
TOC_CHANGE(file_beyond, toc_add64(toc_file(image, 2), 1 << 30))
TOC_CHANGE(file_overflow, kf_put_le64(toc_file(image, 2), UINT64_MAX))
TOC_CHANGE(folder_offset, kf_put_le64(toc_file(image, 1), 512))
TOC_CHANGE(folder_size, kf_put_le64(toc_file(image, 1) + 8, 1))
TOC_CHANGE(files_overlap,
           kf_put_le64(toc_file(image, 2), kf_le64(toc_file(image, 0)) + 1))
TOC_CHANGE(names_equal, rename_file(image, 4, "x"))
TOC_CHANGE(names_swapped, rename_file(image, 3, "y"); rename_file(image, 4, "x"))
TOC_CHANGE(name_empty, kf_put_le32(toc_file(image, 0) + 28, 0))
TOC_CHANGE(name_dot, rename_file(image, 0, "."))
TOC_CHANGE(name_slash, rename_file(image, 0, "/"))
TOC_CHANGE(name_nul, memset(toc_section(image, "NAME") + 2, 0, 1))
TOC_CHANGE(name_double_dot, rename_file(image, 2, "d.."))
TOC_CHANGE(name_leading_dot, rename_file(image, 2, "./e"))
TOC_CHANGE(name_trailing, rename_file(image, 2, "de/"))
TOC_CHANGE(name_double_slash, rename_file(image, 2, "d//"))
TOC_CHANGE(no_folder, rename_file(image, 2, "e/e"))
TOC_CHANGE(folder_is_file, toc_file(image, 1)[36] = 0)
TOC_CHANGE(folder_last, rename_file(image, 1, "b"))
TOC_CHANGE(name_4097, toc_long_name(image, 4, 254, 4097))
TOC_CHANGE(component_256, toc_long_name(image, 4, 256, 256))
TOC_CHANGE(folder_component_256, toc_long_name(image, 4, 256, 300))

/* SLIC and ROWS */
TOC_CHANGE(slice_size, memset(toc_slice(image, 3) + 96, 0, 8);
           toc_add64(toc_directory(image, "SLIC") + 16, -8))
TOC_CHANGE(slice_flags, kf_put_le32(toc_slice(image, 0) + 12, 3))
TOC_CHANGE(slice_empty, kf_put_le32(toc_slice(image, 1) + 8, 0))
TOC_CHANGE(slice_gap, toc_add32(toc_slice(image, 1) + 4, 1))
TOC_CHANGE(slice_overlap, toc_add32(toc_slice(image, 1) + 4, -1))
TOC_CHANGE(slice_count, toc_add32(toc_slice(image, 1) + 8, 1))
TOC_CHANGE(slice_begin, kf_put_le64(toc_slice(image, 0) + 16, 1))
TOC_CHANGE(slice_begin_stored, kf_put_le64(toc_slice(image, 0) + 24, 1))
TOC_CHANGE(slice_back, kf_put_le64(toc_slice(image, 2) + 16, 0))
TOC_CHANGE(slice_back_stored, kf_put_le64(toc_slice(image, 2) + 24, 0))
TOC_CHANGE(slice_far, kf_put_le64(toc_slice(image, 2) + 16, UINT64_MAX))
TOC_CHANGE(slice_far_stored, kf_put_le64(toc_slice(image, 2) + 24, UINT64_MAX))
TOC_CHANGE(slice_too_little_stored,
           kf_put_le64(toc_slice(image, 2) + 24, kf_le64(toc_slice(image, 1) + 24) + 16))
TOC_CHANGE(slice_too_much_stored, toc_add64(toc_slice(image, 2) + 24, MIB(15)))
TOC_CHANGE(slice_too_little,
           kf_put_le64(toc_slice(image, 2) + 16, kf_le64(toc_slice(image, 1) + 16) + 16))
TOC_CHANGE(slice_8193, kf_put_le32(toc_slice(image, 0) + 8, 8193);
           kf_put_le32(toc_slice(image, 0) + 12, 0))
TOC_CHANGE(slice_where, toc_add64(toc_slice(image, 1) + 32, 40))
TOC_CHANGE(slice_outside_where, toc_add64(toc_slice(image, 3) + 32, 40))
TOC_CHANGE(slice_inline_digest, toc_slice(image, 1)[40] = 1)
TOC_CHANGE(slice_inline_65, kf_put_le32(toc_slice(image, 3) + 12, 1);
           memset(toc_slice(image, 3) + 40, 0, 32))
TOC_CHANGE(slice_not_inline, kf_put_le32(toc_slice(image, 1) + 12, 0))
TOC_CHANGE(slice_content_id, toc_slice(image, 0)[72] = 1)
TOC_CHANGE(slice_file_small, kf_put_le32(toc_slice(image, 0), 0))
TOC_CHANGE(slice_file_folder, kf_put_le32(toc_slice(image, 0), 1))
TOC_CHANGE(slice_file_beyond, kf_put_le32(toc_slice(image, 0), 5))
TOC_CHANGE(slice_file_other, kf_put_le32(toc_slice(image, 1), 4);
           kf_put_le32(toc_slice(image, 3), 3))
TOC_CHANGE(slice_file_twice, kf_put_le32(toc_slice(image, 2), 3))
TOC_CHANGE(slice_file_missing, kf_put_le32(toc_slice(image, 1), UINT32_MAX);
           memset(toc_slice(image, 1) + 72, 0, 32))
TOC_CHANGE(slice_before_file, toc_add64(toc_slice(image, 1) + 16, -1))
TOC_CHANGE(slice_after_file, toc_add64(toc_slice(image, 2) + 16, 1))
TOC_CHANGE(too_many_slices, image->limits.slices = 3)

/* the rest */
TOC_CHANGE(pref_size, toc_add_section(image, "PREF", 0); toc_grow(image, 8, 0);
           kf_put_le64(toc_directory(image, "PREF") + 16, 7))
TOC_CHANGE(pref_empty_run, toc_add_section(image, "PREF", 0); toc_grow(image, 8, 0);
           kf_put_le64(toc_directory(image, "PREF") + 16, 8))
TOC_CHANGE(pref_beyond, pref_empty_run(image); kf_put_le32(toc_section(image, "PREF"), 1);
           kf_put_le32(toc_section(image, "PREF") + 4, kf_le32(image->root.data + 40)))
TOC_CHANGE(pref_overflow, pref_empty_run(image);
           kf_put_le32(toc_section(image, "PREF"), UINT32_MAX);
           kf_put_le32(toc_section(image, "PREF") + 4, 1))

TOC_CHANGE(meta_too_long, toc_set_meta(image, KIB(64) + 1))

/* the link and the blob */
TOC_CHANGE(not_embedded, image->link.embedded = false)
TOC_CHANGE(area_elsewhere, image->link.area_offset++)
TOC_CHANGE(area_before_frame, image->link.area_offset = 7)
TOC_CHANGE(area_without_end, image->link.area_offset = UINT64_MAX)
TOC_CHANGE(area_longer, image->link.area_length++)
TOC_CHANGE(area_shorter, image->link.area_length--)
TOC_CHANGE(area_beyond,
           image->blob_size = image->link.area_offset + image->link.area_length - 1)
TOC_CHANGE(root_beyond_area, image->link.area_length = image->link.root_stored - 1)
TOC_CHANGE(root_empty, image->link.root_stored = 0)
TOC_CHANGE(root_stored_too_long, image->link.root_stored = MIB(64) + 1)
TOC_CHANGE(root_raw_too_long, image->link.root_raw = MIB(512) + 1)
TOC_CHANGE(area_too_long, image->link.area_length = (1ull << 32) - 8)

#define ROW(fault, kind, text)    \
    {                             \
#fault, fault, kind, text \
    }
#define BAD(fault, text) ROW(fault, KF_E_MALFORMED, text)
#define OVER(fault) ROW(fault, KF_E_LIMIT, "")

static const struct {
    const char *what;
    void (*fault)(struct toc_image *image);
    enum kf_err_kind kind;
    const char *text;
} faults[] = {
    BAD(magic, "magic"),
    BAD(major_0, "version"),
    BAD(header_size, "header size"),
    BAD(carrier_0, "carrier"),
    BAD(carrier_4, "carrier"),
    BAD(digest_2, "digest kind"),
    BAD(reserved_22, "should be zero"),
    BAD(reserved_23, "should be zero"),
    BAD(stream_longer, "slice 3: it does not begin and end with its file"),
    BAD(stream_shorter, "not within the layer"),
    BAD(stored_longer, "do not end where"),
    BAD(stored_shorter, "do not end where"),
    BAD(more_chunks, "do not cover"),
    BAD(less_chunks, "do not cover"),
    BAD(no_chunks, "files without chunks"),
    BAD(more_files, "number of files"),
    BAD(less_files, "number of files"),
    BAD(largest_0, "so many chunks"),
    BAD(largest_too_small, "so many chunks"),
    BAD(slices_longer, "do not fill"),
    BAD(slices_shorter, "do not fill"),
    OVER(too_many_sections),
    OVER(too_many_chunks),
    OVER(too_many_files),
    OVER(chunk_size_too_large),
    OVER(largest_too_large),
    OVER(slices_too_long),
    BAD(directory_cut, "cut off"),
    BAD(flag_2, "flags"),
    BAD(flag_high, "flags"),
    BAD(not_aligned, "aligned"),
    BAD(section_in_header, "overlap"),
    BAD(section_in_directory, "overlap"),
    BAD(section_beyond, "beyond its end"),
    BAD(section_far, "beyond its end"),
    BAD(section_overflows, "beyond its end"),
    BAD(section_twice, "twice"),
    BAD(unknown_twice, "twice"),
    BAD(sections_overlap, "overlap"),
    BAD(empty_section_inside, "overlap"),
    BAD(no_file, "section FILE is missing"),
    BAD(no_name, "section NAME is missing"),
    BAD(no_slic, "section SLIC is missing"),
    BAD(no_rows, "do not fill"),
    BAD(gap, "belong to no section"),
    BAD(last_gap, "after its last section"),
    BAD(too_long, "after its last section"),
    BAD(odd_length, "its length"),
    BAD(length_63, "its length"),
    BAD(length_0, "its length"),
    BAD(other_raw_size, "not the promised one"),
    BAD(file_type, "file 2: an unknown type"),
    BAD(file_mode, "file 2: a mode"),
    BAD(file_reserved_37, "file 2: bytes that should be zero"),
    BAD(file_reserved_47, "file 2: bytes that should be zero"),
    BAD(file_name_beyond, "file 2: its name is not within"),
    BAD(file_name_overflow, "file 2: its name is not within"),
    BAD(file_name_shared, "share bytes"),
    BAD(file_beyond, "file 2: it is not within the layer"),
    BAD(file_overflow, "file 2: it is not within the layer"),
    BAD(folder_offset, "file 1: a folder with content"),
    BAD(folder_size, "file 1: a folder with content"),
    BAD(files_overlap, "files overlap"),
    BAD(names_equal, "file 4: its name is out of order"),
    BAD(names_swapped, "file 4: its name is out of order"),
    BAD(name_empty, "file 0: bad name '': empty"),
    BAD(name_dot, "file 0: its name is not in its shortest form"),
    BAD(name_slash, "file 0: bad name '/': not relative"),
    BAD(name_nul, "file 2: bad name '?/e': NUL byte"),
    BAD(name_double_dot, "file 2: bad name 'd..': holds '..'"),
    BAD(name_leading_dot, "file 2: its name is not in its shortest form"),
    BAD(name_trailing, "file 2: its name is not in its shortest form"),
    BAD(name_double_slash, "file 2: bad name 'd//': empty component"),
    BAD(no_folder, "file 2: its folder is missing"),
    BAD(folder_is_file, "file 2: its folder is missing"),
    BAD(folder_last, "file 2: its folder is missing"),
    OVER(name_4097),
    OVER(component_256),
    OVER(folder_component_256),
    BAD(slice_size, "number of slices"),
    BAD(slice_flags, "slice 0: unknown flags"),
    BAD(slice_empty, "slice 1: it has no chunks"),
    BAD(slice_gap, "slice 1: it does not follow"),
    BAD(slice_overlap, "slice 1: it does not follow"),
    BAD(slice_count, "slice 2: it does not follow"),
    BAD(slice_begin, "slice 0: it does not begin"),
    BAD(slice_begin_stored, "slice 0: it does not begin"),
    BAD(slice_back, "slice 1: its offsets are out of order"),
    BAD(slice_back_stored, "slice 1: its offsets are out of order"),
    BAD(slice_far, "slice 1: its length"),
    BAD(slice_far_stored, "slice 1: its length"),
    BAD(slice_too_little_stored, "slice 1: its length"),
    BAD(slice_too_much_stored, "slice 1: its length"),
    BAD(slice_too_little, "slice 1: its length"),
    BAD(slice_8193, "slice 0: too many chunks"),
    BAD(slice_where, "slice 1: it does not follow"),
    BAD(slice_outside_where, "slice 3: it does not follow"),
    BAD(slice_inline_digest, "slice 1: it cannot be inline"),
    BAD(slice_inline_65, "slice 3: it cannot be inline"),
    BAD(slice_not_inline, "slice 1: it does not follow"),
    BAD(slice_content_id, "slice 0: a content id without a file"),
    BAD(slice_file_small, "slice 0: it names no large file"),
    BAD(slice_file_folder, "slice 0: it names no large file"),
    BAD(slice_file_beyond, "slice 0: it names no large file"),
    BAD(slice_file_other, "slice 1: it does not begin and end with its file"),
    BAD(slice_file_twice, "slice 2: its file has another one"),
    BAD(slice_file_missing, "file 3: a large file without a slice"),
    BAD(slice_before_file, "slice 1: it does not begin and end with its file"),
    BAD(slice_after_file, "slice 1: it does not begin and end with its file"),
    OVER(too_many_slices),
    BAD(pref_size, "prefetch"),
    BAD(pref_empty_run, "prefetch"),
    BAD(pref_beyond, "prefetch"),
    BAD(pref_overflow, "prefetch"),
    OVER(meta_too_long),
    BAD(not_embedded, "no place for it"),
    BAD(area_elsewhere, "do not end where"),
    BAD(area_before_frame, "before its frame"),
    BAD(area_without_end, "no end"),
    BAD(area_longer, "differ in length"),
    BAD(area_shorter, "differ in length"),
    BAD(area_beyond, "not within the layer"),
    BAD(root_beyond_area, "not within its area"),
    BAD(root_empty, "not within its area"),
    OVER(root_stored_too_long),
    OVER(root_raw_too_long),
    OVER(area_too_long),
};

Test(toc_hostile, each_fault_is_refused)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(faults); i++) {
        struct toc_image image;
        struct kf_toc toc;
        struct kf_err err = {0};

        toc_make_usual(&image, KF_CARRIER_TAR_ZSTD);
        toc_expect_round_trip(&image);
        faults[i].fault(&image);
        cr_assert_eq(toc_decode(&image, &toc, &err), -1, "%s", faults[i].what);
        cr_assert_eq(err.kind, faults[i].kind, "%s: %s", faults[i].what, err.message);
        cr_assert_not_null(strstr(err.message, faults[i].text), "%s: %s", faults[i].what,
                           err.message);
        cr_assert_eq(toc_decode(&image, &toc, NULL), -1, "%s", faults[i].what);
        toc_image_fini(&image);
    }
}
