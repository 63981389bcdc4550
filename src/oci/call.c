#include "oci/call.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"
#include "net/loop.h"
#include "net/retry.h"
#include "oci/registry.h"

#define CALL_TRIES 4u
#define CALL_TIMEOUT_NS (30 * KF_NS_PER_S)
#define ASK_NS (100 * KF_NS_PER_MS)

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct kf_call *call = kf_container_of(exchange, struct kf_call, exchange);

    return kf_buf_append(call->body, data, length, &call->write_err);
}

static void on_ended(struct kf_exchange *exchange)
{
    struct kf_call *call = kf_container_of(exchange, struct kf_call, exchange);

    (void)pthread_mutex_lock(&call->lock);
    call->ended = true;
    (void)pthread_cond_signal(&call->cond);
    (void)pthread_mutex_unlock(&call->lock);
}

/* The loop bounds it by the exchange's deadline. Where somebody may say stop, he is asked
 * now and then: what sees it may be a signal handler, which cannot wake us. */
static void wait_ended(struct kf_call *call)
{
    struct kf_registry *registry = call->registry;
    int64_t ask_ns = call->stoppable && registry->stopped ? ASK_NS : 0;

    (void)pthread_mutex_lock(&call->lock);
    while (!call->ended) {
        if (kf_cond_wait_until(&call->cond, &call->lock,
                               ask_ns > 0 ? kf_deadline_ns(ask_ns) : KF_NO_DEADLINE) == 0)
            continue;
        (void)pthread_mutex_unlock(&call->lock);
        if (registry->stopped(registry->stopped_arg)) {
            kf_loop_cancel(registry->loop, &call->exchange);
            ask_ns = 0;
        }
        (void)pthread_mutex_lock(&call->lock);
    }
    (void)pthread_mutex_unlock(&call->lock);
}

static void run_once(struct kf_call *call)
{
    bool home = kf_hops_is_home(&call->hops);

    kf_buf_clear(call->body);
    call->exchange.url = call->hops.url;
    call->exchange.origin = call->hops.origin;
    call->exchange.accept = home ? call->accept : NULL;
    call->exchange.if_none_match = home ? call->if_none_match : NULL;
    kf_endpoint_prepare(call->endpoint, &call->exchange);
    kf_auth_prepare(&call->auth, call->endpoint->auth, &call->exchange);
    call->ended = false;
    kf_loop_submit(call->registry->loop, &call->exchange);
    wait_ended(call);
}

/* 1: run again; 0: this answer is the last; -1: failed. */
static int after(struct kf_call *call, unsigned *failures, struct kf_err *err)
{
    struct kf_exchange *exchange = &call->exchange;
    struct kf_retry_verdict verdict;
    struct kf_retry_case failure;

    exchange->not_before_ns = 0;
    exchange->again = false;
    if (call->registry->answered)
        call->registry->answered(call->registry->answered_arg, call);
    if (kf_auth_again(&call->auth, exchange))
        return 1;
    if (exchange->end == KF_HTTP_COMPLETE ||
        (exchange->end == KF_HTTP_STATUS && exchange->status == 304 &&
         exchange->if_none_match))
        return 0;
    if (kf_hops_is_redirect(exchange))
        return kf_hops_follow(&call->hops, exchange, err) == 0 ? 1 : -1;
    if (exchange->end == KF_HTTP_STOPPED) {
        if (err)
            *err = call->write_err;
        return -1;
    }
    kf_registry_case(&failure, exchange, &call->hops, (*failures)++);
    failure.max_tries = call->max_tries;
    verdict = kf_retry_decide(&failure);
    (void)kf_registry_fail(&call->last, verdict.kind, exchange, call->hops.origin);
    kf_auth_explain(&call->auth, exchange, &call->last);
    if (verdict.action == KF_RETRY_GIVE_UP) {
        if (err)
            *err = call->last;
        return -1;
    }
    kf_stats_add(call->registry->opts.stats, KF_STAT_RETRIES, 1);
    exchange->not_before_ns = kf_deadline_ns(verdict.delay_ns);
    exchange->fresh_connection = verdict.fresh_connection;
    exchange->again = true;
    if (verdict.action == KF_RETRY_RESOLVE)
        return kf_hops_restart(&call->hops, err) == 0 ? 1 : -1;
    return 1;
}

int kf_call_init(struct kf_call *call, struct kf_registry *registry, char *url,
                 int64_t deadline_ns, struct kf_buf *body, struct kf_err *err)
{
    *call = (struct kf_call){.max_tries = CALL_TRIES,
                             .stoppable = true,
                             .endpoint = &registry->upstream,
                             .registry = registry,
                             .body = body};
    kf_http_init(&call->exchange);
    call->exchange.body_limit = body->limit;
    call->exchange.urgency = KF_DEMAND;
    call->exchange.deadline_ns = deadline_ns;
    call->exchange.write = on_write;
    call->exchange.ended = on_ended;
    (void)pthread_mutex_init(&call->lock, NULL); /* default attributes: cannot fail */
    (void)kf_cond_init(&call->cond);
    return kf_hops_init(&call->hops, url, err);
}

void kf_call_fini(struct kf_call *call)
{
    kf_hops_fini(&call->hops);
    kf_http_fini(&call->exchange);
    kf_auth_use_fini(&call->auth);
    (void)pthread_cond_destroy(&call->cond);
    (void)pthread_mutex_destroy(&call->lock);
}

int kf_call_run(struct kf_call *call, struct kf_err *err)
{
    unsigned failures = 0;
    int rc;

    do {
        run_once(call);
        rc = after(call, &failures, err);
    } while (rc == 1);
    return rc;
}

int64_t kf_call_deadline(const struct kf_registry *registry)
{
    int64_t timeout_ns = registry->opts.timeout_ns;

    return kf_deadline_ns(timeout_ns > 0 ? timeout_ns : CALL_TIMEOUT_NS);
}
