/*
 * Archives that are broken or made to do harm, a row each.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "tar_maker.h"
#include "tar_reader.h"

static void typed(struct kf_buf *tar, char type)
{
    tar_add_header(tar, &(struct tar_header){.name = "bad\x1b", .type = type});
}

static void hard_link(struct kf_buf *tar)
{
    typed(tar, '1');
}

static void symbolic_link(struct kf_buf *tar)
{
    typed(tar, '2');
}

static void character_device(struct kf_buf *tar)
{
    typed(tar, '3');
}

static void block_device(struct kf_buf *tar)
{
    typed(tar, '4');
}

static void fifo(struct kf_buf *tar)
{
    typed(tar, '6');
}

static void sparse(struct kf_buf *tar)
{
    typed(tar, 'S');
}

static void unknown_type(struct kf_buf *tar)
{
    typed(tar, '\xfe');
}

static void global_header(struct kf_buf *tar)
{
    tar_add_extension(tar, 'g', "9 path=a\n", 9);
    typed(tar, '0');
}

static void long_link(struct kf_buf *tar)
{
    tar_add_extension(tar, 'K', "target", 7);
    typed(tar, '0');
}

static void pax_sparse(struct kf_buf *tar)
{
    tar_add_pax(tar, "GNU.sparse.major", "1");
    typed(tar, '0');
}

static void bad_checksum(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .checksum_off = 1});
}

static void no_header(struct kf_buf *tar)
{
    char block[512];

    memset(block, 'x', sizeof(block));
    tar_add_data(tar, block, sizeof(block));
}

static void negative_size(struct kf_buf *tar)
{
    tar_add_header(tar,
                   &(struct tar_header){
                       .name = "a",
                       .size_field = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"});
}

static void huge_base_256_size(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a",
                                             .size_field = "\x80\0\0\1\0\0\0\0\0\0\0\0"});
}

static void base_256_size_of_63_bits(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){
                            .name = "a",
                            .size_field = "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"});
}

static void base_256_size_of_64_bits(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){
                            .name = "a", .size_field = "\x80\0\0\0\x80\0\0\0\0\0\0\0"});
}

static void size_beyond_the_stream(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .size = 1025});
}

static void size_of_bad_digits(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .size_field = "00000000008"});
}

static void size_of_two_numbers(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .size_field = "0000 000001"});
}

static void mode_of_bad_digits(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .mode_field = "0000648"});
}

static void mtime_of_bad_digits(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .mtime_field = "0000000000x"});
}

static void folder_with_data(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a", .type = '5', .size = 1});
    tar_add_data(tar, "x", 1);
}

static void slash_file_with_data(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "a/", .size = 1});
    tar_add_data(tar, "x", 1);
}

static void zero_block_between(struct kf_buf *tar)
{
    tar_end(tar);
    tar->length -= 512;
    typed(tar, '0');
}

static void extension(struct kf_buf *tar, char type, const char *data, size_t length)
{
    tar_add_extension(tar, type, data, length);
    typed(tar, '0');
}

#define HOSTILE_EXTENSION(name, type, data)           \
    static void name(struct kf_buf *tar)              \
    {                                                 \
        extension(tar, type, data, sizeof(data) - 1); \
    }

HOSTILE_EXTENSION(pax_nul_in_path, 'x', "12 path=a\0b\n")
HOSTILE_EXTENSION(pax_length_too_long, 'x', "11 path=a\n")
HOSTILE_EXTENSION(pax_length_too_short, 'x', "8 path=a\n")
HOSTILE_EXTENSION(pax_length_zero, 'x', "0 path=a\n")
HOSTILE_EXTENSION(pax_length_of_itself_only, 'x', "2 path=a\n")
HOSTILE_EXTENSION(pax_length_negative, 'x', "-9 path=a\n")
HOSTILE_EXTENSION(pax_length_overflow, 'x', "18446744073709551625 path=a\n")
HOSTILE_EXTENSION(pax_no_length, 'x', " path=a\n")
HOSTILE_EXTENSION(pax_no_blank, 'x', "9")
HOSTILE_EXTENSION(pax_no_newline, 'x', "9 path=ab")
HOSTILE_EXTENSION(pax_no_equals, 'x', "9 path-a\n")
HOSTILE_EXTENSION(pax_no_keyword, 'x', "5 =a\n")
HOSTILE_EXTENSION(pax_junk_behind, 'x', "9 path=a\njunk")
HOSTILE_EXTENSION(pax_size_negative, 'x', "11 size=-1\n")
HOSTILE_EXTENSION(pax_size_hexadecimal, 'x', "12 size=0x1\n")
HOSTILE_EXTENSION(pax_size_overflow, 'x', "28 size=9223372036854775808\n")
HOSTILE_EXTENSION(pax_size_of_65_bits, 'x', "29 size=18446744073709551616\n")
HOSTILE_EXTENSION(pax_size_of_68_bits, 'x', "30 size=184467440737095516150\n")
HOSTILE_EXTENSION(pax_size_beyond, 'x', "28 size=9223372036854775807\n")
HOSTILE_EXTENSION(pax_mtime_overflow, 'x', "29 mtime=9223372036854775808\n")
HOSTILE_EXTENSION(pax_mtime_word, 'x', "13 mtime=now\n")
HOSTILE_EXTENSION(pax_mtime_sign_alone, 'x', "11 mtime=-\n")
HOSTILE_EXTENSION(pax_mtime_fraction, 'x', "13 mtime=1.x\n")
HOSTILE_EXTENSION(long_name_empty, 'L', "\0")
HOSTILE_EXTENSION(long_name_nul_inside, 'L', "a\0b\0")

static void two_pax_headers(struct kf_buf *tar)
{
    tar_add_pax(tar, "path", "a");
    tar_add_pax(tar, "size", "0");
    typed(tar, '0');
}

static void pax_and_long_name(struct kf_buf *tar)
{
    tar_add_pax(tar, "path", "a");
    tar_add_extension(tar, 'L', "b", 2);
    typed(tar, '0');
}

static void pax_at_the_end_mark(struct kf_buf *tar)
{
    tar_add_pax(tar, "path", "a");
}

static void pax_cut_off(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "x", .type = 'x', .size = 4096});
}

static void pax_over_the_limit(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "x",
                                             .type = 'x',
                                             .size = KF_TAR_EXTENSION_LIMIT + 1});
}

static void pax_negative(struct kf_buf *tar)
{
    tar_add_header(tar,
                   &(struct tar_header){
                       .name = "x",
                       .type = 'x',
                       .size_field = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"});
}

#define HOSTILE(make, kind) \
    {                       \
#make, make, kind   \
    }

static const struct {
    const char *what;
    void (*make)(struct kf_buf *tar);
    enum kf_err_kind kind;
} hostile[] = {
    HOSTILE(hard_link, KF_E_UNSUPPORTED),
    HOSTILE(symbolic_link, KF_E_UNSUPPORTED),
    HOSTILE(character_device, KF_E_UNSUPPORTED),
    HOSTILE(block_device, KF_E_UNSUPPORTED),
    HOSTILE(fifo, KF_E_UNSUPPORTED),
    HOSTILE(sparse, KF_E_UNSUPPORTED),
    HOSTILE(unknown_type, KF_E_UNSUPPORTED),
    HOSTILE(global_header, KF_E_UNSUPPORTED),
    HOSTILE(long_link, KF_E_UNSUPPORTED),
    HOSTILE(pax_sparse, KF_E_UNSUPPORTED),
    HOSTILE(bad_checksum, KF_E_MALFORMED),
    HOSTILE(no_header, KF_E_MALFORMED),
    HOSTILE(negative_size, KF_E_MALFORMED),
    HOSTILE(huge_base_256_size, KF_E_MALFORMED),
    HOSTILE(base_256_size_of_63_bits, KF_E_MALFORMED),
    HOSTILE(base_256_size_of_64_bits, KF_E_MALFORMED),
    HOSTILE(size_beyond_the_stream, KF_E_MALFORMED),
    HOSTILE(size_of_bad_digits, KF_E_MALFORMED),
    HOSTILE(size_of_two_numbers, KF_E_MALFORMED),
    HOSTILE(mode_of_bad_digits, KF_E_MALFORMED),
    HOSTILE(mtime_of_bad_digits, KF_E_MALFORMED),
    HOSTILE(folder_with_data, KF_E_MALFORMED),
    HOSTILE(slash_file_with_data, KF_E_MALFORMED),
    HOSTILE(zero_block_between, KF_E_MALFORMED),
    HOSTILE(pax_nul_in_path, KF_E_MALFORMED),
    HOSTILE(pax_length_too_long, KF_E_MALFORMED),
    HOSTILE(pax_length_too_short, KF_E_MALFORMED),
    HOSTILE(pax_length_zero, KF_E_MALFORMED),
    HOSTILE(pax_length_of_itself_only, KF_E_MALFORMED),
    HOSTILE(pax_length_negative, KF_E_MALFORMED),
    HOSTILE(pax_length_overflow, KF_E_MALFORMED),
    HOSTILE(pax_no_length, KF_E_MALFORMED),
    HOSTILE(pax_no_blank, KF_E_MALFORMED),
    HOSTILE(pax_no_newline, KF_E_MALFORMED),
    HOSTILE(pax_no_equals, KF_E_MALFORMED),
    HOSTILE(pax_no_keyword, KF_E_MALFORMED),
    HOSTILE(pax_junk_behind, KF_E_MALFORMED),
    HOSTILE(pax_size_negative, KF_E_MALFORMED),
    HOSTILE(pax_size_hexadecimal, KF_E_MALFORMED),
    HOSTILE(pax_size_overflow, KF_E_MALFORMED),
    HOSTILE(pax_size_of_65_bits, KF_E_MALFORMED),
    HOSTILE(pax_size_of_68_bits, KF_E_MALFORMED),
    HOSTILE(pax_size_beyond, KF_E_MALFORMED),
    HOSTILE(pax_mtime_overflow, KF_E_MALFORMED),
    HOSTILE(pax_mtime_word, KF_E_MALFORMED),
    HOSTILE(pax_mtime_sign_alone, KF_E_MALFORMED),
    HOSTILE(pax_mtime_fraction, KF_E_MALFORMED),
    HOSTILE(long_name_empty, KF_E_MALFORMED),
    HOSTILE(long_name_nul_inside, KF_E_MALFORMED),
    HOSTILE(two_pax_headers, KF_E_MALFORMED),
    HOSTILE(pax_and_long_name, KF_E_MALFORMED),
    HOSTILE(pax_at_the_end_mark, KF_E_MALFORMED),
    HOSTILE(pax_cut_off, KF_E_MALFORMED),
    HOSTILE(pax_over_the_limit, KF_E_LIMIT),
    HOSTILE(pax_negative, KF_E_MALFORMED),
};

Test(tar_hostile, each_is_refused)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(hostile); i++) {
        struct kf_buf tar = tar_new();
        struct tar_found found;
        struct kf_err err = {0};

        tar_add_file(&tar, "good", "x", 1);
        hostile[i].make(&tar);
        tar_end(&tar);
        cr_assert_eq(tar_decode_twice(&tar, &found, &err), -1, "%s", hostile[i].what);
        cr_assert_eq(err.kind, hostile[i].kind, "%s: %s", hostile[i].what, err.message);
        cr_assert_eq(found.entries, 1, "%s", hostile[i].what);
        cr_assert_not_null(strstr(err.message, "tar header at offset "), "%s",
                           err.message);
        cr_assert_null(strchr(err.message, '\x1b'), "%s", hostile[i].what);
        kf_buf_fini(&tar);
    }
}

/* Some archives have no end mark; one that ends in the middle is refused all the same. */
Test(tar_hostile, extension_at_the_end_of_the_stream)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err = {0};

    tar_add_file(&tar, "good", "x", 1);
    tar_add_pax(&tar, "path", "a");
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    cr_assert_eq(found.entries, 1);
    kf_buf_fini(&tar);
}

Test(tar_hostile, message_names_entry_and_offset)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_file(&tar, "good", "x", 1);
    typed(&tar, '2');
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), -1);
    cr_assert_str_eq(err.message,
                     "tar header at offset 1024: entry 'bad?': it is a symbolic link");
    kf_buf_fini(&tar);
}
