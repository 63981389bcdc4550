/*
 * A stored stream unpacked as it comes in: gzip (RFC 1952: any number of members, empty
 * ones too, their checksums and lengths checked) or zstd (RFC 8878: any number of frames,
 * skippable ones anywhere, checksums checked). One thread.
 *
 * As kit's readers do it, anything behind a member or frame that does not begin another
 * is an error; so is a stream of no bytes at all. zstd dictionaries and frames of before
 * zstd 0.8 are refused.
 *
 * Memory: gzip 40 KiB; zstd what the frame's window takes, KF_UNPACK_WINDOW_LOG at most,
 * as `zstd -d` allows unasked. (kit takes windows of 512 MiB. Four layers are opened at a
 * time, and what a stranger may take of a machine's memory is to stay small.)
 * Output: KF_UNPACK_FREE bytes, and KF_UNPACK_RATIO for each byte that came in. gzip
 * cannot give more than 1032; a few bytes of zstd can stand for any number.
 */
#ifndef KF_LAYER_UNPACK_H
#define KF_LAYER_UNPACK_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_unpack;

#define KF_UNPACK_WINDOW_LOG 27
#define KF_UNPACK_RATIO UINT64_C(4096)
#define KF_UNPACK_FREE (UINT64_C(1) << 30)
#define KF_UNPACK_PIECE ((size_t)256 << 10) /* the most that `take` gets at once */

enum kf_unpack_form { KF_UNPACK_GZIP, KF_UNPACK_ZSTD };

/* Gets the unpacked bytes in order; nonzero stops, with `err` set. */
typedef int kf_unpack_take(void *arg, const uint8_t *data, size_t length,
                           struct kf_err *err);

/* NULL: no memory. `take` and `arg` are borrowed. */
struct kf_unpack *kf_unpack_new(enum kf_unpack_form form, kf_unpack_take *take, void *arg,
                                struct kf_err *err);
void kf_unpack_free(struct kf_unpack *unpack); /* NULL is fine */

/* KF_E_CORRUPT for what is no such stream or is damaged, KF_E_LIMIT for one that grows
 * too much, or what `take` said. After a failure only free is left. */
int kf_unpack_push(struct kf_unpack *unpack, const uint8_t *data, size_t length,
                   struct kf_err *err);
/* Nothing more comes: KF_E_CORRUPT unless the stream was complete. */
int kf_unpack_end(struct kf_unpack *unpack, struct kf_err *err);

#endif
