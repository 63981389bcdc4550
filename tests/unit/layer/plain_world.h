/*
 * Plain layers without a table of contents for tests: a blob in memory, a queue, a cache.
 */
#ifndef TESTS_LAYER_PLAIN_WORLD_H
#define TESTS_LAYER_PLAIN_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "layer/layer.h"

#define MIB(n) ((size_t)(n) << 20)

struct kf_fake_source;

struct plain_world {
    struct kf_buf blob;
    bool is_raw;
    struct kf_digest digest; /* of the blob as it is right */
    char folder[64];         /* of the cache */
    uint64_t cache_limit;    /* 0: none */
    bool uncached;
    struct kf_workq *workq;
    struct kf_store *store;
    struct kf_fetch *fetch;
    struct kf_fake_source *fake;
    struct kf_layer *layer;
    struct kf_err err;
};

struct plain_file {
    const char *name;
    size_t size;
};

/* A tar of files, or with `is_raw` the bytes of the first. */
void plain_world_begin(struct plain_world *world, const struct plain_file *files,
                       size_t count, bool is_raw);
void plain_world_start(struct plain_world *world); /* threads, source, cache */
int plain_world_open(struct plain_world *world, enum kf_layer_check check);
/* Start and open, which must work. */
void plain_world_expect_open(struct plain_world *world, enum kf_layer_check check);
/* The layer and all but the cache's folder go, when all is written. */
void plain_world_stop(struct plain_world *world);
void plain_world_end(struct plain_world *world);

/* One blocking read of at most 1 MiB; the kind of its failure. The bytes are right, as
 * the blob holds them now. */
enum kf_err_kind plain_world_read(struct plain_world *world, const char *name,
                                  uint64_t offset, size_t length);
/* All of a file. */
enum kf_err_kind plain_world_read_all(struct plain_world *world, const char *name);
/* Where a file's bytes are in the blob. */
uint64_t plain_world_at(struct plain_world *world, const char *name);

/* Waits for this state, 10 seconds at most; whether it came. */
bool plain_world_wait(struct plain_world *world, enum kf_trust trust);
/* Files and folders below a folder of the cache, like "objects"; those of objects that
 * are there count, empty or not. */
unsigned plain_world_count(struct plain_world *world, const char *below);

#endif
