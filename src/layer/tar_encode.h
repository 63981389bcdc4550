/*
 * Deterministic tar headers: docs/formats/layer.md section 2, "Tar rules". ustar, with
 * local pax records only for `path`, `size` and `comment` (padding). Pure.
 */
#ifndef KF_LAYER_TAR_ENCODE_H
#define KF_LAYER_TAR_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_buf;
struct kf_err;

#define KF_TAR_END_SIZE 1024u
#define KF_TAR_ALIGNMENT 4096u

struct kf_tar_file {
    const char *name; /* checked by the caller: relative, no trailing slash */
    uint64_t size;    /* 0 for a folder */
    bool is_dir;
    bool is_executable;
    bool aligned;      /* data begins at a multiple of KF_TAR_ALIGNMENT of the stream */
    uint64_t position; /* of the header in the stream, a multiple of 512; for `aligned` */
};

/* Appends the header blocks of one entry: a multiple of 512 bytes. A name over
 * KF_NAME_LIMIT is KF_E_LIMIT. */
int kf_tar_encode(const struct kf_tar_file *file, struct kf_buf *ret, struct kf_err *err);

/* Zero bytes that follow `size` bytes of data. */
static inline uint64_t kf_tar_padding(uint64_t size)
{
    return (512 - size % 512) % 512;
}

#endif
