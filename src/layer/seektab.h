/*
 * The seek table of a seekable zstd file, both ways. Format: zstd
 * contrib/seekable_format, zstd_seekable_compression_format.md 0.1.0: a skippable frame
 * 0x184D2A5E at the end of the file, an entry a frame, then {u32 frames, u8 descriptor,
 * u32 0x8F92EAB1}. Pure.
 *
 * Limits: 2^27 - 1 frames; compressed sizes sum to the offset of the table.
 */
#ifndef KF_LAYER_SEEKTAB_H
#define KF_LAYER_SEEKTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_buf;
struct kf_err;

#define KF_SEEKTAB_FOOTER 9u
#define KF_SEEKTAB_FRAME_LIMIT UINT32_C(0x7ffffff)

struct kf_seek_entry {
    uint32_t stored_length, length;
};

/* A table that was checked, in its own bytes, which stay the caller's. */
struct kf_seek_view {
    const uint8_t *entries;
    uint32_t count;
    uint32_t step; /* bytes an entry: 8, with checksums 12 */
};

/* Bytes from the end of a file that begin with its seek table, from its last 9 bytes; 0
 * when there is none. */
uint64_t kf_seektab_size(const uint8_t footer[KF_SEEKTAB_FOOTER]);

/* `data` is the whole skippable frame of a file of `file_size` bytes. */
int kf_seektab_view(struct kf_seek_view *ret, const void *data, size_t length,
                    uint64_t file_size, struct kf_err *err);
struct kf_seek_entry kf_seek_view_at(const struct kf_seek_view *view, uint32_t index);
/* The low half of XXH64 over the frame's content; false: the table has none. */
bool kf_seek_view_checksum(const struct kf_seek_view *view, uint32_t index,
                           uint32_t *ret);

/* The same as an array, without checksums; yours to free. */
int kf_seektab_decode(const void *data, size_t length, uint64_t file_size,
                      struct kf_seek_entry **ret, uint32_t *ret_count,
                      struct kf_err *err);

/* Appends the whole skippable frame, without checksums. */
int kf_seektab_encode(const struct kf_seek_entry *entries, uint32_t count,
                      struct kf_buf *ret, struct kf_err *err);

#endif
