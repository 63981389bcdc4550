/*
 * The cache's file about a seek table: what is accepted encodes to itself, but for the
 * minor version.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "layer/le.h"
#include "layer/seek_find.h"
#include "layer/seektab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many bytes as the table's entries claim, and the table. */
static uint64_t claimed(const uint8_t *data, size_t size)
{
    size_t link = size >= 16 ? kf_le32(data + 12) : 0, step;
    uint64_t sum = 0;

    if (size < 16 + KF_SEEKTAB_FOOTER || link > size - 16 - KF_SEEKTAB_FOOTER)
        return 0;
    step = (data[size - 5] & 0x80) != 0 ? 12 : 8;
    for (size_t at = 16 + link + 8; at + step + KF_SEEKTAB_FOOTER <= size; at += step)
        sum += kf_le32(data + at);
    return sum + size - 16 - link;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_seek_found found;
    struct kf_buf bytes;

    if (kf_seek_file_decode(&found, data, size, claimed(data, size), NULL) != 0)
        return 0;
    kf_buf_init(&bytes, size + 512);
    if (kf_seek_file_encode(&found, &bytes, NULL) != 0 || bytes.length != size ||
        memcmp(bytes.data + 16, data + 16, size - 16) != 0)
        abort();
    kf_buf_fini(&bytes);
    kf_seek_found_fini(&found);
    return 0;
}
