#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_getFrameHeader */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/err.h"
#include "layer/frame.h"
#include "layer/le.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

static void fill_random(uint8_t *data, size_t length)
{
    uint64_t x = 88172645463325252u;

    for (size_t i = 0; i < length; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)(x >> 32);
    }
}

/* A frame in an allocation of its own length. */
static uint8_t *encode(const uint8_t *data, size_t length, int level, size_t *ret_length,
                       int *ret_stored)
{
    struct kf_frame_encoder *encoder = kf_frame_encoder_new(NULL);
    uint8_t *out = malloc(kf_frame_bound(length));

    cr_assert_eq(
        kf_frame_encode(encoder, data, length, level, out, ret_length, ret_stored, NULL),
        0);
    cr_assert_leq(*ret_length, kf_frame_bound(length));
    kf_frame_encoder_free(encoder);
    return realloc(out, *ret_length);
}

static int decode(const void *frame, size_t frame_length, size_t length,
                  struct kf_err *err)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    void *exact = malloc(frame_length ? frame_length : 1);
    void *data = malloc(length ? length : 1);
    int rc;

    memcpy(exact, frame, frame_length);
    rc = kf_frame_decode(decoder, exact, frame_length, data, length, err);
    free(exact);
    free(data);
    kf_frame_decoder_free(decoder);
    return rc;
}

static void expect_refused(const void *frame, size_t frame_length, size_t length)
{
    struct kf_err err = {0};

    cr_assert_eq(decode(frame, frame_length, length, &err), -1, "%zu of %zu bytes",
                 frame_length, length);
    cr_assert_eq(err.kind, KF_E_CORRUPT, "%s", err.message);
}

/* By libzstd alone, which looks at the checksum, and by us. */
static void expect_round_trip(const uint8_t *data, size_t length, int level, int stored)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint8_t *again = malloc(length);
    size_t frame_length;
    int was_stored;
    uint8_t *frame = encode(data, length, level, &frame_length, &was_stored);
    ZSTD_frameHeader header;

    cr_assert_eq(was_stored, stored, "%zu bytes at level %d", length, level);
    cr_assert_eq(ZSTD_getFrameHeader(&header, frame, frame_length), 0);
    cr_assert_eq(header.frameContentSize, length);
    cr_assert_leq(header.windowSize, MIB(16));
    cr_assert_eq(header.dictID, 0);
    cr_assert_eq(header.checksumFlag, 1);
    cr_assert_eq(ZSTD_decompress(again, length, frame, frame_length), length);
    cr_assert_arr_eq(again, data, length);
    memset(again, 0xee, length);
    cr_assert_eq(kf_frame_decode(decoder, frame, frame_length, again, length, NULL), 0);
    cr_assert_arr_eq(again, data, length);
    kf_frame_decoder_free(decoder);
    free(frame);
    free(again);
}

static const size_t lengths[] = {1,       2,           1000,        KIB(64) - 1,
                                 KIB(64), KIB(64) + 1, KIB(128),    KIB(128) + 1,
                                 MIB(1),  MIB(1) + 7,  MIB(16) - 1, MIB(16)};

Test(frame, random_bytes_are_stored)
{
    uint8_t *data = malloc(MIB(16));

    fill_random(data, MIB(16));
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        expect_round_trip(data, lengths[i], 3, 1);
    free(data);
}

Test(frame, what_shrinks_is_compressed_at_any_level)
{
    static const int levels[] = {1, 3, 19};
    uint8_t *data = malloc(MIB(16));

    for (size_t i = 0; i < MIB(16); i++)
        data[i] = (uint8_t) "the quick brown fox "[i % 20];
    for (size_t i = 2; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (size_t k = 0; k < (lengths[i] < MIB(16) - 1 ? 3 : 2); k++)
            expect_round_trip(data, lengths[i], levels[k], 0);
    free(data);
}

Test(frame, the_same_bytes_whatever_was_encoded_before)
{
    struct kf_frame_encoder *encoder = kf_frame_encoder_new(NULL);
    uint8_t *data = calloc(1, MIB(1)), *out = malloc(kf_frame_bound(MIB(1)));
    size_t first_length, length;
    int stored;
    uint8_t *first = encode(data, KIB(100), 3, &first_length, &stored);

    fill_random(data + KIB(512), KIB(512));
    cr_assert_eq(kf_frame_encode(encoder, data, MIB(1), 19, out, &length, &stored, NULL),
                 0);
    cr_assert_eq(kf_frame_encode(encoder, data, KIB(100), 3, out, &length, &stored, NULL),
                 0);
    cr_assert_eq(length, first_length);
    cr_assert_arr_eq(out, first, length);
    kf_frame_encoder_free(encoder);
    free(first);
    free(out);
    free(data);
}

Test(frame, stored_frames_are_exactly_as_the_format_says)
{
    size_t length = MIB(1) - 5, frame_length = 0;
    uint8_t *data = malloc(length);
    int stored;
    uint8_t *frame, *p;

    fill_random(data, length);
    frame = encode(data, length, 1, &frame_length, &stored);
    cr_assert_eq(frame_length, length + 37);
    cr_assert_arr_eq(frame, "\x28\xB5\x2F\xFD\xA4\xFB\xFF\x0F\x00", 9);
    p = frame + 9;
    for (size_t at = 0; at < length; at += KF_FRAME_STORED_BLOCK) {
        size_t block =
            length - at < KF_FRAME_STORED_BLOCK ? length - at : KF_FRAME_STORED_BLOCK;
        uint32_t header = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;

        cr_assert_eq(header, block << 3 | (at + block == length));
        cr_assert_arr_eq(p + 3, data + at, block);
        p += 3 + block;
    }
    cr_assert_eq(kf_le32(p), (uint32_t)XXH64(data, length, 0));
    cr_assert_eq(p + 4, frame + frame_length);
    frame[5000] ^= 1;
    cr_assert(ZSTD_isError(ZSTD_decompress(data, length, frame, frame_length)));
    free(frame);
    free(data);
}

/* A share of each 100 bytes is zero, the rest random: literals that shrink to about the
 * rest. */
static void fill_share(uint8_t *data, size_t length, unsigned zeros)
{
    fill_random(data, length);
    for (size_t i = 0; i < length; i++)
        if (i % 100 < zeros)
            data[i] = 0;
}

Test(frame, a_gain_under_a_tenth_is_stored)
{
    uint8_t *data = malloc(MIB(1));
    size_t length;
    int stored;

    fill_share(data, MIB(1), 8);
    free(encode(data, MIB(1), 3, &length, &stored));
    cr_assert_eq(stored, 1);
    free(encode(data, KIB(60), 3, &length, &stored));
    cr_assert_eq(stored, 1);
    fill_share(data, MIB(1), 20);
    free(encode(data, MIB(1), 3, &length, &stored));
    cr_assert_eq(stored, 0);
    free(encode(data, KIB(60), 3, &length, &stored));
    cr_assert_eq(stored, 0);
    free(data);
}

Test(frame, the_probe_is_the_middle)
{
    uint8_t *data = calloc(1, KIB(192));
    size_t length;
    int stored;

    fill_random(data + KIB(64), KIB(64)); /* zero, random, zero */
    free(encode(data, KIB(192), 3, &length, &stored));
    cr_assert_eq(stored, 1);
    free(encode(data + KIB(64), KIB(128), 3, &length, &stored)); /* half and half */
    cr_assert_eq(stored, 0);
    free(encode(data + KIB(46), KIB(100), 3, &length, &stored)); /* a third is zero */
    cr_assert_eq(stored, 1);
    fill_random(data, KIB(192));
    memset(data + KIB(64), 0, KIB(12)); /* the probe gains, the whole does not */
    free(encode(data, KIB(192), 3, &length, &stored));
    cr_assert_eq(stored, 1);
    free(data);
}

Test(frame, short_chunks_are_compressed_whole)
{
    uint8_t *data = calloc(1, KIB(64));
    size_t length;
    int stored;

    fill_random(data + KIB(16), KIB(32));
    free(encode(data, KIB(64) - 1, 3, &length, &stored));
    cr_assert_eq(stored, 0);
    free(data);
}

Test(frame, truncated_anywhere_is_refused)
{
    uint8_t data[3000];
    size_t length;
    int stored;
    uint8_t *frame;

    for (int random = 0; random < 2; random++) {
        memset(data, 'a', sizeof(data));
        if (random)
            fill_random(data, sizeof(data));
        frame = encode(data, sizeof(data), 3, &length, &stored);
        cr_assert_eq(decode(frame, length, sizeof(data), NULL), 0);
        for (size_t cut = 0; cut < length; cut++)
            expect_refused(frame, cut, sizeof(data));
        free(frame);
    }
}

Test(frame, exactly_one_frame)
{
    static const uint8_t skippable[] = {0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3};
    uint8_t data[100] = {0}, two[400];
    size_t length;
    int stored;
    uint8_t *frame = encode(data, sizeof(data), 3, &length, &stored);

    memcpy(two, frame, length);
    two[length] = 0;
    expect_refused(two, length + 1, sizeof(data));
    memcpy(two + length, frame, length);
    expect_refused(two, 2 * length, sizeof(data));
    expect_refused(two, 2 * length, 2 * sizeof(data));
    memcpy(two + length, skippable, sizeof(skippable));
    expect_refused(two, length + sizeof(skippable), sizeof(data));
    memcpy(two, skippable, sizeof(skippable));
    memcpy(two + sizeof(skippable), frame, length);
    expect_refused(two, length + sizeof(skippable), sizeof(data));
    expect_refused(skippable, sizeof(skippable), 3);
    expect_refused(skippable, sizeof(skippable), 0);
    free(frame);
}

Test(frame, a_content_size_that_lies_is_refused)
{
    uint8_t data[5000] = {0};
    size_t length;
    int stored;
    uint8_t *frame = encode(data, sizeof(data), 3, &length, &stored);

    expect_refused(frame, length, sizeof(data) - 1);
    expect_refused(frame, length, sizeof(data) + 1);
    expect_refused(frame, length, 0);
    free(frame);
}

Test(frame, an_absent_content_size_is_refused)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    uint8_t data[1000] = {0}, frame[2000];
    size_t length;

    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    length = ZSTD_compress2(context, frame, sizeof(frame), data, sizeof(data));
    cr_assert_not(ZSTD_isError(length));
    expect_refused(frame, length, sizeof(data));
    (void)ZSTD_freeCCtx(context);
}

/* magic, descriptor, window or dictionary byte, content size 5, one raw block */
static size_t by_hand(uint8_t *frame, uint8_t descriptor, uint8_t second)
{
    static const uint8_t rest[] = {5, 0, 0, 0, 5 << 3 | 1, 0, 0, 'h', 'e', 'l', 'l', 'o'};

    kf_put_le32(frame, ZSTD_MAGICNUMBER);
    frame[4] = descriptor;
    frame[5] = second;
    memcpy(frame + 6, rest, sizeof(rest));
    return 6 + sizeof(rest);
}

Test(frame, the_window_has_a_limit)
{
    uint8_t frame[32];
    size_t length = by_hand(frame, 0x80, (24 - 10) << 3);

    cr_assert_eq(decode(frame, length, 5, NULL), 0);
    length = by_hand(frame, 0x80, (24 - 10) << 3 | 1);
    expect_refused(frame, length, 5);
    length = by_hand(frame, 0x80, 0xff);
    expect_refused(frame, length, 5);
}

Test(frame, a_dictionary_is_refused)
{
    uint8_t frame[32];
    size_t length = by_hand(frame, 0xA1, 7);

    expect_refused(frame, length, 5);
    length = by_hand(frame, 0xA1, 0); /* says that there is none */
    cr_assert_eq(decode(frame, length, 5, NULL), 0);
}

Test(frame, reserved_bits_are_refused)
{
    uint8_t frame[32];
    size_t length = by_hand(frame, 0x88, 0);

    expect_refused(frame, length, 5);
}

Test(frame, blocks_that_hold_more_than_was_said_are_refused)
{
    /* content size 10; one RLE block of 131,072 */
    static const uint8_t bomb[] = {0x28, 0xB5, 0x2F, 0xFD, 0xA0, 10, 0,
                                   0,    0,    0x03, 0x00, 0x10, 'x'};
    /* content size 10; an empty last block */
    static const uint8_t empty[] = {0x28, 0xB5, 0x2F, 0xFD, 0xA0, 10, 0, 0, 0, 1, 0, 0};

    expect_refused(bomb, sizeof(bomb), 10);
    expect_refused(empty, sizeof(empty), 10);
}

Test(frame, a_decoder_goes_on_after_a_failure)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    uint8_t data[5000], again[5000];
    size_t length;
    int stored;
    uint8_t *frame;

    memset(data, 'b', sizeof(data));
    frame = encode(data, sizeof(data), 3, &length, &stored);
    frame[length - 6] ^= 0xff;
    (void)kf_frame_decode(decoder, frame, length, again, sizeof(again), NULL);
    cr_assert_eq(kf_frame_decode(decoder, frame, 8, again, sizeof(again), NULL), -1);
    frame[length - 6] ^= 0xff;
    cr_assert_eq(kf_frame_decode(decoder, frame, length, again, sizeof(again), NULL), 0);
    cr_assert_arr_eq(again, data, sizeof(data));
    kf_frame_decoder_free(decoder);
    free(frame);
}

Test(frame, freeing_nothing_is_fine)
{
    kf_frame_encoder_free(NULL);
    kf_frame_decoder_free(NULL);
}
