/*
 * One thread, three lists: what was submitted (under the lock), what waits for its turn
 * or its time, and what runs in curl. All but the first belong to the thread.
 */
#include "net/loop.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/http.h"

#define CONNECT_NS (5 * KF_NS_PER_S)
#define STALL_NS (5 * KF_NS_PER_S)
#define STALL_BACKGROUND_NS (30 * KF_NS_PER_S)
#define POLL_LIMIT_NS KF_NS_PER_S /* curl 8.21 may swallow a wakeup: look anyway */
#define BUFFER_BYTES 262144L
#define IDLE_HANDLES 16u
#define CONNECTION_AGE_S 30L /* stores and balancers close idle ones soon after */

struct list {
    struct kf_exchange *first, *last;
};

struct kf_loop {
    struct kf_loop_opts opts; /* texts are ours */
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock;
    struct list inbox; /* under the lock */
    bool stopping;     /* under the lock */
    struct list waiting, running;
    CURL *idle[IDLE_HANDLES];
    unsigned idle_count;
};

/* ---- lists ------------------------------------------------------------------------- */

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

/* ---- handles ----------------------------------------------------------------------- */

static void set_up_tls(const struct kf_loop *loop, CURL *easy)
{
    const struct kf_loop_opts *opts = &loop->opts;

    /* These only store what they are given; a bad file fails the transfer. */
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, opts->tls_no_verify ? 0L : 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, opts->tls_no_verify ? 0L : 2L);
    if (opts->ca_file)
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, opts->ca_file);
    if (opts->client_cert)
        (void)curl_easy_setopt(easy, CURLOPT_SSLCERT, opts->client_cert);
    if (opts->client_key)
        (void)curl_easy_setopt(easy, CURLOPT_SSLKEY, opts->client_key);
}

static CURL *new_handle(const struct kf_loop *loop)
{
    CURL *easy = curl_easy_init();

    if (!easy)
        return NULL;
    /* Plain settings: they fail on a libcurl that lacks them only, which the build
     * refuses. */
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    (void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT,
                           1L); /* a dead DNS must not hold us */
    (void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, CONNECTION_AGE_S);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)(loop->opts.connect_ns / KF_NS_PER_MS));
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "kitfs");
    if (loop->opts.proxy)
        (void)curl_easy_setopt(easy, CURLOPT_PROXY, loop->opts.proxy);
    set_up_tls(loop, easy);
    return easy;
}

static CURL *take_handle(struct kf_loop *loop)
{
    return loop->idle_count > 0 ? loop->idle[--loop->idle_count] : new_handle(loop);
}

/* What belonged to the last exchange must not be seen by the next. */
static void give_handle(struct kf_loop *loop, CURL *easy)
{
    (void)curl_easy_setopt(easy, CURLOPT_RANGE, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);
    if (loop->idle_count < IDLE_HANDLES)
        loop->idle[loop->idle_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* ---- one exchange ------------------------------------------------------------------ */

/* One that was submitted anew still has the answer before. */
static void forget_answer(struct kf_exchange *exchange)
{
    exchange->end = KF_HTTP_OPEN;
    exchange->status = 0;
    exchange->delivered = 0;
    exchange->received = 0;
    exchange->head_over = false;
}

static void end_waiting(struct kf_loop *loop, struct kf_exchange *exchange,
                        enum kf_http_end end)
{
    unlink_from(&loop->waiting, exchange);
    forget_answer(exchange);
    kf_http_finish(exchange, end, CURLE_OK);
    exchange->ended(exchange);
}

static void end_running(struct kf_loop *loop, struct kf_exchange *exchange,
                        enum kf_http_end imposed, CURLcode code)
{
    CURL *easy = exchange->easy;

    unlink_from(&loop->running, exchange);
    (void)curl_multi_remove_handle(loop->multi, easy); /* it is in there */
    kf_http_finish(exchange, imposed, (int)code);
    give_handle(loop, easy);
    exchange->ended(exchange);
}

static void start(struct kf_loop *loop, struct kf_exchange *exchange)
{
    CURL *easy = take_handle(loop);

    if (easy && kf_http_begin(exchange, easy) == 0 &&
        curl_multi_add_handle(loop->multi, easy) == CURLM_OK) {
        unlink_from(&loop->waiting, exchange);
        exchange->progress_ns = kf_now_ns();
        append(&loop->running, exchange);
        return;
    }
    unlink_from(&loop->waiting, exchange);
    forget_answer(exchange);
    kf_http_finish(exchange, KF_HTTP_OPEN, CURLE_OUT_OF_MEMORY);
    if (easy)
        give_handle(loop, easy);
    exchange->ended(exchange);
}

/* ---- turns ------------------------------------------------------------------------- */

static unsigned running_on(const struct kf_loop *loop, const char *origin)
{
    unsigned count = 0;

    for (const struct kf_exchange *e = loop->running.first; e; e = e->next)
        count += strcmp(e->origin, origin) == 0;
    return count;
}

/* The most urgent, longest waiting exchange whose time and turn have come. */
static struct kf_exchange *next_to_start(const struct kf_loop *loop, int64_t now)
{
    struct kf_exchange *best = NULL;

    for (struct kf_exchange *e = loop->waiting.first; e; e = e->next)
        if (e->not_before_ns <= now && (!best || e->urgency < best->urgency) &&
            running_on(loop, e->origin) < loop->opts.connections)
            best = e;
    return best;
}

static bool is_cancelled(const struct kf_exchange *exchange)
{
    return __atomic_load_n(&exchange->cancelled, __ATOMIC_ACQUIRE) != 0;
}

static int64_t stall_limit(const struct kf_loop *loop, const struct kf_exchange *exchange)
{
    return exchange->urgency == KF_DEMAND ? loop->opts.stall_ns
                                          : loop->opts.stall_background_ns;
}

/* What ends now, though curl would go on with it. */
static enum kf_http_end verdict(const struct kf_loop *loop,
                                const struct kf_exchange *exchange, bool stopping,
                                int64_t now)
{
    if (stopping || is_cancelled(exchange))
        return KF_HTTP_CANCELLED;
    if (exchange->deadline_ns <= now)
        return KF_HTTP_DEADLINE;
    if (exchange->easy && exchange->sent &&
        now - exchange->progress_ns >= stall_limit(loop, exchange))
        return KF_HTTP_STALLED;
    return KF_HTTP_OPEN;
}

static void end_some(struct kf_loop *loop, bool stopping)
{
    struct kf_exchange *next;
    int64_t now = kf_now_ns();

    for (struct kf_exchange *e = loop->waiting.first; e; e = next) {
        enum kf_http_end end = verdict(loop, e, stopping, now);

        next = e->next;
        if (end != KF_HTTP_OPEN)
            end_waiting(loop, e, end);
    }
    for (struct kf_exchange *e = loop->running.first; e; e = next) {
        enum kf_http_end end = verdict(loop, e, stopping, now);

        next = e->next;
        if (end != KF_HTTP_OPEN)
            end_running(loop, e, end, CURLE_OK);
    }
}

static void start_some(struct kf_loop *loop)
{
    struct kf_exchange *exchange;

    while ((exchange = next_to_start(loop, kf_now_ns())))
        start(loop, exchange);
}

static void collect_finished(struct kf_loop *loop)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(loop->multi, &left))) {
        char *owner = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
        end_running(loop, (struct kf_exchange *)(void *)owner, KF_HTTP_OPEN, code);
    }
}

/* Milliseconds until something is due that no socket tells. */
static int poll_time(const struct kf_loop *loop)
{
    int64_t now = kf_now_ns(), until = now + POLL_LIMIT_NS;

    for (const struct kf_exchange *e = loop->waiting.first; e; e = e->next) {
        int64_t due = e->not_before_ns > now ? e->not_before_ns : e->deadline_ns;

        until = due < until ? due : until;
    }
    for (const struct kf_exchange *e = loop->running.first; e; e = e->next) {
        int64_t due = e->progress_ns + stall_limit(loop, e);

        due = e->deadline_ns < due ? e->deadline_ns : due;
        until = due < until ? due : until;
    }
    return until <= now ? 0 : (int)((until - now + KF_NS_PER_MS - 1) / KF_NS_PER_MS);
}

static bool take_inbox(struct kf_loop *loop)
{
    struct kf_exchange *next;
    bool stopping;

    (void)pthread_mutex_lock(&loop->lock); /* a plain mutex of ours */
    for (struct kf_exchange *e = loop->inbox.first; e; e = next) {
        next = e->next;
        append(&loop->waiting, e);
    }
    loop->inbox = (struct list){0};
    stopping = loop->stopping;
    (void)pthread_mutex_unlock(&loop->lock);
    return stopping;
}

static void *run(void *arg)
{
    struct kf_loop *loop = arg;
    int running;

    for (;;) {
        bool stopping = take_inbox(loop);

        end_some(loop, stopping);
        if (stopping && !loop->waiting.first && !loop->running.first) {
            (void)take_inbox(loop); /* what an `ended` has just submitted anew */
            if (!loop->waiting.first)
                return NULL;
            continue;
        }
        start_some(loop);
        (void)curl_multi_perform(loop->multi, &running); /* results come as messages */
        collect_finished(loop);
        if (!next_to_start(loop, kf_now_ns()))
            (void)curl_multi_poll(loop->multi, NULL, 0, poll_time(loop), NULL);
    }
}

/* ---- lifetime ---------------------------------------------------------------------- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void init_global(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static const char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static bool copy_opts(struct kf_loop_opts *to, const struct kf_loop_opts *from)
{
    *to = *from;
    to->ca_file = copy_text(from->ca_file);
    to->client_cert = copy_text(from->client_cert);
    to->client_key = copy_text(from->client_key);
    to->proxy = copy_text(from->proxy);
    if (to->connections == 0)
        to->connections = KF_LOOP_CONNECTIONS;
    if (to->connections > KF_LOOP_CONNECTIONS_LIMIT)
        to->connections = KF_LOOP_CONNECTIONS_LIMIT;
    to->connect_ns = to->connect_ns ? to->connect_ns : CONNECT_NS;
    to->stall_ns = to->stall_ns ? to->stall_ns : STALL_NS;
    to->stall_background_ns =
        to->stall_background_ns ? to->stall_background_ns : STALL_BACKGROUND_NS;
    return (!from->ca_file || to->ca_file) && (!from->client_cert || to->client_cert) &&
           (!from->client_key || to->client_key) && (!from->proxy || to->proxy);
}

static void free_text(const char *text)
{
    free((void *)(uintptr_t)text);
}

static void destroy(struct kf_loop *loop)
{
    while (loop->idle_count > 0)
        curl_easy_cleanup(loop->idle[--loop->idle_count]);
    if (loop->multi)
        (void)curl_multi_cleanup(loop->multi); /* it is empty */
    free_text(loop->opts.ca_file);
    free_text(loop->opts.client_cert);
    free_text(loop->opts.client_key);
    free_text(loop->opts.proxy);
    (void)pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static int start_thread(struct kf_loop *loop)
{
    sigset_t all, old;
    int rc;

    (void)sigfillset(&all); /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&loop->thread, NULL, run, loop);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int kf_loop_new(struct kf_loop **ret, const struct kf_loop_opts *opts, struct kf_err *err)
{
    struct kf_loop *loop;

    (void)pthread_once(&global_once, init_global); /* a valid control */
    if (global_result != CURLE_OK)
        return kf_fail(err, KF_E_NOMEM, "cannot set up libcurl");
    loop = calloc(1, sizeof(*loop));
    if (!loop)
        return kf_fail(err, KF_E_NOMEM, "no memory for the network thread");
    (void)pthread_mutex_init(&loop->lock, NULL); /* a plain mutex cannot fail */
    loop->multi = curl_multi_init();
    if (!copy_opts(&loop->opts, opts) || !loop->multi) {
        destroy(loop);
        return kf_fail(err, KF_E_NOMEM, "no memory for the network thread");
    }
    (void)curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS,
                            (long)loop->opts.connections * 4);
    (void)curl_multi_setopt(loop->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    if (start_thread(loop) != 0) {
        destroy(loop);
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
    (void)curl_multi_wakeup(loop->multi); /* else it looks within a second */
    (void)pthread_join(loop->thread, NULL);
    destroy(loop);
}

void kf_loop_submit(struct kf_loop *loop, struct kf_exchange *exchange)
{
    (void)pthread_mutex_lock(&loop->lock);
    append(&loop->inbox, exchange);
    (void)pthread_mutex_unlock(&loop->lock);
    (void)curl_multi_wakeup(loop->multi); /* else it looks within a second */
}

void kf_loop_cancel(struct kf_loop *loop, struct kf_exchange *exchange)
{
    __atomic_store_n(&exchange->cancelled, 1, __ATOMIC_RELEASE);
    (void)curl_multi_wakeup(loop->multi); /* else it looks within a second */
}
