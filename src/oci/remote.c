/*
 * A source over a blob of a registry. A request is one transfer: a chain of exchanges on
 * the network thread, each asking for what is still missing, until all of it came, the
 * deadline passed or retrying is given up. Bytes go straight to the sink; its end is told
 * on the work queue.
 *
 * A host may answer a range with all of a large blob. That transfer then carries the
 * blob for everybody: from its first byte on, to the requests whose bytes it comes to,
 * and it is held while nobody wants what comes next. What lies behind it goes as ever. It
 * ends with the blob, when it breaks, or when nobody asked for a while; then the next
 * request asks for its range again.
 *
 * Where redirections led is remembered for the blob and used until it is refused, so that
 * a read costs one request and not two.
 */
#include "oci/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"

/* More of them, and it is not the connection. */
#define REPLACE_LIMIT 3u

/* A mirror that sends all of a blob where a range was asked for is left for another, and
 * the last host carries it for all, but for blobs of this size, of which that is no
 * matter. */
#define WHOLE_BYTES (8u << 20)

static struct kf_remote *remote_of(struct kf_source *source)
{
    return kf_container_of(source, struct kf_remote, source);
}

static struct kf_stats *stats_of(const struct kf_remote *remote)
{
    return remote->registry->opts.stats;
}

/* ---- the end ----------------------------------------------------------------------- */

void kf_transfer_release(struct kf_transfer *transfer)
{
    if (__atomic_sub_fetch(&transfer->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kf_hops_fini(&transfer->hops);
    kf_http_fini(&transfer->exchange);
    kf_auth_use_fini(&transfer->auth);
    free(transfer);
}

static void run_done(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct kf_transfer *transfer = req->priv;
    struct kf_source *source = req->source;
    struct kf_err result = req->result; /* `done` may free the request */

    req->done(req, result.kind == KF_E_NONE ? NULL : &result);
    /* Not sooner: a cancel may come while `done` waits for its owner's lock. */
    if (transfer)
        kf_transfer_release(transfer);
    kf_source_close(source);
}

void kf_remote_finish(struct kf_remote *remote, struct kf_source_req *req)
{
    req->job.run = run_done;
    kf_workq_submit(remote->registry->opts.workq, &req->job, req->urgency);
}

static void finish_failed(struct kf_transfer *transfer, const struct kf_err *err)
{
    transfer->req->result = *err;
    kf_way_explain(&transfer->way, &transfer->req->result);
    (void)kf_fail_wrap(&transfer->req->result, "cannot read '%s'",
                       transfer->remote->source.name); /* the record is the result */
    kf_remote_finish(transfer->remote, transfer->req);
}

/* ---- redirections ------------------------------------------------------------------ */

static void remember_target(struct kf_transfer *transfer, const char *url)
{
    struct kf_remote *remote = transfer->remote;
    char **target = &remote->targets[transfer->way.index];
    char *copy = url ? strdup(url) : NULL; /* no memory: the next one asks again */

    (void)pthread_mutex_lock(&remote->lock);
    free(*target);
    *target = copy;
    (void)pthread_mutex_unlock(&remote->lock);
}

static char *copy_target(const struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;
    const char *target;
    char *copy;

    (void)pthread_mutex_lock(&remote->lock);
    target = remote->targets[transfer->way.index];
    copy = target ? strdup(target) : NULL;
    (void)pthread_mutex_unlock(&remote->lock);
    return copy;
}

static bool is_target(const struct kf_transfer *transfer, const char *url)
{
    struct kf_remote *remote = transfer->remote;
    const char *target;
    bool same;

    (void)pthread_mutex_lock(&remote->lock);
    target = remote->targets[transfer->way.index];
    same = target && strcmp(target, url) == 0;
    (void)pthread_mutex_unlock(&remote->lock);
    return same;
}

/* ---- exchanges --------------------------------------------------------------------- */

static void submit_exchange(struct kf_transfer *transfer, int64_t delay_ns)
{
    struct kf_exchange *exchange = &transfer->exchange;
    struct kf_source_req *req = transfer->req;

    exchange->url = transfer->hops.url;
    exchange->origin = transfer->hops.origin;
    exchange->offset = req->offset + transfer->reached;
    exchange->length = req->length - transfer->reached;
    exchange->not_before_ns = delay_ns > 0 ? kf_deadline_ns(delay_ns) : 0;
    exchange->deadline_ns = req->deadline_ns;
    exchange->replace_slow = transfer->replaced < REPLACE_LIMIT;
    exchange->refuse_whole = !transfer->way.is_last && exchange->total > WHOLE_BYTES;
    exchange->keep_whole =
        exchange->total > WHOLE_BYTES && !kf_carry_goes_beside(transfer);
    kf_endpoint_prepare(transfer->way.endpoint, exchange);
    kf_auth_prepare(&transfer->auth, transfer->way.endpoint->auth, exchange);
    kf_stats_add(stats_of(transfer->remote), KF_STAT_FETCH_REQUESTS, 1);
    kf_loop_submit(transfer->remote->registry->loop, exchange);
}

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct kf_transfer *transfer =
        kf_container_of(exchange, struct kf_transfer, exchange);
    struct kf_source_req *req = transfer->req;

    if (exchange->keep_whole && exchange->range_ignored) /* `req` may be gone */
        return kf_carry_bytes(transfer, data, length);
    return req->sink->write(req->sink, data, length, &req->result);
}

/* The connection does work. Less would let a server that sends a byte at a time be asked
 * without a pause. */
void kf_transfer_progress(struct kf_transfer *transfer, uint64_t bytes)
{
    transfer->progress += bytes;
    if (transfer->progress < KF_RETRY_PROGRESS_BYTES)
        return;
    transfer->progress = 0;
    transfer->failures = 0;
}

static void note_answer(struct kf_transfer *transfer)
{
    const struct kf_exchange *exchange = &transfer->exchange;
    struct kf_remote *remote = transfer->remote;

    kf_stats_add(stats_of(remote), KF_STAT_FETCHED_BYTES, exchange->received);
    if (exchange->delivered == 0)
        return;
    __atomic_store_n(&remote->served, (int)transfer->way.index, __ATOMIC_RELAXED);
    if (exchange->end == KF_HTTP_COMPLETE)
        kf_way_worked(&transfer->way);
    transfer->reached += exchange->delivered;
    kf_transfer_progress(transfer, exchange->delivered);
    transfer->hops.resolved_anew = false;
    if (transfer->hops.redirected && !is_target(transfer, transfer->hops.url))
        remember_target(transfer, transfer->hops.url);
    if (exchange->range_ignored &&
        __atomic_exchange_n(&transfer->way.endpoint->ignores_range, 1,
                            __ATOMIC_RELAXED) == 0)
        kf_log(KF_LOG_WARN, "oci",
               "event=range_ignored host=%s: it sends whole blobs, much is fetched twice",
               kf_url_origin_host(transfer->hops.origin));
}

/* To where the way has led; straight to where that host redirected before. */
static int set_out(struct kf_transfer *transfer, struct kf_err *err)
{
    kf_auto(kf_free) char *target = copy_target(transfer);

    kf_hops_fini(&transfer->hops);
    if (kf_hops_init(&transfer->hops,
                     kf_endpoint_url(transfer->way.endpoint, "blobs/%s",
                                     transfer->remote->source.name),
                     err) != 0)
        return -1;
    return target ? kf_hops_jump(&transfer->hops, target, err) : 0;
}

/* Whether another host takes over, from the byte reached; `last` says why. */
static bool go_elsewhere(struct kf_transfer *transfer,
                         const struct kf_retry_verdict *verdict)
{
    unsigned failed_at_last = transfer->way.is_last ? 1 : 0;

    if (!kf_way_leave(&transfer->way, &transfer->exchange, verdict, &transfer->last))
        return false;
    transfer->failures += failed_at_last;
    kf_err_clear(&transfer->last);
    kf_stats_add(stats_of(transfer->remote), KF_STAT_RETRIES, 1);
    transfer->exchange.fresh_connection = false;
    if (set_out(transfer, &transfer->last) == 0)
        submit_exchange(transfer, 0);
    else
        finish_failed(transfer, &transfer->last);
    return true;
}

/* The next exchange of the transfer, or its end. */
static void try_again(struct kf_transfer *transfer)
{
    struct kf_exchange *exchange = &transfer->exchange;
    struct kf_retry_case failure;
    struct kf_retry_verdict verdict;

    kf_registry_case(&failure, exchange, &transfer->hops, transfer->failures);
    verdict = kf_retry_decide(&failure);
    (void)kf_registry_fail(&transfer->last, verdict.kind, exchange,
                           transfer->hops.origin);
    kf_auth_explain(&transfer->auth, exchange, &transfer->last);
    if (go_elsewhere(transfer, &verdict))
        return;
    transfer->failures++;
    if (verdict.action == KF_RETRY_GIVE_UP) {
        finish_failed(transfer, &transfer->last);
        return;
    }
    kf_stats_add(stats_of(transfer->remote), KF_STAT_RETRIES, 1);
    exchange->fresh_connection = verdict.fresh_connection;
    if (verdict.action == KF_RETRY_RESOLVE) {
        if (is_target(transfer, transfer->hops.url))
            remember_target(transfer, NULL);
        if (kf_hops_restart(&transfer->hops, &transfer->last) != 0) {
            finish_failed(transfer, &transfer->last);
            return;
        }
    }
    exchange->again = true;
    submit_exchange(transfer, verdict.delay_ns);
}

/* It was stopped at its first byte. */
static void join(struct kf_transfer *transfer)
{
    struct kf_loop *loop = transfer->remote->registry->loop;

    transfer->joins = false;
    if (kf_carry_wait(transfer)) /* `transfer` may be gone */
        kf_loop_resume(loop);
    else
        submit_exchange(transfer, 0);
}

/* The carrier has ended; whoever waited asks for its range, which may be given now. */
static void ask_after(struct kf_transfer *transfer, const struct kf_transfer *carrier)
{
    const struct kf_exchange *exchange = &carrier->exchange;
    struct kf_retry_case failure;
    struct kf_retry_verdict verdict;

    if (exchange->end == KF_HTTP_DEADLINE || /* it was held for long */
        exchange->end == KF_HTTP_STOPPED) {  /* it gave way */
        transfer->exchange.again = false;
        submit_exchange(transfer, 0);
        return;
    }
    kf_registry_case(&failure, exchange, &carrier->hops, transfer->failures++);
    verdict = kf_retry_decide(&failure);
    (void)kf_registry_fail(&transfer->last, verdict.kind, exchange, carrier->hops.origin);
    if (verdict.action == KF_RETRY_GIVE_UP) {
        finish_failed(transfer, &transfer->last);
        return;
    }
    kf_stats_add(stats_of(transfer->remote), KF_STAT_RETRIES, 1);
    transfer->exchange.again = true;
    submit_exchange(transfer, verdict.delay_ns);
}

static void end_carrying(struct kf_transfer *carrier)
{
    struct kf_remote *remote = carrier->remote;
    struct kf_transfer_list waited = TAILQ_HEAD_INITIALIZER(waited);
    struct kf_transfer *transfer, *next, *own = NULL;

    kf_stats_add(stats_of(remote), KF_STAT_FETCHED_BYTES, carrier->exchange.received);
    if (carrier->exchange.end == KF_HTTP_COMPLETE)
        kf_way_worked(&carrier->way);
    kf_carry_end(remote, &waited);
    for (transfer = TAILQ_FIRST(&waited); transfer; transfer = next) {
        next = TAILQ_NEXT(transfer, link);
        if (transfer == carrier)
            own = transfer; /* its exchange tells the others what happened */
        else
            ask_after(transfer, carrier);
    }
    if (own)
        ask_after(own, carrier);
    kf_transfer_release(carrier);
    kf_carry_gone(remote);
}

/* Goes on at the byte reached, by another connection; behind the first one, at another
 * host where there is one. */
static void replace(struct kf_transfer *transfer)
{
    kf_stats_add(stats_of(transfer->remote), KF_STAT_REPLACED, 1);
    if (transfer->replaced++ > 0 && !transfer->way.is_last) {
        try_again(transfer);
        return;
    }
    transfer->exchange.fresh_connection = true;
    submit_exchange(transfer, 0);
}

static void on_ended(struct kf_exchange *exchange)
{
    struct kf_transfer *transfer =
        kf_container_of(exchange, struct kf_transfer, exchange);
    struct kf_source_req *req = transfer->req;

    if (kf_carry_is_by(transfer)) {
        end_carrying(transfer);
        return;
    }
    note_answer(transfer);
    exchange->again = false;
    if (transfer->joins) {
        join(transfer);
    } else if (kf_auth_again(&transfer->auth, exchange)) {
        submit_exchange(transfer, 0);
    } else if (transfer->reached == req->length) {
        kf_remote_finish(transfer->remote, req);
    } else if (exchange->end == KF_HTTP_STOPPED) {
        if (req->result.kind == KF_E_NONE)
            (void)kf_fail(&req->result, KF_E_CANCELLED, "reading '%s': stopped",
                          transfer->remote->source.name); /* the record is the result */
        kf_remote_finish(transfer->remote, req);
    } else if (kf_hops_is_redirect(exchange)) {
        if (kf_hops_follow(&transfer->hops, exchange, &transfer->last) == 0)
            submit_exchange(transfer, 0);
        else if (!go_elsewhere(transfer, NULL))
            finish_failed(transfer, &transfer->last);
    } else if (exchange->end == KF_HTTP_SLOW) {
        replace(transfer);
    } else {
        try_again(transfer);
    }
}

/* ---- the source -------------------------------------------------------------------- */

/* What was damaged is asked for again of the last host: it has what the mirrors copy. */
static int choose(struct kf_transfer *transfer, struct kf_err *err)
{
    struct kf_remote *remote = transfer->remote;
    int served = __atomic_load_n(&remote->served, __ATOMIC_RELAXED);

    if (!transfer->req->fresh)
        return kf_way_begin(&transfer->way, remote->registry, &remote->route,
                            KF_HOST_PULL, err);
    kf_way_damaged(remote->registry, &remote->route, (size_t)served);
    return kf_way_begin_last(&transfer->way, remote->registry, &remote->route,
                             KF_HOST_PULL, err);
}

static int begin(struct kf_remote *remote, struct kf_source_req *req, struct kf_err *err)
{
    struct kf_transfer *transfer = calloc(1, sizeof(*transfer));

    if (!transfer)
        return kf_fail(err, KF_E_NOMEM, "no memory for a request");
    kf_http_init(&transfer->exchange);
    transfer->req = req;
    transfer->remote = remote;
    transfer->refs = 1;
    transfer->exchange.ranged = true;
    transfer->exchange.total = remote->source.size;
    transfer->exchange.urgency = req->urgency;
    transfer->exchange.fresh_connection = req->fresh;
    transfer->exchange.write = on_write;
    transfer->exchange.ended = on_ended;
    req->priv = transfer;
    if (choose(transfer, err) != 0 || set_out(transfer, err) != 0)
        return -1;
    if (kf_carry_wait(transfer)) /* `transfer` may be gone */
        kf_loop_resume(remote->registry->loop);
    else
        submit_exchange(transfer, 0);
    return 0;
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_remote *remote = remote_of(kf_source_ref(source)); /* until done has run */

    if (req->result.kind != KF_E_NONE || begin(remote, req, &req->result) != 0)
        kf_remote_finish(remote, req);
}

static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    struct kf_remote *remote = remote_of(source);
    struct kf_transfer *transfer = req->priv;

    if (!transfer)
        return;
    (void)pthread_mutex_lock(&remote->lock);
    transfer->cancelled = true;
    if (transfer->waits)
        kf_carry_drop_locked(transfer, KF_E_CANCELLED, "stopped");
    else if (transfer != remote->carrier)
        kf_loop_cancel(remote->registry->loop, &transfer->exchange);
    (void)pthread_mutex_unlock(&remote->lock);
}

static void destroy(struct kf_source *source)
{
    struct kf_remote *remote = remote_of(source);

    kf_carry_stop(remote);
    (void)pthread_cond_destroy(&remote->gone);
    (void)pthread_mutex_destroy(&remote->lock);
    for (size_t i = 0; i < KF_ARRAY_LEN(remote->targets); i++)
        free(remote->targets[i]);
    kf_registry_unref(remote->registry);
    free(remote);
}

static const struct kf_source_ops remote_ops = {submit, cancel, destroy};

struct kf_source *kf_remote_new(struct kf_registry *registry, const struct kf_desc *desc,
                                struct kf_err *err)
{
    struct kf_remote *remote = calloc(1, sizeof(*remote));

    if (!remote) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a blob"); /* NULL says it */
        return NULL;
    }
    remote->source.ops = &remote_ops;
    remote->source.size = desc->size;
    remote->source.refs = 1;
    (void)kf_digest_format(&desc->digest, remote->source.name); /* shorter than name */
    remote->registry = kf_registry_ref(registry);
    TAILQ_INIT(&remote->waiting);
    (void)pthread_mutex_init(&remote->lock, NULL); /* a plain mutex cannot fail */
    (void)pthread_cond_init(&remote->gone, NULL);  /* nor such a condition */
    return &remote->source;
}
