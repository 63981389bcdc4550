/*
 * Where tensors begin: safetensors and GGUF headers, for cutting chunks at tensors. Pure.
 *
 * safetensors (huggingface/safetensors, README "Format"): u64 header length, JSON header
 * of at most 100,000,000 bytes, then the data; tensors by "data_offsets" relative to it.
 * GGUF (ggml docs/gguf.md, versions 2 and 3): counts, key-values, tensor infos, data
 * after padding to `general.alignment` (32 unless said).
 *
 * A header that does not parse only means plain cuts: the result is KF_TENSORS_NONE,
 * never an error. Limits: 100,000,000 header bytes, 1,048,576 tensors, arrays nested
 * once.
 */
#ifndef KF_LAYER_TENSORS_H
#define KF_LAYER_TENSORS_H

#include <stddef.h>
#include <stdint.h>

#define KF_TENSORS_HEADER_LIMIT UINT64_C(100000000)
#define KF_TENSORS_LIMIT (UINT32_C(1) << 20)

struct kf_tensor {
    uint64_t offset, length; /* in the file */
};

struct kf_tensors {
    struct kf_tensor *items; /* by offset; no overlap; inside the file */
    uint32_t count;
    uint64_t data_offset; /* end of the header */
};

enum kf_tensors_answer {
    KF_TENSORS_NONE, /* neither format, or broken */
    KF_TENSORS_MORE, /* *ret_needed bytes of the file's start are needed */
    KF_TENSORS_FOUND,
};

/* `data` is the first `length` bytes of a file of `file_size`. Call again with more bytes
 * while it says so; eight bytes are enough to begin. On no memory: KF_TENSORS_NONE. */
enum kf_tensors_answer kf_tensors_parse(struct kf_tensors *ret, const void *data,
                                        size_t length, uint64_t file_size,
                                        uint64_t *ret_needed);
void kf_tensors_fini(struct kf_tensors *tensors);

#endif
