#include "net/slow.h"

#include <string.h>

#include "net/http.h"
#include "net/peers.h"

/* Less tells little about a connection. */
#define TELLING_BYTES (256u << 10)

static uint64_t since_look(const struct kf_exchange *exchange)
{
    return exchange->received - exchange->seen;
}

static unsigned active_at(const struct kf_exchange *first, const char *origin)
{
    unsigned count = 0;

    for (; first; first = first->next)
        count += first->head_over && strcmp(first->origin, origin) == 0;
    return count;
}

/* What the exchanges under way add to their hosts' records. */
static void add_up(struct kf_peers *peers, const struct kf_exchange *exchange,
                   int64_t now_ns)
{
    for (; exchange; exchange = exchange->next) {
        struct kf_peer *peer = kf_peers_get(peers, exchange->origin);

        if (!peer)
            continue;
        peer->pace.bytes += since_look(exchange);
        if (exchange->seen_ns > 0)
            kf_pace_connection(&peer->pace, since_look(exchange),
                               now_ns - exchange->seen_ns);
    }
}

/* What is held, or carries a blob for all, goes as its readers do. */
static bool can_be_judged(const struct kf_exchange *exchange)
{
    return exchange->replace_slow && exchange->seen_ns > 0 && !exchange->paused &&
           !(exchange->keep_whole && exchange->range_ignored);
}

static void judge(struct kf_peer *peer, const struct kf_exchange *first,
                  struct kf_exchange *exchange, int64_t now_ns)
{
    exchange->slow =
        kf_pace_is_slow(&peer->pace, active_at(first, exchange->origin), &exchange->pace,
                        since_look(exchange), exchange->expect - exchange->delivered,
                        now_ns - exchange->seen_ns);
    if (exchange->slow)
        kf_pace_replaced(&peer->pace);
}

void kf_slow_look(struct kf_peers *peers, struct kf_exchange *first, int64_t span_ns,
                  int64_t now_ns)
{
    add_up(peers, first, now_ns);
    for (size_t i = 0; i < peers->count; i++)
        if (peers->peers[i].pace.bytes > 0)
            kf_pace_look(&peers->peers[i].pace, span_ns);
    for (struct kf_exchange *exchange = first; exchange; exchange = exchange->next) {
        struct kf_peer *peer = kf_peers_get(peers, exchange->origin);

        if (peer && can_be_judged(exchange))
            judge(peer, first, exchange, now_ns);
        if (exchange->head_over)
            exchange->seen_ns = now_ns;
        exchange->seen = exchange->received;
    }
}

void kf_slow_begin(struct kf_exchange *exchange, int64_t now_ns)
{
    exchange->slow = false;
    exchange->pace = (struct kf_pace_slow){0};
    exchange->seen = 0;
    exchange->seen_ns = 0;
    exchange->began_ns = now_ns;
}

void kf_slow_end(struct kf_peers *peers, const struct kf_exchange *exchange,
                 int64_t now_ns)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);

    if (!peer)
        return;
    peer->pace.bytes += since_look(exchange);
    if (exchange->received >= TELLING_BYTES)
        kf_pace_connection(&peer->pace, exchange->received, now_ns - exchange->began_ns);
}
