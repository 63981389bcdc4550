/*
 * The tar stream of a layer that is to be written, as a plan: which bytes lie where, and
 * where chunks are cut (docs/formats/layer.md section 2, "Order and cuts", policy cut1).
 * Made from entries in order; immutable afterwards, so that any thread can produce any
 * chunk. Headers are not kept but made again where they are read: a plan takes 24 bytes
 * an entry and 16 a chunk.
 *
 *   | header | data | padding | header | data | padding | ... (the end mark is not in it)
 */
#ifndef KF_LAYER_PACK_STREAM_H
#define KF_LAYER_PACK_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/tensors.h"

struct kf_err;

#define KF_CUT_TENSOR (UINT64_C(1) << 20) /* tensors from here on get their own cuts */
#define KF_CUT_FILE (UINT64_C(64) << 10)  /* files from here on do */
#define KF_BOOT_FILE (UINT64_C(1) << 20)  /* files up to this size come first */
#define KF_CHUNK_MIN (UINT32_C(64) << 10)
#define KF_CHUNK_MAX (UINT32_C(16) << 20)

/* What goes into a layer, in the order of the layer. */
struct kf_pack_entry {
    const char *name; /* borrowed; full path in the kit, no trailing slash */
    uint64_t size;    /* 0 for a folder */
    bool is_dir;
    bool is_executable;
    const void *source;        /* the caller's: what the reader is asked for */
    struct kf_tensors tensors; /* where the file has some; the caller's */
};

/* Reads exactly `length` bytes of a file; any thread. */
struct kf_pack_reader {
    int (*read)(void *arg, const void *source, void *data, size_t length, uint64_t offset,
                struct kf_err *err);
    void *arg;
};

struct kf_pack_chunk {
    uint64_t offset; /* in the stream */
    uint32_t length;
};

struct kf_pack_place {
    uint64_t header; /* stream offsets */
    uint64_t data;
    uint64_t end; /* of its padding */
};

struct kf_pack_stream {
    const struct kf_pack_entry *entries; /* borrowed */
    uint32_t entry_count;
    struct kf_pack_place *places; /* one an entry */
    struct kf_pack_chunk *chunks;
    uint32_t chunk_count;
    uint64_t length;
    bool align_data;
    bool raw; /* one file, nothing around it */
};

/* Sorts as the format orders a layer: folders and files up to 1 MiB by path, then larger
 * files by path. */
int kf_pack_order(const struct kf_pack_entry *a, const struct kf_pack_entry *b);

/* `align_data`: data of files of 64 KiB or more begins at a multiple of 4096 (the tar
 * carrier). `raw`: exactly one entry, a file that is not empty. */
int kf_pack_stream_init(struct kf_pack_stream *ret, const struct kf_pack_entry *entries,
                        uint32_t entry_count, uint32_t chunk_size, bool align_data,
                        bool raw, struct kf_err *err);
void kf_pack_stream_fini(struct kf_pack_stream *stream);

/* Whether a chunk holds tensors: they gain nothing from a higher level. */
bool kf_pack_stream_is_weights(const struct kf_pack_stream *stream, uint32_t chunk);

/* The bytes of a range inside the stream. Any thread. */
int kf_pack_stream_read(const struct kf_pack_stream *stream,
                        const struct kf_pack_reader *reader, void *data, size_t length,
                        uint64_t offset, struct kf_err *err);

#endif
