/*
 * One zstd frame in, one out, with limits (RFC 8878; docs/formats/layer.md section 2).
 * An encoder or decoder belongs to one thread; its memory is reused.
 */
#ifndef KF_LAYER_FRAME_H
#define KF_LAYER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;

#define KF_FRAME_WINDOW_LOG 24
#define KF_FRAME_STORED_BLOCK 131072u

struct kf_frame_encoder;
struct kf_frame_encoder *kf_frame_encoder_new(struct kf_err *err);
void kf_frame_encoder_free(struct kf_frame_encoder *encoder);

/* The most a frame of `length` bytes takes, stored or compressed: section 6. */
size_t kf_frame_bound(size_t length);

/* A frame with content size and checksum: compressed at `level`, or stored when that
 * gains under a tenth (a probe of 64 KiB from the middle spares most tries). 0 < length
 * <= 2^24. `out` has kf_frame_bound(length) bytes. *ret_stored says which it was. */
int kf_frame_encode(struct kf_frame_encoder *encoder, const void *data, size_t length,
                    int level, void *out, size_t *ret_length, int *ret_stored,
                    struct kf_err *err);

/* Raw blocks of 131,072 bytes: the same bytes whatever the zstd version. Limits and `out`
 * as above. Returns the frame's length. */
size_t kf_frame_store(const void *data, size_t length, void *out);

/* Bytes of the frame that begins at `data`; 0 when there is none, or only a part. */
size_t kf_frame_length(const void *data, size_t length);

/* How long the frame that begins at `data` is in the blob, by its block headers, and how
 * long its content, by its header. 0; 1 when more bytes are needed to tell, *ret_stored
 * of them at least; -1 (KF_E_MALFORMED) when no zstd frame with a content size begins
 * there. Nothing is decompressed. */
int kf_frame_scan(const void *data, size_t length, uint64_t *ret_stored,
                  uint64_t *ret_content, struct kf_err *err);

/* XXH64, its low half: what frames and seek tables have as checksum. */
uint32_t kf_frame_checksum(const void *data, size_t length);

struct kf_frame_decoder;
struct kf_frame_decoder *kf_frame_decoder_new(struct kf_err *err);
void kf_frame_decoder_free(struct kf_frame_decoder *decoder);

/* This thread's own, kept until the thread ends; its memory is worth keeping. */
struct kf_frame_decoder *kf_frame_decoder_own(struct kf_err *err);

/* Exactly one frame of exactly `stored_length` bytes, no dictionary, a window of at most
 * 2^24 bytes, content size present and equal to `length`, that gives exactly `length`
 * bytes. Anything else is KF_E_CORRUPT, and what `data` holds then is rubbish. The
 * frame's own checksum is not looked at: the caller has a sha256. */
int kf_frame_decode(struct kf_frame_decoder *decoder, const void *stored,
                    size_t stored_length, void *data, size_t length, struct kf_err *err);

/* What an entry of a seek table may name: any number of zstd and skippable frames, with
 * or without content size, windows of any size (the output is the window), that end
 * exactly with `stored_length` and give exactly `length` bytes. Checksums of frames are
 * looked at. No dictionaries. Anything else is KF_E_CORRUPT. */
int kf_frame_decode_all(struct kf_frame_decoder *decoder, const void *stored,
                        size_t stored_length, void *data, size_t length,
                        struct kf_err *err);

/* Whether the content of a frame begins with these bytes; a window as above. */
bool kf_frame_begins_with(struct kf_frame_decoder *decoder, const void *stored,
                          size_t stored_length, const void *wanted, size_t length);

#endif
