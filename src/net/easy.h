/*
 * What curl is told of every request alike: protocol, buffers, trust, proxy.
 */
#ifndef KF_NET_EASY_H
#define KF_NET_EASY_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct kf_http_tls;
struct kf_loop_opts;

/* `tls` NULL: as in `opts`. -1: no memory. */
int kf_easy_configure(CURL *easy, const struct kf_loop_opts *opts,
                      const struct kf_http_tls *tls, int64_t connect_ns);

/* Whether its requests may go by a proxy, be it that the environment says so. (curl 7.88
 * does not tell which of them did.) */
bool kf_easy_has_proxy(const struct kf_loop_opts *opts);

/* As new, and no pointer of the last request is left. */
void kf_easy_reset(CURL *easy);

/* Tells it where the origin's host is; NULL: that it is to be looked up. The list is to
 * be freed after kf_easy_reset; NULL: no memory, and nothing was told. */
struct curl_slist *kf_easy_place(CURL *easy, const char *origin, const char *address);

/* Where it was connected to; "": nowhere. */
const char *kf_easy_address(CURL *easy);
/* Of a request that was not sent: whether its host's name was what it failed for, or
 * still waited for. `code`: as it ended; CURLE_OK: by us. */
bool kf_easy_is_lost(CURL *easy, CURLcode code);
/* What a proxy answered that made no way to the origin; 0: no such answer. */
int kf_easy_proxy_status(CURL *easy);

#endif
