#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/tar_decode.h"
#include "layer/tar_encode.h"

#define MIB(n) ((size_t)(n) << 20)

static struct kf_buf encode(const struct kf_tar_file *file)
{
    struct kf_buf header;
    struct kf_err err = {0};

    kf_buf_init(&header, MIB(1));
    cr_assert_eq(kf_tar_encode(file, &header, &err), 0, "%s", err.message);
    cr_assert_eq(header.length % 512, 0);
    return header;
}

/* The decoder finds in the header what went in. */
static size_t expect_read_back(const struct kf_tar_file *file)
{
    struct kf_buf header = encode(file);
    size_t length = header.length;
    struct kf_tar_decoder decoder;
    struct kf_tar_result found = {0};
    struct kf_err err = {0};

    kf_tar_decoder_init(&decoder, UINT64_MAX);
    cr_assert_eq(kf_tar_next(&decoder, header.data, 0, length, &found, &err),
                 KF_TAR_ENTRY, "%s", err.message);
    cr_assert_eq(found.name_length, strlen(file->name), "'%s'", file->name);
    cr_assert_arr_eq(found.name, file->name, found.name_length);
    cr_assert_eq(found.entry.size, file->size);
    cr_assert_eq(found.entry.offset, length);
    cr_assert_eq(found.entry.mtime, 0);
    cr_assert_eq(found.entry.type, file->is_dir ? KF_TYPE_DIR : KF_TYPE_FILE);
    cr_assert_eq(found.entry.mode, file->is_dir || file->is_executable ? 0755 : 0644);
    kf_tar_decoder_fini(&decoder);
    kf_buf_fini(&header);
    return length;
}

/* How long a header gets for `prefix` bytes, a slash (unless 0) and `name` bytes. */
static size_t header_of_name(size_t prefix, size_t name)
{
    char text[600];

    memset(text, 'n', sizeof(text));
    if (prefix > 0)
        text[prefix] = '/';
    text[prefix + (prefix > 0) + name] = '\0';
    return expect_read_back(&(struct kf_tar_file){.name = text, .size = 1});
}

Test(tar_encode, every_field)
{
    struct kf_buf header = encode(&(struct kf_tar_file){.name = "model/a", .size = 10});
    unsigned sum = 0;
    char text[8];

    cr_assert_eq(header.length, 512);
    cr_assert_str_eq((char *)header.data, "model/a");
    cr_assert_arr_eq(header.data + 100,
                     "0000644\0"
                     "0001750\0"
                     "0000000\0",
                     24);
    cr_assert_arr_eq(header.data + 124,
                     "00000000012\0"
                     "00000000000\0",
                     24);
    cr_assert_eq(header.data[156], '0');
    cr_assert_arr_eq(header.data + 257,
                     "ustar\000"
                     "00",
                     8);
    for (size_t i = 157; i < 257; i++)
        cr_assert_eq(header.data[i], 0); /* no link name */
    for (size_t i = 265; i < 329; i++)
        cr_assert_eq(header.data[i], 0); /* nor owners' names */
    cr_assert_arr_eq(header.data + 329,
                     "0000000\0"
                     "0000000\0",
                     16);
    for (size_t i = 345; i < 512; i++)
        cr_assert_eq(header.data[i], 0);
    for (size_t i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : header.data[i];
    (void)snprintf(text, sizeof(text), "%06o", sum);
    cr_assert_arr_eq(header.data + 148, text, 7);
    cr_assert_eq(header.data[155], ' ');
    kf_buf_fini(&header);
}

Test(tar_encode, kinds_and_modes)
{
    (void)expect_read_back(&(struct kf_tar_file){.name = "d", .is_dir = true});
    (void)expect_read_back(
        &(struct kf_tar_file){.name = "d/run", .size = 3, .is_executable = true});
    (void)expect_read_back(&(struct kf_tar_file){.name = "d/empty"});
}

Test(tar_encode, names_fit_ustar_up_to_its_limits)
{
    cr_assert_eq(header_of_name(0, 99), 512);
    cr_assert_eq(header_of_name(0, 100), 512);
    cr_assert_eq(header_of_name(0, 101), 1536); /* no slash to split at */
    cr_assert_eq(header_of_name(1, 99), 512);   /* 101 bytes in all */
    cr_assert_eq(header_of_name(1, 100), 512);
    cr_assert_eq(header_of_name(1, 101), 1536);
    cr_assert_eq(header_of_name(154, 100), 512);  /* 255 */
    cr_assert_eq(header_of_name(155, 99), 512);   /* 255 */
    cr_assert_eq(header_of_name(155, 100), 512);  /* 256 */
    cr_assert_eq(header_of_name(155, 101), 1536); /* 257 */
    cr_assert_eq(header_of_name(156, 99), 1536);
    cr_assert_eq(header_of_name(156, 1), 1536);
    cr_assert_eq(header_of_name(100, 1), 512);
}

Test(tar_encode, a_name_is_split_at_its_last_possible_slash)
{
    char name[220];
    struct kf_buf header;

    memset(name, 'x', sizeof(name));
    name[50] = name[120] = name[156] = '/';
    name[219] = '\0';
    header = encode(&(struct kf_tar_file){.name = name});
    cr_assert_eq(header.length, 512);
    cr_assert_arr_eq(header.data + 345, name, 120);
    cr_assert_eq(header.data[345 + 120], 0);
    cr_assert_arr_eq(header.data, name + 121, 98);
    kf_buf_fini(&header);
}

Test(tar_encode, names_that_are_not_ascii_take_a_pax_record)
{
    static const char name[] = "gewichte/gr\xc3\xb6\xc3\x9f"
                               "e.bin";
    struct kf_buf header = encode(&(struct kf_tar_file){.name = name, .size = 7});

    cr_assert_eq(header.length, 1536);
    cr_assert_eq(header.data[156], 'x');
    cr_assert_str_eq((char *)header.data, "gewichte/PaxHeaders.0/gr____e.bin");
    cr_assert_str_eq((char *)header.data + 512, "29 path=gewichte/gr\xc3\xb6\xc3\x9f"
                                                "e.bin\n");
    kf_buf_fini(&header);
    (void)expect_read_back(&(struct kf_tar_file){.name = name, .size = 7});
    (void)expect_read_back(&(struct kf_tar_file){.name = "\xff", .is_dir = true});
}

Test(tar_encode, the_length_of_a_record_counts_itself)
{
    /* "NN path=" and a newline around the name: 98 -> 99, 99 -> 101 bytes, and so on. */
    for (size_t length = 1; length < 1100; length++) {
        char name[1200] = "\xc3\xa4";
        struct kf_buf header;
        size_t record;

        for (size_t i = 2; i < length + 2; i++)
            name[i] = i % 50 == 49 ? '/' : 'n';
        name[length + 1] = 'e';
        header = encode(&(struct kf_tar_file){.name = name});
        record = strcspn((char *)header.data + 512, "\n") + 1;
        cr_assert_eq(strtoul((char *)header.data + 512, NULL, 10), record);
        kf_buf_fini(&header);
    }
}

Test(tar_encode, sizes_around_what_octal_can_say)
{
    struct kf_tar_file file = {.name = "a", .size = UINT64_C(8589934591)};
    struct kf_buf header;

    cr_assert_eq(expect_read_back(&file), 512);
    file.size++;
    cr_assert_eq(expect_read_back(&file), 1536);
    header = encode(&file);
    cr_assert_str_eq((char *)header.data, "PaxHeaders.0/a");
    cr_assert_str_eq((char *)header.data + 512, "19 size=8589934592\n");
    kf_buf_fini(&header);
    file.size += 5; /* what octal would cut to 5 */
    header = encode(&file);
    cr_assert_arr_eq(header.data + 1024 + 124, "00000000000", 12);
    kf_buf_fini(&header);
    file.size = (UINT64_C(1) << 62) + 1;
    cr_assert_eq(expect_read_back(&file), 1536);
    file.name = "\xc3\xa4"; /* path and size */
    cr_assert_eq(expect_read_back(&file), 1536);
}

Test(tar_encode, data_is_aligned_wherever_the_header_lies)
{
    static const char *const names[] = {"a", "\xc3\xa4"};

    for (size_t i = 0; i < 2; i++)
        for (uint64_t position = 0; position <= 8192; position += 512) {
            struct kf_tar_file file = {.name = names[i],
                                       .size = UINT64_C(8589934591) + i,
                                       .aligned = true,
                                       .position = position};
            size_t plain, length = expect_read_back(&file);

            cr_assert_eq((position + length) % KF_TAR_ALIGNMENT, 0);
            file.aligned = false;
            plain = expect_read_back(&file);
            /* A first record costs two blocks: one block to go takes a round more. */
            cr_assert_leq(length - plain, KF_TAR_ALIGNMENT + 512u * (i == 0));
            cr_assert_eq(length == plain, (position + plain) % KF_TAR_ALIGNMENT == 0);
        }
}

/* The length of the comment of a file "a" at a position. */
static size_t comment_at(uint64_t position)
{
    struct kf_buf header =
        encode(&(struct kf_tar_file){.name = "a", .aligned = true, .position = position});
    const char *record = strchr((char *)header.data + 512, '=');
    size_t length = record ? strspn(record + 1, " ") : 0;

    cr_assert(!record || record[1 + length] == '\n');
    kf_buf_fini(&header);
    return length;
}

Test(tar_encode, the_comment_is_the_shortest_that_aligns)
{
    cr_assert_eq(comment_at(3584), 0); /* none */
    cr_assert_eq(comment_at(2560), 0); /* any record will do */
    cr_assert_eq(comment_at(2048),
                 513 - strlen("513 comment=\n")); /* two blocks of them */
    cr_assert_eq(comment_at(3072),
                 3585 - strlen("3585 comment=\n")); /* all the way round */
}

Test(tar_encode, long_names_have_a_limit)
{
    char name[KF_NAME_LIMIT + 2];
    struct kf_tar_file file = {.name = name, .size = 1, .aligned = true};
    struct kf_buf ret;
    struct kf_err err = {0};

    memset(name, 'n', sizeof(name));
    for (size_t i = 200; i < sizeof(name); i += 200)
        name[i] = '/';
    name[KF_NAME_LIMIT] = '\0';
    for (file.position = 0; file.position < 4096; file.position += 512)
        cr_assert_eq((file.position + expect_read_back(&file)) % 4096, 0);
    name[KF_NAME_LIMIT] = 'n';
    name[KF_NAME_LIMIT + 1] = '\0';
    kf_buf_init(&ret, MIB(1));
    cr_assert_eq(kf_tar_encode(&file, &ret, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_buf_fini(&ret);
}

Test(tar_encode, a_full_buffer_is_an_error)
{
    struct kf_tar_file file = {.name = "\xc3\xa4", .size = 1};

    for (size_t limit = 0; limit < 1536; limit += 511) {
        struct kf_buf ret;
        struct kf_err err = {0};

        kf_buf_init(&ret, limit);
        cr_assert_eq(kf_tar_encode(&file, &ret, &err), -1);
        cr_assert_eq(err.kind, KF_E_LIMIT);
        kf_buf_fini(&ret);
    }
}

Test(tar_encode, padding)
{
    cr_assert_eq(kf_tar_padding(0), 0);
    cr_assert_eq(kf_tar_padding(1), 511);
    cr_assert_eq(kf_tar_padding(511), 1);
    cr_assert_eq(kf_tar_padding(512), 0);
    cr_assert_eq(kf_tar_padding(UINT64_MAX), 1);
}
