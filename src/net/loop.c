#include "net/loop.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/easy.h"
#include "net/events.h"
#include "net/http.h"
#include "net/notice.h"
#include "net/peers.h"
#include "net/slow.h"

#define CONNECT_NS (5 * KF_NS_PER_S)
#define STALL_NS (5 * KF_NS_PER_S)
#define STALL_BACKGROUND_NS (30 * KF_NS_PER_S)
/* Whatever is amiss is seen to after that long. */
#define POLL_LIMIT_NS KF_NS_PER_S
/* Registry, redirection target and a spare of each. */
#define HOSTS_KEPT 4u

struct list {
    struct kf_exchange *first, *last;
};

struct kf_loop {
    CURLM *multi;
    struct kf_events events;
    pthread_t thread;
    struct kf_loop_opts opts; /* texts owned */

    pthread_mutex_t lock; /* guards the next five */
    struct list inbox;
    bool cancels; /* an exchange was flagged since the last look */
    bool resumes; /* one that is paused may have something to send now */
    bool stopping;

    /* The loop thread's own. */
    struct list waiting; /* not given to curl yet */
    struct list active;
    bool look_at_waiting;  /* something changed: a slot, a new exchange */
    int64_t look_again_ns; /* nothing in `waiting` is due earlier */
    CURL *spare[KF_LOOP_CONNECTIONS_LIMIT];
    unsigned spare_count;
    struct kf_peers peers;
    int64_t looked_ns; /* at how fast they are */
};

static void append(struct list *list, struct kf_exchange *exchange)
{
    exchange->next = NULL;
    exchange->prev = list->last;
    if (list->last)
        list->last->next = exchange;
    else
        list->first = exchange;
    list->last = exchange;
}

static void unlink_from(struct list *list, struct kf_exchange *exchange)
{
    if (exchange->prev)
        exchange->prev->next = exchange->next;
    else
        list->first = exchange->next;
    if (exchange->next)
        exchange->next->prev = exchange->prev;
    else
        list->last = exchange->prev;
}

static bool is_cancelled(const struct kf_exchange *exchange)
{
    return __atomic_load_n(&exchange->cancelled, __ATOMIC_RELAXED) != 0;
}

/* ---- one exchange ---- */

static int64_t connect_ns(const struct kf_loop *loop, const struct kf_exchange *exchange)
{
    return exchange->connect_ns > 0 ? exchange->connect_ns : loop->opts.connect_ns;
}

static bool configure(struct kf_loop *loop, const struct kf_exchange *exchange,
                      CURL *easy)
{
    kf_events_attach(&loop->events, easy);
    return kf_easy_configure(easy, &loop->opts, exchange->tls,
                             connect_ns(loop, exchange)) == 0;
}

static void put_easy(struct kf_loop *loop, CURL *easy)
{
    if (!easy)
        return;
    if (loop->spare_count == KF_ARRAY_LEN(loop->spare)) {
        curl_easy_cleanup(easy);
        return;
    }
    kf_easy_reset(easy); /* forgets pointers into the exchange */
    loop->spare[loop->spare_count++] = easy;
}

static CURL *take_easy(struct kf_loop *loop)
{
    return loop->spare_count > 0 ? loop->spare[--loop->spare_count] : curl_easy_init();
}

static void end_waiting(struct kf_loop *loop, struct kf_exchange *exchange,
                        enum kf_http_end imposed, CURLcode code)
{
    unlink_from(&loop->waiting, exchange);
    kf_http_finish(exchange, imposed, (int)code);
    exchange->ended(exchange);
}

static void end_active(struct kf_loop *loop, struct kf_exchange *exchange,
                       enum kf_http_end imposed, CURLcode code)
{
    CURL *easy = exchange->easy;

    unlink_from(&loop->active, exchange);
    if (imposed != KF_HTTP_CANCELLED)
        kf_notice_connection(&loop->peers, exchange, (int)code);
    (void)curl_multi_remove_handle(loop->multi, easy); /* it is in there */
    kf_http_finish(exchange, imposed, (int)code);
    put_easy(loop, easy);
    kf_notice_end(&loop->peers, exchange);
    loop->look_at_waiting = true; /* a slot is free */
    exchange->ended(exchange);
}

static void start(struct kf_loop *loop, struct kf_exchange *exchange, int64_t now)
{
    CURL *easy = take_easy(loop);

    if (!easy || !configure(loop, exchange, easy) || kf_http_begin(exchange, easy) != 0 ||
        curl_multi_add_handle(loop->multi, easy) != CURLM_OK) {
        put_easy(loop, easy);
        end_waiting(loop, exchange, KF_HTTP_OPEN, CURLE_OUT_OF_MEMORY);
        return;
    }
    unlink_from(&loop->waiting, exchange);
    append(&loop->active, exchange);
    kf_notice_start(&loop->peers, exchange, now);
    exchange->held = false;
    exchange->progress_ns = now;
}

/* ---- one turn of the thread ---- */

/* What was asked from outside, beside what was submitted. */
struct asked {
    bool cancels, resumes, stopping;
};

static struct asked take_inbox(struct kf_loop *loop)
{
    struct kf_exchange *exchange, *next;
    struct asked asked;

    (void)pthread_mutex_lock(&loop->lock);
    exchange = loop->inbox.first;
    loop->inbox = (struct list){0};
    asked = (struct asked){loop->cancels, loop->resumes, loop->stopping};
    loop->cancels = loop->resumes = false;
    (void)pthread_mutex_unlock(&loop->lock);
    for (; exchange; exchange = next) {
        next = exchange->next;
        append(&loop->waiting, exchange);
        loop->look_at_waiting = true;
    }
    return asked;
}

/* An answer ends a pause, too: curl would wait for the rest of the body for ever. */
static bool is_pause_over(const struct kf_exchange *exchange, bool all, int64_t now)
{
    return all ||
           (exchange->blocked ? exchange->hold_until_ns <= now : exchange->head_over);
}

static void end_pauses(struct kf_loop *loop, bool all, int64_t now)
{
    struct kf_exchange *exchange, *next;

    for (exchange = loop->active.first; exchange; exchange = next) {
        CURLcode code;

        next = exchange->next;
        if (!exchange->paused || !is_pause_over(exchange, all, now))
            continue;
        exchange->paused = exchange->blocked = false;
        exchange->progress_ns = now;
        /* Here `write` gets what it did not take; perform does not tell of its end. */
        code = curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
        if (code != CURLE_OK)
            end_active(loop, exchange, KF_HTTP_OPEN, code);
    }
}

static void end_cancelled(struct kf_loop *loop, bool all)
{
    struct kf_exchange *exchange, *next;

    for (exchange = loop->active.first; exchange; exchange = next) {
        next = exchange->next;
        if (all || is_cancelled(exchange))
            end_active(loop, exchange, KF_HTTP_CANCELLED, CURLE_OK);
    }
    for (exchange = loop->waiting.first; exchange; exchange = next) {
        next = exchange->next;
        if (all || is_cancelled(exchange))
            end_waiting(loop, exchange, KF_HTTP_CANCELLED, CURLE_OK);
    }
}

static void reap(struct kf_loop *loop)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop->multi, &left))) {
        CURLcode code = message->data.result;
        char *exchange = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        end_active(loop, (struct kf_exchange *)(void *)exchange, KF_HTTP_OPEN, code);
    }
}

static int64_t stall_deadline(const struct kf_loop *loop,
                              const struct kf_exchange *exchange)
{
    int64_t patience = exchange->urgency == KF_DEMAND ? loop->opts.stall_ns
                                                      : loop->opts.stall_background_ns;

    if (exchange->stall_ns > 0)
        patience = exchange->stall_ns;
    if (exchange->paused)
        return exchange->blocked ? exchange->hold_until_ns
                                 : KF_NO_DEADLINE; /* it is us that it waits for */
    /* Connecting is curl's to limit; this is the net below it. */
    return exchange->progress_ns + patience +
           (exchange->sent ? 0 : connect_ns(loop, exchange));
}

/* Marks what is slow; returns when to look again. */
static int64_t check_pace(struct kf_loop *loop, int64_t now)
{
    if (!loop->active.first)
        return KF_NO_DEADLINE;
    if (now - loop->looked_ns >= KF_PACE_LOOK_NS) {
        kf_slow_look(&loop->peers, loop->active.first, now - loop->looked_ns, now);
        loop->looked_ns = now;
    }
    return loop->looked_ns + KF_PACE_LOOK_NS;
}

static enum kf_http_end end_due(const struct kf_exchange *exchange, int64_t stalled,
                                int64_t now)
{
    if (exchange->deadline_ns <= now)
        return KF_HTTP_DEADLINE;
    if (stalled <= now)
        return KF_HTTP_STALLED;
    return exchange->slow ? KF_HTTP_SLOW : KF_HTTP_OPEN;
}

/* Ends what stalls, is slow or too late; returns when to look again. */
static int64_t check_active(struct kf_loop *loop, int64_t now)
{
    int64_t look_again = check_pace(loop, now);
    struct kf_exchange *exchange, *next;

    for (exchange = loop->active.first; exchange; exchange = next) {
        int64_t stalled = stall_deadline(loop, exchange);
        int64_t late = exchange->deadline_ns;
        enum kf_http_end end = end_due(exchange, stalled, now);

        next = exchange->next;
        if (end != KF_HTTP_OPEN)
            end_active(loop, exchange, end, CURLE_OK);
        else if (late < look_again || stalled < look_again)
            look_again = late < stalled ? late : stalled;
    }
    return look_again;
}

static unsigned active_at(const struct kf_loop *loop, const char *origin)
{
    unsigned count = 0;

    for (const struct kf_exchange *other = loop->active.first; other; other = other->next)
        count += strcmp(other->origin, origin) == 0;
    return count;
}

/* False: its gate says that it has to wait. */
static bool leave_waiting(struct kf_loop *loop, struct kf_exchange *exchange, int64_t now)
{
    enum kf_http_gate_says says = exchange->gate
                                      ? exchange->gate->ask(exchange->gate, exchange)
                                      : KF_HTTP_GATE_OPEN;

    if (says == KF_HTTP_GATE_OPEN)
        start(loop, exchange, now);
    else if (says == KF_HTTP_GATE_SHUT)
        end_waiting(loop, exchange, KF_HTTP_OPEN, CURLE_OK);
    return says != KF_HTTP_GATE_WAIT;
}

static void look_at(struct kf_loop *loop, struct kf_exchange *exchange, int64_t now)
{
    int64_t due = exchange->deadline_ns, may = kf_notice_due(&loop->peers, exchange, now);

    if (is_cancelled(exchange)) {
        end_waiting(loop, exchange, KF_HTTP_CANCELLED, CURLE_OK);
        return;
    }
    if (exchange->deadline_ns <= now) {
        end_waiting(loop, exchange, KF_HTTP_DEADLINE, CURLE_OK);
        return;
    }
    exchange->held = may > now;
    if (may < exchange->not_before_ns)
        may = exchange->not_before_ns;
    if (may > now) {
        if (may < due)
            due = may;
    } else if (active_at(loop, exchange->origin) < loop->opts.connections &&
               leave_waiting(loop, exchange, now)) {
        return;
    }
    if (due < loop->look_again_ns)
        loop->look_again_ns = due;
}

static void start_waiting(struct kf_loop *loop, int64_t now)
{
    struct kf_exchange *exchange, *next;

    if (!loop->look_at_waiting && now < loop->look_again_ns)
        return;
    loop->look_at_waiting = false;
    loop->look_again_ns = KF_NO_DEADLINE;
    for (unsigned urgency = 0; urgency < KF_URGENCY_COUNT; urgency++) {
        for (exchange = loop->waiting.first; exchange; exchange = next) {
            next = exchange->next;
            if (exchange->urgency == urgency)
                look_at(loop, exchange, now);
        }
    }
}

static bool is_empty(struct kf_loop *loop)
{
    bool empty;

    (void)pthread_mutex_lock(&loop->lock);
    empty = !loop->inbox.first && !loop->waiting.first && !loop->active.first;
    (void)pthread_mutex_unlock(&loop->lock);
    return empty;
}

static void *thread_main(void *arg)
{
    struct kf_loop *loop = arg;

    for (;;) {
        struct asked asked;
        int64_t now, when;

        reap(loop);
        asked = take_inbox(loop);
        if (asked.cancels || asked.stopping)
            end_cancelled(loop, asked.stopping);
        now = kf_now_ns();
        end_pauses(loop, asked.resumes, now);
        loop->look_at_waiting |= asked.resumes; /* a gate may be open now */
        when = check_active(loop, now);
        start_waiting(loop, now);
        if (loop->look_at_waiting)
            continue;
        if (asked.stopping && is_empty(loop))
            break;
        if (when > loop->look_again_ns)
            when = loop->look_again_ns;
        if (when > now + POLL_LIMIT_NS)
            when = now + POLL_LIMIT_NS;
        kf_events_run(&loop->events, when);
    }
    return NULL;
}

/* ---- from outside ---- */

void kf_loop_submit(struct kf_loop *loop, struct kf_exchange *exchange)
{
    kf_http_reset(exchange);
    (void)pthread_mutex_lock(&loop->lock);
    append(&loop->inbox, exchange);
    (void)pthread_mutex_unlock(&loop->lock);
    kf_events_wake(&loop->events);
}

void kf_loop_cancel(struct kf_loop *loop, struct kf_exchange *exchange)
{
    __atomic_store_n(&exchange->cancelled, 1, __ATOMIC_RELAXED);
    (void)pthread_mutex_lock(&loop->lock);
    loop->cancels = true;
    (void)pthread_mutex_unlock(&loop->lock);
    kf_events_wake(&loop->events);
}

void kf_loop_resume(struct kf_loop *loop)
{
    (void)pthread_mutex_lock(&loop->lock);
    loop->resumes = true;
    (void)pthread_mutex_unlock(&loop->lock);
    kf_events_wake(&loop->events);
}

static int copy_text(const char **ret, const char *text)
{
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? -1 : 0;
}

static int copy_opts(struct kf_loop_opts *ret, const struct kf_loop_opts *opts)
{
    *ret = *opts;
    if (ret->connections == 0)
        ret->connections = KF_LOOP_CONNECTIONS;
    if (ret->connections > KF_LOOP_CONNECTIONS_LIMIT)
        ret->connections = KF_LOOP_CONNECTIONS_LIMIT;
    if (ret->connect_ns == 0)
        ret->connect_ns = CONNECT_NS;
    if (ret->stall_ns == 0)
        ret->stall_ns = STALL_NS;
    if (ret->stall_background_ns == 0)
        ret->stall_background_ns = STALL_BACKGROUND_NS;
    ret->ca_file = ret->client_cert = ret->client_key = ret->proxy = NULL;
    if (copy_text(&ret->ca_file, opts->ca_file) != 0 ||
        copy_text(&ret->client_cert, opts->client_cert) != 0 ||
        copy_text(&ret->client_key, opts->client_key) != 0 ||
        copy_text(&ret->proxy, opts->proxy) != 0)
        return -1;
    return 0;
}

static void release(struct kf_loop *loop)
{
    /* The const is for the caller's texts; here they are our copies. */
    free((void *)(uintptr_t)loop->opts.ca_file);
    free((void *)(uintptr_t)loop->opts.client_cert);
    free((void *)(uintptr_t)loop->opts.client_key);
    free((void *)(uintptr_t)loop->opts.proxy);
    while (loop->spare_count > 0)
        curl_easy_cleanup(loop->spare[--loop->spare_count]);
    (void)curl_multi_cleanup(loop->multi); /* NULL or empty of handles */
    kf_events_fini(&loop->events);
    kf_peers_fini(&loop->peers);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static CURLcode global_result;

static void init_curl(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* With all signals blocked: they are the main thread's, and OpenSSL writes without
 * MSG_NOSIGNAL. */
static int start_thread(struct kf_loop *loop)
{
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&loop->thread, NULL, thread_main, loop);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int kf_loop_new(struct kf_loop **ret, const struct kf_loop_opts *opts, struct kf_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct kf_loop *loop = calloc(1, sizeof(*loop));

    (void)pthread_once(&once, init_curl);
    if (!loop)
        return kf_fail(err, KF_E_NOMEM, "no memory for the network thread");
    (void)pthread_mutex_init(&loop->lock, NULL); /* cannot fail with default attributes */
    loop->look_again_ns = KF_NO_DEADLINE;
    loop->events.epoll_fd = loop->events.wake_fd = -1;
    loop->peers.by_proxy = kf_easy_has_proxy(opts);
    loop->multi = global_result == CURLE_OK ? curl_multi_init() : NULL;
    if (copy_opts(&loop->opts, opts) != 0 || !loop->multi) {
        release(loop);
        return kf_fail(err, KF_E_NOMEM, "no memory for the network thread");
    }
    if (kf_events_init(&loop->events, loop->multi, err) != 0) {
        release(loop);
        return -1;
    }
    (void)curl_multi_setopt(loop->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    (void)curl_multi_setopt(loop->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                            (long)loop->opts.connections);
    (void)curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS,
                            (long)(loop->opts.connections * HOSTS_KEPT));
    if (start_thread(loop) != 0) {
        release(loop);
        return kf_fail(err, KF_E_NOMEM, "cannot start the network thread");
    }
    *ret = loop;
    return 0;
}

void kf_loop_free(struct kf_loop *loop)
{
    if (!loop)
        return;
    (void)pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    (void)pthread_mutex_unlock(&loop->lock);
    kf_events_wake(&loop->events);
    (void)pthread_join(loop->thread, NULL); /* ours, and not this one */
    release(loop);
}
