/*
 * The walk over a frame's block headers, and what a seek table's entry may hold. A frame
 * that the walk accepts ends where the library says; what is decoded has the length that
 * was promised (the first three bytes), whatever the frames say.
 */
#include <stdint.h>
#include <stdlib.h>

#include "layer/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const uint8_t *data, size_t size)
{
    uint64_t stored = 0, content = 0, again;
    int rc = kf_frame_scan(data, size, &stored, &content, NULL);

    if (rc == 0 && (stored > size || stored != kf_frame_length(data, size)))
        abort();
    if (rc == 0 && kf_frame_scan(data, (size_t)stored - 1, &again, &content, NULL) != 1)
        abort();
    if (rc == 1 && stored <= size && size >= 18)
        abort(); /* it asks for what it has */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_frame_decoder *decoder = kf_frame_decoder_new(NULL);
    size_t length;
    uint8_t *bytes;

    if (!decoder)
        abort();
    if (size > 3) {
        length = data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16;
        bytes = malloc(length ? length : 1);
        if (!bytes)
            abort();
        scan(data + 3, size - 3);
        (void)kf_frame_decode_all(decoder, data + 3, size - 3, bytes, length, NULL);
        (void)kf_frame_begins_with(decoder, data + 3, size - 3, "KITFSTOC", 8);
        free(bytes);
    }
    kf_frame_decoder_free(decoder);
    return 0;
}
