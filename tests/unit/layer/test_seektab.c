#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/le.h"
#include "layer/seektab.h"

static const struct kf_seek_entry entries[] = {
    {10, 20}, {0xffffffff, 0xfffffffe}, {30, 0}, {40, 1024}};
#define STORED (UINT64_C(0xffffffff) + 10 + 30 + 40)

static struct kf_buf encoded(const struct kf_seek_entry *from, uint32_t count)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_buf_init(&buf, 1 << 20);
    cr_assert_eq(kf_seektab_encode(from, count, &buf, &err), 0, "%s", err.message);
    return buf;
}

static int decode(const struct kf_buf *buf, uint64_t file_size, struct kf_err *err)
{
    uint8_t *exact = malloc(buf->length ? buf->length : 1);
    struct kf_seek_entry *ret = NULL;
    uint32_t count = 0;
    int rc;

    if (buf->length)
        memcpy(exact, buf->data, buf->length);
    rc = kf_seektab_decode(exact, buf->length, file_size, &ret, &count, err);
    cr_assert(rc == 0 || (!ret && count == 0));
    free(ret);
    free(exact);
    return rc;
}

static void expect_bad(const struct kf_buf *buf, uint64_t file_size, const char *text)
{
    struct kf_err err;

    cr_assert_eq(decode(buf, file_size, &err), -1);
    cr_assert_eq(err.kind, KF_E_MALFORMED);
    cr_assert_not_null(strstr(err.message, text), "%s", err.message);
}

/* zstd_seekable_compression_format.md 0.1.0, byte by byte. */
Test(seektab, layout)
{
    static const uint8_t wanted[] = {
        0x5e, 0x2a, 0x4d, 0x18, 25, 0,    0,    0, /* skippable frame */
        1,    2,    0,    0,    3,  4,    0,    0, /* an entry */
        5,    0,    0,    0,    0,  0,    0,    0, /* another */
        2,    0,    0,    0,    0,  0xb1, 0xea, 0x92, 0x8f};
    const struct kf_seek_entry two[] = {{0x201, 0x403}, {5, 0}};
    struct kf_buf buf = encoded(two, 2);

    cr_assert_eq(buf.length, sizeof(wanted));
    cr_assert_eq(memcmp(buf.data, wanted, sizeof(wanted)), 0);
    kf_buf_fini(&buf);
}

Test(seektab, round_trip)
{
    for (uint32_t count = 0; count <= KF_ARRAY_LEN(entries); count++) {
        struct kf_buf buf = encoded(entries, count);
        struct kf_seek_entry *ret;
        uint64_t stored = 0;
        uint32_t got;
        struct kf_err err;

        for (uint32_t i = 0; i < count; i++)
            stored += entries[i].stored_length;
        cr_assert_eq(kf_seektab_size(buf.data + buf.length - KF_SEEKTAB_FOOTER),
                     buf.length);
        cr_assert_eq(kf_seektab_decode(buf.data, buf.length, stored + buf.length, &ret,
                                       &got, &err),
                     0, "%s", err.message);
        cr_assert_eq(got, count);
        cr_assert_eq(memcmp(ret, entries, count * sizeof(*ret)), 0);
        free(ret);
        kf_buf_fini(&buf);
    }
}

/* Others write a checksum a frame; it is passed over. */
Test(seektab, with_checksums)
{
    static const uint8_t table[] = {
        0x5e, 0x2a, 0x4d, 0x18, 33,   0,    0,    0, /* frame */
        7,    0,    0,    0,    9,    0,    0,    0,    0xaa,
        0xbb, 0xcc, 0xdd, /* entry */
        8,    0,    0,    0,    1,    0,    0,    0,    0xaa,
        0xbb, 0xcc, 0xdd,                                      /* entry */
        2,    0,    0,    0,    0x83, 0xb1, 0xea, 0x92, 0x8f}; /* unused bits set */
    struct kf_seek_entry *ret;
    uint32_t count;
    struct kf_err err;

    cr_assert_eq(kf_seektab_size(table + sizeof(table) - 9), sizeof(table));
    cr_assert_eq(
        kf_seektab_decode(table, sizeof(table), 15 + sizeof(table), &ret, &count, &err),
        0, "%s", err.message);
    cr_assert(count == 2 && ret[0].stored_length == 7 && ret[0].length == 9 &&
              ret[1].stored_length == 8 && ret[1].length == 1);
    free(ret);
}

Test(seektab, footer)
{
    uint8_t footer[9] = {0, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f};

    cr_assert_eq(kf_seektab_size(footer), 17);
    for (unsigned bit = 2; bit < 7; bit++) {
        footer[4] = (uint8_t)(1u << bit);
        cr_assert_eq(kf_seektab_size(footer), 0, "reserved bit %u", bit);
    }
    footer[4] = 0;
    kf_put_le32(footer, KF_SEEKTAB_FRAME_LIMIT);
    cr_assert_eq(kf_seektab_size(footer), 17 + 8 * UINT64_C(0x7ffffff));
    footer[4] = 0x80;
    cr_assert_eq(kf_seektab_size(footer), 17 + 12 * UINT64_C(0x7ffffff));
    kf_put_le32(footer, KF_SEEKTAB_FRAME_LIMIT + 1);
    cr_assert_eq(kf_seektab_size(footer), 0);
    kf_put_le32(footer, 0);
    footer[8] ^= 1;
    cr_assert_eq(kf_seektab_size(footer), 0);
}

Test(seektab, broken)
{
    const uint32_t count = KF_ARRAY_LEN(entries);
    struct kf_buf buf = encoded(entries, count);
    uint64_t size = STORED + buf.length;
    struct kf_err err;
    size_t length = buf.length;

    cr_assert_eq(decode(&buf, size, &err), 0);
    expect_bad(&buf, size + 1, "add up");
    expect_bad(&buf, size - 1, "add up");
    expect_bad(&buf, length - 1, "its length");
    buf.data[0] ^= 1;
    expect_bad(&buf, size, "its frame");
    buf.data[0] ^= 1;
    buf.data[4] ^= 1;
    expect_bad(&buf, size, "its frame");
    buf.data[4] ^= 1;
    buf.data[8] ^= 1;
    expect_bad(&buf, size, "add up");
    buf.data[8] ^= 1;
    buf.data[length - 9] ^= 1;
    expect_bad(&buf, size, "its length");
    buf.data[length - 9] ^= 1;
    buf.data[length - 5] = 0x80;
    expect_bad(&buf, size, "its length");
    buf.data[length - 5] = 0;
    for (buf.length = 0; buf.length < length; buf.length++)
        expect_bad(&buf, size, "its length");
    cr_assert_eq(decode(&buf, size, &err), 0);
    kf_buf_fini(&buf);
}

Test(seektab, encoder_limits)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_buf_init(&buf, SIZE_MAX);
    cr_assert_eq(kf_seektab_encode(entries, KF_SEEKTAB_FRAME_LIMIT + 1, &buf, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(buf.length, 0);
    for (buf.limit = 0; buf.limit < 17 + 8 * 4; buf.limit++) {
        kf_buf_clear(&buf);
        cr_assert_eq(kf_seektab_encode(entries, 4, &buf, &err), -1);
        cr_assert_eq(err.kind, KF_E_LIMIT);
    }
    kf_buf_fini(&buf);
}
