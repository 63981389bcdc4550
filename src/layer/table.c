#include "layer/table.h"

#include <endian.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define NAMES_LIMIT (UINT64_C(1) << 30)
#define FIRST_ENTRIES 64u
#define FIRST_NAMES 4096u

/* The encoded form: header, records, names; see docs/formats/cache.md, "File table". */
#define TABLE_MAGIC "KITFSTAB"
#define TABLE_MAJOR 1u

struct stored_header {
    char magic[8];
    uint16_t major;
    uint16_t minor;
    uint32_t count;
    uint64_t names_length;
    uint64_t stream_size;
};
_Static_assert(sizeof(struct stored_header) == 32, "the format says so");

struct stored_record {
    uint64_t offset;
    uint64_t size;
    uint64_t mtime;
    uint32_t name_length;
    uint16_t mode;
    uint8_t type;
    uint8_t zero;
};
_Static_assert(sizeof(struct stored_record) == 32, "the format says so");

void kf_table_init(struct kf_table *table)
{
    memset(table, 0, sizeof(*table));
}

void kf_table_fini(struct kf_table *table)
{
    if (!table)
        return;
    free(table->entries);
    free(table->names);
    kf_table_init(table);
}

static int reserve_entry(struct kf_table *table, struct kf_err *err)
{
    struct kf_table_entry *grown;
    uint32_t capacity;

    if (table->count == KF_TABLE_ENTRY_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u entries in a layer",
                       KF_TABLE_ENTRY_LIMIT);
    if (table->count < table->capacity)
        return 0;
    capacity = table->capacity ? 2 * table->capacity : FIRST_ENTRIES;
    grown = reallocarray(table->entries, capacity, sizeof(*grown));
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for %u entries of a layer", capacity);
    table->entries = grown;
    table->capacity = capacity;
    return 0;
}

static int reserve_name(struct kf_table *table, size_t length, struct kf_err *err)
{
    uint64_t capacity = table->names_capacity ? table->names_capacity : FIRST_NAMES;
    char *grown;

    if (length > NAMES_LIMIT - table->names_length)
        return kf_fail(err, KF_E_LIMIT, "more than 1 GiB of names in a layer");
    if (table->names_length + length <= table->names_capacity)
        return 0;
    while (capacity < table->names_length + length)
        capacity *= 2;
    grown = realloc(table->names, capacity);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for the names of a layer");
    table->names = grown;
    table->names_capacity = capacity;
    return 0;
}

int kf_table_add(struct kf_table *table, const struct kf_table_entry *entry,
                 const char *name, size_t name_length, struct kf_err *err)
{
    struct kf_table_entry *added;

    if (reserve_entry(table, err) != 0 || reserve_name(table, name_length, err) != 0)
        return -1;
    added = &table->entries[table->count++];
    *added = *entry;
    added->name_offset = table->names_length;
    added->name_length = (uint32_t)name_length;
    if (name_length)
        memcpy(table->names + table->names_length, name, name_length);
    table->names_length += name_length;
    return 0;
}

const char *kf_table_name(const struct kf_table *table, uint32_t index,
                          size_t *ret_length)
{
    *ret_length = table->entries[index].name_length;
    return table->names + table->entries[index].name_offset;
}

int kf_table_encode(const struct kf_table *table, struct kf_buf *ret, struct kf_err *err)
{
    struct stored_header header = {
        .magic = TABLE_MAGIC,
        .major = htole16(TABLE_MAJOR),
        .count = htole32(table->count),
        .names_length = htole64(table->names_length),
        .stream_size = htole64(table->stream_size),
    };

    if (kf_buf_append(ret, &header, sizeof(header), err) != 0)
        return -1;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct kf_table_entry *entry = &table->entries[i];
        struct stored_record record = {
            .offset = htole64(entry->offset),
            .size = htole64(entry->size),
            .mtime = htole64((uint64_t)entry->mtime),
            .name_length = htole32(entry->name_length),
            .mode = htole16(entry->mode),
            .type = entry->type,
        };

        if (kf_buf_append(ret, &record, sizeof(record), err) != 0)
            return -1;
    }
    return table->names_length
               ? kf_buf_append(ret, table->names, table->names_length, err)
               : 0;
}

static int decode_header(struct stored_header *ret, const uint8_t *data, size_t length,
                         struct kf_err *err)
{
    struct stored_header header;

    if (length < sizeof(header))
        return kf_fail(err, KF_E_MALFORMED, "file table of %zu bytes", length);
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.magic, TABLE_MAGIC, sizeof(header.magic)) != 0)
        return kf_fail(err, KF_E_MALFORMED, "not a file table");
    header.major = le16toh(header.major);
    if (header.major != TABLE_MAJOR)
        return kf_fail(err, KF_E_UNSUPPORTED, "file table of version %u", header.major);
    header.count = le32toh(header.count);
    header.names_length = le64toh(header.names_length);
    header.stream_size = le64toh(header.stream_size);
    if (header.count > KF_TABLE_ENTRY_LIMIT || header.names_length > NAMES_LIMIT)
        return kf_fail(err, KF_E_MALFORMED, "file table over its limits");
    if (length != sizeof(header) + header.count * sizeof(struct stored_record) +
                      header.names_length)
        return kf_fail(err, KF_E_MALFORMED, "file table of the wrong length %zu", length);
    *ret = header;
    return 0;
}

static int check_entry(const struct kf_table_entry *entry, const char *name,
                       uint64_t stream_size, struct kf_err *err)
{
    const char *checked = name;
    size_t length = entry->name_length;
    uint64_t end;

    if (kf_name_check(&checked, &length, err) != 0)
        return -1;
    if (checked != name || length != entry->name_length)
        return kf_fail(err, KF_E_MALFORMED, "name not in its shortest form");
    if (!kf_add_u64(entry->offset, entry->size, &end) || end > stream_size)
        return kf_fail(err, KF_E_MALFORMED, "file beyond the end of its layer");
    if (entry->type != KF_TYPE_FILE && (entry->type != KF_TYPE_DIR || entry->size != 0))
        return kf_fail(err, KF_E_MALFORMED, "unknown kind of file");
    if (entry->mode & ~0777u)
        return kf_fail(err, KF_E_MALFORMED, "mode beyond 0777");
    return 0;
}

static int decode_entries(struct kf_table *table, const struct stored_header *header,
                          const uint8_t *records, struct kf_err *err)
{
    const char *names =
        (const char *)records + header->count * sizeof(struct stored_record);
    uint64_t used = 0;

    table->stream_size = header->stream_size;
    for (uint32_t i = 0; i < header->count; i++) {
        struct stored_record record;
        struct kf_table_entry entry;

        memcpy(&record, records + i * sizeof(record), sizeof(record));
        entry = (struct kf_table_entry){
            .offset = le64toh(record.offset),
            .size = le64toh(record.size),
            .mtime = (int64_t)le64toh(record.mtime),
            .name_length = le32toh(record.name_length),
            .mode = le16toh(record.mode),
            .type = record.type,
        };
        if (entry.name_length > header->names_length - used)
            return kf_fail(err, KF_E_MALFORMED, "file table: names are missing");
        if (check_entry(&entry, names + used, table->stream_size, err) != 0)
            return kf_fail_wrap(err, "file table: entry %u", i);
        if (kf_table_add(table, &entry, names + used, entry.name_length, err) != 0)
            return -1;
        used += entry.name_length;
    }
    if (used != header->names_length)
        return kf_fail(err, KF_E_MALFORMED, "file table: names that belong to nothing");
    return 0;
}

int kf_table_decode(struct kf_table *ret, const void *data, size_t length,
                    struct kf_err *err)
{
    kf_auto(kf_table_fini) struct kf_table table;
    struct stored_header header = {0};

    kf_table_init(&table);
    if (decode_header(&header, data, length, err) != 0 ||
        decode_entries(&table, &header, (const uint8_t *)data + sizeof(header), err) != 0)
        return -1;
    *ret = table;
    kf_table_init(&table);
    return 0;
}

static bool is_same_entry(const struct kf_table_entry *a, const struct kf_table_entry *b)
{
    return a->offset == b->offset && a->size == b->size && a->mtime == b->mtime &&
           a->name_length == b->name_length && a->mode == b->mode && a->type == b->type;
}

bool kf_table_equal(const struct kf_table *a, const struct kf_table *b)
{
    if (a->count != b->count || a->stream_size != b->stream_size ||
        a->names_length != b->names_length)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (!is_same_entry(&a->entries[i], &b->entries[i]))
            return false;
    return a->names_length == 0 || memcmp(a->names, b->names, a->names_length) == 0;
}

/* One component of a name: not empty, not "." and short enough. (".." is found before.)
 */
static int check_component(const char *component, size_t length, struct kf_err *err)
{
    if (length == 0)
        return kf_fail(err, KF_E_MALFORMED, "empty component");
    if (length == 1 && component[0] == '.')
        return kf_fail(err, KF_E_MALFORMED, "component '.'");
    if (length > KF_COMPONENT_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "component longer than %u bytes",
                       KF_COMPONENT_LIMIT);
    return 0;
}

static int check_components(const char *name, size_t length, struct kf_err *err)
{
    size_t begin = 0;

    for (size_t i = 0; i <= length; i++) {
        if (i < length && name[i] != '/')
            continue;
        if (check_component(name + begin, i - begin, err) != 0)
            return -1;
        begin = i + 1;
    }
    return 0;
}

static int check_name(const char **name, size_t *length, struct kf_err *err)
{
    const char *text = *name;
    size_t left = *length;

    if (left == 0)
        return kf_fail(err, KF_E_MALFORMED, "empty");
    if (memchr(text, '\0', left))
        return kf_fail(err, KF_E_MALFORMED, "NUL byte");
    if (text[0] == '/')
        return kf_fail(err, KF_E_MALFORMED, "not relative");
    if (memmem(text, left, "..", 2))
        return kf_fail(err, KF_E_MALFORMED, "holds '..'");
    if (left >= 2 && text[0] == '.' && text[1] == '/') {
        text += 2;
        left -= 2;
    }
    if (left > 0 && text[left - 1] == '/')
        left--;
    if (left == 1 && text[0] == '.')
        left = 0;
    if (left > KF_NAME_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "longer than %u bytes", KF_NAME_LIMIT);
    if (left > 0 && check_components(text, left, err) != 0)
        return -1;
    *name = text;
    *length = left;
    return 0;
}

int kf_name_check(const char **name, size_t *length, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE];

    if (check_name(name, length, err) != 0)
        return kf_fail_wrap(err, "bad name '%s'", kf_name_text(text, *name, *length));
    return 0;
}

char *kf_name_text(char out[KF_NAME_TEXT_SIZE], const char *name, size_t length)
{
    static const char dots[] = "...";
    size_t used = 0;

    if (length >= KF_NAME_TEXT_SIZE) {
        size_t kept = KF_NAME_TEXT_SIZE - sizeof(dots);

        memcpy(out, dots, sizeof(dots) - 1);
        used = sizeof(dots) - 1;
        name += length - kept;
        length = kept;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];

        out[used++] = (c < 0x20 || c == 0x7f) ? '?' : name[i];
    }
    out[used] = '\0';
    return out;
}
