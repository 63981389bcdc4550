#include <criterion/criterion.h>
#include <semaphore.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/source.h"
#include "fake_source.h"

static struct kf_workq *workq;
static struct kf_fake_source *fake;
static uint8_t content[1000];

static void init(void)
{
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 31);
    workq = kf_workq_new(2, NULL);
    fake = kf_fake_source_new(workq, content, sizeof(content));
}

static void fini(void)
{
    kf_source_close(&fake->source);
    kf_workq_free(workq);
}

TestSuite(source, .init = init, .fini = fini, .timeout = 60);

/* A request with its sink; `ended` is posted by `done`. */
struct request {
    struct kf_source_req req;
    struct kf_sink_memory sink;
    uint8_t data[1000];
    sem_t ended;
    struct kf_err err;
    int done_count;
};

static void on_done(struct kf_source_req *req, const struct kf_err *err)
{
    struct request *request = kf_container_of(req, struct request, req);

    request->done_count++;
    if (err)
        request->err = *err;
    sem_post(&request->ended);
}

static void submit(struct request *request, uint64_t offset, uint64_t length)
{
    memset(request, 0, sizeof(*request));
    sem_init(&request->ended, 0, 0);
    kf_sink_memory_init(&request->sink, request->data, sizeof(request->data));
    request->req = (struct kf_source_req){.offset = offset,
                                          .length = length,
                                          .sink = &request->sink.sink,
                                          .urgency = KF_READAHEAD,
                                          .deadline_ns = 77,
                                          .done = on_done};
    kf_source_submit(&fake->source, &request->req);
}

static enum kf_err_kind wait_end(struct request *request)
{
    sem_wait(&request->ended);
    return request->err.kind;
}

Test(source, bytes_of_a_range_arrive)
{
    struct request request;

    cr_assert_eq(kf_source_size(&fake->source), 1000);
    submit(&request, 10, 990);
    cr_assert_eq(wait_end(&request), KF_E_NONE);
    cr_assert_eq(request.sink.length, 990);
    cr_assert_eq(memcmp(request.data, content + 10, 990), 0);
    cr_assert_eq(request.done_count, 1);
}

Test(source, a_range_outside_ends_as_a_bad_argument)
{
    static const struct {
        uint64_t offset, length;
    } bad[] = {{0, 0},          {0, 1001},       {1000, 1},      {1001, 1},
               {UINT64_MAX, 1}, {UINT64_MAX, 2}, {1, UINT64_MAX}};
    struct request request;

    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        submit(&request, bad[i].offset, bad[i].length);
        cr_assert_eq(wait_end(&request), KF_E_ARG);
        cr_assert_not_null(strstr(request.err.message, "'fake'"));
    }
    cr_assert_eq(kf_fake_source_requests(fake), 0);
}

Test(source, a_request_keeps_its_source)
{
    struct request request;

    kf_source_ref(&fake->source); /* what fini closes */
    kf_fake_source_hold(fake, true);
    submit(&request, 0, 1);
    cr_assert_eq(__atomic_load_n(&fake->source.refs, __ATOMIC_RELAXED), 3);
    kf_source_close(&fake->source);
    kf_fake_source_hold(fake, false);
    cr_assert_eq(wait_end(&request), KF_E_NONE);
    kf_source_close(NULL);
}

Test(source, read_gives_bytes_or_the_error)
{
    uint8_t data[100];
    struct kf_err err;

    cr_assert_eq(kf_source_read(&fake->source, data, 5, 100, KF_NO_DEADLINE, &err), 0);
    cr_assert_eq(memcmp(data, content + 5, 100), 0);
    cr_assert_eq(kf_source_read(&fake->source, data, 5, 0, KF_NO_DEADLINE, &err), 0);
    cr_assert_eq(kf_source_read(&fake->source, data, 901, 100, KF_NO_DEADLINE, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    kf_fake_source_fail(fake, 1, KF_E_REFUSED, 0);
    cr_assert_eq(kf_source_read(&fake->source, data, 0, 10, KF_NO_DEADLINE, &err), -1);
    cr_assert_eq(err.kind, KF_E_REFUSED);
    kf_fake_source_fail(fake, 1, KF_E_REFUSED, 0);
    cr_assert_eq(kf_source_read(&fake->source, data, 0, 10, KF_NO_DEADLINE, NULL), -1);
}

Test(source, read_cancels_when_its_deadline_passed)
{
    uint8_t data[10];
    struct kf_err err;

    kf_clock_fake(100 * KF_NS_PER_S);
    kf_fake_source_hold(fake, true);
    cr_assert_eq(kf_source_read(&fake->source, data, 0, 10, 90 * KF_NS_PER_S, &err), -1);
    cr_assert_eq(err.kind, KF_E_TIMEOUT);
    cr_assert_not_null(strstr(err.message, "'fake'"));
    cr_assert_eq(kf_fake_source_cancelled(fake), 1);
}

/* --- the fake itself: others rely on it --- */

Test(source, fake_counts_and_keeps_ranges)
{
    struct kf_fake_range range;
    struct request request;

    for (uint64_t i = 0; i < 200; i++) {
        submit(&request, i, 3);
        wait_end(&request);
    }
    cr_assert_eq(kf_fake_source_requests(fake), 200);
    cr_assert_eq(kf_fake_source_bytes(fake), 600);
    cr_assert(kf_fake_source_range(fake, 199, &range));
    cr_assert_eq(range.offset, 199);
    cr_assert_eq(range.length, 3);
    cr_assert_eq(range.urgency, KF_READAHEAD);
    cr_assert_eq(range.deadline_ns, 77);
    cr_assert_not(kf_fake_source_range(fake, 200, &range));
    cr_assert(kf_fake_source_wait(fake, 200));
}

Test(source, fake_holds_and_releases_in_order)
{
    struct request requests[4];

    kf_fake_source_hold(fake, true);
    for (uint64_t i = 0; i < 4; i++)
        submit(&requests[i], i, 1);
    cr_assert(kf_fake_source_wait(fake, 4));
    cr_assert_eq(kf_fake_source_waiting(fake), 4);
    cr_assert_eq(kf_fake_source_release(fake, 2), 2);
    cr_assert_eq(wait_end(&requests[0]), KF_E_NONE);
    cr_assert_eq(wait_end(&requests[1]), KF_E_NONE);
    cr_assert_eq(kf_fake_source_waiting(fake), 2);
    cr_assert_eq(requests[2].done_count, 0);
    cr_assert_eq(kf_fake_source_bytes(fake), 2);
    cr_assert_eq(kf_fake_source_release(fake, 9), 2);
    wait_end(&requests[2]);
    wait_end(&requests[3]);
    submit(&requests[0], 0, 1);
    cr_assert_eq(kf_fake_source_waiting(fake), 1);
    kf_fake_source_hold(fake, false);
    cr_assert_eq(wait_end(&requests[0]), KF_E_NONE);
}

Test(source, fake_fails_the_nth)
{
    struct request request;

    kf_fake_source_fail(fake, 2, KF_E_UNREACHABLE, 5);
    submit(&request, 0, 10);
    cr_assert_eq(wait_end(&request), KF_E_NONE);
    submit(&request, 0, 10);
    cr_assert_eq(wait_end(&request), KF_E_UNREACHABLE);
    cr_assert_eq(request.sink.length, 5);
    submit(&request, 0, 10);
    cr_assert_eq(wait_end(&request), KF_E_NONE);

    kf_fake_source_fail(fake, 0, KF_E_TIMEOUT, 0);
    for (int i = 0; i < 3; i++) {
        submit(&request, 0, 10);
        cr_assert_eq(wait_end(&request), KF_E_TIMEOUT);
        cr_assert_eq(request.sink.length, 0);
    }
    kf_fake_source_fail(fake, 0, KF_E_NONE, 0);
    submit(&request, 0, 10);
    cr_assert_eq(wait_end(&request), KF_E_NONE);
}

Test(source, fake_flips_a_byte_so_often)
{
    struct request request;

    kf_fake_source_flip(fake, 15, 1);
    kf_fake_source_pieces(fake, 4);
    submit(&request, 0, 15);
    wait_end(&request);
    cr_assert_eq(memcmp(request.data, content, 15), 0);
    submit(&request, 10, 10);
    cr_assert_eq(wait_end(&request), KF_E_NONE);
    cr_assert_eq(request.data[5], content[15] ^ 0xff);
    request.data[5] ^= 0xff;
    cr_assert_eq(memcmp(request.data, content + 10, 10), 0);
    submit(&request, 10, 10);
    wait_end(&request);
    cr_assert_eq(request.data[5], content[15]);
}

struct piece_sink {
    struct kf_sink sink;
    size_t lengths[10];
    int count;
    int stop_at; /* -1: never */
    bool explain;
};

static int write_piece(struct kf_sink *sink, const uint8_t *data, size_t length,
                       struct kf_err *err)
{
    struct piece_sink *pieces = kf_container_of(sink, struct piece_sink, sink);

    (void)data;
    if (pieces->count == pieces->stop_at)
        return pieces->explain ? kf_fail(err, KF_E_MALFORMED, "no") : -1;
    pieces->lengths[pieces->count++] = length;
    return 0;
}

static enum kf_err_kind read_pieces(struct piece_sink *pieces)
{
    struct request request = {
        .req = {.length = 10, .sink = &pieces->sink, .done = on_done}};

    sem_init(&request.ended, 0, 0);
    kf_source_submit(&fake->source, &request.req);
    return wait_end(&request);
}

Test(source, fake_delivers_in_pieces_until_the_sink_stops_it)
{
    struct piece_sink pieces = {.sink = {write_piece}, .stop_at = -1};

    kf_fake_source_pieces(fake, 4);
    cr_assert_eq(read_pieces(&pieces), KF_E_NONE);
    cr_assert_eq(pieces.count, 3);
    cr_assert_eq(pieces.lengths[0], 4);
    cr_assert_eq(pieces.lengths[2], 2);
    pieces = (struct piece_sink){.sink = {write_piece}, .stop_at = 1};
    cr_assert_eq(read_pieces(&pieces), KF_E_CANCELLED);
    cr_assert_eq(pieces.count, 1);
    pieces = (struct piece_sink){.sink = {write_piece}, .stop_at = 1, .explain = true};
    cr_assert_eq(read_pieces(&pieces), KF_E_MALFORMED);
}

Test(source, a_held_request_is_cancelled_once)
{
    struct request request;

    kf_fake_source_hold(fake, true);
    submit(&request, 0, 10);
    kf_source_cancel(&fake->source, &request.req);
    kf_source_cancel(&fake->source, &request.req);
    cr_assert_eq(wait_end(&request), KF_E_CANCELLED);
    cr_assert_eq(request.sink.length, 0);
    cr_assert_eq(request.done_count, 1);
    cr_assert_eq(kf_fake_source_cancelled(fake), 1);
}
