/* Ranges that are right, and ranges that end early. */
#include <criterion/criterion.h>
#include <curl/curl.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_peer.h"
#include "loop_run.h"

TestSuite(loop_range, .init = run_set_up, .fini = run_tear_down, .timeout = 60);

/* ---- ranges that are right ---- */

Test(loop_range, exact_range)
{
    struct run run;
    const char *request;

    kf_http_peer_say(run_peer, run_resource + 100, 50, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 100-149/4096\r\n\r\n");
    run_expect_range(&run, 100, 50);
    cr_assert_eq(run.exchange.status, 206);
    cr_assert_not(run.exchange.range_ignored);
    request = kf_http_peer_request(run_peer, 0);
    cr_assert_eq(strncmp(request, "GET /blob HTTP/1.1\r\n", 20), 0);
    cr_expect(strstr(request, "\r\nRange: bytes=100-149\r\n"));
    cr_expect(strstr(request, "\r\nAccept-Encoding: identity\r\n"));
    cr_expect(strstr(request, "\r\nUser-Agent: kitfs\r\n"));
    cr_expect_null(strstr(request, "If-None-Match"));
    run_fini(&run);
}

Test(loop_range, range_from_200_with_its_content_range)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource + 100, 50, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 100-149/4096\r\n\r\n");
    run_expect_range(&run, 100, 50);
    cr_assert_not(run.exchange.range_ignored);
    run_fini(&run);
}

Test(loop_range, range_out_of_the_whole)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, RUN_TOTAL, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", RUN_TOTAL);
    run_expect_range(&run, 1000, 50);
    cr_assert(run.exchange.range_ignored);
    run_fini(&run);
}

/* Nothing is taken at first; what comes later begins with the same byte. */
static int hold_first(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct run *run = kf_container_of(exchange, struct run, exchange);

    if (exchange->hold_until_ns == 0) {
        exchange->hold_until_ns = kf_deadline_ns(50 * KF_NS_PER_MS);
        return KF_HTTP_HOLD;
    }
    cr_assert_leq(exchange->hold_until_ns, kf_now_ns());
    memcpy(run->data + run->length, data, length);
    run->length += length;
    return 0;
}

Test(loop_range, whole_that_is_kept_and_held)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, RUN_TOTAL, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", RUN_TOTAL);
    run_range(&run, 1000, 50);
    run.exchange.keep_whole = true;
    run.exchange.write = hold_first;
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    cr_assert(run.exchange.range_ignored);
    cr_assert_eq(run.exchange.received, RUN_TOTAL, "held bytes are counted once");
    run_expect_bytes(&run, 0, RUN_TOTAL);
    run_fini(&run);
}

static int hold_then_stop(struct kf_exchange *exchange, const uint8_t *data,
                          size_t length)
{
    (void)data;
    (void)length;
    if (exchange->hold_until_ns > 0)
        return -1;
    exchange->hold_until_ns = kf_deadline_ns(50 * KF_NS_PER_MS);
    return KF_HTTP_HOLD;
}

Test(loop_range, held_and_then_stopped)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, RUN_TOTAL, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", RUN_TOTAL);
    run_range(&run, 1000, 50);
    run.exchange.keep_whole = true;
    run.exchange.write = hold_then_stop;
    cr_assert_eq(run_go(&run), KF_HTTP_STOPPED, "it goes on without its reader");
    run_fini(&run);
}

Test(loop_range, range_whose_end_only_closing_would_tell)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 206 P\r\n"
                     "Content-Range: bytes 0-49/4096\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "it waits for the end");
    run_expect_bytes(&run, 0, 50);
    run_fini(&run);
}

Test(loop_range, range_in_chunks)
{
    for (unsigned i = 0; i < 2; i++) {
        struct run run;

        kf_http_peer_say(run_peer, "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", 20,
                         KF_HTTP_THEN_KEEP,
                         "HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\n"
                         "Content-Range: bytes 0-4/4096\r\n\r\n");
        run_range(&run, 0, 5);
        cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
        cr_assert_eq(memcmp(run.data, "abcde", 5), 0);
        run_fini(&run);
    }
    cr_assert_eq(kf_http_peer_connections(run_peer), 1u, "it reads to the last chunk");
}

Test(loop_range, more_than_asked_is_dropped)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 90, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 206 P\r\nContent-Length: 90\r\n"
                     "Content-Range: bytes 0-49/4096\r\n\r\n");
    run_expect_range(&run, 0, 50);
    run_fini(&run);
}

Test(loop_range, interim_answers_are_skipped)
{
    struct run run;

    kf_http_peer_say(
        run_peer, run_resource, 50, KF_HTTP_THEN_KEEP,
        "HTTP/1.1 103 Early Hints\r\nContent-Range: bytes 5-6/7\r\n\r\n" RUN_HEAD_50);
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    run_fini(&run);
}

Test(loop_range, connections_are_used_again)
{
    for (unsigned i = 0; i < 3; i++) {
        struct run run;

        kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
        run_range(&run, 0, 50);
        cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
        run_fini(&run);
    }
    cr_assert_eq(kf_http_peer_connections(run_peer), 1);
}

Test(loop_range, a_fresh_connection_on_request)
{
    for (unsigned i = 0; i < 2; i++) {
        struct run run;

        kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
        run_range(&run, 0, 50);
        run.exchange.fresh_connection = true;
        cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
        run_fini(&run);
    }
    cr_assert_eq(kf_http_peer_connections(run_peer), 2);
}

/* ---- ranges that end early ---- */

static void expect_partial(size_t length)
{
    struct run run;

    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    cr_expect_eq(run.exchange.curl_code, CURLE_PARTIAL_FILE);
    run_expect_bytes(&run, 0, length);
    cr_expect_neq(run.exchange.text[0], '\0');
    run_fini(&run);
}

Test(loop_range, body_cut)
{
    kf_http_peer_say(run_peer, run_resource, 20, KF_HTTP_THEN_CLOSE, RUN_HEAD_50);
    expect_partial(20);
}

Test(loop_range, body_of_no_length_cut)
{
    kf_http_peer_say(run_peer, run_resource, 20, KF_HTTP_THEN_CLOSE,
                     "HTTP/1.1 206 P\r\n"
                     "Content-Range: bytes 0-49/4096\r\n\r\n");
    expect_partial(20);
}

Test(loop_range, shorter_range_than_asked)
{
    kf_http_peer_say(run_peer, run_resource, 20, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 206 P\r\nContent-Length: 20\r\n"
                     "Content-Range: bytes 0-19/4096\r\n\r\n");
    expect_partial(20);
}

Test(loop_range, shorter_range_with_a_longer_body)
{
    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 0-19/4096\r\n\r\n");
    expect_partial(20);
}

Test(loop_range, nothing_but_a_reset)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_RESET, "%s", "");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    cr_assert_eq(run.exchange.status, 0);
    run_fini(&run);
}

Test(loop_range, nobody_listens)
{
    struct kf_http_peer *gone = kf_http_peer_new();
    unsigned port = kf_http_peer_port(gone);
    struct run run;

    kf_http_peer_free(gone);
    run_init(&run, port);
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    cr_assert_eq(run.exchange.curl_code, CURLE_COULDNT_CONNECT);
    run_fini(&run);
}
