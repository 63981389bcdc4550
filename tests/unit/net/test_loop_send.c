/* Requests that carry a body, and those that have none but are no GET. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http_peer.h"
#include "loop_run.h"

#define CREATED "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n"

/* A body that is made piece by piece: `script` says what `read` gives. */
static struct {
    const char *script[8]; /* NULL: the end; "": nothing yet */
    unsigned at;           /* atomic */
} maker;

/* All that the peer was sent, and the end of it that it answers. */
static struct {
    pthread_mutex_t lock;
    char text[4096];
    const char *end;
} heard = {.lock = PTHREAD_MUTEX_INITIALIZER};

TestSuite(loop_send, .init = run_set_up, .fini = run_tear_down, .timeout = 60);

static size_t on_read(struct kf_exchange *exchange, void *data, size_t size)
{
    const char *piece = maker.script[maker.at];
    size_t length = piece ? strlen(piece) : 0;

    (void)exchange;
    cr_assert_leq(length, size);
    if (!piece)
        return 0;
    (void)__atomic_add_fetch(&maker.at, 1, __ATOMIC_RELEASE);
    if (length == 0)
        return KF_HTTP_LATER;
    memcpy(data, piece, length);
    return length;
}

static void await_reads(unsigned count)
{
    while (__atomic_load_n(&maker.at, __ATOMIC_ACQUIRE) < count)
        (void)sched_yield();
}

/* Listens until the end comes, then answers 201. */
static void listen_on(void *arg, const char *request, struct kf_http_answer *ret)
{
    size_t length, end = strlen(heard.end);

    (void)arg;
    (void)pthread_mutex_lock(&heard.lock);
    length = strlen(heard.text);
    (void)snprintf(heard.text + length, sizeof(heard.text) - length, "%s", request);
    length = strlen(heard.text);
    if (length >= end && strcmp(heard.text + length - end, heard.end) == 0)
        (void)snprintf(ret->head, sizeof(ret->head), CREATED);
    (void)pthread_mutex_unlock(&heard.lock);
}

static void answer_at(const char *end)
{
    heard.end = end;
    kf_http_peer_handle(run_peer, listen_on, NULL);
}

static bool was_heard(const char *text)
{
    bool found;

    (void)pthread_mutex_lock(&heard.lock);
    found = strstr(heard.text, text) != NULL;
    (void)pthread_mutex_unlock(&heard.lock);
    return found;
}

static void init(struct run *run, enum kf_http_method method)
{
    run_init(run, kf_http_peer_port(run_peer));
    run->exchange.method = method;
    run->exchange.content_type = "application/x";
}

static void init_stream(struct run *run)
{
    init(run, KF_HTTP_PATCH);
    run->exchange.read = on_read;
    run->exchange.fresh_connection = true;
}

Test(loop_send, a_body_from_memory)
{
    static const char body[] = "one two\r\n\r\n";
    struct run run;

    answer_at(body);
    init(&run, KF_HTTP_PUT);
    run.exchange.send = body;
    run.exchange.send_length = strlen(body);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect_eq(run.exchange.status, 201);
    cr_expect(was_heard("PUT /blob HTTP/1.1\r\n"));
    cr_expect(was_heard("Content-Length: 11\r\n"));
    cr_expect(was_heard("Content-Type: application/x\r\n"));
    cr_expect_not(was_heard("Expect"));
    cr_expect_not(was_heard("chunked"));
    run_fini(&run);
}

Test(loop_send, a_body_of_no_bytes)
{
    struct run run;

    answer_at("\r\n\r\n");
    init(&run, KF_HTTP_POST);
    run.exchange.content_type = NULL;
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect(was_heard("POST /blob HTTP/1.1\r\n"));
    cr_expect(was_heard("Content-Length: 0\r\n"));
    cr_expect_not(was_heard("Content-Type"));
    run_fini(&run);
}

Test(loop_send, a_body_of_unknown_length_with_pauses)
{
    static const char *const script[] = {"abc", "", "", "de", ""};
    struct run run;

    memcpy(maker.script, script, sizeof(script));
    answer_at("0\r\n\r\n");
    init_stream(&run);
    run_submit(&run);
    for (unsigned reads = 2; reads <= 5; reads += reads == 2 ? 1 : 2) {
        await_reads(reads);
        kf_loop_resume(run_loop);
    }
    run_wait(&run);
    cr_assert_eq(run.exchange.end, KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect(was_heard("PATCH /blob HTTP/1.1\r\n"));
    cr_expect(was_heard("Transfer-Encoding: chunked\r\n"));
    cr_expect_not(was_heard("Content-Length"));
    cr_expect(was_heard("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
    run_fini(&run);
}

Test(loop_send, a_body_whose_length_is_announced)
{
    static const char *const script[] = {"abc", "", "de\r\n\r\n", "never asked"};
    struct run run;

    memcpy(maker.script, script, sizeof(script));
    answer_at("abcde\r\n\r\n");
    init_stream(&run);
    run.exchange.method = KF_HTTP_PUT;
    run.exchange.send_length = 9;
    run_submit(&run);
    await_reads(2);
    kf_loop_resume(run_loop);
    run_wait(&run);
    cr_assert_eq(run.exchange.end, KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect(was_heard("PUT /blob HTTP/1.1\r\n"));
    cr_expect(was_heard("Content-Length: 9\r\n"));
    cr_expect_not(was_heard("chunked"));
    cr_expect_not(was_heard("Expect"));
    cr_expect(was_heard("\r\n\r\nabcde\r\n"));
    cr_expect_eq(maker.at, 3);
    run_fini(&run);
}

/* Nobody may take it for the whole, so there is no answer to wait for. */
Test(loop_send, a_body_that_ends_before_its_announced_length)
{
    struct run run;

    maker.script[0] = "abc";
    answer_at("nothing");
    init_stream(&run);
    run.exchange.send_length = 5;
    run.exchange.deadline_ns = KF_NO_DEADLINE;
    cr_expect_eq(run_go(&run), KF_HTTP_BROKEN, "%d", run.exchange.end);
    cr_expect_eq(run.exchange.status, 0);
    run_fini(&run);
}

Test(loop_send, a_pause_is_no_stall)
{
    struct run run;

    kf_clock_fake(KF_NS_PER_S);
    run_reopen_loop(&(struct kf_loop_opts){.stall_ns = KF_NS_PER_S});
    maker.script[0] = "";
    answer_at("0\r\n\r\n");
    init_stream(&run);
    run.exchange.deadline_ns = KF_NO_DEADLINE;
    run_submit(&run);
    await_reads(1);
    kf_clock_fake(100 * KF_NS_PER_S);
    kf_loop_resume(run_loop);
    run_wait(&run);
    cr_expect_eq(run.exchange.end, KF_HTTP_COMPLETE, "%d", run.exchange.end);
    run_fini(&run);
    kf_clock_fake(-1);
}

Test(loop_send, an_exchange_has_a_patience_of_its_own)
{
    struct run run;

    kf_clock_fake(KF_NS_PER_S);
    run_reopen_loop(&(struct kf_loop_opts){.stall_ns = 1000 * KF_NS_PER_S});
    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    init(&run, KF_HTTP_PUT);
    run.exchange.stall_ns = KF_NS_PER_S;
    run.exchange.deadline_ns = KF_NO_DEADLINE;
    run_submit(&run);
    run_await_requests(1);
    kf_clock_fake(10 * KF_NS_PER_S);
    run_wait(&run);
    cr_expect_eq(run.exchange.end, KF_HTTP_STALLED);
    run_fini(&run);
    kf_clock_fake(-1);
}

/* Nobody resumes it: the answer does. */
Test(loop_send, a_refusal_ends_a_pause)
{
    struct run run;

    maker.script[0] = "";
    kf_http_peer_say(run_peer, "no", 2, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 401 N\r\nContent-Length: 2\r\n\r\n");
    init_stream(&run);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS, "%s", run.exchange.text);
    cr_expect_eq(run.exchange.status, 401);
    cr_expect_str_eq((const char *)run.exchange.error_body.data, "no");
    run_fini(&run);
}

Test(loop_send, a_success_before_the_end_is_none)
{
    struct run run;

    maker.script[0] = "";
    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP, CREATED);
    init_stream(&run);
    cr_assert_eq(run_go(&run), KF_HTTP_BAD);
    cr_expect_not_null(strstr(run.exchange.text, "before it had everything"));
    run_fini(&run);
}

Test(loop_send, cancelled_in_a_pause)
{
    struct run run;

    maker.script[0] = "";
    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    init_stream(&run);
    run_submit(&run);
    await_reads(1);
    kf_loop_cancel(run_loop, &run.exchange);
    run_wait(&run);
    cr_expect_eq(run.exchange.end, KF_HTTP_CANCELLED);
    run_fini(&run);
}

/* curl does not look meanwhile; it is told when there is more to send. */
Test(loop_send, the_peer_leaves_in_a_pause)
{
    struct run run;

    maker.script[0] = "";
    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_CLOSE, "%s", "");
    init_stream(&run);
    run_submit(&run);
    await_reads(1);
    run_await_requests(1);
    kf_loop_resume(run_loop);
    run_wait(&run);
    cr_expect_eq(run.exchange.end, KF_HTTP_BROKEN);
    run_fini(&run);
}

Test(loop_send, head_has_no_body_whatever_its_length)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
    init(&run, KF_HTTP_HEAD);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect_str_eq(run.exchange.fields[KF_HTTP_CONTENT_LENGTH], "1000000000000");
    cr_expect_eq(run.length, 0);
    cr_expect_eq(strncmp(kf_http_peer_request(run_peer, 0), "HEAD /blob ", 11), 0);
    run_fini(&run);
}

Test(loop_send, head_of_nothing)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 404 N\r\nContent-Length: 100\r\n\r\n");
    init(&run, KF_HTTP_HEAD);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_expect_eq(run.exchange.status, 404);
    run_fini(&run);
}

Test(loop_send, delete_has_no_body)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP, "HTTP/1.1 204 N\r\n\r\n");
    init(&run, KF_HTTP_DELETE);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "%s", run.exchange.text);
    cr_expect_eq(strncmp(kf_http_peer_request(run_peer, 0), "DELETE /blob ", 13), 0);
    cr_expect_null(strstr(kf_http_peer_request(run_peer, 0), "Content-"));
    run_fini(&run);
}
