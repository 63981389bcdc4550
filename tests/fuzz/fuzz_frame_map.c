/*
 * A stream mapped to frames: the bytes are the entries of a seek table, the first says
 * whether with checksums. Units follow each other, hold every byte, and stay within the
 * limits.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "layer/frame_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct kf_frame_map *map)
{
    uint64_t offset = 0, stored = 0;

    for (uint32_t i = 0; i < map->unit_count; i++) {
        const struct kf_unit *unit = &map->units[i];
        uint32_t length = kf_unit_length(map, i);

        if (unit->offset != offset || unit->stored_offset < stored || length == 0 ||
            length > KF_FRAME_LENGTH_LIMIT || unit->stored_length > KF_FRAME_STORED_LIMIT)
            abort();
        if (kf_frame_map_at(map, offset) != i ||
            kf_frame_map_at(map, offset + length - 1) != i)
            abort();
        offset += length;
        stored = unit->stored_offset + unit->stored_length;
    }
    if (offset != map->stream_length)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_frame_map map;
    struct kf_seek_view view;

    if (size < 1)
        return 0;
    view.entries = data + 1;
    view.step = data[0] & 1 ? 12 : 8;
    view.count = (uint32_t)((size - 1) / view.step);
    if (kf_frame_map_make(&map, &view, NULL) == 0) {
        check(&map);
        kf_frame_map_fini(&map);
    }
    return 0;
}
