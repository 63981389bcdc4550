/*
 * Whether a tar stream holds what a layer's TOC says (docs/formats/layer.md section 7,
 * rule 5): every entry of the one in the other, with the same place and attributes, each
 * once. The stream is pushed in order. One thread.
 */
#ifndef KF_LAYER_TAR_CHECK_H
#define KF_LAYER_TAR_CHECK_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_table;
struct kf_tar_check;

/* `expected` is borrowed, sorted by name bytes, names unique. */
struct kf_tar_check *kf_tar_check_new(const struct kf_table *expected,
                                      uint64_t stream_size, struct kf_err *err);
void kf_tar_check_free(struct kf_tar_check *check);

/* Looks at a window of the stream: 1 when it needs another one, which it names; 0 at the
 * archive's end; -1 when they disagree or nothing can be read there. Not with push. */
int kf_tar_check_look(struct kf_tar_check *check, const uint8_t *window, uint64_t offset,
                      size_t length, uint64_t *ret_offset, uint64_t *ret_length,
                      struct kf_err *err);

/* After a failure only free is left. */
int kf_tar_check_push(struct kf_tar_check *check, const uint8_t *data, size_t length,
                      struct kf_err *err);
/* Nothing more comes. */
int kf_tar_check_end(struct kf_tar_check *check, struct kf_err *err);

#endif
