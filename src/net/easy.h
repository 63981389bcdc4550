/*
 * What curl is told of every request alike: protocol, buffers, trust, proxy.
 */
#ifndef KF_NET_EASY_H
#define KF_NET_EASY_H

#include <curl/curl.h>
#include <stdint.h>

struct kf_http_tls;
struct kf_loop_opts;

/* `tls` NULL: as in `opts`. -1: no memory. */
int kf_easy_configure(CURL *easy, const struct kf_loop_opts *opts,
                      const struct kf_http_tls *tls, int64_t connect_ns);

#endif
