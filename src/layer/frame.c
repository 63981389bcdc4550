#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_d_forceIgnoreChecksum, ZSTD_getFrameHeader */
#include "layer/frame.h"

#include <pthread.h>
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

uint32_t kf_frame_checksum(const void *data, size_t length)
{
    return (uint32_t)XXH64(data, length, 0);
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
    kf_put_le32(to, kf_frame_checksum(data, length));
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

/* ---- walking the blocks of a frame ---- */

#define FRAME_HEADER_MAX 18u
#define BLOCK_HEADER 3u
#define BLOCK_RLE 1u
#define BLOCK_RESERVED 3u
#define CHECKSUM_SIZE 4u

static int no_frame(struct kf_err *err)
{
    return kf_fail(err, KF_E_MALFORMED, "no zstd frame with a content size");
}

static int want_more(uint64_t stored, uint64_t *ret_stored)
{
    *ret_stored = stored;
    return 1;
}

int kf_frame_scan(const void *data, size_t length, uint64_t *ret_stored,
                  uint64_t *ret_content, struct kf_err *err)
{
    const uint8_t *bytes = data;
    ZSTD_frameHeader header;
    size_t missing = ZSTD_getFrameHeader(&header, data, length);
    uint64_t at;
    bool last = false;

    if (ZSTD_isError(missing) || (missing == 0 && header.frameType != ZSTD_frame) ||
        (length >= CHECKSUM_SIZE && kf_le32(bytes) != ZSTD_MAGICNUMBER))
        return no_frame(err);
    if (missing > 0)
        return want_more(FRAME_HEADER_MAX, ret_stored);
    if (header.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN)
        return no_frame(err);
    for (at = header.headerSize; !last;) {
        uint32_t block, type, size;

        if (length < BLOCK_HEADER || at > length - BLOCK_HEADER)
            return want_more(at + BLOCK_HEADER, ret_stored);
        block = bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16;
        last = (block & 1) != 0;
        type = block >> 1 & 3;
        size = block >> 3;
        if (type == BLOCK_RESERVED || size > header.blockSizeMax)
            return no_frame(err);
        at += BLOCK_HEADER + (type == BLOCK_RLE ? 1 : size);
    }
    at += header.checksumFlag ? CHECKSUM_SIZE : 0;
    if (at > length)
        return want_more(at, ret_stored);
    *ret_stored = at;
    *ret_content = header.frameContentSize;
    return 0;
}

/* ---- decoding ---- */

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

static pthread_key_t own_key;
static int own_key_rc;

static void free_own(void *decoder)
{
    kf_frame_decoder_free(decoder);
}

static void make_own_key(void)
{
    own_key_rc = pthread_key_create(&own_key, free_own);
}

struct kf_frame_decoder *kf_frame_decoder_own(struct kf_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct kf_frame_decoder *decoder;

    (void)pthread_once(&once, make_own_key);
    if (own_key_rc != 0) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a decoder"); /* NULL says it */
        return NULL;
    }
    decoder = pthread_getspecific(own_key);
    if (decoder)
        return decoder;
    decoder = kf_frame_decoder_new(err);
    if (decoder && pthread_setspecific(own_key, decoder) != 0) {
        kf_frame_decoder_free(decoder);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a decoder");
        return NULL;
    }
    return decoder;
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

/* The library reads formats of before 0.8, too; we do not. */
static int check_frames(const uint8_t *stored, size_t length, struct kf_err *err)
{
    while (length > 0) {
        uint32_t magic = length >= sizeof(magic) ? kf_le32(stored) : 0;
        size_t frame = 0;

        if (magic == ZSTD_MAGICNUMBER ||
            (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START)
            frame = kf_frame_length(stored, length);
        if (frame == 0)
            return kf_fail(err, KF_E_CORRUPT, "not exactly so many zstd frames");
        stored += frame;
        length -= frame;
    }
    return 0;
}

int kf_frame_decode_all(struct kf_frame_decoder *decoder, const void *stored,
                        size_t stored_length, void *data, size_t length,
                        struct kf_err *err)
{
    size_t got;

    if (check_frames(stored, stored_length, err) != 0)
        return -1;
    /* Cannot fail: valid flags. */
    (void)ZSTD_DCtx_setParameter(decoder->context, ZSTD_d_forceIgnoreChecksum,
                                 ZSTD_d_validateChecksum);
    got = ZSTD_decompressDCtx(decoder->context, data, length, stored, stored_length);
    (void)ZSTD_DCtx_setParameter(decoder->context, ZSTD_d_forceIgnoreChecksum,
                                 ZSTD_d_ignoreChecksum);
    if (ZSTD_isError(got))
        return kf_fail(err, KF_E_CORRUPT, "a broken zstd frame: %s",
                       ZSTD_getErrorName(got));
    if (got != length)
        return kf_fail(err, KF_E_CORRUPT, "zstd frames of another length");
    return 0;
}

bool kf_frame_begins_with(struct kf_frame_decoder *decoder, const void *stored,
                          size_t stored_length, const void *wanted, size_t length)
{
    uint8_t begin[64];
    ZSTD_inBuffer in = {stored, stored_length, 0};
    ZSTD_outBuffer out = {begin, length, 0};
    size_t rc = 0;

    if (length > sizeof(begin))
        return false;
    (void)ZSTD_DCtx_setParameter(decoder->context, ZSTD_d_windowLogMax,
                                 KF_FRAME_WINDOW_LOG); /* valid */
    do
        rc = ZSTD_decompressStream(decoder->context, &out, &in);
    while (!ZSTD_isError(rc) && rc > 0 && out.pos < length && in.pos < in.size);
    (void)ZSTD_DCtx_reset(decoder->context, ZSTD_reset_session_only); /* always 0 */
    return !ZSTD_isError(rc) && out.pos == length && memcmp(begin, wanted, length) == 0;
}
