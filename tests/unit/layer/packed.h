/*
 * Packed streams made for tests: members and frames, appended one after the other.
 */
#ifndef TESTS_LAYER_PACKED_H
#define TESTS_LAYER_PACKED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* A gzip member; with `extras` it has FEXTRA, FNAME, FCOMMENT and FHCRC. */
void packed_add_gzip(struct kf_buf *out, const void *data, size_t length, bool extras);
/* A zstd frame with a checksum; `window_log` 0: the library's choice. The frame does not
 * tell its content size. */
void packed_add_zstd(struct kf_buf *out, const void *data, size_t length, int window_log);
void packed_add_skippable(struct kf_buf *out, size_t length);
/* A frame of `count` blocks of 131,072 equal bytes, four bytes each. */
void packed_add_zeros(struct kf_buf *out, unsigned count);

#endif
