/*
 * Many readers of one layer without random access: ranges anywhere in its unpacked
 * stream, cancelled, late, against a source that fails now and then, and a stop in the
 * middle. Every request must end once, with the right bytes or a reason.
 *
 *     stress_stream [--rounds N] [--seed S]
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sink.h"
#include "fake_source.h"
#include "layer/sequential.h"
#include "rounds.h"

#define SIZE ((size_t)6 << 20)
#define MOST ((size_t)200 << 10)
#define READERS 4
#define STEPS 12

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "stress_stream: %s\n", what);
    abort();
}

static unsigned draw(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

struct reader {
    struct kf_source *source;
    const uint8_t *stream;
    unsigned seed;
    pthread_t thread;
};

struct request {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    pthread_mutex_t lock;
    bool done; /* lock */
    struct kf_err err;
    sem_t ended;
    uint8_t data[MOST];
};

static void ended(struct kf_source_req *req, const struct kf_err *err)
{
    struct request *request = kf_container_of(req, struct request, req);

    (void)pthread_mutex_lock(&request->lock);
    expect(!request->done, "a request ends twice");
    request->done = true;
    request->err.kind = err ? err->kind : KF_E_NONE;
    (void)pthread_mutex_unlock(&request->lock);
    (void)sem_post(&request->ended);
}

static void cancel(struct reader *reader, struct request *request)
{
    (void)pthread_mutex_lock(&request->lock);
    if (!request->done)
        kf_source_cancel(reader->source, &request->req);
    (void)pthread_mutex_unlock(&request->lock);
}

static void check(const struct reader *reader, const struct request *request)
{
    const struct kf_source_req *req = &request->req;

    if (request->err.kind != KF_E_NONE) {
        expect(request->err.kind == KF_E_CANCELLED || request->err.kind == KF_E_TIMEOUT ||
                   request->err.kind == KF_E_UNREACHABLE,
               "a request ends for no reason of ours");
        return;
    }
    expect(request->sink.length == req->length, "too few bytes");
    expect(memcmp(request->data, reader->stream + req->offset, req->length) == 0,
           "wrong bytes");
}

static void *read_along(void *arg)
{
    struct reader *reader = arg;
    struct request *request = calloc(1, sizeof(*request));

    expect(request != NULL, "no memory");
    (void)pthread_mutex_init(&request->lock, NULL);
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t offset = draw(&reader->seed, SIZE - 1);
        size_t length = 1 + draw(&reader->seed, MOST);

        request->done = false;
        (void)sem_init(&request->ended, 0, 0);
        kf_sink_memory_init(&request->sink, request->data, MOST);
        request->req = (struct kf_source_req){
            .offset = offset,
            .length = kf_min_u64(length, SIZE - offset),
            .sink = &request->sink.sink,
            .deadline_ns = draw(&reader->seed, 8) == 0 ? kf_deadline_ns(KF_NS_PER_MS)
                                                       : kf_deadline_ns(60 * KF_NS_PER_S),
            .done = ended};
        kf_source_submit(reader->source, &request->req);
        if (draw(&reader->seed, 4) == 0)
            cancel(reader, request);
        while (sem_wait(&request->ended) != 0)
            ;
        (void)sem_destroy(&request->ended);
        check(reader, request);
    }
    (void)pthread_mutex_destroy(&request->lock);
    free(request);
    return NULL;
}

static void run_round(const uint8_t *stream, const uint8_t *blob, size_t blob_length,
                      unsigned *seed)
{
    struct kf_workq *workq = kf_workq_new(2, NULL);
    struct kf_fake_source *fake = kf_fake_source_new(workq, blob, blob_length);
    const struct kf_sequential_opts opts = {.stored = &fake->source,
                                            .packing = KF_LAYER_ZSTD,
                                            .size = SIZE,
                                            .workq = workq,
                                            .timeout_ns = 10 * KF_NS_PER_S};
    struct kf_source *source = kf_sequential_new(&opts, NULL);
    struct reader readers[READERS];

    expect(source != NULL, "no source");
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){source, stream, draw(seed, 1u << 30), 0};
        expect(pthread_create(&readers[i].thread, NULL, read_along, &readers[i]) == 0,
               "no thread");
    }
    if (draw(seed, 2) == 0)
        kf_fake_source_fail(fake, 1 + draw(seed, 20), KF_E_UNREACHABLE, draw(seed, 1000));
    if (draw(seed, 3) == 0) {
        (void)nanosleep(&(struct timespec){.tv_nsec = draw(seed, 20) * KF_NS_PER_MS},
                        NULL);
        kf_sequential_stop(source);
    }
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL);
    kf_sequential_stop(source);
    kf_source_close(source);
    kf_source_close(&fake->source);
    kf_workq_free(workq);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;
    uint8_t *stream = malloc(SIZE), *blob = malloc(ZSTD_compressBound(SIZE));
    size_t length;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u\n", seed);
    expect(stream && blob, "no memory");
    for (size_t i = 0; i < SIZE; i++)
        stream[i] = (uint8_t)(i * UINT64_C(0x9e3779b97f4a7c15) >> 40);
    length = ZSTD_compress(blob, ZSTD_compressBound(SIZE), stream, SIZE, 1);
    expect(!ZSTD_isError(length), "cannot pack");
    for (unsigned i = 0; i < rounds; i++)
        run_round(stream, blob, length, &seed);
    free(stream);
    free(blob);
    return 0;
}
