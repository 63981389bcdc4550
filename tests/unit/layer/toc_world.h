/*
 * Layers with a TOC for tests that read them: packed by kf_write_layer, or cut by hand
 * where a packer would not; sources in memory, a queue, a cache if it is wanted.
 */
#ifndef TESTS_LAYER_TOC_WORLD_H
#define TESTS_LAYER_TOC_WORLD_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "fetch/queue.h"
#include "layer/layer.h"
#include "layer/toc.h"
#include "pack_files.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

struct kf_fake_source;

struct toc_world {
    struct kf_buf blob;
    struct kf_buf area; /* of a TOC layer; empty when it is embedded */
    uint8_t *stream;    /* what the blob unpacks to */
    struct kf_toc_link link;
    enum kf_toc_carrier carrier;
    bool unlinked;                         /* opened without the link */
    bool raw_zstd;                         /* a raw layer, compressed */
    uint64_t raw_size;                     /* what its metadata says; 0: nothing */
    const struct kf_digest *stream_digest; /* what the Kitfile says; NULL: nothing */
    enum kf_layer_check check;
    char folder[64]; /* of the cache */
    struct kf_workq *workq;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_fake_source *fake, *toc_fake; /* toc_fake: NULL when it is embedded */
    struct kf_layer *layer;
    struct kf_err err;
};

/* A layer as the packer makes it; nothing is opened yet. */
void toc_world_pack(struct toc_world *world, enum kf_toc_carrier carrier,
                    const struct kf_pack_entry *entries, uint32_t count,
                    uint32_t chunk_size);
/* A file of a layer cut by hand. */
struct toc_world_file {
    const char *name;
    size_t size;
};
/* A tar whose chunks have `cut` bytes each, or up to the next end of a file of 64 KiB or
 * more; files in the order of their names. */
void toc_world_cut(struct toc_world *world, const struct toc_world_file *files,
                   uint32_t count, uint32_t cut);

/* A tar of these files, or the raw bytes of the first, as others make it: frames of `cut`
 * bytes and a seek table with checksums; no TOC. */
void toc_world_frames(struct toc_world *world, const struct toc_world_file *files,
                      uint32_t count, uint32_t cut, bool raw);

/* Threads and sources, and a cache: one that is there already is used again. */
void toc_world_start(struct toc_world *world, bool cached);
int toc_world_open(struct toc_world *world);
void toc_world_expect_open(struct toc_world *world);
/* The layer and all but the folder of the cache go, when everything in it is written. */
void toc_world_stop(struct toc_world *world);
void toc_world_end(struct toc_world *world);
/* No request of either source is answered from now on. */
void toc_world_unplug(struct toc_world *world);
uint64_t toc_world_requests(struct toc_world *world);

/* The entry of that name; the test fails when there is none. */
uint32_t toc_world_entry(struct toc_world *world, const char *name);
struct kf_file *toc_world_file(struct toc_world *world, const char *name);
/* All bytes of all files are right, in reads of at most `step`. */
void toc_world_expect_all(struct toc_world *world, size_t step);

/* A read of a file on its way. */
struct toc_read {
    struct kf_read read;
    struct kf_file *file; /* a reference */
    const uint8_t *expected;
    sem_t done;
    enum kf_err_kind kind;
    char message[KF_ERR_MESSAGE_SIZE];
};

/* `begin` fills it; what follows may be called once each. */
void toc_read_begin(struct toc_world *world, struct toc_read *read, const char *name,
                    uint64_t offset, size_t length);
/* Waits, puts the file; KF_E_NONE when the bytes came and are right. */
enum kf_err_kind toc_read_end(struct toc_read *read);
/* Both. */
enum kf_err_kind toc_world_read(struct toc_world *world, const char *name,
                                uint64_t offset, size_t length);

#endif
