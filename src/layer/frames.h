/*
 * A source over the decoded stream of a seekable zstd blob: a range of it is mapped to
 * the units (layer/frame_map) that cover it, whose stored bytes are fetched from the
 * blob in as few ranges as they lie in, and decoded on the work queue.
 *
 * Units that others asked for, and did not get whole yet, are kept for a while, so that
 * neighbours do not fetch a frame again and again: in the whole process at most
 * KF_FRAMES_KEPT bytes of them, and KF_FRAMES_RUNNING (half as much again for demand) of
 * stored and decoded bytes of what is being fetched; what is beyond waits. Of what one
 * request covers at most KF_FRAMES_RUN stored and decoded bytes, or one frame, are
 * fetched at once.
 *
 * A frame that is not what the table says is fetched once more over a fresh connection,
 * then KF_E_CORRUPT. A request whose bytes another one fetches waits for that, unless it
 * must end earlier.
 */
#ifndef KF_LAYER_FRAMES_H
#define KF_LAYER_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_source;
struct kf_workq;

#define KF_FRAMES_KEPT (UINT64_C(32) << 20)
#define KF_FRAMES_RUNNING (UINT64_C(32) << 20)
#define KF_FRAMES_RUN (UINT64_C(8) << 20)

/* `table` is the blob's seek table, a whole skippable frame; it is moved on success.
 * Takes a reference to `blob`. 0; 1 when the blob cannot be read by its frames
 * (frame_map.h), and `err` says why; -1. */
int kf_frames_open(struct kf_source **ret, struct kf_source *blob, struct kf_workq *workq,
                   uint8_t *table, size_t length, struct kf_err *err);

/* Bytes in hand now, of all sources: kept, or part of what is being fetched. */
uint64_t kf_frames_in_hand(void);

#endif
