/*
 * Runs the tar decoder over archives of tests.
 */
#ifndef TESTS_LAYER_TAR_READER_H
#define TESTS_LAYER_TAR_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "layer/tar_decode.h"

struct kf_err;

/* The last entry found, and how many there were. */
struct tar_found {
    struct kf_table_entry entry;
    char name[4200];
    size_t name_length;
    unsigned entries;
    unsigned needs;
};

struct kf_buf tar_new(void);

/* 0 at the end, -1 on failure. With `sparing` the decoder is given exactly what it asks
 * for, copied to an allocation of its own; else all at once. */
int tar_decode(const struct kf_buf *tar, uint64_t stream_size, bool sparing,
               struct tar_found *found, struct kf_err *err);
/* Both ways, which must agree. */
int tar_decode_twice(const struct kf_buf *tar, struct tar_found *found,
                     struct kf_err *err);

#endif
