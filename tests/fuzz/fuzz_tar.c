/*
 * Tar headers: the bytes are the whole stream. Told twice, with a window of all of it and
 * with exactly the windows that are asked for; both must find the same. Then once more
 * with every block's checksum put right, since few mutations would get past it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/tar_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t entries;
    uint64_t bytes;
    int rc;
};

static void check(const struct kf_tar_result *result, size_t size)
{
    const struct kf_table_entry *entry = &result->entry;

    if (entry->size > size || entry->offset > size - entry->size ||
        (entry->mode & ~0777) != 0 || (entry->type == KF_TYPE_DIR && entry->size != 0))
        abort();
}

/* What is asked for, in an allocation of its own. */
static uint8_t *take(const uint8_t *data, size_t size, const struct kf_tar_result *need)
{
    uint8_t *window;

    if (need->need_length == 0 || need->need_length > size ||
        need->need_offset > size - need->need_length)
        abort();
    window = malloc(need->need_length);
    if (!window)
        abort();
    memcpy(window, data + need->need_offset, need->need_length);
    return window;
}

static struct sum run(const uint8_t *data, size_t size, int sparing)
{
    struct kf_tar_decoder decoder;
    uint8_t *window = NULL;
    uint64_t offset = 0;
    size_t length = sparing ? 0 : size;
    struct sum sum = {.rc = 1};

    kf_tar_decoder_init(&decoder, size);
    while (sum.rc == 1) {
        struct kf_tar_result result = {0};
        struct kf_err err;

        switch (kf_tar_next(&decoder, sparing ? window : data, offset, length, &result,
                            &err)) {
        case KF_TAR_NEED:
            if (!sparing)
                abort();
            free(window);
            window = take(data, size, &result);
            offset = result.need_offset;
            length = result.need_length;
            break;
        case KF_TAR_ENTRY:
            check(&result, size);
            sum.entries++;
            sum.bytes += result.entry.size + result.name_length;
            break;
        case KF_TAR_END:
            sum.rc = 0;
            break;
        case KF_TAR_ERROR:
            sum.rc = -1;
            break;
        }
    }
    free(window);
    kf_tar_decoder_fini(&decoder);
    return sum;
}

static void compare(const uint8_t *data, size_t size)
{
    struct sum all = run(data, size, 0);
    struct sum sparing = run(data, size, 1);

    if (all.entries != sparing.entries || all.bytes != sparing.bytes ||
        all.rc != sparing.rc)
        abort();
}

static void put_checksum(uint8_t *block)
{
    char text[8] = ""; /* the format fills seven */
    unsigned sum = 0;

    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < KF_TAR_BLOCK; i++)
        sum += block[i];
    (void)snprintf(text, sizeof(text), "%06o", sum & 0777777);
    memcpy(block + 148, text, sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *mended = malloc(size ? size : 1);

    if (!mended)
        abort();
    compare(data, size);
    if (size)
        memcpy(mended, data, size);
    for (size_t at = 0; at + KF_TAR_BLOCK <= size; at += KF_TAR_BLOCK) {
        if (mended[at])
            put_checksum(mended + at);
    }
    compare(mended, size);
    free(mended);
    return 0;
}
