/*
 * Writes one layer: stream -> chunks -> blob, its digests and its TOC, in one pass
 * (docs/formats/layer.md). Workers read, hash and compress chunks in parallel; the blob
 * and the diffId have a thread each; the bytes do not depend on the number of workers.
 *
 *   workers:  read chunk | sha256 | zstd      (any order, a bounded ring of slots)
 *   blob:     in order: sha256 of the blob, and out to the destination
 *   diff:     in order: sha256 of the unpacked stream; where nothing is compressed that
 *             is the blob's, and the thread is spared
 *
 * Memory: up to 3 slots a worker of two chunks each, 512 MiB at most; 40 bytes a chunk
 * and the plan for the layer. The first failure, of the reader, the sink or memory, ends
 * all threads; nothing is left behind but what the sink was given.
 */
#ifndef KF_LAYER_WRITER_H
#define KF_LAYER_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "layer/pack_stream.h"
#include "layer/toc.h"

struct kf_buf;
struct kf_err;

/* Where the blob goes, in order, never twice at once: chunks on a thread of the writer,
 * what follows them on the caller's. Not zero, with the error filled, stops the writer.
 */
struct kf_pack_sink {
    int (*write)(void *arg, const void *data, size_t length, struct kf_err *err);
    void *arg;
};

struct kf_writer_opts {
    enum kf_toc_carrier carrier;
    uint32_t chunk_size;
    int level;         /* of everything but weights; weights are packed at level 1 */
    int weights_level; /* 0: 1 */
    unsigned threads;  /* workers, at most 16; 0: as many as there are processors */
    bool no_toc;
    bool no_seek_table;
    /* So many more bytes of the stream are out; on the blob's thread; may be NULL. */
    void (*progress)(void *arg, uint64_t bytes);
    void *progress_arg;
};

struct kf_written {
    struct kf_digest digest; /* of the blob */
    uint64_t size;           /* of the blob */
    struct kf_digest diff_id;
    uint64_t stream_size; /* unpacked */
    uint32_t chunk_count, stored_chunks;
    bool has_toc;
    struct kf_toc_link link; /* tar and raw: blob and area offset are still open */
    struct kf_buf *area;     /* tar and raw: root and slices for the TOC layer */
};

/* Entries in the order of kf_pack_order, names unique, parents present. Blocking;
 * everything it is given is borrowed until it returns. */
int kf_write_layer(struct kf_written *ret, const struct kf_pack_entry *entries,
                   uint32_t entry_count, const struct kf_pack_reader *reader,
                   const struct kf_pack_sink *sink, const struct kf_writer_opts *opts,
                   struct kf_err *err);
/* Leaves it empty. */
void kf_written_fini(struct kf_written *written);

#endif
