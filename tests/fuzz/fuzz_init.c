/* The bytes of INIT as the hooks of a session see them: a request, then a reply to it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t body[KF_WIRE_INIT_OUT_MAX], *before;
    uint64_t unique = 0;
    size_t length;

    (void)kf_wire_init_request(data, size, &unique); /* only that it reads no further */
    (void)kf_wire_reply_ok(data, size < KF_WIRE_OUT_HEADER_SIZE ? size : 16, unique);
    if (size < KF_WIRE_OUT_HEADER_SIZE)
        return 0;
    length = size - KF_WIRE_OUT_HEADER_SIZE;
    if (length > sizeof(body))
        length = sizeof(body);
    before = malloc(length ? length : 1); /* exact, for the sanitizer */
    if (!before)
        return 0;
    memcpy(before, data + KF_WIRE_OUT_HEADER_SIZE, length);
    memcpy(body, before, length);
    if (kf_wire_init_set_readahead(before, length, UINT32_C(1) << 20) !=
        (length >= 12)) /* the field is there or not */
        abort();
    for (size_t i = 0; i < length; i++)
        if ((i < 8 || i >= 12) && before[i] != body[i])
            abort(); /* touched what is not ours */
    free(before);
    return 0;
}
