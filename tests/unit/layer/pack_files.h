/*
 * Files for tests of packing: their bytes follow from a seed and the offset, so that a
 * large one takes no memory; and a blob in memory. Both can fail on request, and count.
 */
#ifndef TESTS_LAYER_PACK_FILES_H
#define TESTS_LAYER_PACK_FILES_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "layer/writer.h"

/* What `source` of an entry points to. */
struct pack_file {
    uint32_t seed;
    uint32_t alphabet; /* 1 to 256 different bytes: how well it compresses */
};

struct pack_files {
    struct kf_pack_reader reader;
    atomic_ullong reads, bytes;
    unsigned long long fail_at; /* the n-th read fails, from 1; 0: none */
};

void pack_files_init(struct pack_files *files);
void pack_file_fill(const struct pack_file *file, void *data, size_t length,
                    uint64_t offset);

struct kf_pack_entry pack_dir(const char *name);
struct kf_pack_entry pack_entry(const char *name, uint64_t size,
                                const struct pack_file *file);

struct pack_sink {
    struct kf_pack_sink sink;
    struct kf_buf blob;       /* 64 MiB at most; the test frees it */
    unsigned writes, fail_at; /* the n-th write fails, from 1; 0: none */
    uint64_t progress;
};

void pack_sink_init(struct pack_sink *sink);
void pack_sink_progress(void *arg, uint64_t bytes);

/* Chunks of 1 MiB, level 3, two workers. */
struct kf_writer_opts pack_opts(enum kf_toc_carrier carrier);
/* Must succeed. Fills an uninitialized sink. */
struct kf_written pack_layer(struct pack_sink *sink, const struct kf_pack_entry *entries,
                             uint32_t count, const struct kf_writer_opts *opts);
/* All frames of a blob one after the other, as `zstd -d` does, checksums included; they
 * hold exactly `size` bytes. */
uint8_t *pack_unpack(const struct kf_buf *blob, uint64_t size);
void pack_expect_digest(const struct kf_digest *digest, const void *data, size_t length);

#endif
