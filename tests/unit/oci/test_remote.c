/* A source over a registry's blob, against a peer on loopback. */
#include <criterion/criterion.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "base/stats.h"
#include "base/workq.h"
#include "http_peer.h"
#include "net/retry.h"
#include "oci/origin.h"

#define SIZE ((size_t)4096)
#define WAIT_NS (30 * KF_NS_PER_S)
#define HEAD_206                               \
    "HTTP/1.1 206 P\r\nContent-Length: %u\r\n" \
    "Content-Range: bytes %u-%u/4096\r\n\r\n"
#define EMPTY "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"

static struct kf_http_peer *peer, *other; /* the registry, and where it redirects to */
static struct kf_workq *workq;
static struct kf_stats stats;
static struct kf_origin *origin;
static struct kf_source *source;
static struct kf_err err;
static char content[SIZE];
static uint8_t got[SIZE];

static void open_blob(void)
{
    struct kf_desc desc = {.size = SIZE};

    cr_assert_eq(kf_digest_of(&desc.digest, content, SIZE, &err), 0);
    source = kf_origin_blob(origin, &desc, &err);
    cr_assert_not_null(source, "%s", err.message);
}

static void set_up(void)
{
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    char text[64];

    for (size_t i = 0; i < SIZE; i++)
        content[i] = (char)(i * 7 + i / 256);
    peer = kf_http_peer_new();
    other = kf_http_peer_new();
    workq = kf_workq_new(1, &err);
    cr_assert_not_null(workq, "%s", err.message);
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u/a/b:v1", kf_http_peer_port(peer));
    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    cr_assert_eq(kf_registry_open(&origin, &ref,
                                  &(struct kf_origin_opts){.net.plain_http = true,
                                                           .workq = workq,
                                                           .stats = &stats},
                                  &err),
                 0, "%s", err.message);
    open_blob();
}

static void tear_down(void)
{
    kf_source_close(source);
    kf_origin_close(origin);
    kf_workq_free(workq);
    kf_http_peer_free(peer);
    kf_http_peer_free(other);
}

TestSuite(remote, .init = set_up, .fini = tear_down, .timeout = 60);

/* The answer to a range, of which `length` bytes come. */
static void answer(struct kf_http_peer *from, unsigned offset, unsigned asked,
                   unsigned length)
{
    kf_http_peer_say(from, content + offset, length,
                     length < asked ? KF_HTTP_THEN_CLOSE : KF_HTTP_THEN_KEEP, HEAD_206,
                     asked, offset, offset + asked - 1);
}

static void answer_redirect(void)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 307 T\r\nContent-Length: 0\r\n"
                     "Location: http://127.0.0.1:%u/there?sig=secret\r\n\r\n",
                     kf_http_peer_port(other));
}

static int read_at(unsigned offset, unsigned length)
{
    kf_err_clear(&err);
    return kf_source_read(source, got, offset, length, kf_deadline_ns(WAIT_NS), &err);
}

static void expect_read(unsigned offset, unsigned length)
{
    cr_assert_eq(read_at(offset, length), 0, "%s", err.message);
    cr_expect_arr_eq(got, content + offset, length);
}

static void expect_failure(enum kf_err_kind kind, const char *words)
{
    cr_expect_eq(read_at(0, 50), -1);
    cr_expect_eq(err.kind, kind, "%s", err.message);
    cr_expect(strstr(err.message, words), "%s", err.message);
    cr_expect_eq(strncmp(err.message, "cannot read 'sha256:", 20), 0, "%s", err.message);
    cr_expect_null(strstr(err.message, "secret"));
}

static bool asked_for(struct kf_http_peer *whom, unsigned index, const char *range)
{
    return strstr(kf_http_peer_request(whom, index), range) != NULL;
}

Test(remote, a_range_is_one_request)
{
    answer(peer, 100, 50, 50);
    cr_expect_eq(kf_http_peer_connections(peer), 0u, "opening sends nothing");
    expect_read(100, 50);
    cr_expect_eq(strncmp(kf_http_peer_request(peer, 0), "GET /v2/a/b/blobs/sha256:", 25),
                 0);
    cr_expect(asked_for(peer, 0, "\r\nRange: bytes=100-149\r\n"));
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
    cr_expect_eq(kf_stats_get(&stats, KF_STAT_FETCHED_BYTES), 50u);
}

/* What has come is not asked for again. */
Test(remote, a_cut_body_is_continued)
{
    answer(peer, 100, 50, 20);
    answer(peer, 120, 30, 10);
    answer(peer, 130, 20, 20);
    expect_read(100, 50);
    cr_expect(asked_for(peer, 1, "\r\nRange: bytes=120-149\r\n"));
    cr_expect(asked_for(peer, 2, "\r\nRange: bytes=130-149\r\n"));
    cr_expect_eq(kf_stats_get(&stats, KF_STAT_RETRIES), 2u);
}

Test(remote, a_server_that_comes_back)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_CLOSE, EMPTY, 503);
    answer(peer, 0, 50, 50);
    expect_read(0, 50);
    cr_expect_eq(kf_http_peer_requests(peer), 2u);
}

Test(remote, whole_blobs_instead_of_ranges)
{
    for (unsigned i = 0; i < 2; i++) {
        kf_http_peer_say(peer, content, SIZE, KF_HTTP_THEN_KEEP,
                         "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n");
        expect_read(2000, 50);
    }
}

Test(remote, what_was_not_there_is_not_asked_for_again)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP, EMPTY, 404);
    expect_failure(KF_E_NOTFOUND, "answers 404");
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
}

/* A rule that is broken again and again is not a matter of time. */
Test(remote, a_blob_of_another_size)
{
    for (unsigned i = 0; i < 20; i++)
        kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG,
                         "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                         "Content-Range: bytes 0-49/4095\r\n\r\n");
    expect_failure(KF_E_MALFORMED, "the blob has 4095 bytes there, not 4096");
    cr_expect_eq(kf_http_peer_requests(peer), KF_RETRY_DOUBTFUL_TRIES);
}

/* ---- redirections ---- */

Test(remote, where_a_redirection_led_is_remembered)
{
    answer_redirect();
    answer(other, 0, 50, 50);
    answer(other, 50, 50, 50);
    expect_read(0, 50);
    expect_read(50, 50);
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
    cr_expect_eq(kf_http_peer_requests(other), 2u);
    cr_expect(asked_for(other, 1, "GET /there?sig=secret "));
    cr_expect(asked_for(other, 1, "\r\nRange: bytes=50-99\r\n"));
}

Test(remote, a_redirection_that_is_refused_is_asked_for_anew)
{
    answer_redirect();
    answer(other, 0, 50, 50);
    expect_read(0, 50);
    kf_http_peer_say(other, NULL, 0, KF_HTTP_THEN_KEEP, EMPTY, 403);
    answer_redirect();
    answer(other, 50, 50, 50);
    expect_read(50, 50);
    cr_expect_eq(kf_http_peer_requests(peer), 2u);
    cr_expect_eq(kf_http_peer_requests(other), 3u);
}

Test(remote, a_redirection_that_is_always_refused)
{
    for (unsigned i = 0; i < 4; i++) {
        answer_redirect();
        kf_http_peer_say(other, NULL, 0, KF_HTTP_THEN_KEEP, EMPTY, 403);
    }
    expect_failure(KF_E_REFUSED, "answers 403");
    cr_expect_eq(kf_http_peer_requests(peer), 2u, "anew, but once");
    cr_expect_eq(kf_http_peer_requests(other), 2u);
}

Test(remote, a_redirection_to_no_place)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 302 F\r\nContent-Length: 0\r\n"
                     "Location: ftp://secret/\r\n\r\n");
    expect_failure(KF_E_REFUSED, "a redirection by '127.0.0.1:");
}

/* ---- the request's own end ---- */

struct request {
    struct kf_source_req req;
    struct kf_sink sink;
    struct kf_err result;
    sem_t done;
};

static int refuse(struct kf_sink *sink, const uint8_t *data, size_t length,
                  struct kf_err *ret)
{
    return -1;
}

static void on_done(struct kf_source_req *req, const struct kf_err *failure)
{
    struct request *request = kf_container_of(req, struct request, req);

    if (failure)
        request->result = *failure;
    (void)sem_post(&request->done); /* cannot overflow */
}

static void begin(struct request *request, int64_t deadline_ns)
{
    request->sink.write = refuse;
    cr_assert_eq(sem_init(&request->done, 0, 0), 0);
    request->req.length = 50;
    request->req.sink = &request->sink;
    request->req.deadline_ns = deadline_ns;
    request->req.done = on_done;
    kf_source_submit(source, &request->req);
}

static void expect_end(struct request *request, enum kf_err_kind kind)
{
    (void)sem_wait(&request->done); /* the suite's time is limited */
    cr_expect_eq(request->result.kind, kind, "%s", request->result.message);
    (void)sem_destroy(&request->done); /* nobody waits */
}

Test(remote, cancelled)
{
    struct request request = {0};

    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    begin(&request, kf_deadline_ns(WAIT_NS));
    while (kf_http_peer_requests(peer) == 0)
        (void)sched_yield();
    kf_source_cancel(source, &request.req);
    expect_end(&request, KF_E_CANCELLED);
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
}

Test(remote, stopped_by_its_sink)
{
    struct request request = {0};

    answer(peer, 0, 50, 50);
    begin(&request, kf_deadline_ns(WAIT_NS));
    expect_end(&request, KF_E_CANCELLED);
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
}

Test(remote, too_late_already)
{
    struct request request = {0};

    begin(&request, kf_deadline_ns(0));
    expect_end(&request, KF_E_TIMEOUT);
    cr_expect_eq(kf_http_peer_requests(peer), 0u);
}

Test(remote, outside_of_the_blob)
{
    cr_expect_eq(read_at(SIZE - 10, 11), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect_eq(kf_http_peer_requests(peer), 0u);
}

/* What came before was damaged, and so may be what it came over. */
Test(remote, a_fresh_request_has_its_own_connection)
{
    struct request request = {0};

    answer(peer, 0, 50, 50);
    answer(peer, 0, 50, 50);
    answer(peer, 0, 50, 50);
    expect_read(0, 50);
    expect_read(0, 50);
    cr_expect_eq(kf_http_peer_connections(peer), 1u);
    request.req.fresh = true;
    begin(&request, kf_deadline_ns(WAIT_NS));
    expect_end(&request, KF_E_CANCELLED);
    cr_expect_eq(kf_http_peer_connections(peer), 2u);
}

/* Requests keep the source, and the source keeps the registry. */
Test(remote, closed_in_any_order)
{
    struct request request = {0};

    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    begin(&request, kf_deadline_ns(WAIT_NS));
    kf_origin_close(origin);
    origin = NULL;
    kf_source_cancel(source, &request.req);
    expect_end(&request, KF_E_CANCELLED);
}
