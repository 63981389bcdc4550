/*
 * Where the bytes of a decoded stream lie in a seekable zstd blob that others made, by
 * its seek table. Neighbouring small frames make a *unit*, which is fetched and decoded
 * as a whole; a frame above that size is one of its own. Pure; immutable once made.
 *
 * Entries of length 0 (skippable frames, the like) belong to no unit but those that lie
 * inside of one. An entry's stored bytes may hold skippable frames beside its content.
 */
#ifndef KF_LAYER_FRAME_MAP_H
#define KF_LAYER_FRAME_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "layer/seektab.h"

struct kf_err;
struct kf_frame_decoder;

#define KF_UNIT_BYTES                                                \
    (UINT32_C(256) << 10) /* of more than one frame: stored, and not \
                           */
/* Above these a layer is streamed. */
#define KF_FRAME_LENGTH_LIMIT (UINT32_C(16) << 20)
#define KF_FRAME_STORED_LIMIT (UINT32_C(17) << 20)
#define KF_FRAMES_LIMIT (UINT32_C(1) << 21)

struct kf_unit {
    uint64_t stored_offset; /* in the blob */
    uint64_t offset;        /* in the stream */
    uint32_t stored_length;
    uint32_t first_frame;
};

struct kf_frame_map {
    struct kf_seek_view view; /* borrowed */
    struct kf_unit *units;
    uint32_t unit_count;
    uint64_t stream_length;
};

/* 0; 1 when a frame or their number is above a limit, or a frame cannot be what the table
 * says, and `err` says why; -1 without memory. `view` stays the caller's and must stay.
 */
int kf_frame_map_make(struct kf_frame_map *ret, const struct kf_seek_view *view,
                      struct kf_err *err);
void kf_frame_map_fini(struct kf_frame_map *map);

/* The unit that holds a byte of the stream; offset < stream_length. */
uint32_t kf_frame_map_at(const struct kf_frame_map *map, uint64_t offset);
uint32_t kf_unit_length(const struct kf_frame_map *map, uint32_t unit);

/* Stored bytes of a unit to its bytes of the stream, each frame of exactly the length
 * that the table says, and with its checksum where there is one: else KF_E_CORRUPT. */
int kf_unit_decode(const struct kf_frame_map *map, uint32_t unit,
                   struct kf_frame_decoder *decoder, const uint8_t *stored, uint8_t *data,
                   struct kf_err *err);

#endif
