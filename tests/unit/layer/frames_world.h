/*
 * A seekable blob in memory and the source over its stream, for tests.
 */
#ifndef TESTS_LAYER_FRAMES_WORLD_H
#define TESTS_LAYER_FRAMES_WORLD_H

#include <semaphore.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sink.h"
#include "base/source.h"
#include "seekable_maker.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

struct kf_fake_source;
struct kf_workq;

struct frames_world {
    struct seekable made;
    struct kf_workq *workq;
    struct kf_fake_source *blob;
    struct kf_source *frames;
    struct kf_err err;
};

/* So many bytes in frames of `cut`; the table is the test's to add. */
void frames_world_begin(struct frames_world *world, size_t length, size_t cut);
/* As kf_frames_open; the test ends the world whatever it gave. */
int frames_world_try(struct frames_world *world);
void frames_world_open(struct frames_world *world);
void frames_world_end(struct frames_world *world);

/* The range is read, and its bytes are right when it could be. */
int frames_world_read(struct frames_world *world, uint64_t offset, size_t length);
void frames_world_expect(struct frames_world *world, uint64_t offset, size_t length);

/* A request on its way. */
struct frames_reading {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    uint8_t *data;
    sem_t done;
    enum kf_err_kind kind;
};

void frames_reading_start(struct frames_world *world, struct frames_reading *reading,
                          uint64_t offset, size_t length, int64_t timeout_ns);
void frames_reading_done(struct kf_source_req *req, const struct kf_err *err);
/* Waits for it; the bytes are right when it gives KF_E_NONE. */
enum kf_err_kind frames_reading_end(struct frames_world *world,
                                    struct frames_reading *reading);

#endif
