/* A blob, or a part of it, in order. */
#include "layer/blob_stream.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/workq.h"
#include "fake_source.h"

#define MIB ((size_t)1 << 20)
#define SIZE (21 * MIB + 77)
#define TIMEOUT (10 * KF_NS_PER_S)

struct taking {
    struct kf_workq *workq;
    struct kf_fake_source *fake;
    uint8_t *data;
    uint64_t next, end; /* what must come */
    uint64_t fail_at;
    bool stopped; /* atomic */
    struct kf_err err;
};

static void begin(struct taking *taking)
{
    *taking = (struct taking){
        .workq = kf_workq_new(2, NULL), .data = malloc(SIZE), .fail_at = UINT64_MAX};
    cr_assert_not_null(taking->data);
    for (size_t i = 0; i < SIZE; i++)
        taking->data[i] = (uint8_t)(i * 31 + (i >> 13));
    taking->fake = kf_fake_source_new(taking->workq, taking->data, SIZE);
}

static void end(struct taking *taking)
{
    kf_source_close(&taking->fake->source);
    kf_workq_free(taking->workq);
    free(taking->data);
}

static int take(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct taking *taking = arg;

    cr_assert_leq(length, taking->end - taking->next);
    cr_assert_eq(memcmp(data, taking->data + taking->next, length), 0);
    taking->next += length;
    return taking->next < taking->fail_at ? 0 : kf_fail(err, KF_E_IO, "enough");
}

static int stop_when_told(void *arg, struct kf_err *err)
{
    const struct taking *taking = arg;

    return __atomic_load_n(&taking->stopped, __ATOMIC_RELAXED)
               ? kf_fail(err, KF_E_CANCELLED, "told to")
               : 0;
}

static int stream(struct taking *taking, uint64_t offset, uint64_t length)
{
    const struct kf_blob_stream stream = {.source = &taking->fake->source,
                                          .offset = offset,
                                          .length = length,
                                          .timeout_ns = TIMEOUT,
                                          .take = take,
                                          .idle = stop_when_told,
                                          .arg = taking};

    taking->next = offset;
    taking->end = length > 0 ? offset + length : SIZE;
    return kf_blob_stream(&stream, &taking->err);
}

Test(blob_stream, parts)
{
    static const uint64_t parts[][2] = {{0, 0},       {0, 1},
                                        {5, 4 * MIB}, {SIZE - 1, 1},
                                        {SIZE, 0},    {MIB + 1, SIZE - MIB - 1}};
    uint64_t bytes = 0;
    struct taking taking;

    begin(&taking);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        cr_assert_eq(stream(&taking, parts[i][0], parts[i][1]), 0);
        cr_assert_eq(taking.next, taking.end);
        bytes += taking.end - parts[i][0];
    }
    cr_assert_eq(kf_fake_source_bytes(taking.fake), bytes, "nothing is fetched besides");
    end(&taking);
}

Test(blob_stream, failures)
{
    struct taking taking;

    begin(&taking);
    kf_fake_source_fail(taking.fake, 3, KF_E_UNREACHABLE, 100);
    cr_assert_eq(stream(&taking, 0, SIZE), -1);
    cr_assert_eq(taking.err.kind, KF_E_UNREACHABLE);
    cr_assert_gt(taking.next, 0, "what came before");
    cr_assert_lt(taking.next, SIZE);
    taking.fail_at = 4 * MIB;
    cr_assert_eq(stream(&taking, 0, SIZE), -1);
    cr_assert_str_eq(taking.err.message, "enough");
    cr_assert_lt(taking.next, 9 * MIB);
    end(&taking);
}

static void *stop_it(void *arg)
{
    struct taking *taking = arg;

    cr_assert(kf_fake_source_wait(taking->fake, 4));
    __atomic_store_n(&taking->stopped, true, __ATOMIC_RELAXED);
    return NULL;
}

Test(blob_stream, stopped_while_nothing_comes, .timeout = 10)
{
    struct taking taking;
    pthread_t thread;

    begin(&taking);
    kf_fake_source_hold(taking.fake, true);
    cr_assert_eq(pthread_create(&thread, NULL, stop_it, &taking), 0);
    cr_assert_eq(stream(&taking, 0, SIZE), -1);
    cr_assert_eq(taking.err.kind, KF_E_CANCELLED);
    cr_assert_eq(taking.next, 0);
    cr_assert_eq(kf_fake_source_cancelled(taking.fake), 4);
    (void)pthread_join(thread, NULL);
    end(&taking);
}
