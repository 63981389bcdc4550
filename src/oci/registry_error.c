/*
 * What to say of an exchange that failed.
 */
#include "base/err.h"
#include "net/http.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/hops.h"
#include "oci/registry.h"
#include "oci/reply.h"

#define PROXY_PASSWORD                          \
    ". The proxy wants a name and a password: " \
    "set KITFS_PROXY=http://NAME:PASSWORD@HOST:PORT"

static int fail_broken(struct kf_err *err, enum kf_err_kind kind,
                       const struct kf_exchange *exchange, const char *host)
{
    const char *remedy = "";

    if (exchange->proxy_status)
        return kf_fail(err, kind, "'%s': the proxy answers %d%s", host,
                       exchange->proxy_status,
                       exchange->proxy_status == 407 ? PROXY_PASSWORD : "");
    if (exchange->unconnected)
        remedy = ". Check the proxy: --proxy, or https_proxy and no_proxy";
    else if (exchange->name_lost)
        remedy = ". Check the name, and the name servers in /etc/resolv.conf";
    return kf_fail(err, kind, "'%s': %s%s", host, exchange->text, remedy);
}

int kf_registry_fail(struct kf_err *err, enum kf_err_kind kind,
                     const struct kf_exchange *exchange, const char *origin)
{
    static const char *const reasons[] = {
        [KF_HTTP_STALLED] = "it stopped sending",
        [KF_HTTP_SLOW] = "it sends slowly",
        [KF_HTTP_TOO_LONG] = "its answer is too long",
        [KF_HTTP_DEADLINE] = "it gave no answer in time",
        [KF_HTTP_CANCELLED] = "cancelled",
    };
    const char *host = kf_url_origin_host(origin);
    char text[KF_REPLY_TEXT_SIZE] = "";

    if (exchange->end == KF_HTTP_DEADLINE && err->kind != KF_E_NONE) {
        err->kind = kind;
        return kf_fail_wrap(err, "timed out");
    }
    if (exchange->end == KF_HTTP_DEADLINE && exchange->held)
        return kf_fail(err, kind,
                       "timed out: '%s': it fails, and is asked now and then only", host);
    switch (exchange->end) {
    case KF_HTTP_STATUS:
        if (exchange->error_body.length > 0)
            (void)kf_reply_error(text, exchange->error_body.data,
                                 exchange->error_body.length);
        return kf_fail(err, kind, "'%s' answers %d%s%s%s", host, exchange->status,
                       text[0] ? ", it says: " : "", text,
                       exchange->status == 407 ? PROXY_PASSWORD : "");
    case KF_HTTP_BROKEN:
        return fail_broken(err, kind, exchange, host);
    case KF_HTTP_BAD:
        return kf_fail(err, kind, "'%s': %s", host, exchange->text);
    case KF_HTTP_STALLED:
    case KF_HTTP_SLOW:
    case KF_HTTP_TOO_LONG:
    case KF_HTTP_DEADLINE:
    case KF_HTTP_CANCELLED:
        return kf_fail(err, kind, "'%s': %s", host, reasons[exchange->end]);
    case KF_HTTP_OPEN:
    case KF_HTTP_COMPLETE:
    case KF_HTTP_STOPPED:
        break;
    }
    return kf_fail(err, kind, "'%s': stopped", host);
}

void kf_registry_case(struct kf_retry_case *ret, const struct kf_exchange *exchange,
                      const struct kf_hops *hops, unsigned failures)
{
    static uint32_t state = 2463534242u;
    uint32_t random = __atomic_load_n(&state, __ATOMIC_RELAXED);

    /* xorshift32: spreads retries, decides nothing else. */
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    __atomic_store_n(&state, random, __ATOMIC_RELAXED);
    /* What a proxy says of the way there is for us as if the host said it. */
    *ret = (struct kf_retry_case){
        .end = exchange->proxy_status ? KF_HTTP_STATUS : exchange->end,
        .status = exchange->proxy_status ? exchange->proxy_status : exchange->status,
        .curl_code = exchange->curl_code,
        .retry_after_ns = exchange->retry_after_ns,
        .redirected = hops->redirected,
        .resolved_anew = hops->resolved_anew,
        .urgency = exchange->urgency,
        .failures = failures,
        .random = random};
}
