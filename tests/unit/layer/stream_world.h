/*
 * Layers without random access made for tests, and what it takes to open and read them.
 */
#ifndef TESTS_LAYER_STREAM_WORLD_H
#define TESTS_LAYER_STREAM_WORLD_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/layer.h"

#define MIB(n) ((size_t)(n) << 20)
#define LARGE (MIB(16) + 12345)

/* An archive of: d/small (5000 bytes), a (16 MiB and a bit), d/middle (3 MiB), b (1 MiB
 * and a byte), tail (100 bytes). */
enum { DIR_ENTRY, SMALL_ENTRY, A_ENTRY, MIDDLE_ENTRY, B_ENTRY, TAIL_ENTRY, ENTRIES };

struct kf_fake_source;

struct stream_form {
    bool is_tar;
    enum kf_layer_packing packing;
};

/* tar+gzip, tar+zstd, raw+gzip, raw+zstd */
#define STREAM_FORMS 4u
extern const struct stream_form stream_forms[STREAM_FORMS];

struct stream_world {
    struct stream_form form;
    struct kf_buf stream, blob;
    uint64_t at[ENTRIES]; /* where each file begins in the stream */
    uint64_t size[ENTRIES];
    struct kf_digest digest;
    char folder[64];
    struct kf_workq *workq;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_fake_source *fake;
    struct kf_layer *layer;
    unsigned told; /* by progress */
    uint64_t told_done;
    bool stop;
    struct kf_err err;
};

/* Content and blob; then queue, source, fetch and, if wanted, a store. Begin does both.
 */
void stream_world_make(struct stream_world *world, struct stream_form form,
                       size_t raw_size);
void stream_world_start(struct stream_world *world, bool with_store);
void stream_world_begin(struct stream_world *world, struct stream_form form,
                        size_t raw_size, bool with_store);
/* All of it anew over the same cache folder, as a new process would find it. */
void stream_world_restart(struct stream_world *world);
void stream_world_end(struct stream_world *world);

/* A file for the stream, and the stream packed, for content of one's own. */
void stream_world_add_file(struct stream_world *world, int entry, const char *name,
                           size_t length);
void stream_world_pack(struct stream_world *world);

int stream_world_open(struct stream_world *world, bool defer);
void stream_world_expect_open(struct stream_world *world);
void stream_world_expect_refused(struct stream_world *world, enum kf_err_kind kind,
                                 const char *words);
/* No table, no object, no lock, no spool; that there is no seek table may be known. */
void stream_world_expect_empty_cache(struct stream_world *world);

/* A read that can be waited for: `done` is posted by the read's own done. */
struct stream_wait {
    struct kf_read read;
    uint8_t *into;
    size_t length;
    struct kf_err err;
    int rc;
    sem_t done;
};

void stream_world_read_done(struct kf_read *read, const void *data,
                            const struct kf_err *err);

void stream_world_expect_range(struct stream_world *world, uint32_t entry,
                               uint64_t offset, size_t length);
void stream_world_expect_file(struct stream_world *world, uint32_t entry);
void stream_world_expect_all(struct stream_world *world);

#endif
