/*
 * Seekable zstd blobs as others make them, frame by frame, and with tables that lie.
 */
#ifndef TESTS_LAYER_SEEKABLE_MAKER_H
#define TESTS_LAYER_SEEKABLE_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define SEEKABLE_ENTRIES 4096

struct seekable {
    struct kf_buf blob;   /* frames, and after seekable_end the table */
    struct kf_buf stream; /* what they unpack to */
    struct seekable_entry {
        uint32_t stored_length, length, checksum;
    } entries[SEEKABLE_ENTRIES]; /* may be changed before the end */
    uint32_t count;
    bool no_content_size; /* of the frames that are added from now on */
    bool no_checksum;
};

void seekable_init(struct seekable *ret);
void seekable_fini(struct seekable *seekable);

/* A frame and its entry. */
void seekable_add(struct seekable *seekable, const void *data, size_t length);
/* All of it, in frames of `cut` bytes. */
void seekable_add_all(struct seekable *seekable, const void *data, size_t length,
                      size_t cut);
/* A skippable frame of so many bytes in all; its own entry of length 0, or a part of the
 * entry that follows. */
void seekable_skip(struct seekable *seekable, size_t length, bool own_entry);
void seekable_end(struct seekable *seekable, bool checksums);
/* Offset of the table in the blob. */
size_t seekable_table(const struct seekable *seekable);

/* Bytes that compress to about two thirds. */
uint8_t *seekable_pattern(size_t length, unsigned seed);

#endif
