#include "net/easy.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/http.h"
#include "net/loop.h"

#define BUFFER_BYTES (256L << 10)
/* A host that moves is followed soon. */
#define NAMES_S 10L
/* Servers and balancers close idle connections after a minute or so. */
#define IDLE_CONNECTION_S 30L

/* Alike for every request. These only store a number; they cannot fail. */
static const struct {
    CURLoption option;
    long value;
} fixed_options[] = {
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_HTTP09_ALLOWED, 0},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_QUICK_EXIT, 1}, /* else a dead resolver holds up the whole thread */
    {CURLOPT_BUFFERSIZE, BUFFER_BYTES},
    {CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES},
    {CURLOPT_TCP_KEEPALIVE, 1},
    {CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S},
    {CURLOPT_DNS_CACHE_TIMEOUT, NAMES_S},
    {CURLOPT_CA_CACHE_TIMEOUT, 0}, /* the file of authorities may be replaced */
};

/* A text that curl copies; false: no memory. A missing one is left at curl's default. */
static bool set_option(CURL *easy, CURLoption option, const char *text)
{
    return !text || curl_easy_setopt(easy, option, text) == CURLE_OK;
}

static bool set_client(CURL *easy, const struct kf_http_tls *tls)
{
    return set_option(easy, CURLOPT_SSLCERT, tls->client_cert) &&
           set_option(easy, CURLOPT_SSLKEY, tls->client_key);
}

/* Whoever names authorities means these alone; curl would add the system's folder. */
static bool set_ca(CURL *easy, const struct kf_http_tls *tls)
{
    struct curl_blob pem = {.data = (void *)(uintptr_t)tls->ca_pem, /* copied */
                            .len = tls->ca_pem_length,
                            .flags = CURL_BLOB_COPY};

    if (!tls->ca_pem && !tls->ca_file)
        return true;
    (void)curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    return tls->ca_pem ? curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &pem) == CURLE_OK
                       : set_option(easy, CURLOPT_CAINFO, tls->ca_file);
}

static bool set_tls(CURL *easy, const struct kf_http_tls *tls)
{
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->no_verify ? 0L : 1L);
    (void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->no_verify ? 0L : 2L);
    return set_ca(easy, tls) && set_client(easy, tls);
}

int kf_easy_configure(CURL *easy, const struct kf_loop_opts *opts,
                      const struct kf_http_tls *tls, int64_t connect_ns)
{
    const struct kf_http_tls own = {.no_verify = opts->tls_no_verify,
                                    .ca_file = opts->ca_file,
                                    .client_cert = opts->client_cert,
                                    .client_key = opts->client_key};
    bool set;

    for (size_t i = 0; i < KF_ARRAY_LEN(fixed_options); i++)
        (void)curl_easy_setopt(easy, fixed_options[i].option, fixed_options[i].value);
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)(connect_ns / KF_NS_PER_MS));
    set = set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
          set_option(easy, CURLOPT_USERAGENT, "kitfs") &&
          set_tls(easy, tls ? tls : &own) && set_option(easy, CURLOPT_PROXY, opts->proxy);
    return set ? 0 : -1;
}

bool kf_easy_has_proxy(const struct kf_loop_opts *opts)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy", "ALL_PROXY"};

    if (opts->proxy)
        return opts->proxy[0] != '\0';
    for (size_t i = 0; i < KF_ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);

        if (value && value[0])
            return true;
    }
    return false;
}

void kf_easy_reset(CURL *easy)
{
    /* curl's own reset keeps a list that was not looked at, for a request that was
     * cancelled at once, and the next one would read it. */
    (void)curl_easy_setopt(easy, CURLOPT_RESOLVE, NULL);
    curl_easy_reset(easy);
}

struct curl_slist *kf_easy_place(CURL *easy, const char *origin, const char *address)
{
    kf_auto(kf_free) char *line = kf_address_line(origin, address);
    struct curl_slist *list = line ? curl_slist_append(NULL, line) : NULL;

    if (list)
        (void)curl_easy_setopt(easy, CURLOPT_RESOLVE, list); /* only stores it */
    return list;
}

const char *kf_easy_address(CURL *easy)
{
    char *address = NULL;

    (void)curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
    return address ? address : "";
}

bool kf_easy_is_lost(CURL *easy, CURLcode code)
{
    curl_off_t looked_up = 0;

    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return true;
    (void)curl_easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
    return (code == CURLE_OK || code == CURLE_OPERATION_TIMEDOUT) && looked_up == 0;
}

int kf_easy_proxy_status(CURL *easy)
{
    long status = 0;

    (void)curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 && status <= 999 ? (int)status : 0;
}
