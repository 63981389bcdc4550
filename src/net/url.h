/*
 * What kitfs needs to know of http and https URLs; nothing else is accepted. Pure; any
 * thread; results are yours to free. Messages never repeat a URL: its query may be a
 * signature.
 */
#ifndef KF_NET_URL_H
#define KF_NET_URL_H

#include <stdbool.h>

struct kf_err;

/* scheme://host[:port], lower case, without the scheme's own port: whom a request is sent
 * to. Credentials in a URL are KF_E_MALFORMED. */
int kf_url_origin(char **ret, const char *url, struct kf_err *err);

/* host[:port] within an origin; borrowed. */
const char *kf_url_origin_host(const char *origin);
bool kf_url_origin_is_tls(const char *origin);

/* `reference` as found in an answer to `base` (RFC 3986 section 5), without fragment. */
int kf_url_resolve(char **ret, const char *base, const char *reference,
                   struct kf_err *err);

/* `text` as a value within a query or form: all but letters, digits and "-._~" as %XX.
 * Wiped behind us where it was copied: it may be a secret. NULL: no memory. */
char *kf_url_encode(const char *text);

#endif
