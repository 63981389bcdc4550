/*
 * Threads that submit exchanges to one network thread and cancel some, against a peer
 * that answers, cuts, resets, hangs and refuses as it likes; the loop ends with exchanges
 * under way. Each must end once for each time that it was submitted, with right bytes.
 *
 *     stress_loop [--rounds N] [--seed S]
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http_peer.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/url.h"
#include "rounds.h"

#define THREADS 3u
#define SLOTS 6u /* exchanges of each thread */
#define STEPS 40u
#define TOTAL 20000u

struct slot {
    struct kf_exchange exchange;
    unsigned submitted; /* the thread's; the loop's when it is freed */
    unsigned ended;     /* atomic */
    bool wrong;         /* set before `ended` is */
};

struct caller {
    pthread_t thread;
    unsigned seed;
    struct slot slots[SLOTS];
};

static struct kf_loop *loop;
static char content[TOTAL];
static char url[64];
static char *origin;
static struct caller callers[THREADS];

static void expect(bool right, const char *what)
{
    if (right)
        return;
    (void)fprintf(stderr, "stress_loop: %s\n", what);
    abort();
}

static unsigned draw(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

/* ---- the peer ---- */

static void answer(void *arg, const char *request, struct kf_http_answer *ret)
{
    const char *range = strstr(request, "\r\nRange: bytes=");
    unsigned *seed = arg, first = 0, last = 0, length;

    expect(range && sscanf(range, "\r\nRange: bytes=%u-%u", &first, &last) == 2 &&
               first <= last && last < TOTAL,
           "a request without a range");
    length = last - first + 1;
    (void)snprintf(ret->head, sizeof(ret->head),
                   "HTTP/1.1 206 P\r\nContent-Length: %u\r\n"
                   "Content-Range: bytes %u-%u/%u\r\n\r\n",
                   length, first, last, TOTAL);
    ret->body = content + first;
    ret->body_length = length;
    switch (draw(seed, 12)) {
    case 0: /* cut */
        ret->body_length = draw(seed, length);
        ret->then = KF_HTTP_THEN_CLOSE;
        break;
    case 1:
        ret->body_length = draw(seed, length);
        ret->then = KF_HTTP_THEN_RESET;
        break;
    case 2:
        ret->body_length = draw(seed, length);
        ret->then = KF_HTTP_THEN_HANG;
        break;
    case 3:
        (void)snprintf(ret->head, sizeof(ret->head),
                       "HTTP/1.1 503 Later\r\nContent-Length: %u\r\n\r\n", length);
        break;
    case 4:
        (void)snprintf(ret->head, sizeof(ret->head),
                       "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", TOTAL);
        ret->body = content;
        ret->body_length = TOTAL;
        break;
    default:
        break;
    }
}

/* ---- exchanges ---- */

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct slot *slot = kf_container_of(exchange, struct slot, exchange);
    uint64_t at = exchange->offset + exchange->delivered;

    if (at + length > exchange->offset + exchange->length ||
        memcmp(data, content + at, length) != 0)
        slot->wrong = true;
    return 0;
}

static void on_ended(struct kf_exchange *exchange)
{
    struct slot *slot = kf_container_of(exchange, struct slot, exchange);

    (void)__atomic_add_fetch(&slot->ended, 1, __ATOMIC_RELEASE); /* the slot is free */
}

static bool is_free(struct slot *slot)
{
    return __atomic_load_n(&slot->ended, __ATOMIC_ACQUIRE) == slot->submitted;
}

static void check(const struct slot *slot)
{
    const struct kf_exchange *exchange = &slot->exchange;

    expect(!slot->wrong, "wrong bytes");
    expect(exchange->delivered <= exchange->length, "more than was asked for");
    expect((exchange->end == KF_HTTP_COMPLETE) ==
               (exchange->delivered == exchange->length),
           "complete, or not, against the bytes that came");
    expect(exchange->end != KF_HTTP_OPEN && exchange->end != KF_HTTP_BAD &&
               exchange->end != KF_HTTP_STOPPED,
           "an end that nothing led to");
}

static void submit(struct slot *slot, unsigned *seed)
{
    struct kf_exchange *exchange = &slot->exchange;

    kf_http_fini(exchange);
    kf_http_init(exchange);
    exchange->url = url;
    exchange->origin = origin;
    exchange->fresh_connection = draw(seed, 8) == 0;
    exchange->ranged = true;
    exchange->offset = draw(seed, TOTAL);
    exchange->length = 1 + draw(seed, TOTAL - (unsigned)exchange->offset);
    exchange->total = TOTAL;
    exchange->urgency = (enum kf_urgency)draw(seed, KF_URGENCY_COUNT);
    exchange->not_before_ns = kf_deadline_ns(draw(seed, 4) * KF_NS_PER_MS / 2);
    exchange->deadline_ns = kf_deadline_ns((1 + draw(seed, 200)) * KF_NS_PER_MS);
    exchange->write = on_write;
    exchange->ended = on_ended;
    slot->submitted++;
    kf_loop_submit(loop, exchange);
}

static void *run_caller(void *arg)
{
    struct caller *caller = arg;

    for (unsigned step = 0; step < STEPS; step++) {
        struct slot *slot = &caller->slots[draw(&caller->seed, SLOTS)];

        if (is_free(slot)) {
            if (slot->submitted > 0)
                check(slot);
            submit(slot, &caller->seed);
        } else if (draw(&caller->seed, 4) == 0) {
            kf_loop_cancel(loop, &slot->exchange);
        } else {
            (void)sched_yield();
        }
    }
    return NULL;
}

/* ---- rounds ---- */

static void await_all(void)
{
    for (unsigned i = 0; i < THREADS * SLOTS; i++)
        while (!is_free(&callers[i / SLOTS].slots[i % SLOTS]))
            (void)sched_yield();
}

static void run_round(unsigned seed)
{
    unsigned peer_seed = seed;
    struct kf_http_peer *peer = kf_http_peer_new();
    struct kf_err err;

    memset(callers, 0, sizeof(callers));
    kf_http_peer_handle(peer, answer, &peer_seed);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/", kf_http_peer_port(peer));
    expect(kf_url_origin(&origin, url, &err) == 0, "no origin");
    expect(kf_loop_new(&loop,
                       &(struct kf_loop_opts){.connections = 1 + draw(&seed, 6),
                                              .stall_ns = 10 * KF_NS_PER_MS,
                                              .stall_background_ns = 20 * KF_NS_PER_MS},
                       &err) == 0,
           "no loop");
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i].seed = seed + i;
        expect(pthread_create(&callers[i].thread, NULL, run_caller, &callers[i]) == 0,
               "no thread");
    }
    for (unsigned i = 0; i < THREADS; i++)
        expect(pthread_join(callers[i].thread, NULL) == 0, "a thread that is lost");
    if (draw(&seed, 2) == 0)
        await_all();
    kf_loop_free(loop);
    for (unsigned i = 0; i < THREADS * SLOTS; i++) {
        struct slot *slot = &callers[i / SLOTS].slots[i % SLOTS];

        expect(is_free(slot), "an exchange that did not end once");
        if (slot->submitted > 0)
            check(slot);
        kf_http_fini(&slot->exchange);
    }
    kf_http_peer_free(peer);
    free(origin);
}

int main(int argc, char **argv)
{
    unsigned rounds = 20, seed;

    take_rounds(argc, argv, &rounds, &seed);
    (void)printf("seed %u, %u rounds\n", seed, rounds);
    (void)fflush(stdout); /* it may not come to an end */
    for (unsigned i = 0; i < TOTAL; i++)
        content[i] = (char)(i * 7 + i / 256);
    for (unsigned i = 0; i < rounds; i++)
        run_round(seed + i);
    return 0;
}
