#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_d_forceIgnoreChecksum, ZSTD_getFrameHeader */
#include "layer/frame.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/err.h"
#include "layer/le.h"

#define PROBE_LENGTH ((size_t)65536)
#define STORED_HEADER_8 0xA4u /* single segment, 4-byte content size, checksum */

struct kf_frame_encoder {
    ZSTD_CCtx *context;
    uint8_t probe[ZSTD_COMPRESSBOUND(65536)];
};

struct kf_frame_decoder {
    ZSTD_DCtx *context;
};

struct kf_frame_encoder *kf_frame_encoder_new(struct kf_err *err)
{
    struct kf_frame_encoder *encoder = calloc(1, sizeof(*encoder));

    if (encoder)
        encoder->context = ZSTD_createCCtx();
    if (!encoder || !encoder->context) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for compressing"); /* NULL says it */
        free(encoder);
        return NULL;
    }
    return encoder;
}

void kf_frame_encoder_free(struct kf_frame_encoder *encoder)
{
    if (!encoder)
        return;
    (void)ZSTD_freeCCtx(encoder->context); /* always 0 */
    free(encoder);
}

size_t kf_frame_bound(size_t length)
{
    return ZSTD_compressBound(length) + 64;
}

/*
 *   28 B5 2F FD | A4 | u32 content size | blocks | u32 low half of XXH64
 *   a block: 3 bytes little-endian (size << 3 | type 0 << 1 | last), then its bytes
 */
size_t kf_frame_store(const void *data, size_t length, void *out)
{
    const uint8_t *from = data;
    uint8_t *to = out;
    size_t left = length;

    kf_put_le32(to, ZSTD_MAGICNUMBER);
    to[4] = STORED_HEADER_8;
    kf_put_le32(to + 5, (uint32_t)length);
    to += 9;
    while (left > 0) {
        size_t block = left < KF_FRAME_STORED_BLOCK ? left : KF_FRAME_STORED_BLOCK;
        uint32_t header = (uint32_t)block << 3 | (block == left);

        to[0] = (uint8_t)header;
        to[1] = (uint8_t)(header >> 8);
        to[2] = (uint8_t)(header >> 16);
        memcpy(to + 3, from, block);
        to += 3 + block;
        from += block;
        left -= block;
    }
    kf_put_le32(to, (uint32_t)XXH64(data, length, 0));
    return (size_t)(to + 4 - (uint8_t *)out);
}

static size_t compress(ZSTD_CCtx *context, const void *data, size_t length, int level,
                       void *out, size_t capacity)
{
    /* None of these fails: a new session, a level that is clamped, a flag. */
    (void)ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    return ZSTD_compress2(context, out, capacity, data, length);
}

static int gains_too_little(size_t stored_length, size_t length)
{
    return stored_length * 10 > length * 9;
}

/* Stored when the middle of a chunk does not shrink by a tenth. */
static int probe_says_stored(struct kf_frame_encoder *encoder, const uint8_t *data,
                             size_t length)
{
    size_t got = 0;

    if (length < PROBE_LENGTH)
        return 0;
    got = compress(encoder->context, data + (length - PROBE_LENGTH) / 2, PROBE_LENGTH, 1,
                   encoder->probe, sizeof(encoder->probe));
    return !ZSTD_isError(got) && gains_too_little(got, PROBE_LENGTH);
}

int kf_frame_encode(struct kf_frame_encoder *encoder, const void *data, size_t length,
                    int level, void *out, size_t *ret_length, int *ret_stored,
                    struct kf_err *err)
{
    size_t got = 0;

    int stored = probe_says_stored(encoder, data, length);

    if (!stored) {
        got =
            compress(encoder->context, data, length, level, out, kf_frame_bound(length));
        if (ZSTD_isError(got))
            return kf_fail(err, KF_E_NOMEM, "cannot compress: %s",
                           ZSTD_getErrorName(got));
        stored = gains_too_little(got, length);
    }
    *ret_length = stored ? kf_frame_store(data, length, out) : got;
    *ret_stored = stored;
    return 0;
}

size_t kf_frame_length(const void *data, size_t length)
{
    size_t frame = ZSTD_findFrameCompressedSize(data, length);

    return ZSTD_isError(frame) ? 0 : frame;
}

struct kf_frame_decoder *kf_frame_decoder_new(struct kf_err *err)
{
    struct kf_frame_decoder *decoder = calloc(1, sizeof(*decoder));

    if (decoder)
        decoder->context = ZSTD_createDCtx();
    if (!decoder || !decoder->context) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for decompressing"); /* NULL says it */
        free(decoder);
        return NULL;
    }
    /* The checksum costs a tenth, and sha256 follows. Cannot fail: a valid flag. */
    (void)ZSTD_DCtx_setParameter(decoder->context, ZSTD_d_forceIgnoreChecksum,
                                 ZSTD_d_ignoreChecksum);
    return decoder;
}

void kf_frame_decoder_free(struct kf_frame_decoder *decoder)
{
    if (!decoder)
        return;
    (void)ZSTD_freeDCtx(decoder->context); /* always 0 */
    free(decoder);
}

static int check_header(const void *stored, size_t stored_length, size_t length,
                        struct kf_err *err)
{
    ZSTD_frameHeader header;

    if (ZSTD_getFrameHeader(&header, stored, stored_length) != 0 ||
        header.frameType != ZSTD_frame)
        return kf_fail(err, KF_E_CORRUPT, "no zstd frame");
    if (header.frameContentSize != length)
        return kf_fail(err, KF_E_CORRUPT, "a zstd frame of another content size");
    if (header.dictID != 0)
        return kf_fail(err, KF_E_CORRUPT, "a zstd frame with a dictionary");
    if (header.windowSize > UINT64_C(1) << KF_FRAME_WINDOW_LOG)
        return kf_fail(err, KF_E_CORRUPT, "a zstd frame with a window over the limit");
    if (ZSTD_findFrameCompressedSize(stored, stored_length) != stored_length)
        return kf_fail(err, KF_E_CORRUPT, "not exactly one zstd frame");
    return 0;
}

int kf_frame_decode(struct kf_frame_decoder *decoder, const void *stored,
                    size_t stored_length, void *data, size_t length, struct kf_err *err)
{
    size_t got = 0;

    if (check_header(stored, stored_length, length, err) != 0)
        return -1;
    got = ZSTD_decompressDCtx(decoder->context, data, length, stored, stored_length);
    if (ZSTD_isError(got))
        return kf_fail(err, KF_E_CORRUPT, "a broken zstd frame: %s",
                       ZSTD_getErrorName(got));
    /* The library has compared it with the content size; we do not lean on that. */
    if (got != length)
        return kf_fail(err, KF_E_CORRUPT, "a zstd frame of another length");
    return 0;
}
