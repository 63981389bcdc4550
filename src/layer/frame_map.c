#include "layer/frame_map.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "layer/frame.h"

static int check_frame(uint32_t index, const struct kf_seek_entry *entry,
                       struct kf_err *err)
{
    if (entry->length == 0)
        return 0;
    if (entry->length > KF_FRAME_LENGTH_LIMIT ||
        entry->stored_length > KF_FRAME_STORED_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "zstd frame %" PRIu32 " has more than 16 MiB",
                       index);
    if (entry->stored_length == 0)
        return kf_fail(err, KF_E_MALFORMED,
                       "broken zstd seek table: frame %" PRIu32 " takes no room", index);
    return 0;
}

/* Whether a frame that lies from `offset` on goes into the unit before it. */
static bool joins(const struct kf_unit *unit, uint64_t unit_length, uint64_t stored_end,
                  uint32_t length)
{
    return unit_length + length <= KF_UNIT_BYTES &&
           stored_end - unit->stored_offset <= KF_UNIT_BYTES;
}

/* Fills `map->units` when they are there, else only counts them. */
static int walk(struct kf_frame_map *map, struct kf_err *err)
{
    struct kf_unit unit = {0};
    uint64_t stored = 0, offset = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < map->view.count; i++) {
        struct kf_seek_entry entry = kf_seek_view_at(&map->view, i);
        uint64_t end = stored + entry.stored_length;

        if (check_frame(i, &entry, err) != 0)
            return 1;
        if (entry.length > 0 &&
            (count == 0 || !joins(&unit, offset - unit.offset, end, entry.length))) {
            unit = (struct kf_unit){stored, offset, 0, i};
            count++;
        }
        if (entry.length > 0)
            unit.stored_length = (uint32_t)(end - unit.stored_offset);
        if (entry.length > 0 && map->units)
            map->units[count - 1] = unit;
        stored = end;
        offset += entry.length;
    }
    map->unit_count = count;
    map->stream_length = offset;
    return 0;
}

int kf_frame_map_make(struct kf_frame_map *ret, const struct kf_seek_view *view,
                      struct kf_err *err)
{
    struct kf_frame_map map = {.view = *view};

    if (view->count > KF_FRAMES_LIMIT) {
        (void)kf_fail(err, KF_E_LIMIT, "%" PRIu32 " zstd frames are too many",
                      view->count);
        return 1;
    }
    if (walk(&map, err) != 0)
        return 1;
    map.units = malloc(((size_t)map.unit_count + 1) * sizeof(*map.units));
    if (!map.units)
        return kf_fail(err, KF_E_NOMEM, "no memory for %" PRIu32 " zstd frames",
                       view->count);
    (void)walk(&map, err); /* as before */
    *ret = map;
    return 0;
}

void kf_frame_map_fini(struct kf_frame_map *map)
{
    free(map->units);
    memset(map, 0, sizeof(*map));
}

uint32_t kf_frame_map_at(const struct kf_frame_map *map, uint64_t offset)
{
    uint32_t low = 0, high = map->unit_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (map->units[middle].offset <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

uint32_t kf_unit_length(const struct kf_frame_map *map, uint32_t unit)
{
    uint64_t end =
        unit + 1 < map->unit_count ? map->units[unit + 1].offset : map->stream_length;

    return (uint32_t)(end - map->units[unit].offset);
}

int kf_unit_decode(const struct kf_frame_map *map, uint32_t unit,
                   struct kf_frame_decoder *decoder, const uint8_t *stored, uint8_t *data,
                   struct kf_err *err)
{
    uint32_t left = kf_unit_length(map, unit), checksum;

    for (uint32_t i = map->units[unit].first_frame; left > 0; i++) {
        struct kf_seek_entry entry = kf_seek_view_at(&map->view, i);

        if (entry.length > 0 && kf_frame_decode_all(decoder, stored, entry.stored_length,
                                                    data, entry.length, err) != 0)
            return kf_fail_wrap(err, "zstd frame %" PRIu32, i);
        if (entry.length > 0 && kf_seek_view_checksum(&map->view, i, &checksum) &&
            checksum != kf_frame_checksum(data, entry.length))
            return kf_fail(err, KF_E_CORRUPT,
                           "zstd frame %" PRIu32 " has another checksum than the seek "
                           "table says",
                           i);
        stored += entry.stored_length;
        data += entry.length;
        left -= entry.length;
    }
    return 0;
}
