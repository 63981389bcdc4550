#include "oci/login.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/call.h"
#include "oci/creds.h"
#include "oci/ref.h"
#include "oci/registry.h"

#define BODY_LIMIT 65536u
#define TRIES 2u

struct fixed {
    struct kf_creds creds;
    const char *host, *username, *password;
};

static int find_fixed(struct kf_creds *creds, const char *host, const char *repository,
                      struct kf_cred *ret, struct kf_err *err)
{
    struct fixed *fixed = kf_container_of(creds, struct fixed, creds);
    struct kf_cred cred = {.username = strdup(fixed->username),
                           .password = strdup(fixed->password),
                           .from = strdup("this login")};

    if (strcmp(host, fixed->host) != 0) { /* hosts.toml leads elsewhere */
        kf_cred_fini(&cred);
        *ret = (struct kf_cred){0};
        return 0;
    }
    if (cred.username && cred.password && cred.from) {
        *ret = cred;
        return 0;
    }
    kf_cred_fini(&cred);
    return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

/* The API's root: the base of a repository without a name. */
static int ask(struct kf_registry *registry, struct kf_err *err)
{
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf body;
    int rc;

    kf_buf_init(&body, BODY_LIMIT);
    rc = kf_call_init(&call, registry, strdup(registry->upstream.base),
                      kf_call_deadline(registry), &body, err);
    call.max_tries = TRIES;
    return rc == 0 ? kf_call_run(&call, err) : -1;
}

int kf_login_check(const char *host, const char *username, const char *password,
                   const struct kf_net_opts *net, struct kf_err *err)
{
    struct fixed fixed = {{find_fixed}, host, username, password};
    struct kf_origin_opts opts = {.net = *net, .pull = KF_PULL_ALWAYS};
    char nameless[] = "";
    kf_auto(kf_free) char *registry = strdup(host);
    const struct kf_ref ref = {
        .where = KF_REF_REGISTRY, .registry = registry, .repository = nameless};
    struct kf_origin *origin;
    struct kf_err failure = {0};
    int rc;

    opts.net.creds = &fixed.creds;
    if (!registry)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    if (kf_registry_open(&origin, &ref, &opts, err) != 0)
        return -1;
    rc = ask(kf_container_of(origin, struct kf_registry, origin), &failure);
    kf_origin_close(origin);
    if (rc == 0)
        return 0;
    if (failure.kind == KF_E_REFUSED || failure.kind == KF_E_CREDENTIALS)
        return kf_fail(err, KF_E_REFUSED, "'%s' does not take these credentials", host);
    if (err)
        *err = failure;
    return -1;
}
