/*
 * The frame decoder. The first three bytes are the length that is promised; the others
 * the stored frame. What decodes has the promised content size; and the frame that we
 * make of it decodes to the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "layer/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(struct kf_frame_decoder *decoder, const uint8_t *bytes,
                        size_t length)
{
    uint8_t *frame = malloc(kf_frame_bound(length)), *again = malloc(length);
    size_t frame_length;

    if (!frame || !again)
        abort();
    frame_length = kf_frame_store(bytes, length, frame);
    if (frame_length > kf_frame_bound(length) ||
        kf_frame_decode(decoder, frame, frame_length, again, length, NULL) != 0 ||
        memcmp(again, bytes, length) != 0)
        abort();
    free(frame);
    free(again);
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
        bytes = malloc(length + 1);
        if (!bytes)
            abort();
        if (kf_frame_decode(decoder, data + 3, size - 3, bytes, length, NULL) == 0 &&
            length > 0)
            check_again(decoder, bytes, length);
        free(bytes);
    }
    kf_frame_decoder_free(decoder);
    return 0;
}
