#include "layer/tar_encode.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/table.h"

#define BLOCK 512u
#define NAME_SIZE 100u
#define PREFIX_SIZE 155u
#define SIZE_LIMIT UINT64_C(8589934592) /* what eleven octal digits cannot say */
#define OWNER 1000u

/* Offsets of the ustar header. */
enum field {
    F_NAME = 0,
    F_MODE = 100,
    F_UID = 108,
    F_GID = 116,
    F_SIZE = 124,
    F_MTIME = 136,
    F_CHECKSUM = 148,
    F_TYPE = 156,
    F_MAGIC = 257,
    F_DEVMAJOR = 329,
    F_DEVMINOR = 337,
    F_PREFIX = 345,
};

static void put_octal(uint8_t *block, size_t offset, size_t size, uint64_t value)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%0*llo", (int)size - 1,
                   (unsigned long long)value);
    memcpy(block + offset, text, size - 1);
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

/* Whether a name fits ustar, and how long its prefix is then: the longest that there is
 * leaves the shortest rest. */
static bool split(const char *name, size_t *ret_prefix)
{
    size_t length = strlen(name);

    *ret_prefix = 0;
    if (!is_ascii(name))
        return false;
    if (length <= NAME_SIZE)
        return true;
    for (size_t at = length < PREFIX_SIZE ? length - 1 : PREFIX_SIZE; at > 0; at--) {
        if (name[at] != '/')
            continue;
        *ret_prefix = at;
        return length - at - 1 <= NAME_SIZE;
    }
    return false;
}

static int put_block(const char *prefix, size_t prefix_length, const char *name,
                     char type, unsigned mode, uint64_t size, struct kf_buf *ret,
                     struct kf_err *err)
{
    uint8_t block[BLOCK] = {0};
    size_t name_length = strnlen(name, NAME_SIZE);
    unsigned sum = 0;

    memcpy(block + F_NAME, name, name_length);
    if (prefix_length > 0)
        memcpy(block + F_PREFIX, prefix, prefix_length);
    put_octal(block, F_MODE, 8, mode);
    put_octal(block, F_UID, 8, OWNER);
    put_octal(block, F_GID, 8, 0);
    put_octal(block, F_SIZE, 12, size);
    put_octal(block, F_MTIME, 12, 0);
    memset(block + F_CHECKSUM, ' ', 8);
    block[F_TYPE] = (uint8_t)type;
    memcpy(block + F_MAGIC, "ustar\00000", 8);
    put_octal(block, F_DEVMAJOR, 8, 0);
    put_octal(block, F_DEVMINOR, 8, 0);
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    put_octal(block, F_CHECKSUM, 7, sum);
    block[F_CHECKSUM + 6] = '\0';
    return kf_buf_append(ret, block, sizeof(block), err);
}

/* The length of a record "<length> key=value\n", which counts itself. */
static size_t record_length(const char *key, size_t value_length)
{
    size_t rest = strlen(key) + value_length + 3, digits = 1;

    for (size_t power = 10; rest + digits >= power; power *= 10)
        digits++;
    return rest + digits;
}

static int put_record(struct kf_buf *records, const char *key, const char *value,
                      size_t value_length, struct kf_err *err)
{
    if (kf_buf_printf(records, err, "%zu %s=", record_length(key, value_length), key) !=
            0 ||
        kf_buf_append(records, value, value_length, err) != 0)
        return -1;
    return kf_buf_append(records, "\n", 1, err);
}

static size_t blocks(size_t length)
{
    return (length + BLOCK - 1) / BLOCK * BLOCK;
}

/* The data begins behind the pax header, its records and the ustar header. */
static bool is_aligned(uint64_t position, size_t records_length)
{
    uint64_t header = BLOCK + (records_length ? BLOCK + blocks(records_length) : 0);

    return (position + header) % KF_TAR_ALIGNMENT == 0;
}

/* The shortest comment of spaces that aligns the data: a block more of them moves it by a
 * block, so that one round of the alignment is enough. */
static int put_alignment(const struct kf_tar_file *file, struct kf_buf *records,
                         struct kf_err *err)
{
    static const char key[] = "comment";
    char spaces[KF_TAR_ALIGNMENT];
    size_t length = 0;

    if (!file->aligned || is_aligned(file->position, records->length))
        return 0;
    while (length < sizeof(spaces) &&
           !is_aligned(file->position, records->length + record_length(key, length)))
        length++;
    memset(spaces, ' ', length);
    return put_record(records, key, spaces, length, err);
}

/* Its own name, which readers ignore, is <dir>/PaxHeaders.0/<base>, cut to fit. */
static int put_pax(const char *name, const struct kf_buf *records, struct kf_buf *ret,
                   struct kf_err *err)
{
    static const uint8_t zeros[BLOCK];
    const char *slash = strrchr(name, '/');
    char pax_name[NAME_SIZE + 1];

    (void)snprintf(pax_name, sizeof(pax_name), "%.*sPaxHeaders.0/%s",
                   slash ? (int)(slash - name + 1) : 0, name, slash ? slash + 1 : name);
    for (char *c = pax_name; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '_';
    if (put_block(NULL, 0, pax_name, 'x', 0644, records->length, ret, err) != 0 ||
        kf_buf_append(ret, records->data, records->length, err) != 0)
        return -1;
    return kf_buf_append(ret, zeros, blocks(records->length) - records->length, err);
}

static int put_records(const struct kf_tar_file *file, bool long_name,
                       struct kf_buf *records, struct kf_err *err)
{
    char size[24];

    if (long_name &&
        put_record(records, "path", file->name, strlen(file->name), err) != 0)
        return -1;
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)file->size);
    if (file->size >= SIZE_LIMIT &&
        put_record(records, "size", size, strlen(size), err) != 0)
        return -1;
    return put_alignment(file, records, err);
}

int kf_tar_encode(const struct kf_tar_file *file, struct kf_buf *ret, struct kf_err *err)
{
    size_t prefix;
    bool fits = split(file->name, &prefix);
    unsigned mode = file->is_dir || file->is_executable ? 0755 : 0644;
    struct kf_buf records;
    int rc;

    if (strlen(file->name) > KF_NAME_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "a name over %u bytes", KF_NAME_LIMIT);
    kf_buf_init(&records, (size_t)KF_NAME_LIMIT + KF_TAR_ALIGNMENT + 2 * BLOCK);
    rc = put_records(file, !fits, &records, err);
    if (rc == 0 && records.length > 0)
        rc = put_pax(file->name, &records, ret, err);
    kf_buf_fini(&records);
    if (rc != 0)
        return -1;
    return put_block(file->name, fits ? prefix : 0,
                     fits && prefix ? file->name + prefix + 1 : file->name,
                     file->is_dir ? '5' : '0', mode,
                     file->size >= SIZE_LIMIT ? 0 : file->size, ret, err);
}
