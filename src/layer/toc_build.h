/*
 * A TOC from what a layer's stream holds: file table, prefetch order, root and slices.
 */
#ifndef KF_LAYER_TOC_BUILD_H
#define KF_LAYER_TOC_BUILD_H

#include <stdint.h>

#include "layer/pack_stream.h"
#include "layer/toc.h"

struct kf_buf;
struct kf_err;

/* Appends the TOC area: the root as one zstd frame, then the slices. Fills in of the
 * link: digest and sizes; where it lies is the caller's to say. */
int kf_toc_build(struct kf_toc_link *ret, const struct kf_pack_stream *stream,
                 const struct kf_chunk_row *rows, enum kf_toc_carrier carrier,
                 uint32_t chunk_size, struct kf_buf *ret_area, struct kf_err *err);

#endif
