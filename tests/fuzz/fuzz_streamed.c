/*
 * An archive as it passes, packed in raw blocks: the bytes are the archive.
 * What is found must be what a walk over the same bytes finds (layer/tar_decode), and
 * every file's bytes must pass behind its entry.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/streamed.h"
#include "layer/table.h"
#include "layer/tar_decode.h"
#include "layer/tar_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct passed {
    struct kf_streamed *streamed;
    uint64_t bytes;
};

static int take(void *arg, uint64_t offset, const uint8_t *data, size_t length,
                struct kf_err *err)
{
    struct passed *passed = arg;

    if (offset != passed->bytes || length == 0)
        abort();
    passed->bytes += length;
    return 0;
}

/* One zstd frame of raw blocks, without a content size. */
static uint8_t *pack(const uint8_t *data, size_t size, size_t *ret_length)
{
    static const uint8_t header[] = {0x28, 0xB5, 0x2F, 0xFD, 0, 0x38};
    uint8_t *out = malloc(size + (size / 131072 + 1) * 3 + sizeof(header));
    size_t at = 0, used = sizeof(header);

    if (!out)
        abort();
    memcpy(out, header, sizeof(header));
    do {
        size_t part = size - at < 131072 ? size - at : 131072;
        uint32_t block = (uint32_t)part << 3 | (at + part == size);

        out[used++] = (uint8_t)block;
        out[used++] = (uint8_t)(block >> 8);
        out[used++] = (uint8_t)(block >> 16);
        if (part > 0)
            memcpy(out + used, data + at, part);
        used += part;
        at += part;
    } while (at < size);
    *ret_length = used;
    return out;
}

static int walk(const uint8_t *data, size_t size, struct kf_table *table)
{
    struct kf_tar_decoder decoder;
    int rc = 1;

    kf_table_init(table);
    kf_tar_decoder_init(&decoder, size);
    while (rc == 1) {
        struct kf_tar_result found = {0};

        switch (kf_tar_next(&decoder, data, 0, size, &found, NULL)) {
        case KF_TAR_ENTRY:
            if (kf_tar_add_entry(table, &found, NULL) != 0)
                rc = -1;
            break;
        case KF_TAR_END:
            rc = 0;
            break;
        case KF_TAR_NEED:
        case KF_TAR_ERROR:
            rc = -1;
            break;
        }
    }
    kf_tar_decoder_fini(&decoder);
    return rc;
}

static void compare(const struct kf_table *a, const struct kf_table *b)
{
    if (a->count != b->count || a->names_length != b->names_length ||
        (a->names_length > 0 && memcmp(a->names, b->names, a->names_length) != 0))
        abort();
    for (uint32_t i = 0; i < a->count; i++)
        if (a->entries[i].offset != b->entries[i].offset ||
            a->entries[i].size != b->entries[i].size)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct passed passed = {.bytes = 0};
    const struct kf_streamed_opts opts = {
        .packing = KF_LAYER_ZSTD, .is_tar = true, .take = take, .arg = &passed};
    struct kf_streamed *streamed = kf_streamed_new(&opts, NULL);
    struct kf_table expected;
    size_t length;
    uint8_t *packed = pack(data, size, &length);
    int rc;

    if (!streamed)
        abort();
    rc = kf_streamed_push(streamed, packed, length, NULL);
    if (rc == 0)
        rc = kf_streamed_end(streamed, NULL, NULL);
    if ((walk(data, size, &expected) == 0) != (rc == 0))
        abort();
    if (rc == 0) {
        compare(kf_streamed_table(streamed), &expected);
        if (passed.bytes != size)
            abort();
    }
    kf_table_fini(&expected);
    kf_streamed_free(streamed);
    free(packed);
    return 0;
}
