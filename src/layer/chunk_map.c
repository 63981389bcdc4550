#include "layer/chunk_map.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cache/cuts.h"

int kf_chunk_map_init(struct kf_chunk_map *ret, uint64_t count, struct kf_err *err)
{
    struct kf_chunk_map map = {.cuts = kf_cuts_new(count, err)};

    if (!map.cuts)
        return -1;
    map.stored_offset = calloc(count + 1, sizeof(*map.stored_offset));
    map.stored_length = calloc(count + 1, sizeof(*map.stored_length));
    map.number = calloc(count + 1, sizeof(*map.number));
    if (!map.stored_offset || !map.stored_length || !map.number) {
        kf_chunk_map_fini(&map);
        return kf_fail(err, KF_E_NOMEM, "no memory for the chunks of a layer");
    }
    *ret = map;
    return 0;
}

void kf_chunk_map_fini(struct kf_chunk_map *map)
{
    kf_cuts_unref(map->cuts);
    free(map->stored_offset);
    free(map->stored_length);
    free(map->number);
    *map = (struct kf_chunk_map){0};
}

int kf_chunk_map_add(struct kf_chunk_map *map, const struct kf_toc *toc, uint32_t slice,
                     const void *data, size_t length, struct kf_err *err)
{
    const struct kf_toc_slice *from = &toc->slices[slice];
    kf_auto(kf_free) struct kf_chunk_row *rows =
        calloc((size_t)from->chunk_count + 1, sizeof(*rows));
    uint64_t stored = from->stored_offset;

    assert(map->filled + from->chunk_count <= map->cuts->count);
    if (!rows)
        return kf_fail(err, KF_E_NOMEM, "no memory for the chunks of a layer");
    if (kf_toc_slice_decode(toc, slice, data, length, rows, err) != 0)
        return -1;
    for (uint32_t i = 0; i < from->chunk_count; i++) {
        uint64_t at = map->filled++;

        map->stored_offset[at] = stored;
        map->stored_length[at] = rows[i].stored_length;
        map->number[at] = from->first_chunk + i;
        map->cuts->offsets[at + 1] = map->cuts->offsets[at] + rows[i].length;
        map->cuts->digests[at] = rows[i].digest;
        stored += rows[i].stored_length;
    }
    return 0;
}
