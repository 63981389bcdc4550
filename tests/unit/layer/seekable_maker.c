#include "seekable_maker.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "layer/le.h"

#define BLOB_LIMIT ((size_t)256 << 20)

void seekable_init(struct seekable *ret)
{
    memset(ret, 0, sizeof(*ret));
    kf_buf_init(&ret->blob, BLOB_LIMIT);
    kf_buf_init(&ret->stream, BLOB_LIMIT);
}

void seekable_fini(struct seekable *seekable)
{
    kf_buf_fini(&seekable->blob);
    kf_buf_fini(&seekable->stream);
}

static void append(struct kf_buf *buf, const void *data, size_t length)
{
    cr_assert_eq(kf_buf_append(buf, data, length, NULL), 0);
}

static void append32(struct kf_buf *buf, uint32_t value)
{
    uint8_t bytes[4];

    kf_put_le32(bytes, value);
    append(buf, bytes, sizeof(bytes));
}

void seekable_add(struct seekable *seekable, const void *data, size_t length)
{
    struct seekable_entry *entry = &seekable->entries[seekable->count++];
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(length), got;
    uint8_t *frame = malloc(bound);

    cr_assert_leq(seekable->count, SEEKABLE_ENTRIES);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag,
                                 !seekable->no_content_size);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, !seekable->no_checksum);
    got = ZSTD_compress2(context, frame, bound, data, length);
    cr_assert(!ZSTD_isError(got));
    entry->stored_length += (uint32_t)got; /* to what was skipped before */
    entry->length = (uint32_t)length;
    entry->checksum = (uint32_t)XXH64(data, length, 0);
    append(&seekable->blob, frame, got);
    append(&seekable->stream, data, length);
    free(frame);
    (void)ZSTD_freeCCtx(context);
}

void seekable_add_all(struct seekable *seekable, const void *data, size_t length,
                      size_t cut)
{
    for (size_t at = 0; at < length; at += cut)
        seekable_add(seekable, (const uint8_t *)data + at,
                     length - at < cut ? length - at : cut);
}

void seekable_skip(struct seekable *seekable, size_t length, bool own_entry)
{
    uint8_t *zeros = calloc(1, length);

    append32(&seekable->blob, 0x184D2A51);
    append32(&seekable->blob, (uint32_t)length - 8);
    append(&seekable->blob, zeros, length - 8);
    seekable->entries[seekable->count].stored_length += (uint32_t)length;
    seekable->count += own_entry;
    free(zeros);
}

void seekable_end(struct seekable *seekable, bool checksums)
{
    static const uint8_t magic[] = {0xb1, 0xea, 0x92, 0x8f};
    const uint8_t descriptor = checksums ? 0x80 : 0;

    append32(&seekable->blob, 0x184D2A5E);
    append32(&seekable->blob, seekable->count * (checksums ? 12 : 8) + 9);
    for (uint32_t i = 0; i < seekable->count; i++) {
        append32(&seekable->blob, seekable->entries[i].stored_length);
        append32(&seekable->blob, seekable->entries[i].length);
        if (checksums)
            append32(&seekable->blob, seekable->entries[i].checksum);
    }
    append32(&seekable->blob, seekable->count);
    append(&seekable->blob, &descriptor, 1);
    append(&seekable->blob, magic, sizeof(magic));
}

size_t seekable_table(const struct seekable *seekable)
{
    const uint8_t *footer = seekable->blob.data + seekable->blob.length - 9;
    size_t step = (footer[4] & 0x80) != 0 ? 12 : 8;

    return seekable->blob.length - 17 - step * kf_le32(footer);
}

uint8_t *seekable_pattern(size_t length, unsigned seed)
{
    uint64_t x = 88172645463325252u + seed;
    size_t words = length / sizeof(x) + 1;
    uint64_t *data = malloc(words * sizeof(x));

    cr_assert_not_null(data);
    for (size_t i = 0; i < words; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = x & UINT64_C(0x3f3f3f3f3f3f3f3f);
    }
    return (uint8_t *)data;
}
