/*
 * The sha256 of each chunk of a layer without a table of contents whose whole digest was
 * found right: from then on it is checked chunk by chunk, like one with a table. Counted;
 * immutable once it is filled. Encoded form: docs/formats/cache.md, "Sums".
 *
 * As the layer is kept: files of 16 MiB or more are objects of their own, the remainder
 * is the stream, of which the chunks wholly inside such files are never needed.
 */
#ifndef KF_LAYER_SUMS_H
#define KF_LAYER_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_buf;
struct kf_err;
struct kf_table;

#define KF_SUMS_CHUNK_LIMIT (UINT64_C(1) << 23) /* of all objects: 8 TiB */

struct kf_sums_file {
    uint64_t offset, size;
    uint64_t first;  /* of its chunks, in `digests` of files */
    uint64_t hidden; /* chunks of the remainder inside it and those before it */
};

struct kf_sums_list {
    struct kf_digest *digests;
    uint64_t count, capacity;
};

struct kf_sums {
    int refs; /* atomic */
    uint64_t stream_size;
    struct kf_sums_file *files; /* in order of the stream */
    uint32_t file_count, file_capacity;
    struct kf_sums_list of_files, of_rest; /* in order; of the remainder those needed */
};

struct kf_sums *kf_sums_new(uint64_t stream_size, struct kf_err *err);
struct kf_sums *kf_sums_ref(struct kf_sums *sums);
void kf_sums_unref(struct kf_sums *sums); /* NULL is fine */

/* A large file, behind those before. KF_E_MALFORMED when it is not. */
int kf_sums_add_file(struct kf_sums *sums, uint64_t offset, uint64_t size,
                     struct kf_err *err);
/* The large files of a table. KF_E_MALFORMED when they overlap. */
int kf_sums_add_files(struct kf_sums *sums, const struct kf_table *table,
                      struct kf_err *err);
/* KF_E_LIMIT beyond the limit of all. */
int kf_sums_append(struct kf_sums *sums, struct kf_sums_list *list,
                   const struct kf_digest *digest, struct kf_err *err);

/* Whether a chunk of the remainder is needed: some of it lies in no large file. */
bool kf_sums_needs(const struct kf_sums *sums, uint64_t chunk);
/* The digest of a chunk of the remainder, or of the large file at an offset; NULL: not
 * known. */
const struct kf_digest *kf_sums_of_rest(const struct kf_sums *sums, uint64_t chunk);
const struct kf_digest *kf_sums_of_file(const struct kf_sums *sums, uint64_t offset,
                                        uint64_t chunk);

int kf_sums_encode(const struct kf_sums *sums, struct kf_buf *ret, struct kf_err *err);
/* Of a layer with that table; KF_E_MALFORMED for anything else. */
int kf_sums_decode(struct kf_sums **ret, const struct kf_table *table, const void *data,
                   size_t length, struct kf_err *err);

#endif
