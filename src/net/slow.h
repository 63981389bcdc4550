/*
 * Which of the exchanges under way are slow, by what is known of their hosts
 * (net/pace.h). For net/loop.c alone, on its thread.
 */
#ifndef KF_NET_SLOW_H
#define KF_NET_SLOW_H

#include <stdint.h>

struct kf_exchange;
struct kf_peers;

/* Looks at the exchanges from `first` on (by `next`): sets `slow` of those that are and
 * may be replaced. `span_ns`: since the last look. */
void kf_slow_look(struct kf_peers *peers, struct kf_exchange *first, int64_t span_ns,
                  int64_t now_ns);
/* One was started; one has ended. */
void kf_slow_begin(struct kf_exchange *exchange, int64_t now_ns);
void kf_slow_end(struct kf_peers *peers, const struct kf_exchange *exchange,
                 int64_t now_ns);

#endif
