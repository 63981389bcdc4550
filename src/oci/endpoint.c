#include "oci/endpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/url.h"
#include "oci/auth.h"
#include "oci/origin.h"

int kf_endpoint_init(struct kf_endpoint *endpoint, char *base, char *host)
{
    *endpoint = (struct kf_endpoint){.base = base, .host = host};
    return base && host ? 0 : -1;
}

void kf_endpoint_fini(struct kf_endpoint *endpoint)
{
    kf_auth_free(endpoint->auth);
    free(endpoint->base);
    free(endpoint->host);
    free(endpoint->origin);
    free(endpoint->ns);
    free(endpoint->lines);
    kf_host_fini(&endpoint->settings);
    *endpoint = (struct kf_endpoint){0};
}

/* ---- settings ---------------------------------------------------------------------- */

/* As a value within a query; of what a host may hold only these mean something there. */
static char *make_ns(const char *registry)
{
    char *ns = malloc(sizeof("ns=") + 3 * strlen(registry)), *at = ns;

    if (!ns)
        return NULL;
    at = stpcpy(at, "ns=");
    for (; *registry; registry++) {
        if (strchr(":[]%", *registry))
            at += snprintf(at, 4, "%%%02X", (unsigned)(unsigned char)*registry);
        else
            *at++ = *registry;
    }
    *at = '\0';
    return ns;
}

static void set_tls(struct kf_endpoint *endpoint, const struct kf_net_opts *net)
{
    const struct kf_host *settings = &endpoint->settings;

    endpoint->has_tls =
        settings->has_skip_verify || settings->ca.length > 0 || settings->client_cert;
    endpoint->trust = (struct kf_http_tls){
        .no_verify =
            settings->has_skip_verify ? settings->skip_verify : net->tls_no_verify,
        .ca_file = net->ca_file,
        .ca_pem = settings->ca.length > 0 ? settings->ca.data : NULL,
        .ca_pem_length = settings->ca.length,
    };
    endpoint->tls = endpoint->trust;
    endpoint->tls.client_cert =
        settings->client_cert ? settings->client_cert : net->client_cert;
    endpoint->tls.client_key =
        settings->client_cert ? settings->client_key : net->client_key;
}

int kf_endpoint_configure(struct kf_endpoint *endpoint, struct kf_host *settings,
                          const char *registry, const char *origin,
                          const struct kf_net_opts *net, struct kf_err *err)
{
    size_t count = settings->headers.count;
    bool foreign;

    endpoint->settings = *settings;
    *settings = (struct kf_host){0};
    if (kf_url_origin(&endpoint->origin, endpoint->base, err) != 0)
        return -1;
    endpoint->lines = count > 0 ? calloc(count + 1, sizeof(*endpoint->lines)) : NULL;
    foreign = strcmp(endpoint->origin, origin) != 0;
    endpoint->ns = foreign ? make_ns(registry) : NULL;
    if ((count > 0 && !endpoint->lines) || (foreign && !endpoint->ns))
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    for (size_t i = 0; i < count; i++)
        endpoint->lines[i] = endpoint->settings.headers.items[i];
    set_tls(endpoint, net);
    return 0;
}

/* ---- requests ---------------------------------------------------------------------- */

static bool has_ns(const char *url)
{
    return strstr(url, "?ns=") || strstr(url, "&ns=");
}

char *kf_endpoint_complete(const struct kf_endpoint *endpoint, char *url)
{
    char *whole;

    if (!url || !endpoint->ns || has_ns(url))
        return url;
    if (asprintf(&whole, "%s%c%s", url, strchr(url, '?') ? '&' : '?', endpoint->ns) < 0)
        whole = NULL;
    free(url);
    return whole;
}

char *kf_endpoint_url(const struct kf_endpoint *endpoint, const char *format, ...)
{
    kf_auto(kf_free) char *rest = NULL;
    char *url;
    va_list args;

    va_start(args, format);
    if (vasprintf(&rest, format, args) < 0)
        rest = NULL;
    va_end(args);
    if (!rest || asprintf(&url, "%s/%s", endpoint->base, rest) < 0)
        return NULL;
    return kf_endpoint_complete(endpoint, url);
}

void kf_endpoint_prepare(const struct kf_endpoint *endpoint, struct kf_exchange *exchange)
{
    bool home = strcmp(exchange->origin, endpoint->origin) == 0;

    exchange->headers = home ? endpoint->lines : NULL;
    exchange->connect_ns = home ? endpoint->settings.dial_ns : 0;
    exchange->tls = !endpoint->has_tls ? NULL : home ? &endpoint->tls : &endpoint->trust;
}
