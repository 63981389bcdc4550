#include "frames_world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fake_source.h"
#include "layer/frames.h"

int frames_world_try(struct frames_world *world)
{
    size_t at = seekable_table(&world->made), length = world->made.blob.length - at;
    uint8_t *table = malloc(length);
    int rc;

    world->workq = kf_workq_new(2, NULL);
    world->blob =
        kf_fake_source_new(world->workq, world->made.blob.data, world->made.blob.length);
    memcpy(table, world->made.blob.data + at, length);
    rc = kf_frames_open(&world->frames, &world->blob->source, world->workq, table, length,
                        &world->err);
    if (rc != 0)
        free(table);
    return rc;
}

void frames_world_open(struct frames_world *world)
{
    cr_assert_eq(frames_world_try(world), 0, "%s", world->err.message);
    cr_assert_eq(kf_source_size(world->frames), world->made.stream.length);
}

void frames_world_end(struct frames_world *world)
{
    kf_source_close(world->frames);
    kf_source_close(&world->blob->source);
    kf_workq_free(world->workq);
    seekable_fini(&world->made);
    cr_assert_eq(kf_frames_in_hand(), 0);
}

void frames_world_begin(struct frames_world *world, size_t length, size_t cut)
{
    uint8_t *data = seekable_pattern(length, 1);

    memset(world, 0, sizeof(*world));
    seekable_init(&world->made);
    seekable_add_all(&world->made, data, length, cut);
    free(data);
}

int frames_world_read(struct frames_world *world, uint64_t offset, size_t length)
{
    uint8_t *data = malloc(length);
    int rc = kf_source_read(world->frames, data, offset, length,
                            kf_deadline_ns(20 * KF_NS_PER_S), &world->err);

    if (rc == 0)
        cr_assert_arr_eq(data, world->made.stream.data + offset, length);
    free(data);
    return rc;
}

void frames_world_expect(struct frames_world *world, uint64_t offset, size_t length)
{
    cr_assert_eq(frames_world_read(world, offset, length), 0, "%zu bytes at %llu: %s",
                 length, (unsigned long long)offset, world->err.message);
}

void frames_reading_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct frames_reading *reading = kf_container_of(req, struct frames_reading, req);

    reading->kind = err ? err->kind : KF_E_NONE;
    (void)sem_post(&reading->done);
}

void frames_reading_start(struct frames_world *world, struct frames_reading *reading,
                          uint64_t offset, size_t length, int64_t timeout_ns)
{
    *reading = (struct frames_reading){.data = malloc(length)};
    kf_sink_memory_init(&reading->sink, reading->data, length);
    reading->req = (struct kf_source_req){.offset = offset,
                                          .length = length,
                                          .sink = &reading->sink.sink,
                                          .urgency = KF_READAHEAD,
                                          .deadline_ns = kf_deadline_ns(timeout_ns),
                                          .done = frames_reading_done};
    (void)sem_init(&reading->done, 0, 0);
    kf_source_submit(world->frames, &reading->req);
}

enum kf_err_kind frames_reading_end(struct frames_world *world,
                                    struct frames_reading *reading)
{
    while (sem_wait(&reading->done) != 0)
        ;
    if (reading->kind == KF_E_NONE)
        cr_assert_arr_eq(reading->data, world->made.stream.data + reading->req.offset,
                         reading->req.length);
    (void)sem_destroy(&reading->done);
    free(reading->data);
    return reading->kind;
}
