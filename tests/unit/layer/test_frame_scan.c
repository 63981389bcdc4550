/*
 * The length of a frame by its block headers, the first bytes of its content, and what an
 * entry of a seek table may hold.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/frame.h"
#include "seekable_maker.h"

#define KIB(n) ((size_t)(n) << 10)

struct frame {
    uint8_t *bytes;
    size_t length;
};

static struct frame finish(ZSTD_CCtx *context, const void *data, size_t length)
{
    struct frame frame = {malloc(ZSTD_compressBound(length)), 0};

    frame.length =
        ZSTD_compress2(context, frame.bytes, ZSTD_compressBound(length), data, length);
    cr_assert(!ZSTD_isError(frame.length));
    (void)ZSTD_freeCCtx(context);
    return frame;
}

static struct frame compress(const void *data, size_t length, int checksum, int with_size)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();

    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size);
    return finish(context, data, length);
}

static struct frame compress_window(const void *data, size_t length, int log)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();

    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, log);
    return finish(context, data, length);
}

/* In an allocation of its own, so that a byte too far is seen. */
static int scan(const struct frame *frame, size_t length, uint64_t *ret_stored,
                uint64_t *ret_content)
{
    uint8_t *exact = malloc(length ? length : 1);
    struct kf_err err = {0};
    int rc;

    memcpy(exact, frame->bytes, length);
    rc = kf_frame_scan(exact, length, ret_stored, ret_content, &err);
    cr_assert_eq(err.kind, rc < 0 ? KF_E_MALFORMED : KF_E_NONE);
    free(exact);
    return rc;
}

Test(frame_scan, whole_and_cut_frames)
{
    static const size_t lengths[] = {0, 1, 300, KIB(64), KIB(300)};

    for (size_t i = 0; i < 4 * KF_ARRAY_LEN(lengths); i++) {
        size_t length = lengths[i / 4];
        uint8_t *data = i % 2 ? calloc(1, length + 1) : seekable_pattern(length, 1);
        struct frame frame = compress(data, length, i / 2 % 2, 1);
        uint64_t stored, content;

        cr_assert_eq(scan(&frame, frame.length, &stored, &content), 0);
        cr_assert_eq(stored, frame.length);
        cr_assert_eq(content, length);
        for (size_t cut = 0; cut < frame.length; cut += 1 + cut / 60) {
            cr_assert_eq(scan(&frame, cut, &stored, &content), 1, "%zu bytes", cut);
            cr_assert(stored > cut && (stored <= frame.length || stored == 18));
        }
        free(frame.bytes);
        free(data);
    }
}

Test(frame_scan, what_is_no_frame)
{
    static const uint8_t skippable[20] = {0x50, 0x2a, 0x4d, 0x18, 4};
    static const uint8_t reserved[20] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 9, 7};
    static const uint8_t block_too_long[20] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 9, 0x51};
    static const uint8_t old[20] = {0x27, 0xb5, 0x2f, 0xfd};
    static const uint8_t *const all[] = {skippable, reserved, block_too_long, old};
    struct frame frame;
    uint64_t stored, content;

    for (size_t i = 0; i < KF_ARRAY_LEN(all); i++) {
        frame = (struct frame){(uint8_t *)(uintptr_t)all[i], 20};
        cr_assert_eq(scan(&frame, 20, &stored, &content), -1, "%zu", i);
    }
    frame = compress("hello", 5, 1, 0);
    cr_assert_eq(scan(&frame, frame.length, &stored, &content), -1);
    free(frame.bytes);
}

Test(frame_scan, first_bytes)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    struct frame frame = compress("hello world", 11, 1, 1);
    uint8_t *large = calloc(1, KIB(40000));

    cr_assert(kf_frame_begins_with(decoder, frame.bytes, frame.length, "hello", 5));
    cr_assert(
        kf_frame_begins_with(decoder, frame.bytes, frame.length, "hello world", 11));
    cr_assert_not(kf_frame_begins_with(decoder, frame.bytes, frame.length, "hullo", 5));
    cr_assert_not(
        kf_frame_begins_with(decoder, frame.bytes, frame.length, "hello world!", 12));
    cr_assert_not(kf_frame_begins_with(decoder, frame.bytes, 8, "hello", 5));
    cr_assert_not(kf_frame_begins_with(decoder, large, 8, "\0", 1));
    free(frame.bytes);
    for (int log = KF_FRAME_WINDOW_LOG; log <= KF_FRAME_WINDOW_LOG + 1; log++) {
        frame = compress_window(large, KIB(40000), log);
        cr_assert_eq(kf_frame_begins_with(decoder, frame.bytes, frame.length, "\0\0", 2),
                     log == KF_FRAME_WINDOW_LOG);
        free(frame.bytes);
    }
    free(large);
    kf_frame_decoder_free(decoder);
}

static enum kf_err_kind decode_all(const struct frame *frame, size_t length)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint8_t *exact = malloc(frame->length), *data = malloc(length ? length : 1);
    struct kf_err err = {0};

    memcpy(exact, frame->bytes, frame->length);
    (void)kf_frame_decode_all(decoder, exact, frame->length, data, length, &err);
    if (err.kind == KF_E_NONE && length >= 5)
        cr_assert_arr_eq(data, "hello", 5);
    free(exact);
    free(data);
    kf_frame_decoder_free(decoder);
    return err.kind;
}

/* The frame's checksum is looked at here, where no sha256 follows. */
Test(frame_scan, entries_of_a_table)
{
    struct frame frame = compress("hello", 5, 1, 0);
    struct frame twice = {malloc(2 * frame.length), 2 * frame.length};

    memcpy(twice.bytes, frame.bytes, frame.length);
    memcpy(twice.bytes + frame.length, frame.bytes, frame.length);
    cr_assert_eq(decode_all(&frame, 5), KF_E_NONE);
    cr_assert_eq(decode_all(&frame, 4), KF_E_CORRUPT);
    cr_assert_eq(decode_all(&frame, 6), KF_E_CORRUPT);
    cr_assert_eq(decode_all(&frame, 0), KF_E_CORRUPT);
    cr_assert_eq(decode_all(&twice, 10), KF_E_NONE);
    cr_assert_eq(decode_all(&twice, 5), KF_E_CORRUPT);
    twice.length--;
    cr_assert_eq(decode_all(&twice, 10), KF_E_CORRUPT);
    frame.bytes[frame.length - 1] ^= 1;
    cr_assert_eq(decode_all(&frame, 5), KF_E_CORRUPT);
    free(frame.bytes);
    free(twice.bytes);
}
