#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/tar_decode.h"
#include "tar_maker.h"
#include "tar_reader.h"

#define KIB(n) ((size_t)(n) << 10)

static void expect_one(struct kf_buf *tar, const char *name, uint8_t type, uint64_t size)
{
    struct tar_found found;
    struct kf_err err = {0};

    cr_assert_eq(tar_decode_twice(tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entries, 1);
    cr_assert_str_eq(found.name, name);
    cr_assert_eq(found.entry.type, type);
    cr_assert_eq(found.entry.size, size);
    kf_buf_fini(tar);
}

Test(tar_decode, folders_and_files)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_dir(&tar, "model");
    tar_add_file(&tar, "model/a", "0123456789", 10);
    tar_add_file(&tar, "model/empty", "", 0);
    tar_add_file(&tar, "model/b", "x", 1);
    tar_end(&tar);
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entries, 4);
    cr_assert_str_eq(found.name, "model/b");
    cr_assert_eq(found.entry.offset, 512 + 1024 + 512 + 512);
    cr_assert_eq(found.entry.size, 1);
    cr_assert_eq(found.entry.mode, 0644);
    kf_buf_fini(&tar);
}

Test(tar_decode, data_is_not_asked_for)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;
    uint8_t *data = calloc(1, KIB(100));

    tar_add_file(&tar, "a", data, KIB(100));
    tar_end(&tar);
    memset(tar.data + 512, 0xff, KIB(100)); /* would be no header */
    cr_assert_eq(tar_decode(&tar, tar.length, true, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.needs, 3); /* header, end mark, its second block */
    free(data);
    kf_buf_fini(&tar);
}

Test(tar_decode, empty_stream)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0);
    cr_assert_eq(found.entries, 0);
}

/* What is accepted beside the usual: each adds one entry. */
static void ustar_prefix(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "b/c", .prefix = "a"});
}

static void gnu_has_no_prefix(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){
                            .name = "c", .prefix = "14650312345", .magic = "ustar  "});
}

static void v7_file(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "c", .magic = "", .type = '?'});
}

static void v7_folder(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "c/", .magic = "", .type = '?'});
}

static void type_0_folder(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "c/"});
}

static void pax_path(struct kf_buf *tar)
{
    tar_add_pax(tar, "path", "long/\xc3\xa4");
    tar_add_header(tar, &(struct tar_header){.name = "short", .prefix = "p"});
}

static void pax_last_path_counts(struct kf_buf *tar)
{
    tar_add_extension(tar, 'x', "9 path=a\n9 path=b\n", 18);
    tar_add_header(tar, &(struct tar_header){.name = "c"});
}

static void pax_unknown_keys(struct kf_buf *tar)
{
    tar_add_pax(tar, "SCHILY.xattr.user.a", "b=c\nd");
    tar_add_header(tar, &(struct tar_header){.name = "c"});
}

static void pax_empty_value(struct kf_buf *tar)
{
    tar_add_pax(tar, "path", "");
    tar_add_header(tar, &(struct tar_header){.name = "c"});
}

static void pax_without_records(struct kf_buf *tar)
{
    tar_add_extension(tar, 'x', "", 0);
    tar_add_header(tar, &(struct tar_header){.name = "c"});
}

static void gnu_long_name(struct kf_buf *tar)
{
    tar_add_extension(tar, 'L', "long name", 10);
    tar_add_header(tar, &(struct tar_header){.name = "long"});
}

static void gnu_long_name_without_nul(struct kf_buf *tar)
{
    tar_add_extension(tar, 'L', "long name", 9);
    tar_add_header(tar, &(struct tar_header){.name = "long"});
}

static void base_256_size(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "c",
                                             .size_field = "\x80\0\0\0\0\0\0\0\0\0\0\5"});
    tar_add_data(tar, "12345", 5);
}

static void pax_size(struct kf_buf *tar)
{
    tar_add_pax(tar, "size", "5");
    tar_add_header(tar, &(struct tar_header){.name = "c"});
    tar_add_data(tar, "12345", 5);
}

static void blank_size(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "c", .size_field = "           "});
}

static void signed_checksum(struct kf_buf *tar)
{
    tar_add_header(tar, &(struct tar_header){.name = "\xc3\xa4", .signed_sum = 1});
}

static const struct {
    const char *what;
    void (*make)(struct kf_buf *tar);
    const char *name;
    uint8_t type;
    uint64_t size;
} accepted[] = {
    {"ustar prefix", ustar_prefix, "a/b/c", KF_TYPE_FILE, 0},
    {"gnu has no prefix", gnu_has_no_prefix, "c", KF_TYPE_FILE, 0},
    {"v7 file", v7_file, "c", KF_TYPE_FILE, 0},
    {"v7 folder", v7_folder, "c/", KF_TYPE_DIR, 0},
    {"type 0 folder", type_0_folder, "c/", KF_TYPE_DIR, 0},
    {"pax path", pax_path, "long/\xc3\xa4", KF_TYPE_FILE, 0},
    {"pax: the last path counts", pax_last_path_counts, "b", KF_TYPE_FILE, 0},
    {"pax: unknown keys", pax_unknown_keys, "c", KF_TYPE_FILE, 0},
    {"pax: empty value", pax_empty_value, "c", KF_TYPE_FILE, 0},
    {"pax without records", pax_without_records, "c", KF_TYPE_FILE, 0},
    {"gnu long name", gnu_long_name, "long name", KF_TYPE_FILE, 0},
    {"gnu long name without NUL", gnu_long_name_without_nul, "long name", KF_TYPE_FILE,
     0},
    {"base-256 size", base_256_size, "c", KF_TYPE_FILE, 5},
    {"pax size", pax_size, "c", KF_TYPE_FILE, 5},
    {"blank size", blank_size, "c", KF_TYPE_FILE, 0},
    {"signed checksum", signed_checksum, "\xc3\xa4", KF_TYPE_FILE, 0},
};

Test(tar_decode, accepted)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(accepted); i++) {
        struct kf_buf tar = tar_new();

        accepted[i].make(&tar);
        tar_end(&tar);
        expect_one(&tar, accepted[i].name, accepted[i].type, accepted[i].size);
    }
}

Test(tar_decode, full_name_and_prefix_fields)
{
    struct kf_buf tar = tar_new();
    char name[101], prefix[156], whole[257];

    memset(name, 'n', 100);
    memset(prefix, 'p', 155);
    name[100] = prefix[155] = '\0';
    (void)snprintf(whole, sizeof(whole), "%s/%s", prefix, name);
    tar_add_header(&tar, &(struct tar_header){.name = name, .prefix = prefix});
    tar_end(&tar);
    expect_one(&tar, whole, KF_TYPE_FILE, 0);
}

/* Ends that kit accepts: after two zero blocks anything may follow; a tar may be cut off
 * before its end mark, within the last file's padding, or after one zero block. */
static const struct {
    const char *what;
    size_t length; /* of the stream, of a file of 10 bytes and more behind it */
    int rc;
} ends[] = {
    {"behind the data", 522, 0},       {"inside the padding", 700, 0},
    {"before the end mark", 1024, 0},  {"inside the end mark's first block", 1030, -1},
    {"after one zero block", 1536, 0}, {"inside the second zero block", 1600, 0},
    {"after the end mark", 2048, 0},   {"junk after the end mark", 3000, 0},
    {"inside the header", 511, -1},    {"inside the data", 521, -1},
};

Test(tar_decode, ends)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(ends); i++) {
        struct kf_buf tar = tar_new();
        struct tar_found found;
        struct kf_err err = {0};

        tar_add_file(&tar, "a", "0123456789", 10);
        tar_end(&tar);
        while (tar.length < 4096)
            cr_assert_eq(kf_buf_append(&tar, "junk", 4, NULL), 0);
        tar.length = ends[i].length;
        cr_assert_eq(tar_decode_twice(&tar, &found, &err), ends[i].rc, "%s: %s",
                     ends[i].what, err.message);
        kf_buf_fini(&tar);
    }
}

static void expect_time(const char *value, int64_t expected)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_pax(&tar, "mtime", value);
    tar_add_file(&tar, "a", "", 0);
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s: %s", value, err.message);
    cr_assert_eq(found.entry.mtime, expected, "%s", value);
    kf_buf_fini(&tar);
}

Test(tar_decode, pax_times)
{
    expect_time("1700000000", 1700000000);
    expect_time("1700000000.987654321", 1700000000);
    expect_time("1.99999999999999999999999", 1);
    expect_time("-5", -5);
    expect_time("0", 0);
}

Test(tar_decode, header_time_and_mode)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_header(&tar, &(struct tar_header){.name = "a",
                                              .mode_field = "0104755",
                                              .mtime_field = "14524456520"});
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entry.mode, 0755); /* set-id bits are dropped */
    cr_assert_eq(found.entry.mtime, 014524456520);
    kf_buf_fini(&tar);

    tar = tar_new();
    tar_add_header(
        &tar, &(struct tar_header){
                  .name = "a",
                  .mtime_field = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"});
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entry.mtime, -2);
    kf_buf_fini(&tar);
}

Test(tar_decode, sizes_of_8_gib_and_more)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;
    const uint64_t size = UINT64_C(8589934593);

    tar_add_pax(&tar, "size", "8589934593");
    tar_add_header(&tar, &(struct tar_header){.name = "a"}); /* its own field says 0 */
    cr_assert_eq(tar_decode(&tar, 1536 + size, false, &found, &err), 0, "%s",
                 err.message);
    cr_assert_eq(found.entry.size, size);
    cr_assert_eq(tar_decode(&tar, 1536 + size - 1, false, &found, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    kf_buf_fini(&tar);
}

Test(tar_decode, stream_of_unknown_length)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_file(&tar, "a", "x", 1);
    tar_end(&tar);
    cr_assert_eq(tar_decode(&tar, UINT64_MAX, true, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entries, 1);
    kf_buf_fini(&tar);
}

Test(tar_decode, extension_limit)
{
    struct kf_buf tar = tar_new();
    char *value = calloc(1, KF_TAR_EXTENSION_LIMIT + 1);
    struct tar_found found;
    struct kf_err err;

    /* "1048576 comment=...\n" is exactly the limit. */
    memset(value, 'c', KF_TAR_EXTENSION_LIMIT);
    memcpy(value, "1048576 comment=", 16);
    value[KF_TAR_EXTENSION_LIMIT - 1] = '\n';
    tar_add_extension(&tar, 'x', value, KF_TAR_EXTENSION_LIMIT);
    tar_add_file(&tar, "a", "", 0);
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entries, 1);
    free(value);
    kf_buf_fini(&tar);
}

/* An extension counts for one entry only. */
Test(tar_decode, extensions_are_not_inherited)
{
    struct kf_buf tar = tar_new();
    struct tar_found found;
    struct kf_err err;

    tar_add_pax(&tar, "path", "long");
    tar_add_file(&tar, "short", "", 0);
    tar_add_file(&tar, "second", "", 0);
    cr_assert_eq(tar_decode_twice(&tar, &found, &err), 0, "%s", err.message);
    cr_assert_eq(found.entries, 2);
    cr_assert_str_eq(found.name, "second");
    kf_buf_fini(&tar);
}
