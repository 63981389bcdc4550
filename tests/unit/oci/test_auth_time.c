/* Logging in: what takes time, and many at once. */
#include <criterion/criterion.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_world.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/source.h"
#include "http_peer.h"
#include "oci/origin.h"
#include "oci/token.h"

TestSuite(auth_time, .init = auth_set_up, .fini = auth_tear_down, .timeout = 60);

/* ---- requests under way ---- */

struct request {
    struct kf_source_req req;
    struct kf_sink sink;
    struct kf_err result;
    uint8_t got[50];
    sem_t done;
};

static int write_got(struct kf_sink *sink, const uint8_t *data, size_t length,
                     struct kf_err *ret)
{
    struct request *request = kf_container_of(sink, struct request, sink);

    memcpy(request->got, data, length < 50 ? length : 50);
    return 0;
}

static void on_done(struct kf_source_req *req, const struct kf_err *failure)
{
    struct request *request = kf_container_of(req, struct request, req);

    if (failure)
        request->result = *failure;
    (void)sem_post(&request->done); /* cannot overflow */
}

static void begin(struct request *request, uint64_t offset, int64_t deadline_ns)
{
    *request = (struct request){0};
    request->sink.write = write_got;
    cr_assert_eq(sem_init(&request->done, 0, 0), 0);
    request->req.offset = offset;
    request->req.length = 50;
    request->req.sink = &request->sink;
    request->req.deadline_ns = deadline_ns;
    request->req.done = on_done;
    kf_source_submit(auth_source, &request->req);
}

static void expect_end(struct request *request, enum kf_err_kind kind)
{
    (void)sem_wait(&request->done); /* the suite's time is limited */
    cr_expect_eq(request->result.kind, kind, "%s", request->result.message);
    (void)sem_destroy(&request->done); /* nobody waits */
}

/* ---- time ---- */

Test(auth_time, renewed_beside_the_requests_when_four_fifths_are_over)
{
    unsigned requests;

    auth_is.more = ",\"expires_in\":100";
    kf_clock_fake(AUTH_START_NS);
    auth_open(NULL);
    auth_expect_read();
    kf_clock_fake(AUTH_START_NS + 79 * KF_NS_PER_S);
    auth_expect_read();
    auth_expect_requests(3, 1);
    auth_is.useless = true; /* the old one stays good */
    kf_clock_fake(AUTH_START_NS + 81 * KF_NS_PER_S);
    auth_expect_read();
    auth_expect_in(auth_registry, 3, "\r\nAuthorization: Bearer t1\r\n");
    auth_await_tokens(2);
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer t2");
    auth_expect_read(); /* by the new one: it has come */
    requests = kf_http_peer_requests(auth_registry);
    kf_clock_fake(AUTH_START_NS + 101 * KF_NS_PER_S);
    auth_expect_read();
    auth_expect_requests(requests + 1, 2);
    auth_expect_in(auth_registry, requests, "\r\nAuthorization: Bearer t2\r\n");
}

Test(auth_time, a_token_that_is_over_is_not_sent)
{
    auth_open(NULL);
    kf_clock_fake(AUTH_START_NS);
    auth_expect_read();
    kf_clock_fake(AUTH_START_NS + KF_TOKEN_LIFETIME_NS);
    auth_expect_read();
    auth_expect_requests(3, 2);
    auth_expect_in(auth_registry, 2, "\r\nAuthorization: Bearer t2\r\n");
}

/* What failed just before may make it wait. */
static void expect_read_as_time_goes_by(int64_t now_ns)
{
    struct request request;

    kf_clock_fake(now_ns);
    begin(&request, 100, kf_deadline_ns(AUTH_WAIT_NS));
    while (sem_trywait(&request.done) != 0) {
        kf_clock_fake(now_ns += 10 * KF_NS_PER_MS);
        (void)poll(NULL, 0, 1); /* no faster, or the request is too late */
    }
    cr_assert_eq(request.result.kind, KF_E_NONE, "%s", request.result.message);
    cr_expect_arr_eq(request.got, auth_content + 100, sizeof(request.got));
    (void)sem_destroy(&request.done); /* nobody waits */
}

/* The old token serves as long as it is good, and a service that is not well is not
 * asked on and on. */
static void expect_old_one(int status, int64_t well_s)
{
    auth_is.more = ",\"expires_in\":100";
    kf_clock_fake(AUTH_START_NS);
    auth_open(NULL);
    auth_expect_read();
    auth_is.status = status;
    for (unsigned i = 0; i < 5; i++) {
        kf_clock_fake(AUTH_START_NS + (81 + i) * KF_NS_PER_S);
        auth_expect_read();
        auth_await_tokens(2);
    }
    cr_expect_leq(kf_http_peer_requests(auth_tokens), 7u);
    auth_is.status = 0;
    expect_read_as_time_goes_by(AUTH_START_NS + well_s * KF_NS_PER_S);
}

Test(auth_time, a_renewal_that_fails_while_the_token_is_good)
{
    expect_old_one(503, 105);
}

Test(auth_time, a_renewal_that_is_refused_while_the_token_is_good)
{
    expect_old_one(401, 112);
    cr_expect_eq(kf_http_peer_requests(auth_tokens), 3u, "a refusal is remembered");
}

/* ---- many, and their ends ---- */

Test(auth_time, sixty_four_first_reads_are_one_question)
{
    static struct request requests[64];

    auth_known.username = auth_known.password = "x";
    auth_open(&auth_creds);
    for (unsigned i = 0; i < 64; i++)
        begin(&requests[i], i * 60, kf_deadline_ns(AUTH_WAIT_NS));
    for (unsigned i = 0; i < 64; i++) {
        expect_end(&requests[i], KF_E_NONE);
        cr_expect_arr_eq(requests[i].got, auth_content + (size_t)i * 60, 50);
    }
    cr_expect_eq(kf_http_peer_requests(auth_tokens), 1u);
    cr_expect_eq(auth_finds, 1u);
    cr_expect_leq(kf_http_peer_requests(auth_registry), 128u);
}

Test(auth_time, sixty_four_reads_when_a_token_ends_are_one_question)
{
    static struct request requests[64];

    auth_open(NULL);
    auth_expect_read();
    auth_is.takes[0] = '\0';
    for (unsigned i = 0; i < 64; i++)
        begin(&requests[i], i * 60, kf_deadline_ns(AUTH_WAIT_NS));
    for (unsigned i = 0; i < 64; i++)
        expect_end(&requests[i], KF_E_NONE);
    cr_expect_eq(kf_http_peer_requests(auth_tokens), 2u);
}

Test(auth_time, cancelled_while_it_waits)
{
    struct request request;

    auth_is.hangs = true;
    auth_open(NULL);
    begin(&request, 0, kf_deadline_ns(AUTH_WAIT_NS));
    auth_await_tokens(1);
    kf_source_cancel(auth_source, &request.req);
    expect_end(&request, KF_E_CANCELLED);
    auth_expect_requests(1, 1);
}

Test(auth_time, too_late_while_it_waits)
{
    struct request request;

    auth_is.hangs = true;
    auth_open(NULL);
    begin(&request, 0, kf_deadline_ns(300 * KF_NS_PER_MS));
    expect_end(&request, KF_E_TIMEOUT);
    cr_expect(strstr(request.result.message, "no token for '127.0.0.1:"), "%s",
              request.result.message);
    auth_expect_requests(1, 1);
}

/* The request keeps all that it needs. */
Test(auth_time, closed_while_one_waits)
{
    struct request request;

    auth_is.hangs = true;
    auth_open(NULL);
    begin(&request, 0, kf_deadline_ns(300 * KF_NS_PER_MS));
    auth_await_tokens(1);
    kf_source_close(auth_source);
    kf_origin_close(auth_origin);
    auth_source = NULL;
    auth_origin = NULL;
    expect_end(&request, KF_E_TIMEOUT);
}
