/*
 * The stream of a seekable blob under threads: ranges at once, of every urgency, with
 * deadlines near and far, cancelled at any moment, over a source that fails or is damaged
 * now and then. Every request ends exactly once; bytes that come are the right ones; in
 * the end nothing is in hand. Usage: stress_frames [--rounds N] [--seed N]
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/source.h"
#include "base/workq.h"
#include "fake_source.h"
#include "layer/frame.h"
#include "layer/frames.h"
#include "layer/seektab.h"
#include "rounds.h"

#define READERS 4u
#define READS 40u
#define FRAMES 24u
#define FRAME_BYTES ((size_t)400000)
#define LONGEST ((size_t)1 << 20)

struct blob {
    uint8_t *stream;
    size_t length;
    struct kf_buf stored;
    size_t table; /* where it begins */
};

struct reader {
    const struct blob *blob;
    struct kf_source *frames;
    struct kf_fake_source *fake;
    unsigned seed;
    pthread_t thread;
};

struct reading {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned ended;
    enum kf_err_kind kind;
};

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "FAILED: %s\n", what); /* nobody else to tell */
    abort();
}

static void make_blob(struct blob *blob, unsigned seed)
{
    struct kf_seek_entry entries[FRAMES];
    uint8_t *frame = malloc(kf_frame_bound(FRAME_BYTES));

    blob->stream = malloc(FRAMES * FRAME_BYTES);
    kf_buf_init(&blob->stored, FRAMES * kf_frame_bound(FRAME_BYTES));
    expect(frame && blob->stream, "there is memory");
    for (size_t i = 0; i < FRAMES * FRAME_BYTES; i++)
        blob->stream[i] = (uint8_t)(i * 13 + (i >> 9));
    for (unsigned i = 0; i < FRAMES; i++) {
        size_t length = 1 + (size_t)rand_r(&seed) % (i % 2 ? FRAME_BYTES : 1000), got;

        got = kf_frame_store(blob->stream + blob->length, length, frame);
        entries[i] = (struct kf_seek_entry){(uint32_t)got, (uint32_t)length};
        blob->length += length;
        expect(kf_buf_append(&blob->stored, frame, got, NULL) == 0, "a frame fits");
    }
    blob->table = blob->stored.length;
    expect(kf_seektab_encode(entries, FRAMES, &blob->stored, NULL) == 0, "a table fits");
    free(frame);
}

static void reading_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct reading *reading = kf_container_of(req, struct reading, req);

    (void)pthread_mutex_lock(&reading->lock);
    reading->ended++;
    reading->kind = err ? err->kind : KF_E_NONE;
    (void)pthread_cond_signal(&reading->cond);
    (void)pthread_mutex_unlock(&reading->lock);
}

static void disturb(struct reader *reader)
{
    unsigned dice = (unsigned)rand_r(&reader->seed) % 16;

    if (dice == 0)
        kf_fake_source_fail(reader->fake, 1, KF_E_UNREACHABLE, 1000);
    else if (dice == 1)
        kf_fake_source_flip(reader->fake,
                            (uint64_t)rand_r(&reader->seed) % reader->blob->table, 1);
}

static void read_once(struct reader *reader, uint8_t *buffer)
{
    unsigned dice = (unsigned)rand_r(&reader->seed);
    struct reading reading = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .cond = PTHREAD_COND_INITIALIZER};
    size_t length = 1 + (size_t)rand_r(&reader->seed) % (dice % 2 ? LONGEST : 5000);
    uint64_t offset = (uint64_t)rand_r(&reader->seed) % reader->blob->length;

    length = kf_min_u64(length, reader->blob->length - offset);
    kf_sink_memory_init(&reading.sink, buffer, length);
    reading.req = (struct kf_source_req){
        .offset = offset,
        .length = length,
        .sink = &reading.sink.sink,
        .urgency = dice / 2 % KF_URGENCY_COUNT,
        .deadline_ns = kf_deadline_ns(dice / 8 % 8 == 0 ? 0 : 60 * KF_NS_PER_S),
        .done = reading_done,
    };
    disturb(reader);
    kf_source_submit(reader->frames, &reading.req);
    if (dice / 64 % 4 == 0)
        for (unsigned i = 0; i < dice / 256 % 64; i++)
            (void)sched_yield();
    (void)pthread_mutex_lock(&reading.lock);
    if (dice / 64 % 4 == 0 && reading.ended == 0)
        kf_source_cancel(reader->frames, &reading.req);
    while (reading.ended == 0)
        (void)pthread_cond_wait(&reading.cond, &reading.lock);
    (void)pthread_mutex_unlock(&reading.lock);
    expect(reading.ended == 1, "a request ends once");
    if (reading.kind == KF_E_NONE)
        expect(memcmp(buffer, reader->blob->stream + offset, length) == 0, "right bytes");
}

static void *read_much(void *arg)
{
    uint8_t *buffer = malloc(LONGEST);

    expect(buffer, "there is memory");
    for (unsigned i = 0; i < READS; i++)
        read_once(arg, buffer);
    free(buffer);
    return NULL;
}

static void run_round(unsigned seed)
{
    struct blob blob = {0};
    struct kf_workq *workq = kf_workq_new(3, NULL);
    struct kf_fake_source *fake;
    struct kf_source *frames;
    struct reader readers[READERS];
    uint8_t *table;

    make_blob(&blob, seed);
    table = malloc(blob.stored.length - blob.table);
    expect(workq && table, "there is memory");
    memcpy(table, blob.stored.data + blob.table, blob.stored.length - blob.table);
    fake = kf_fake_source_new(workq, blob.stored.data, blob.stored.length);
    expect(kf_frames_open(&frames, &fake->source, workq, table,
                          blob.stored.length - blob.table, NULL) == 0,
           "it can be opened");
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){
            .blob = &blob, .frames = frames, .fake = fake, .seed = seed + i};
        expect(pthread_create(&readers[i].thread, NULL, read_much, &readers[i]) == 0,
               "a thread starts");
    }
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL);
    kf_source_close(frames);
    kf_source_close(&fake->source);
    kf_workq_free(workq);
    expect(kf_frames_in_hand() == 0, "nothing is in hand");
    kf_buf_fini(&blob.stored);
    free(blob.stream);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u\n", seed);
    for (unsigned i = 0; i < rounds; i++)
        run_round(seed + i * READERS);
    return 0;
}
