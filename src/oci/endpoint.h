/*
 * A host that is asked for a repository: the registry that the reference names, or a
 * mirror of it, with everything that is said to that host alone. Fixed once its registry
 * is open, but for what is atomic; any thread.
 */
#ifndef KF_OCI_ENDPOINT_H
#define KF_OCI_ENDPOINT_H

#include "net/http.h"
#include "oci/hosts.h"

struct kf_auth;
struct kf_net_opts;

struct kf_endpoint {
    char *base;           /* "https://host:port/v2/repository" */
    char *host;           /* host[:port]: for messages, and whose credentials are used */
    struct kf_auth *auth; /* owned; NULL: nothing is authorized there */
    int ignores_range;    /* atomic; said once */

    /* Private. */
    struct kf_host settings;
    char *origin;       /* of base */
    char *ns;           /* "ns=registry.example"; NULL: the reference names this host */
    const char **lines; /* of settings, NULL behind them; NULL: none */
    bool has_tls;
    struct kf_http_tls tls;   /* for this host */
    struct kf_http_tls trust; /* for where it redirects to: no client certificate */
};

/* Both texts are taken over, also on failure, where they may be NULL (no memory): -1. */
int kf_endpoint_init(struct kf_endpoint *endpoint, char *base, char *host);
void kf_endpoint_fini(struct kf_endpoint *endpoint);

/* What hosts.toml says of it, which is moved out of `settings`; what that does not say is
 * as in `net`, whose texts are borrowed. `registry` is the host in the reference, and
 * `origin` whom it means: every other host is told whose blobs it is asked for. */
int kf_endpoint_configure(struct kf_endpoint *endpoint, struct kf_host *settings,
                          const char *registry, const char *origin,
                          const struct kf_net_opts *net, struct kf_err *err);

/* "BASE/" and what the format says: the URL of something of the repository. Yours to
 * free; NULL: no memory. */
char *kf_endpoint_url(const struct kf_endpoint *endpoint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A URL that the host gave, with the registry's name where that is missing. Takes
 * ownership of `url`; NULL: no memory. */
char *kf_endpoint_complete(const struct kf_endpoint *endpoint, char *url);

/* Sets headers, TLS and the time to connect of a request, whose origin says whether it
 * goes to the host itself or to where that redirected. */
void kf_endpoint_prepare(const struct kf_endpoint *endpoint,
                         struct kf_exchange *exchange);

#endif
