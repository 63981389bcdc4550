#include "fs/wire.h"

#include <string.h>

#define OPCODE_INIT 26u
#define IN_HEADER_SIZE 40u
#define INIT_IN_SIZE 8u /* major and minor: every version has them */

#define IN_LENGTH 0u
#define IN_OPCODE 4u
#define IN_UNIQUE 8u
#define OUT_ERROR 4u
#define OUT_UNIQUE 8u
#define INIT_OUT_READAHEAD 8u

static uint32_t get_u32(const void *bytes, size_t offset)
{
    uint32_t value;

    memcpy(&value, (const uint8_t *)bytes + offset, sizeof(value));
    return value;
}

static uint64_t get_u64(const void *bytes, size_t offset)
{
    uint64_t value;

    memcpy(&value, (const uint8_t *)bytes + offset, sizeof(value));
    return value;
}

bool kf_wire_init_request(const void *request, size_t length, uint64_t *ret_unique)
{
    if (length < IN_HEADER_SIZE + INIT_IN_SIZE || get_u32(request, IN_LENGTH) != length ||
        get_u32(request, IN_OPCODE) != OPCODE_INIT)
        return false;
    *ret_unique = get_u64(request, IN_UNIQUE);
    return true;
}

bool kf_wire_reply_ok(const void *header, size_t length, uint64_t unique)
{
    return length == KF_WIRE_OUT_HEADER_SIZE && get_u32(header, OUT_ERROR) == 0 &&
           get_u64(header, OUT_UNIQUE) == unique;
}

bool kf_wire_init_set_readahead(void *body, size_t length, uint32_t readahead_bytes)
{
    if (length < INIT_OUT_READAHEAD + sizeof(readahead_bytes))
        return false;
    memcpy((uint8_t *)body + INIT_OUT_READAHEAD, &readahead_bytes,
           sizeof(readahead_bytes));
    return true;
}
