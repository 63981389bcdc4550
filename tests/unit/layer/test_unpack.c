/* gzip and zstd as streams: all that is one, and nothing that is not. */
#include "layer/unpack.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "packed.h"

#define MIB(n) ((size_t)(n) << 20)

struct got {
    struct kf_buf bytes;
    size_t largest;
};

static int take(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct got *got = arg;

    if (length > got->largest)
        got->largest = length;
    return kf_buf_append(&got->bytes, data, length, err);
}

/* Pushed in pieces of `piece` bytes. */
static int unpack(enum kf_unpack_form form, const struct kf_buf *packed, size_t piece,
                  struct got *got, struct kf_err *err)
{
    struct kf_unpack *unpack;
    int rc = 0;

    *got = (struct got){.largest = 0};
    kf_buf_init(&got->bytes, MIB(64));
    unpack = kf_unpack_new(form, take, got, err);
    cr_assert_not_null(unpack);
    for (size_t at = 0; rc == 0 && at < packed->length; at += piece)
        rc = kf_unpack_push(unpack, packed->data + at,
                            kf_min_u64(piece, packed->length - at), err);
    if (rc == 0)
        rc = kf_unpack_end(unpack, err);
    kf_unpack_free(unpack);
    return rc;
}

static void expect(enum kf_unpack_form form, const struct kf_buf *packed,
                   const struct kf_buf *expected)
{
    static const size_t pieces[] = {1, 7, 4096, MIB(64)};
    struct kf_err err = {0};
    struct got got;

    for (size_t i = 0; i < KF_ARRAY_LEN(pieces); i++) {
        if (pieces[i] == 1 && packed->length > MIB(1))
            continue;
        cr_assert_eq(unpack(form, packed, pieces[i], &got, &err), 0, "%s", err.message);
        cr_assert_eq(got.bytes.length, expected->length);
        cr_assert(expected->length == 0 ||
                  memcmp(got.bytes.data, expected->data, expected->length) == 0);
        cr_assert_leq(got.largest, KF_UNPACK_PIECE);
        kf_buf_fini(&got.bytes);
    }
}

static void expect_refused(enum kf_unpack_form form, const struct kf_buf *packed,
                           enum kf_err_kind kind)
{
    struct kf_err err = {0};
    struct got got;

    cr_assert_eq(unpack(form, packed, 100, &got, &err), -1);
    cr_assert_eq(err.kind, kind, "%s", err.message);
    kf_buf_fini(&got.bytes);
}

/* Words that can be packed, longer than a piece of output. */
static void make_text(struct kf_buf *text, size_t length)
{
    uint8_t *bytes = malloc(length + 1);
    uint32_t state = 1;

    cr_assert_not_null(bytes);
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)('a' + (state >> 24) % 9);
    }
    kf_buf_init(text, MIB(64));
    cr_assert_eq(kf_buf_append(text, bytes, length, NULL), 0);
    free(bytes);
}

static void add(enum kf_unpack_form form, struct kf_buf *packed,
                const struct kf_buf *text, size_t from, size_t length)
{
    const uint8_t *data = text->data + from;

    if (form == KF_UNPACK_GZIP)
        packed_add_gzip(packed, data, length, false);
    else
        packed_add_zstd(packed, data, length, 0);
}

static const enum kf_unpack_form forms[] = {KF_UNPACK_GZIP, KF_UNPACK_ZSTD};

Test(unpack, one)
{
    struct kf_buf text, packed;

    make_text(&text, MIB(3) + 17);
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        kf_buf_init(&packed, MIB(64));
        add(forms[i], &packed, &text, 0, text.length);
        expect(forms[i], &packed, &text);
        kf_buf_fini(&packed);
    }
    kf_buf_fini(&text);
}

/* Members and frames of many lengths, with empty ones first, last and between. */
Test(unpack, many)
{
    struct kf_buf text, packed;

    make_text(&text, MIB(1));
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        size_t at = 0;

        kf_buf_init(&packed, MIB(64));
        for (size_t k = 0; at < text.length; k++) {
            size_t length = kf_min_u64(k * 10007 % 65536, text.length - at);

            add(forms[i], &packed, &text, at, length);
            at += length;
        }
        add(forms[i], &packed, &text, 0, 0);
        expect(forms[i], &packed, &text);
        kf_buf_fini(&packed);
    }
    kf_buf_fini(&text);
}

Test(unpack, empty_ones)
{
    struct kf_buf nothing, packed;

    kf_buf_init(&nothing, 1);
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        kf_buf_init(&packed, MIB(1));
        expect_refused(forms[i], &packed, KF_E_CORRUPT); /* of no bytes at all */
        add(forms[i], &packed, &nothing, 0, 0);
        expect(forms[i], &packed, &nothing);
        kf_buf_fini(&packed);
    }
    kf_buf_fini(&nothing);
}

Test(unpack, gzip_headers)
{
    struct kf_buf text, packed;

    make_text(&text, 5000);
    kf_buf_init(&packed, MIB(1));
    packed_add_gzip(&packed, "", 0,
                    true); /* an empty member with fields, as in eStargz */
    packed_add_gzip(&packed, text.data, text.length, true);
    packed_add_gzip(&packed, "", 0, true);
    expect(KF_UNPACK_GZIP, &packed, &text);
    kf_buf_fini(&packed);
    kf_buf_fini(&text);
}

Test(unpack, skippable_frames)
{
    struct kf_buf text, packed;

    make_text(&text, 5000);
    kf_buf_init(&packed, MIB(1));
    packed_add_skippable(&packed, 0);
    packed_add_skippable(&packed, 300000);
    packed_add_zstd(&packed, text.data, 2000, 0);
    packed_add_skippable(&packed, 1);
    packed_add_zstd(&packed, text.data + 2000, 3000, 0);
    packed_add_skippable(&packed, 15);
    packed_add_skippable(&packed, 0);
    expect(KF_UNPACK_ZSTD, &packed, &text);
    kf_buf_fini(&packed);
    kf_buf_fini(&text);
}

/* Cut at every place but between two: one member and a half are no stream. */
Test(unpack, cut)
{
    struct kf_buf text, packed;

    make_text(&text, 3000);
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        size_t first, whole;

        kf_buf_init(&packed, MIB(1));
        add(forms[i], &packed, &text, 0, 1000);
        first = packed.length;
        add(forms[i], &packed, &text, 1000, 2000);
        whole = packed.length;
        for (packed.length = 0; packed.length < whole; packed.length++)
            if (packed.length != first)
                expect_refused(forms[i], &packed, KF_E_CORRUPT);
        kf_buf_fini(&packed);
    }
    kf_buf_fini(&text);
}

/* Any flipped bit of the data, its length or its checksum. (Of a gzip header some bits
 * mean nothing: times, and what wrote it.) */
Test(unpack, flipped)
{
    struct kf_buf text, packed;
    struct kf_err err;
    struct got got;

    make_text(&text, 2000);
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        kf_buf_init(&packed, MIB(1));
        add(forms[i], &packed, &text, 0, text.length);
        for (size_t at = forms[i] == KF_UNPACK_GZIP ? 10 : 0; at < packed.length; at++) {
            int rc;

            packed.data[at] ^= 0x10;
            rc = unpack(forms[i], &packed, 512, &got, &err);
            cr_assert(rc != 0 || (got.bytes.length == text.length &&
                                  memcmp(got.bytes.data, text.data, text.length) == 0),
                      "byte %zu", at);
            kf_buf_fini(&got.bytes);
            packed.data[at] ^= 0x10;
        }
        kf_buf_fini(&packed);
    }
    kf_buf_fini(&text);
}

Test(unpack, something_behind_it)
{
    static const char *const tails[] = {"x", "garbage behind the end", "\x1f\x8b\x08"};
    static const char zeros[512];
    struct kf_buf text, packed;

    make_text(&text, 2000);
    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        for (size_t k = 0; k <= KF_ARRAY_LEN(tails); k++) {
            kf_buf_init(&packed, MIB(1));
            add(forms[i], &packed, &text, 0, text.length);
            if (k < KF_ARRAY_LEN(tails))
                cr_assert_eq(kf_buf_append(&packed, tails[k], strlen(tails[k]), NULL), 0);
            else
                cr_assert_eq(kf_buf_append(&packed, zeros, sizeof(zeros), NULL), 0);
            expect_refused(forms[i], &packed, KF_E_CORRUPT);
            kf_buf_fini(&packed);
        }
    }
    kf_buf_fini(&text);
}

Test(unpack, other_formats)
{
    static const char *const heads[] = {
        "\x1f\x9d compress",
        "BZh9 bzip2",
        "\xfd\x37zXZ",
        "\x78\x9c zlib",
        "\x22\xb5\x2f\xfd zstd 0.2",
        "\x27\xb5\x2f\xfd zstd 0.7",
        "plain text",
    };
    struct kf_buf packed;

    for (size_t i = 0; i < KF_ARRAY_LEN(heads); i++) {
        kf_buf_init(&packed, MIB(1));
        cr_assert_eq(kf_buf_append(&packed, heads[i], strlen(heads[i]), NULL), 0);
        expect_refused(KF_UNPACK_GZIP, &packed, KF_E_CORRUPT);
        expect_refused(KF_UNPACK_ZSTD, &packed, KF_E_CORRUPT);
        kf_buf_fini(&packed);
    }
}

Test(unpack, dictionaries_are_refused)
{
    static const uint8_t frame[] = {0x28, 0xB5, 0x2F, 0xFD, 0x01, 0x38, 7, 1, 0, 0};
    struct kf_buf packed;

    kf_buf_init(&packed, MIB(1));
    cr_assert_eq(kf_buf_append(&packed, frame, sizeof(frame), NULL), 0);
    expect_refused(KF_UNPACK_ZSTD, &packed, KF_E_CORRUPT);
    kf_buf_fini(&packed);
}

/* The header alone decides: nothing of that size is allocated before. */
Test(unpack, windows)
{
    struct kf_buf text, packed;

    make_text(&text, 1000);
    kf_buf_init(&packed, MIB(1));
    packed_add_zstd(&packed, text.data, text.length, KF_UNPACK_WINDOW_LOG);
    cr_assert_eq(packed.data[5], (KF_UNPACK_WINDOW_LOG - 10) << 3);
    expect(KF_UNPACK_ZSTD, &packed, &text);
    packed.data[5] |= 1; /* an eighth more */
    expect_refused(KF_UNPACK_ZSTD, &packed, KF_E_LIMIT);
    kf_buf_fini(&packed);
    kf_buf_fini(&text);
}

static int count(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    *(uint64_t *)arg += length;
    return 0;
}

/* All that KF_UNPACK_FREE and the ratio allow, and one block more. */
Test(unpack, bombs)
{
    const uint64_t block = 131072;

    for (int more = 0; more < 2; more++) {
        struct kf_buf packed;
        struct kf_unpack *unpack;
        struct kf_err err = {0};
        uint64_t got = 0;
        unsigned blocks;
        int rc;

        /* n blocks are 6 + 4 n bytes: block n <= FREE + RATIO (6 + 4 n + 1) - 1 */
        blocks = (unsigned)((KF_UNPACK_FREE + 7 * KF_UNPACK_RATIO - 1) /
                            (block - 4 * KF_UNPACK_RATIO));
        kf_buf_init(&packed, MIB(1));
        packed_add_zeros(&packed, blocks + (unsigned)more);
        unpack = kf_unpack_new(KF_UNPACK_ZSTD, count, &got, &err);
        rc = kf_unpack_push(unpack, packed.data, packed.length, &err);
        if (more) {
            cr_assert_eq(rc, -1);
            cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
        } else {
            cr_assert_eq(rc, 0, "%s", err.message);
            cr_assert_eq(got, blocks * block);
        }
        cr_assert_leq(got, blocks * block);
        kf_unpack_free(unpack);
        kf_buf_fini(&packed);
    }
}

static int refuse(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    return kf_fail(err, KF_E_IO, "the taker fails");
}

Test(unpack, the_taker_fails)
{
    struct kf_unpack *unpack;
    struct kf_buf packed;
    struct kf_err err;

    for (size_t i = 0; i < KF_ARRAY_LEN(forms); i++) {
        struct kf_buf text;

        make_text(&text, 1000);
        kf_buf_init(&packed, MIB(1));
        add(forms[i], &packed, &text, 0, text.length);
        unpack = kf_unpack_new(forms[i], refuse, NULL, &err);
        cr_assert_eq(kf_unpack_push(unpack, packed.data, packed.length, &err), -1);
        cr_assert_str_eq(err.message, "the taker fails");
        kf_unpack_free(unpack);
        kf_buf_fini(&packed);
        kf_buf_fini(&text);
    }
}
