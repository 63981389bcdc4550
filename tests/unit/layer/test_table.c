#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/table.h"

static void add(struct kf_table *table, const char *name, uint8_t type, uint64_t offset,
                uint64_t size)
{
    struct kf_table_entry entry = {
        .offset = offset, .size = size, .mtime = -7, .mode = 0640, .type = type};

    cr_assert_eq(kf_table_add(table, &entry, name, strlen(name), NULL), 0);
}

static void fill(struct kf_table *table)
{
    kf_table_init(table);
    table->stream_size = 1 << 20;
    add(table, "model", KF_TYPE_DIR, 0, 0);
    add(table, "model/a.bin", KF_TYPE_FILE, 1024, (1 << 20) - 1024);
    add(table, "empty", KF_TYPE_FILE, 1 << 20, 0);
}

static void encode(const struct kf_table *table, struct kf_buf *bytes)
{
    kf_buf_init(bytes, 1 << 20);
    cr_assert_eq(kf_table_encode(table, bytes, NULL), 0);
}

/* Decodes from an exact allocation, so that the sanitizer sees a read too far. */
static int decode(struct kf_table *ret, const void *data, size_t length,
                  struct kf_err *err)
{
    uint8_t *exact = malloc(length ? length : 1);
    int rc;

    cr_assert_not_null(exact);
    memcpy(exact, data, length);
    rc = kf_table_decode(ret, exact, length, err);
    free(exact);
    return rc;
}

Test(table, round_trip)
{
    struct kf_table table, again;
    struct kf_buf bytes;
    struct kf_err err;

    fill(&table);
    encode(&table, &bytes);
    cr_assert_eq(decode(&again, bytes.data, bytes.length, &err), 0);
    cr_assert_eq(again.count, table.count);
    cr_assert_eq(again.stream_size, table.stream_size);
    for (uint32_t i = 0; i < table.count; i++) {
        size_t length, length_again;
        const char *name = kf_table_name(&table, i, &length);
        const char *name_again = kf_table_name(&again, i, &length_again);

        cr_assert_eq(length, length_again);
        cr_assert_arr_eq(name, name_again, length);
        cr_assert_eq(again.entries[i].offset, table.entries[i].offset);
        cr_assert_eq(again.entries[i].size, table.entries[i].size);
        cr_assert_eq(again.entries[i].mtime, -7);
        cr_assert_eq(again.entries[i].mode, 0640);
        cr_assert_eq(again.entries[i].type, table.entries[i].type);
    }
    kf_buf_fini(&bytes);
    kf_table_fini(&table);
    kf_table_fini(&again);
}

Test(table, empty_round_trip)
{
    struct kf_table table, again;
    struct kf_buf bytes;

    kf_table_init(&table);
    encode(&table, &bytes);
    cr_assert_eq(bytes.length, 32);
    cr_assert_eq(decode(&again, bytes.data, bytes.length, NULL), 0);
    cr_assert_eq(again.count, 0);
    kf_buf_fini(&bytes);
    kf_table_fini(&again);
}

Test(table, any_other_length_is_refused)
{
    struct kf_table table, again;
    struct kf_buf bytes;
    struct kf_err err;

    fill(&table);
    encode(&table, &bytes);
    for (size_t length = 0; length < bytes.length; length++) {
        cr_assert_eq(decode(&again, bytes.data, length, &err), -1);
        cr_assert_eq(err.kind, KF_E_MALFORMED);
    }
    cr_assert_eq(kf_buf_append(&bytes, "", 1, NULL), 0);
    cr_assert_eq(decode(&again, bytes.data, bytes.length, &err), -1);
    kf_buf_fini(&bytes);
    kf_table_fini(&table);
}

/* Bytes of the encoded form of fill(): header, three records of 32, names. */
static const struct {
    const char *what;
    size_t at;
    uint8_t value;
    enum kf_err_kind kind;
} damages[] = {
    {"magic", 0, 'X', KF_E_MALFORMED},
    {"major version", 8, 2, KF_E_UNSUPPORTED},
    {"count", 12, 4, KF_E_MALFORMED},
    {"count over the limit", 15, 0x40, KF_E_MALFORMED},
    {"names over the limit", 19, 0x41, KF_E_MALFORMED},
    {"names over the limit, high", 23, 0x80, KF_E_MALFORMED},
    {"stream shorter than a file", 26, 0, KF_E_MALFORMED},
    {"size of a folder", 32 + 8, 1, KF_E_MALFORMED},
    {"offset and size overflow", 64 + 7, 0xff, KF_E_MALFORMED},
    {"first name longer, last name missing", 32 + 24, 6, KF_E_MALFORMED},
    {"name length far too long", 32 + 27, 0xff, KF_E_MALFORMED},
    {"a name shorter", 64 + 24, 10, KF_E_MALFORMED},
    {"mode with a set-id bit", 64 + 29, 0x08, KF_E_MALFORMED},
    {"type", 64 + 30, 1, KF_E_MALFORMED},
    {"NUL in a name", 128, 0, KF_E_MALFORMED},
    {"absolute name", 128, '/', KF_E_MALFORMED},
    {"name with '..'", 128 + 5 + 6, '.', KF_E_MALFORMED},
};

Test(table, damage_is_found)
{
    struct kf_table table, again;
    struct kf_buf bytes;

    fill(&table);
    encode(&table, &bytes);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        struct kf_err err = {0};
        uint8_t before = bytes.data[damages[i].at];

        bytes.data[damages[i].at] = damages[i].value;
        if (strstr(damages[i].what, "'..'"))
            bytes.data[damages[i].at + 1] = '.';
        cr_assert_eq(decode(&again, bytes.data, bytes.length, &err), -1, "%s",
                     damages[i].what);
        cr_assert_eq(err.kind, damages[i].kind, "%s: %s", damages[i].what, err.message);
        bytes.data[damages[i].at] = before;
        if (strstr(damages[i].what, "'..'"))
            bytes.data[damages[i].at + 1] = '.';
    }
    kf_buf_fini(&bytes);
    kf_table_fini(&table);
}

/* Whatever is flipped: a refusal, or a table whose every entry is sound. */
Test(table, flipped_bits_never_give_an_unsound_table)
{
    struct kf_table table, again;
    struct kf_buf bytes;

    fill(&table);
    encode(&table, &bytes);
    for (size_t bit = 0; bit < bytes.length * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (decode(&again, bytes.data, bytes.length, NULL) == 0) {
            for (uint32_t i = 0; i < again.count; i++) {
                size_t length;
                const char *name = kf_table_name(&again, i, &length);

                cr_assert_eq(kf_name_check(&name, &length, NULL), 0);
                cr_assert_leq(again.entries[i].offset + again.entries[i].size,
                              again.stream_size);
            }
            kf_table_fini(&again);
        }
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    kf_buf_fini(&bytes);
    kf_table_fini(&table);
}

Test(table, entry_limit)
{
    struct kf_table table = {0};
    struct kf_table_entry entry = {.type = KF_TYPE_FILE};
    struct kf_err err;

    for (uint32_t i = 0; i < KF_TABLE_ENTRY_LIMIT; i++)
        cr_assert_eq(kf_table_add(&table, &entry, "a", 1, NULL), 0);
    cr_assert_eq(kf_table_add(&table, &entry, "a", 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(table.count, KF_TABLE_ENTRY_LIMIT);
    kf_table_fini(&table);
}

static const struct {
    const char *name;
    const char *expected; /* NULL: refused */
} names[] = {
    {"a", "a"},
    {"a/b.c", "a/b.c"},
    {"./a", "a"},
    {"a/", "a"},
    {"./a/b/", "a/b"},
    {".", ""},
    {"./", ""},
    {"./.", ""},
    {".hidden", ".hidden"},
    {"a.b", "a.b"},
    {"\xff\xfe", "\xff\xfe"},
    {" ", " "},
    {"", NULL},
    {"/", NULL},
    {"/a", NULL},
    {".//a", NULL},
    {"..", NULL},
    {"../a", NULL},
    {"a/..", NULL},
    {"a/../b", NULL},
    {"x..y", NULL},
    {"a/x..", NULL},
    {"a//b", NULL},
    {"a//", NULL},
    {"a/./b", NULL},
    {"a/.", NULL},
    {"././a", NULL},
};

Test(name, rules)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *name = names[i].name;
        size_t length = strlen(name);
        int rc = kf_name_check(&name, &length, NULL);

        cr_assert_eq(rc, names[i].expected ? 0 : -1, "'%s'", names[i].name);
        if (rc != 0)
            continue;
        cr_assert_eq(length, strlen(names[i].expected), "'%s'", names[i].name);
        cr_assert_arr_eq(name, names[i].expected, length, "'%s'", names[i].name);
    }
}

Test(name, nul_byte)
{
    const char *name = "a\0b";
    size_t length = 3;
    struct kf_err err;

    cr_assert_eq(kf_name_check(&name, &length, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
}

static int check_length(size_t component, size_t total, struct kf_err *err)
{
    char text[KF_NAME_LIMIT + 16];
    const char *name = text;

    memset(text, 'n', sizeof(text));
    for (size_t i = component; i < total; i += component + 1)
        text[i] = '/';
    return kf_name_check(&name, &total, err);
}

Test(name, limits)
{
    struct kf_err err;

    cr_assert_eq(check_length(KF_COMPONENT_LIMIT, KF_COMPONENT_LIMIT, &err), 0);
    cr_assert_eq(check_length(KF_COMPONENT_LIMIT + 1, KF_COMPONENT_LIMIT + 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(check_length(200, KF_NAME_LIMIT, &err), 0);
    cr_assert_eq(check_length(200, KF_NAME_LIMIT + 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(name, text_for_messages)
{
    char out[KF_NAME_TEXT_SIZE], name[400];

    cr_assert_str_eq(kf_name_text(out, "a\x1b[2Jb\n\x7f", 8), "a?[2Jb??");
    memset(name, 'x', sizeof(name));
    name[399] = 'e';
    kf_name_text(out, name, sizeof(name));
    cr_assert_eq(strlen(out), KF_NAME_TEXT_SIZE - 1);
    cr_assert_eq(strncmp(out, "...x", 4), 0);
    cr_assert_eq(out[KF_NAME_TEXT_SIZE - 2], 'e');
    kf_name_text(out, name, KF_NAME_TEXT_SIZE - 1);
    cr_assert_eq(out[0], 'x');
    cr_assert_str_eq(kf_name_text(out, "", 0), "");
}
