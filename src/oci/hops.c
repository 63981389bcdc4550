#include "oci/hops.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/url.h"

/* Takes ownership of `url`, also on failure. */
static int go_to(struct kf_hops *hops, char *url, struct kf_err *err)
{
    char *origin;

    if (kf_url_origin(&origin, url, err) != 0) {
        free(url);
        return -1;
    }
    free(hops->url);
    free(hops->origin);
    hops->url = url;
    hops->origin = origin;
    return 0;
}

static int go_to_copy(struct kf_hops *hops, const char *url, struct kf_err *err)
{
    char *copy = strdup(url);

    return copy ? go_to(hops, copy, err)
                : kf_fail(err, KF_E_NOMEM, "no memory for a request");
}

int kf_hops_init(struct kf_hops *hops, char *first, struct kf_err *err)
{
    *hops = (struct kf_hops){.first = first};
    if (!first)
        return kf_fail(err, KF_E_NOMEM, "no memory for a request");
    if (kf_url_origin(&hops->home, first, err) != 0)
        return -1;
    return go_to_copy(hops, first, err);
}

void kf_hops_fini(struct kf_hops *hops)
{
    free(hops->first);
    free(hops->home);
    free(hops->url);
    free(hops->origin);
    *hops = (struct kf_hops){0};
}

int kf_hops_jump(struct kf_hops *hops, const char *url, struct kf_err *err)
{
    if (go_to_copy(hops, url, err) != 0)
        return -1;
    hops->redirected = true;
    return 0;
}

int kf_hops_restart(struct kf_hops *hops, struct kf_err *err)
{
    if (go_to_copy(hops, hops->first, err) != 0)
        return -1;
    hops->count = 0;
    hops->redirected = false;
    hops->resolved_anew = true;
    return 0;
}

bool kf_hops_is_home(const struct kf_hops *hops)
{
    return strcmp(hops->origin, hops->home) == 0;
}

bool kf_hops_is_redirect(const struct kf_exchange *exchange)
{
    int status = exchange->status;

    return exchange->end == KF_HTTP_STATUS && exchange->fields[KF_HTTP_LOCATION] &&
           (status == 301 || status == 302 || status == 303 || status == 307 ||
            status == 308);
}

int kf_hops_follow(struct kf_hops *hops, const struct kf_exchange *exchange,
                   struct kf_err *err)
{
    kf_auto(kf_free) char *next = NULL;
    kf_auto(kf_free) char *origin = NULL;

    if (hops->count == KF_HOPS_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u redirections, the last by '%s'",
                       KF_HOPS_LIMIT, kf_url_origin_host(hops->origin));
    if (kf_url_resolve(&next, hops->url, exchange->fields[KF_HTTP_LOCATION], err) != 0 ||
        kf_url_origin(&origin, next, err) != 0)
        return kf_fail_wrap(err, "a redirection by '%s'",
                            kf_url_origin_host(hops->origin));
    if (kf_url_origin_is_tls(hops->origin) && !kf_url_origin_is_tls(origin))
        return kf_fail(err, KF_E_REFUSED, "'%s' redirects from https to http",
                       kf_url_origin_host(hops->origin));
    if (go_to(hops, kf_steal(next), err) != 0)
        return -1;
    hops->count++;
    hops->redirected = true;
    return 0;
}
