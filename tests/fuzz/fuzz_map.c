/* A map header that is accepted describes a file whose length can be computed, and is
 * written again with the same fixed fields. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_map_header header;
    uint8_t again[KF_MAP_HEADER_SIZE];

    if (kf_map_decode(&header, data, size, NULL) != 0)
        return 0;
    if (kf_map_check(&header.shape, NULL) != 0 ||
        kf_map_file_length(&header.shape) < KF_MAP_HEADER_SIZE ||
        kf_map_encode(&header, again, NULL) != 0 ||
        memcmp(again + 12, data + 12, 20) != 0)
        abort();
    return 0;
}
