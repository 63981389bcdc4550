/*
 * Between an exchange and what is known of its host (net/peers.h): what that changes
 * about the exchange, and what the exchange adds to it. For net/loop.c alone, on its
 * thread.
 */
#ifndef KF_NET_NOTICE_H
#define KF_NET_NOTICE_H

#include <stdint.h>

struct kf_exchange;
struct kf_peers;

/* When its host may be asked: `now_ns` or later (net/health.h). */
int64_t kf_notice_due(struct kf_peers *peers, const struct kf_exchange *exchange,
                      int64_t now_ns);
/* It begins; its easy handle has all but the host's address (net/address.h). */
void kf_notice_start(struct kf_peers *peers, struct kf_exchange *exchange,
                     int64_t now_ns);
/* It was not cancelled, and curl still knows of its connection. `code`: a CURLcode. */
void kf_notice_connection(struct kf_peers *peers, struct kf_exchange *exchange, int code);
/* It has ended, and its end is told in it. */
void kf_notice_end(struct kf_peers *peers, struct kf_exchange *exchange);

#endif
