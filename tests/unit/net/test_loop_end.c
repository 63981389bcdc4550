/* Exchanges that someone stops, the order of those that wait, and the end of the loop. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "http_peer.h"
#include "loop_run.h"

TestSuite(loop_end, .init = run_set_up, .fini = run_tear_down, .timeout = 60);

Test(loop_end, a_writer_that_says_no)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_range(&run, 0, 50);
    run.refuse_at = 1;
    cr_assert_eq(run_go(&run), KF_HTTP_STOPPED);
    cr_assert_eq(run.exchange.delivered, 0u);
    run_fini(&run);
}

/* curl quotes a proxy that it does not understand, password and all. */
Test(loop_end, what_curl_says_about_a_proxy_with_a_password)
{
    static const char *const proxies[] = {"gopher://user:secret@h", "user:secret@h:1:1",
                                          "http://user:secret@h:99999"};

    for (size_t i = 0; i < 3; i++) {
        struct run run;

        run_reopen_loop(&(struct kf_loop_opts){.proxy = proxies[i]});
        run_range(&run, 0, 50);
        cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
        cr_assert(run.exchange.text[0]);
        cr_assert_not(strstr(run.exchange.text, "secret"), "%s", run.exchange.text);
        run_fini(&run);
    }
}

Test(loop_end, cancelled_under_way)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    run_range(&run, 0, 50);
    run.exchange.urgency = KF_PREFETCH;
    run_submit(&run);
    run_await_requests(1);
    kf_loop_cancel(run_loop, &run.exchange);
    run_wait(&run);
    cr_assert_eq(run.exchange.end, KF_HTTP_CANCELLED);
    /* And stays so: who cancels need not know whether it is just being tried again. */
    cr_assert_eq(run_go(&run), KF_HTTP_CANCELLED);
    cr_assert_eq(kf_http_peer_requests(run_peer), 1u);
    run_fini(&run);
}

Test(loop_end, cancelled_before_its_turn)
{
    struct run run;

    run_range(&run, 0, 50);
    run.exchange.not_before_ns = kf_deadline_ns(RUN_WAIT_S * KF_NS_PER_S);
    run_submit(&run);
    kf_loop_cancel(run_loop, &run.exchange);
    run_wait(&run);
    cr_assert_eq(run.exchange.end, KF_HTTP_CANCELLED);
    run_fini(&run);
}

Test(loop_end, an_answer_does_not_survive_into_the_next)
{
    struct run run;

    kf_http_peer_say(run_peer, "text", 4, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 503 Later\r\nContent-Length: 4\r\nRetry-After: 7\r\n"
                     "Location: /x\r\n\r\n");
    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    cr_assert_eq(run.exchange.retry_after_ns, 0);
    cr_assert_eq(run.exchange.error_body.length, 0u);
    cr_assert_null(run.exchange.fields[KF_HTTP_LOCATION]);
    run_fini(&run);
}

Test(loop_end, more_than_there_are_connections)
{
    static struct run runs[6];

    run_reopen_loop(&(struct kf_loop_opts){.connections = 2});
    for (unsigned i = 0; i < 6; i++)
        kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    for (unsigned i = 0; i < 6; i++) {
        run_range(&runs[i], 0, 50);
        run_submit(&runs[i]);
    }
    for (unsigned i = 0; i < 6; i++) {
        run_wait(&runs[i]);
        cr_expect_eq(runs[i].exchange.end, KF_HTTP_COMPLETE);
        run_fini(&runs[i]);
    }
    cr_assert_leq(kf_http_peer_connections(run_peer), 2u);
}

Test(loop_end, as_many_connections_as_there_may_be)
{
    struct run run;

    run_reopen_loop(&(struct kf_loop_opts){.connections = 1000000,
                                           .ca_file = "/nonexistent",
                                           .client_cert = "/nonexistent",
                                           .client_key = "/nonexistent"});
    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE, "certificates are for https");
    run_fini(&run);
}

Test(loop_end, what_is_urgent_goes_first)
{
    static const enum kf_urgency urgencies[] = {KF_PREFETCH, KF_READAHEAD, KF_DEMAND};
    struct run first, runs[3];

    run_reopen_loop(&(struct kf_loop_opts){.connections = 1});
    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    for (unsigned i = 0; i < 3; i++)
        kf_http_peer_say(run_peer, run_resource + i, 1, KF_HTTP_THEN_KEEP,
                         "HTTP/1.1 206 P\r\nContent-Length: 1\r\n"
                         "Content-Range: bytes %u-%u/4096\r\n\r\n",
                         2 - i, 2 - i);
    run_range(&first, 0, 50);
    run_submit(&first);
    run_await_requests(1);
    for (unsigned i = 0; i < 3; i++) {
        run_range(&runs[i], i, 1);
        runs[i].exchange.urgency = urgencies[i];
        run_submit(&runs[i]);
    }
    kf_loop_cancel(run_loop, &first.exchange);
    run_wait(&first);
    for (unsigned i = 0; i < 3; i++) {
        run_wait(&runs[i]);
        cr_expect_eq(runs[i].exchange.end, KF_HTTP_COMPLETE, "not in order of urgency");
        run_fini(&runs[i]);
    }
    run_fini(&first);
}

Test(loop_end, the_end_of_the_loop_ends_all)
{
    struct run under_way, waiting;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    run_range(&under_way, 0, 50);
    run_range(&waiting, 0, 50);
    under_way.exchange.urgency = KF_PREFETCH;
    waiting.exchange.not_before_ns = kf_deadline_ns(RUN_WAIT_S * KF_NS_PER_S);
    run_submit(&under_way);
    run_submit(&waiting);
    kf_loop_free(run_loop);
    run_loop = NULL;
    cr_assert_eq(sem_trywait(&under_way.ended), 0);
    cr_assert_eq(sem_trywait(&waiting.ended), 0);
    cr_assert_eq(under_way.exchange.end, KF_HTTP_CANCELLED);
    cr_assert_eq(waiting.exchange.end, KF_HTTP_CANCELLED);
    run_fini(&under_way);
    run_fini(&waiting);
}
