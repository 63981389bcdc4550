/*
 * A seek table: the bytes are all of it, behind as many bytes as its entries claim. What
 * is accepted without checksums encodes to itself, but for the unused bits.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/le.h"
#include "layer/seektab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t claimed(const uint8_t *data, size_t size)
{
    size_t step = (data[size - 5] & 0x80) != 0 ? 12 : 8;
    uint64_t sum = 0;

    for (size_t at = 8; at + step + KF_SEEKTAB_FOOTER <= size; at += step)
        sum += kf_le32(data + at);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_seek_entry *entries;
    uint32_t count;
    struct kf_err err;
    struct kf_buf bytes;

    if (kf_seektab_decode(data, size, UINT64_C(1) << 40, &entries, &count, &err) == 0)
        abort(); /* no table that fits here adds up to that */
    if (size < KF_SEEKTAB_FOOTER ||
        kf_seektab_decode(data, size, claimed(data, size) + size, &entries, &count,
                          &err) != 0)
        return 0;
    kf_buf_init(&bytes, size);
    if ((data[size - 5] & 0x80) == 0) {
        if (kf_seektab_encode(entries, count, &bytes, &err) != 0 || bytes.length != size)
            abort();
        bytes.data[size - 5] = data[size - 5];
        if (memcmp(bytes.data, data, size) != 0)
            abort();
    }
    kf_buf_fini(&bytes);
    free(entries);
    return 0;
}
