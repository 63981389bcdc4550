#include "net/notice.h"

#include <curl/curl.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/easy.h"
#include "net/http.h"
#include "net/peers.h"
#include "net/retry.h"
#include "net/slow.h"
#include "net/url.h"

#define PATIENCE_NS KF_NS_PER_S

int64_t kf_notice_due(struct kf_peers *peers, const struct kf_exchange *exchange,
                      int64_t now_ns)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);

    return peer ? kf_health_due(&peer->health, exchange->again, now_ns) : now_ns;
}

/* When its name is lost, where its host is; when it is not any more, that, once. */
static void set_place(struct kf_peers *peers, struct kf_exchange *exchange,
                      int64_t now_ns)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);
    const char *text = peer ? kf_address_to_use(&peer->address, now_ns) : NULL;

    if (!peer || (!text && !peer->address.told))
        return;
    exchange->resolve = kf_easy_place(exchange->easy, exchange->origin, text);
    peer->address.told = text != NULL;
}

void kf_notice_start(struct kf_peers *peers, struct kf_exchange *exchange, int64_t now_ns)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);

    set_place(peers, exchange, now_ns);
    kf_slow_begin(exchange, now_ns);
    exchange->probe = peer && kf_health_sent(&peer->health, exchange->again, now_ns);
}

/* It ended for its host's name or connection, before it was sent; or by us, who had
 * waited long enough for that to say something. */
static bool has_no_connection(const struct kf_exchange *exchange, CURLcode code,
                              int64_t now_ns)
{
    return !exchange->sent &&
           (code != CURLE_OK || now_ns - exchange->progress_ns >= PATIENCE_NS);
}

static void note_place(struct kf_address *address, const struct kf_exchange *exchange,
                       bool dead, int64_t now_ns)
{
    if (exchange->head_over)
        kf_address_found(address, kf_easy_address(exchange->easy));
    else if (dead)
        kf_address_dead(address);
    else if (exchange->name_lost && kf_address_lost(address, now_ns))
        kf_log(KF_LOG_WARN, "net",
               "event=name_lost host=%s: used where it was found last, %s",
               kf_url_origin_host(exchange->origin), address->text);
}

void kf_notice_connection(struct kf_peers *peers, struct kf_exchange *exchange, int code)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);
    int64_t now_ns = kf_now_ns();
    bool none = has_no_connection(exchange, (CURLcode)code, now_ns);

    exchange->name_lost = none && kf_easy_is_lost(exchange->easy, (CURLcode)code);
    exchange->unconnected = none && peers->by_proxy;
    exchange->proxy_status = none ? kf_easy_proxy_status(exchange->easy) : 0;
    if (peer && !peers->by_proxy && !kf_address_is_literal(exchange->origin))
        note_place(&peer->address, exchange, none && !exchange->name_lost, now_ns);
}

static enum kf_health_news news_of(const struct kf_exchange *exchange)
{
    if (exchange->end == KF_HTTP_STATUS && exchange->status == 429)
        return KF_HEALTH_TOO_MANY;
    if (kf_retry_is_of_host(exchange))
        return KF_HEALTH_FAILURE;
    return exchange->head_over ? KF_HEALTH_ANSWER : KF_HEALTH_NOTHING;
}

void kf_notice_end(struct kf_peers *peers, struct kf_exchange *exchange)
{
    struct kf_peer *peer = kf_peers_get(peers, exchange->origin);
    int64_t now_ns = kf_now_ns();

    curl_slist_free_all(exchange->resolve);
    exchange->resolve = NULL;
    kf_slow_end(peers, exchange, now_ns);
    if (peer)
        kf_health_ended(&peer->health, exchange->probe, news_of(exchange),
                        exchange->retry_after_ns, now_ns);
}
