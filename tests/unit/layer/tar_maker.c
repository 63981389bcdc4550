#include "tar_maker.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void append(struct kf_buf *tar, const void *data, size_t length)
{
    cr_assert_eq(kf_buf_append(tar, data, length, NULL), 0);
}

/* At most `size` bytes, without a NUL when the field is full. */
static void put(char *field, size_t size, const char *text)
{
    memcpy(field, text, strnlen(text, size));
}

static void put_octal(char *field, size_t size, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%0*" PRIo64, (int)size - 1, value);
    put(field, size, text);
}

static int sum(const char *block, int signed_sum)
{
    int total = 0;

    for (size_t i = 0; i < 512; i++)
        total += signed_sum ? (signed char)block[i] : (unsigned char)block[i];
    return total;
}

void tar_add_header(struct kf_buf *tar, const struct tar_header *header)
{
    char block[512] = {0};
    char type = header->type ? header->type : '0';

    put(block, 100, header->name);
    put_octal(block + 100, 8, 0644);
    put_octal(block + 108, 8, 1000);
    put_octal(block + 116, 8, 0);
    put_octal(block + 124, 12, header->size);
    put_octal(block + 136, 12, 0);
    if (header->size_field)
        memcpy(block + 124, header->size_field, 12);
    if (header->mode_field)
        memcpy(block + 100, header->mode_field, 8);
    if (header->mtime_field)
        memcpy(block + 136, header->mtime_field, 12);
    block[156] = type == '?' ? '\0' : type;
    memcpy(block + 257, "ustar\00000", 8);
    if (header->magic)
        memset(block + 257, 0, 8);
    if (header->magic && header->magic[0])
        memcpy(block + 257, header->magic, 8);
    if (header->prefix)
        put(block + 345, 155, header->prefix);
    memset(block + 148, ' ', 8);
    put_octal(block + 148, 7,
              (uint64_t)(sum(block, header->signed_sum) + header->checksum_off));
    block[154] = '\0';
    append(tar, block, sizeof(block));
}

void tar_add_data(struct kf_buf *tar, const void *data, size_t length)
{
    static const char zeros[512];

    append(tar, data, length);
    if (length % 512)
        append(tar, zeros, 512 - length % 512);
}

void tar_add_file(struct kf_buf *tar, const char *name, const void *data, size_t length)
{
    tar_add_header(tar, &(struct tar_header){.name = name, .size = length});
    tar_add_data(tar, data, length);
}

void tar_add_dir(struct kf_buf *tar, const char *name)
{
    tar_add_header(
        tar, &(struct tar_header){.name = name, .type = '5', .mode_field = "0000755"});
}

void tar_add_extension(struct kf_buf *tar, char type, const void *data, size_t length)
{
    tar_add_header(tar, &(struct tar_header){
                            .name = "PaxHeaders.0/x", .type = type, .size = length});
    tar_add_data(tar, data, length);
}

void tar_add_pax(struct kf_buf *tar, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3; /* blank, '=', newline */
    size_t length = rest + 1;
    char record[8192];

    /* The length counts its own digits. */
    while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
        length++;
    cr_assert_lt(length, sizeof(record));
    (void)snprintf(record, sizeof(record), "%zu %s=%s\n", length, key, value);
    tar_add_extension(tar, 'x', record, length);
}

void tar_end(struct kf_buf *tar)
{
    static const char zeros[1024];

    append(tar, zeros, sizeof(zeros));
}
