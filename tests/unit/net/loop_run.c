#include "loop_run.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http_peer.h"
#include "net/url.h"

struct kf_http_peer *run_peer;
struct kf_loop *run_loop;
char run_resource[RUN_TOTAL];
static struct kf_err err;

void run_set_up(void)
{
    for (size_t i = 0; i < RUN_TOTAL; i++)
        run_resource[i] = (char)(i * 7 + i / 256);
    run_peer = kf_http_peer_new();
    run_reopen_loop(&(struct kf_loop_opts){0});
}

void run_tear_down(void)
{
    kf_loop_free(run_loop);
    kf_http_peer_free(run_peer);
}

void run_reopen_loop(const struct kf_loop_opts *opts)
{
    kf_loop_free(run_loop);
    cr_assert_eq(kf_loop_new(&run_loop, opts, &err), 0, "%s", err.message);
}

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct run *run = kf_container_of(exchange, struct run, exchange);

    if (run->refuse_at > 0 && run->length + length >= run->refuse_at)
        return -1;
    cr_assert_leq(length, sizeof(run->data) - run->length);
    memcpy(run->data + run->length, data, length);
    run->length += length;
    return 0;
}

static void on_ended(struct kf_exchange *exchange)
{
    struct run *run = kf_container_of(exchange, struct run, exchange);

    (void)sem_post(&run->ended); /* cannot overflow: once a submit */
}

void run_init(struct run *run, unsigned port)
{
    *run = (struct run){0};
    cr_assert_eq(sem_init(&run->ended, 0, 0), 0);
    kf_http_init(&run->exchange);
    (void)snprintf(run->url, sizeof(run->url), "http://127.0.0.1:%u/blob", port);
    cr_assert_eq(kf_url_origin(&run->origin, run->url, &err), 0);
    run->exchange.url = run->url;
    run->exchange.origin = run->origin;
    run->exchange.body_limit = RUN_TOTAL;
    run->exchange.deadline_ns = kf_deadline_ns(RUN_WAIT_S * KF_NS_PER_S);
    run->exchange.write = on_write;
    run->exchange.ended = on_ended;
}

void run_range(struct run *run, uint64_t offset, uint64_t length)
{
    run_init(run, kf_http_peer_port(run_peer));
    run->exchange.ranged = true;
    run->exchange.offset = offset;
    run->exchange.length = length;
    run->exchange.total = RUN_TOTAL;
}

void run_fini(struct run *run)
{
    kf_http_fini(&run->exchange);
    free(run->origin);
    (void)sem_destroy(&run->ended); /* nobody waits */
}

void run_submit(struct run *run)
{
    kf_loop_submit(run_loop, &run->exchange);
}

void run_wait(struct run *run)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until); /* a clock that exists */
    until.tv_sec += RUN_WAIT_S;
    cr_assert_eq(sem_timedwait(&run->ended, &until), 0, "it never ends");
}

enum kf_http_end run_go(struct run *run)
{
    run_submit(run);
    run_wait(run);
    return run->exchange.end;
}

void run_await_requests(unsigned count)
{
    while (kf_http_peer_requests(run_peer) < count)
        (void)sched_yield();
}

void run_expect_bytes(const struct run *run, size_t offset, size_t length)
{
    cr_expect_eq(run->length, length);
    cr_expect_eq(run->exchange.delivered, length);
    cr_expect_arr_eq(run->data, run_resource + offset, length);
}

void run_expect_range(struct run *run, uint64_t offset, uint64_t length)
{
    run_range(run, offset, length);
    cr_assert_eq(run_go(run), KF_HTTP_COMPLETE);
    run_expect_bytes(run, offset, length);
}
