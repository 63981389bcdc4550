/*
 * One transfer of a blob for all who read it (oci/remote.h), where the host answers a
 * range with everything. Sinks are written, and requests ended, under the remote's lock:
 * both only copy and queue.
 */
#include "oci/remote.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/url.h"

/* So long it waits, before it passes by what nobody wants. */
#define GAP_NS (2 * KF_NS_PER_S)

/* A carrier is held so long while nobody asks. */
#define HOLD_NS (20 * KF_NS_PER_S)

bool kf_carry_is_by(const struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;
    bool is_it;

    (void)pthread_mutex_lock(&remote->lock);
    is_it = remote->carrier == transfer;
    (void)pthread_mutex_unlock(&remote->lock);
    return is_it;
}

bool kf_carry_goes_beside(const struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;
    uint64_t end = transfer->req->offset + transfer->req->length;
    bool passed, beside;

    (void)pthread_mutex_lock(&remote->lock);
    passed = remote->carrier && kf_transfer_next(transfer) < remote->carried;
    beside = passed && !remote->gives_way && remote->beside + end <= remote->carried;
    if (beside) {
        remote->beside += end; /* all before it comes, too */
    } else if (passed) {
        remote->gives_way = true;
        kf_loop_resume(remote->registry->loop);
    }
    (void)pthread_mutex_unlock(&remote->lock);
    return beside;
}

static void leave_locked(struct kf_transfer *transfer)
{
    TAILQ_REMOVE(&transfer->remote->waiting, transfer, link);
    transfer->waits = false;
}

void kf_carry_drop_locked(struct kf_transfer *transfer, enum kf_err_kind kind,
                          const char *why)
{
    leave_locked(transfer);
    (void)kf_fail(&transfer->req->result, kind, "reading '%s': %s",
                  transfer->remote->source.name, why); /* the record is the result */
    kf_remote_finish(transfer->remote, transfer->req);
}

static void wait_locked(struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;
    struct kf_source_req *req = transfer->req;

    TAILQ_INSERT_TAIL(&remote->waiting, transfer, link);
    transfer->waits = true;
    if (transfer->cancelled) {
        kf_carry_drop_locked(transfer, KF_E_CANCELLED, "stopped");
    } else if (req->can_reorder && kf_transfer_next(transfer) > remote->carried) {
        req->reordered = true;
        kf_carry_drop_locked(transfer, KF_E_TIMEOUT, "its bytes come in order only");
    }
}

bool kf_carry_wait(struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;
    bool waits;

    (void)pthread_mutex_lock(&remote->lock);
    waits = remote->carrier && kf_transfer_next(transfer) >= remote->carried;
    if (waits)
        wait_locked(transfer);
    (void)pthread_mutex_unlock(&remote->lock);
    return waits;
}

/* From the first byte on; the transfer's own request is one of those that wait. */
static void carry_first_locked(struct kf_transfer *transfer)
{
    struct kf_remote *remote = transfer->remote;

    (void)__atomic_add_fetch(&transfer->refs, 1, __ATOMIC_RELAXED);
    remote->carrier = transfer;
    remote->ending++;
    remote->carried = remote->again = 0;
    remote->beside = 0;
    remote->gives_way = false;
    remote->gap_ends_ns = 0;
    __atomic_store_n(&remote->source.next_plus_1, 1, __ATOMIC_RELAXED);
    wait_locked(transfer);
    if (__atomic_exchange_n(&transfer->way.endpoint->ignores_range, 1,
                            __ATOMIC_RELAXED) == 0)
        kf_log(
            KF_LOG_WARN, "oci",
            "event=range_ignored host=%s: it sends whole blobs, which are read in order",
            kf_url_origin_host(transfer->hops.origin));
}

/* Whether to wait a little for who may want what comes next: only a reader who waits
 * makes the carrier pass it by at once. */
static bool is_gap_kept_locked(struct kf_remote *remote, bool hurry)
{
    if (hurry)
        return false;
    if (remote->gap_ends_ns == 0)
        remote->gap_ends_ns = kf_deadline_ns(GAP_NS);
    remote->carrier->exchange.hold_until_ns = remote->gap_ends_ns;
    return kf_now_ns() < remote->gap_ends_ns;
}

/* How much goes to the same ones, or past all; 0: nothing for now. */
static size_t step_locked(struct kf_remote *remote, size_t length)
{
    const struct kf_transfer *transfer;
    uint64_t step = length;
    bool gap = true, hurry = false;

    remote->carrier->exchange.hold_until_ns = KF_NO_DEADLINE;
    if (TAILQ_EMPTY(&remote->waiting))
        return 0;
    TAILQ_FOREACH(transfer, &remote->waiting, link)
    {
        uint64_t at = kf_transfer_next(transfer);
        uint64_t left = transfer->req->length - transfer->reached;

        gap &= at > remote->carried;
        hurry |= transfer->req->urgency == KF_DEMAND;
        step = kf_min_u64(step, at > remote->carried ? at - remote->carried : left);
    }
    if (gap && is_gap_kept_locked(remote, hurry))
        return 0;
    if (!gap)
        remote->gap_ends_ns = 0;
    return (size_t)step;
}

static void give_locked(struct kf_transfer *transfer, const uint8_t *data, size_t length)
{
    struct kf_source_req *req = transfer->req;

    if (req->sink->write(req->sink, data, length, &req->result) != 0) {
        leave_locked(transfer);
        if (req->result.kind == KF_E_NONE)
            (void)kf_fail(&req->result, KF_E_CANCELLED, "reading '%s': stopped",
                          transfer->remote->source.name); /* the record is the result */
        kf_remote_finish(transfer->remote, req);
        return;
    }
    transfer->reached += length;
    kf_transfer_progress(transfer, length);
    if (transfer->reached < req->length)
        return;
    leave_locked(transfer);
    kf_remote_finish(transfer->remote, req);
}

static void give_all_locked(struct kf_remote *remote, const uint8_t *data, size_t length)
{
    struct kf_transfer *transfer, *next;

    for (transfer = TAILQ_FIRST(&remote->waiting); transfer; transfer = next) {
        next = TAILQ_NEXT(transfer, link);
        if (kf_transfer_next(transfer) == remote->carried)
            give_locked(transfer, data, length);
        else if (transfer->req->deadline_ns <= kf_now_ns())
            kf_carry_drop_locked(transfer, KF_E_TIMEOUT,
                                 "its bytes did not come in time");
    }
    remote->carried += length;
}

/* Whole or, where nobody wants the rest, held: then it comes again. */
static int spread_locked(struct kf_remote *remote, const uint8_t *data, size_t length)
{
    struct kf_exchange *exchange = &remote->carrier->exchange;
    size_t done = (size_t)kf_min_u64(remote->again, length), step;

    remote->again -= done;
    while (done < length && (step = step_locked(remote, length - done)) > 0) {
        give_all_locked(remote, data + done, step);
        done += step;
    }
    if (done < length)
        remote->again = done;
    exchange->deadline_ns = done < length ? kf_deadline_ns(HOLD_NS) : KF_NO_DEADLINE;
    __atomic_store_n(&remote->source.next_plus_1, remote->carried + 1, __ATOMIC_RELAXED);
    return done < length ? KF_HTTP_HOLD : 0;
}

int kf_carry_bytes(struct kf_transfer *transfer, const uint8_t *data, size_t length)
{
    struct kf_remote *remote = transfer->remote;
    int rc = -1;

    (void)pthread_mutex_lock(&remote->lock);
    if (!remote->carrier)
        carry_first_locked(transfer);
    if (remote->carrier == transfer)
        rc = remote->gives_way ? -1 : spread_locked(remote, data, length);
    else
        transfer->joins = true;
    (void)pthread_mutex_unlock(&remote->lock);
    return rc;
}

void kf_carry_end(struct kf_remote *remote, struct kf_transfer_list *ret_waited)
{
    struct kf_transfer *transfer;

    (void)pthread_mutex_lock(&remote->lock);
    remote->carrier = NULL;
    __atomic_store_n(&remote->source.next_plus_1, 0, __ATOMIC_RELAXED);
    TAILQ_CONCAT(ret_waited, &remote->waiting, link);
    TAILQ_FOREACH(transfer, ret_waited, link)
    transfer->waits = false;
    (void)pthread_mutex_unlock(&remote->lock);
}

void kf_carry_gone(struct kf_remote *remote)
{
    (void)pthread_mutex_lock(&remote->lock);
    remote->ending--;
    (void)pthread_cond_signal(&remote->gone);
    (void)pthread_mutex_unlock(&remote->lock);
}

void kf_carry_stop(struct kf_remote *remote)
{
    (void)pthread_mutex_lock(&remote->lock);
    if (remote->carrier)
        kf_loop_cancel(remote->registry->loop, &remote->carrier->exchange);
    while (remote->ending > 0) /* the network thread is quick */
        (void)pthread_cond_wait(&remote->gone, &remote->lock);
    (void)pthread_mutex_unlock(&remote->lock);
}
