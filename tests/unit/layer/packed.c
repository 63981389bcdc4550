#include "packed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "layer/le.h"

void packed_add_gzip(struct kf_buf *out, const void *data, size_t length, bool extras)
{
    char name[] = "name", comment[] = "a comment", field[] = "xx\2\0ab";
    gz_header header = {.extra = (Bytef *)field,
                        .extra_len = 6,
                        .name = (Bytef *)name,
                        .comment = (Bytef *)comment,
                        .hcrc = 1};
    size_t bound = compressBound((uLong)length) + 256;
    uint8_t *bytes = malloc(bound), *copy = malloc(length + 1);
    z_stream z = {.next_in = copy,
                  .avail_in = (uInt)length,
                  .next_out = bytes,
                  .avail_out = (uInt)bound};

    cr_assert(bytes && copy);
    if (length > 0)
        memcpy(copy, data, length);
    cr_assert_eq(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                 Z_OK);
    if (extras)
        cr_assert_eq(deflateSetHeader(&z, &header), Z_OK);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    cr_assert_eq(kf_buf_append(out, bytes, bound - z.avail_out, NULL), 0);
    (void)deflateEnd(&z);
    free(bytes);
    free(copy);
}

void packed_add_zstd(struct kf_buf *out, const void *data, size_t length, int window_log)
{
    size_t bound = ZSTD_compressBound(length) + 64;
    uint8_t *bytes = malloc(bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_inBuffer in = {data, length, 0};
    ZSTD_outBuffer to = {bytes, bound, 0};

    cr_assert(bytes && context);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    if (window_log)
        (void)ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    if (length > 0) /* a first call that does not end it: no size is known */
        cr_assert_not(
            ZSTD_isError(ZSTD_compressStream2(context, &to, &in, ZSTD_e_continue)));
    cr_assert_eq(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end), 0);
    cr_assert_eq(kf_buf_append(out, bytes, to.pos, NULL), 0);
    (void)ZSTD_freeCCtx(context);
    free(bytes);
}

void packed_add_skippable(struct kf_buf *out, size_t length)
{
    uint8_t *bytes = calloc(1, 8 + length);

    cr_assert(bytes);
    kf_put_le32(bytes, 0x184D2A50u + (unsigned)length % 16);
    kf_put_le32(bytes + 4, (uint32_t)length);
    cr_assert_eq(kf_buf_append(out, bytes, 8 + length, NULL), 0);
    free(bytes);
}

void packed_add_zeros(struct kf_buf *out, unsigned count)
{
    static const uint8_t header[] = {0x28, 0xB5, 0x2F,
                                     0xFD, 0,    0x38}; /* 128 KiB window */

    cr_assert_eq(kf_buf_append(out, header, sizeof(header), NULL), 0);
    for (unsigned i = 0; i < count; i++) {
        uint32_t block = 131072u << 3 | 1 << 1 | (i + 1 == count);
        const uint8_t bytes[4] = {(uint8_t)block, (uint8_t)(block >> 8),
                                  (uint8_t)(block >> 16), 0};

        cr_assert_eq(kf_buf_append(out, bytes, sizeof(bytes), NULL), 0);
    }
}
