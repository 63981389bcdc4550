/* An archive against its table of contents. */
#include "layer/tar_check.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "tar_maker.h"

#define LIMIT ((size_t)1 << 20)
#define LONG_NAME                                                                        \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901" \
    "23456789012345678901234567890123456789"

static const char content[3000] = "bytes";

static void make_tar(struct kf_buf *tar)
{
    kf_buf_init(tar, LIMIT);
    tar_add_dir(tar, "a");
    tar_add_file(tar, "a/one", content, 700);
    tar_add_pax(tar, "path", LONG_NAME);
    tar_add_file(tar, "x", content, sizeof(content));
    tar_add_file(tar, "z", content, 0);
    tar_end(tar);
}

/* What the archive above holds, sorted by name. */
static void make_table(struct kf_table *table)
{
    const struct {
        const char *name;
        struct kf_table_entry entry;
    } rows[] = {
        {LONG_NAME, {.offset = 3584, .size = 3000, .mode = 0644}},
        {"a", {.mode = 0755, .type = KF_TYPE_DIR}},
        {"a/one", {.offset = 1024, .size = 700, .mode = 0644}},
        {"z", {.offset = 7168, .mode = 0644}},
    };

    kf_table_init(table);
    table->stream_size = LIMIT;
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        cr_assert_eq(
            kf_table_add(table, &rows[i].entry, rows[i].name, strlen(rows[i].name), NULL),
            0);
}

/* Pushed in pieces; the error's message, or "" when all is well. */
static const char *check(const struct kf_table *table, const struct kf_buf *tar,
                         size_t length, size_t piece)
{
    static struct kf_err err;
    struct kf_tar_check *check = kf_tar_check_new(table, tar->length, NULL);
    int rc = 0;

    cr_assert_not_null(check);
    for (size_t at = 0; rc == 0 && at < length; at += piece)
        rc = kf_tar_check_push(check, tar->data + at, kf_min_u64(piece, length - at),
                               &err);
    if (rc == 0)
        rc = kf_tar_check_end(check, &err);
    kf_tar_check_free(check);
    return rc == 0 ? "" : err.message;
}

static void expect(const struct kf_table *table, const struct kf_buf *tar,
                   const char *words)
{
    const char *said = check(table, tar, tar->length, 512);

    cr_assert_not_null(strstr(said, words), "'%s', not '%s'", said, words);
}

Test(tar_check, agrees_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 7, 511, 512, 513, 1000, 4096, LIMIT};
    struct kf_table table;
    struct kf_buf tar;

    make_tar(&tar);
    make_table(&table);
    for (size_t i = 0; i < KF_ARRAY_LEN(pieces); i++)
        cr_assert_str_eq(check(&table, &tar, tar.length, pieces[i]), "", "%zu: %s",
                         pieces[i], check(&table, &tar, tar.length, pieces[i]));
    kf_table_fini(&table);
    kf_buf_fini(&tar);
}

Test(tar_check, every_difference_is_found)
{
    struct kf_table table;
    struct kf_buf tar;

    make_tar(&tar);
    for (int field = 0; field < 5; field++) {
        struct kf_table_entry *entry;

        make_table(&table);
        entry = &table.entries[2];
        if (field == 0)
            entry->mode = 0600;
        else if (field == 1)
            entry->size++;
        else if (field == 2)
            entry->offset += 512;
        else if (field == 3)
            entry->mtime = 1;
        else
            entry->type = KF_TYPE_DIR;
        expect(&table, &tar, "different things about 'a/one'");
        kf_table_fini(&table);
    }
    kf_buf_fini(&tar);
}

Test(tar_check, entries_that_only_one_has)
{
    struct kf_table table;
    struct kf_buf tar;

    make_table(&table);
    make_tar(&tar);
    tar.length -= 1024; /* without its end */
    tar_add_file(&tar, "b", content, 3);
    tar_end(&tar);
    expect(&table, &tar, "holds 'b', which");
    kf_buf_fini(&tar);

    make_tar(&tar);
    tar.length -= 1024;
    tar_add_file(&tar, "z", content, 0);
    tar_end(&tar);
    expect(&table, &tar, "holds 'z' twice");
    kf_buf_fini(&tar);

    kf_buf_init(&tar, LIMIT);
    tar_add_dir(&tar, "a");
    tar_add_dir(&tar, "a");
    tar_end(&tar);
    expect(&table, &tar, "holds 'a' twice");
    kf_buf_fini(&tar);

    kf_buf_init(&tar, LIMIT);
    tar_add_dir(&tar, "a");
    tar_end(&tar);
    expect(&table, &tar, "lacks '0123");
    kf_buf_fini(&tar);
    kf_table_fini(&table);
}

Test(tar_check, an_archive_that_ends_early)
{
    struct kf_table table;
    struct kf_buf tar;

    make_table(&table);
    make_tar(&tar);
    cr_assert_not_null(strstr(check(&table, &tar, 4000, 512), "ends in an entry"));
    cr_assert_not_null(strstr(check(&table, &tar, 0, 512), "lacks"));
    tar.data[0] ^= 1;
    cr_assert_str_neq(check(&table, &tar, tar.length, 512), "");
    kf_table_fini(&table);
    kf_buf_fini(&tar);
}
