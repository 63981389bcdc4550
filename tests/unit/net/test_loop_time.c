/* Stalls, deadlines and turns to come, by a clock that moves when it is told to. */
#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_peer.h"
#include "loop_run.h"

#define STALL_NS (5 * KF_NS_PER_S) /* the loop's defaults */
#define STALL_BACKGROUND_NS (30 * KF_NS_PER_S)
#define CONNECT_NS (5 * KF_NS_PER_S)

static int64_t now_ns = KF_NS_PER_S;

static void set_up(void)
{
    kf_clock_fake(now_ns);
    run_set_up();
}

static void tear_down(void)
{
    run_tear_down();
    kf_clock_fake(-1);
}

TestSuite(loop_time, .init = set_up, .fini = tear_down, .timeout = 60);

/* An exchange that is late from the beginning: when it has ended, the loop has looked at
 * all the others, too. It reads on the loop's thread what has come for one of them. */
struct look {
    struct run run;
    const struct kf_exchange *watched; /* may be NULL */
    uint64_t received;
};

static void on_looked(struct kf_exchange *exchange)
{
    struct look *look = kf_container_of(exchange, struct look, run.exchange);

    if (look->watched)
        look->received = look->watched->received;
    (void)sem_post(&look->run.ended); /* cannot overflow */
}

static uint64_t look_at(const struct run *watched)
{
    struct look look = {.received = 0};

    run_init(&look.run, kf_http_peer_port(run_peer));
    look.watched = watched ? &watched->exchange : NULL;
    look.run.exchange.ended = on_looked;
    look.run.exchange.deadline_ns = 0;
    cr_assert_eq(run_go(&look.run), KF_HTTP_DEADLINE);
    run_fini(&look.run);
    return look.received;
}

static void await_bytes(const struct run *run, uint64_t count)
{
    while (look_at(run) < count)
        (void)sched_yield();
}

static void advance(int64_t span_ns)
{
    now_ns += span_ns;
    kf_clock_fake(now_ns);
    (void)look_at(NULL);
}

/* That it ends as `end` when so much time has passed, and not a nanosecond earlier. */
static void expect_end_after(struct run *run, int64_t span_ns, enum kf_http_end end)
{
    advance(span_ns - 1);
    cr_assert_neq(sem_trywait(&run->ended), 0, "it ends too early");
    advance(1);
    run_wait(run);
    cr_assert_eq(run->exchange.end, end);
}

/* Begins an exchange that is never answered, or not to the end; no deadline. */
static void begin(struct run *run, enum kf_urgency urgency, const char *body,
                  const char *head)
{
    kf_http_peer_say(run_peer, body, body ? strlen(body) : 0, KF_HTTP_THEN_HANG, "%s",
                     head);
    run_range(run, 0, 50);
    run->exchange.urgency = urgency;
    run->exchange.deadline_ns = KF_NO_DEADLINE;
    run_submit(run);
}

Test(loop_time, silence_before_the_head)
{
    static const struct {
        enum kf_urgency urgency;
        int64_t patience_ns;
    } cases[] = {{KF_DEMAND, STALL_NS},
                 {KF_READAHEAD, STALL_BACKGROUND_NS},
                 {KF_PREFETCH, STALL_BACKGROUND_NS}};

    for (unsigned i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct run run;

        begin(&run, cases[i].urgency, NULL, "");
        run_await_requests(i + 1);
        expect_end_after(&run, cases[i].patience_ns, KF_HTTP_STALLED);
        run_fini(&run);
    }
}

Test(loop_time, silence_in_the_body)
{
    struct run run;

    begin(&run, KF_DEMAND, "twenty of the fifty.", RUN_HEAD_50);
    await_bytes(&run, 20);
    expect_end_after(&run, STALL_NS, KF_HTTP_STALLED);
    cr_assert_eq(run.exchange.delivered, 20u);
    cr_assert_eq(memcmp(run.data, "twenty of the fifty.", 20), 0);
    run_fini(&run);
}

Test(loop_time, a_status_counts_though_its_text_stalls)
{
    struct run run;

    begin(&run, KF_DEMAND, "never", "HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\n");
    await_bytes(&run, 5);
    expect_end_after(&run, STALL_NS, KF_HTTP_STATUS);
    cr_assert_eq(run.exchange.status, 403);
    cr_assert_str_eq((char *)run.exchange.error_body.data, "never");
    run_fini(&run);
}

Test(loop_time, a_deadline_under_way)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    run_range(&run, 0, 50);
    run.exchange.deadline_ns = kf_deadline_ns(KF_NS_PER_S);
    run_submit(&run);
    run_await_requests(1);
    expect_end_after(&run, KF_NS_PER_S, KF_HTTP_DEADLINE);
    run_fini(&run);
}

Test(loop_time, a_deadline_before_its_turn)
{
    struct run run;

    run_range(&run, 0, 50);
    run.exchange.not_before_ns = kf_deadline_ns(2 * KF_NS_PER_S);
    run.exchange.deadline_ns = kf_deadline_ns(KF_NS_PER_S);
    run_submit(&run);
    expect_end_after(&run, KF_NS_PER_S, KF_HTTP_DEADLINE);
    cr_assert_eq(kf_http_peer_requests(run_peer), 0u);
    run_fini(&run);
}

Test(loop_time, not_before_its_time)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_range(&run, 0, 50);
    run.exchange.not_before_ns = kf_deadline_ns(KF_NS_PER_S);
    run_submit(&run);
    advance(KF_NS_PER_S - 1);
    cr_assert_eq(kf_http_peer_connections(run_peer), 0u);
    advance(1);
    run_wait(&run);
    cr_assert_eq(run.exchange.end, KF_HTTP_COMPLETE);
    run_fini(&run);
}

/* Waiting for a turn is neither a slow connect nor a stall. */
Test(loop_time, a_turn_may_be_long_in_coming)
{
    struct run first, second;

    run_reopen_loop(&(struct kf_loop_opts){.connections = 1});
    begin(&first, KF_PREFETCH, NULL, "");
    run_await_requests(1);
    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_range(&second, 0, 50);
    run_submit(&second);
    advance(CONNECT_NS + STALL_NS + 1);
    cr_assert_neq(sem_trywait(&second.ended), 0);
    kf_loop_cancel(run_loop, &first.exchange);
    run_wait(&first);
    run_wait(&second);
    cr_assert_eq(second.exchange.end, KF_HTTP_COMPLETE);
    run_fini(&first);
    run_fini(&second);
}
