#include "oci/grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/registry.h"
#include "oci/token.h"

#define FORM "application/x-www-form-urlencoded"

enum step { ANONYMOUS, BY_PASSWORD, BY_PASSWORD_POST, BY_IDENTITY, BY_REFRESH };

static const struct {
    enum kf_http_method method;
    bool is_secret; /* something of ours goes with it */
} steps[] = {
    [ANONYMOUS] = {KF_HTTP_GET, false},        [BY_PASSWORD] = {KF_HTTP_GET, true},
    [BY_PASSWORD_POST] = {KF_HTTP_POST, true}, [BY_IDENTITY] = {KF_HTTP_POST, true},
    [BY_REFRESH] = {KF_HTTP_POST, true},
};

static void go_on(struct kf_grant *grant);

/* ---- the end of a run -------------------------------------------------------------- */

static void clean_question(struct kf_grant *grant)
{
    kf_wipe_text(grant->basic);
    kf_wipe_text(grant->form);
    grant->basic = grant->form = NULL;
    kf_wipe(grant->answer, grant->answer_length);
    grant->answer = NULL;
    grant->answer_length = 0;
    kf_hops_fini(&grant->hops);
}

static void finish(struct kf_grant *grant)
{
    clean_question(grant);
    kf_cred_fini(&grant->cred);
    grant->done(grant);
}

static void succeed(struct kf_grant *grant, char *line, int64_t lifetime_ns)
{
    if (!line) {
        grant->failure.end = KF_HTTP_BAD;
        (void)kf_fail(&grant->failure.why, KF_E_NOMEM, "no memory for a login");
    }
    grant->line = line;
    grant->lifetime_ns = lifetime_ns;
    finish(grant);
}

/* One that nobody answered: `why` is there. */
static void fail_own(struct kf_grant *grant)
{
    struct kf_grant_failure *failure = &grant->failure;

    failure->lasting = !kf_err_worth_retrying(failure->why.kind);
    failure->end = failure->lasting ? KF_HTTP_STATUS : KF_HTTP_STALLED;
    failure->status = failure->lasting ? 401 : 0;
    finish(grant);
}

static void fail_refused(struct kf_grant *grant, const char *by, int status)
{
    (void)kf_grant_refused(&grant->failure.why, by, status, grant->who, grant->host);
    fail_own(grant);
}

int kf_grant_refused(struct kf_err *err, const char *by, int status, const char *who,
                     const char *host)
{
    return kf_fail(err, who[0] ? KF_E_CREDENTIALS : KF_E_REFUSED,
                   "'%s' answers %d%s%s. Run: kitfs login %s", by, status, who,
                   who[0] ? "" : ": it wants a login", host);
}

/* ---- the token service ------------------------------------------------------------- */

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct kf_grant *grant = kf_container_of(exchange, struct kf_grant, exchange);

    memcpy(grant->answer + grant->answer_length, data, length); /* body_limit fits */
    grant->answer_length += length;
    return 0;
}

static void take_answer(struct kf_grant *grant)
{
    struct kf_grant_failure *failure = &grant->failure;
    struct kf_token token;

    if (kf_token_parse(&token, grant->answer, grant->answer_length, &failure->why) != 0) {
        failure->end = KF_HTTP_BAD;
        (void)kf_fail_wrap(&failure->why, "'%s'", kf_url_origin_host(grant->hops.origin));
        finish(grant);
        return;
    }
    if (token.refresh) {
        kf_wipe_text(grant->refresh);
        grant->refresh = kf_steal(token.refresh);
    }
    succeed(grant, kf_token_bearer(token.value), token.lifetime_ns);
    kf_token_fini(&token);
}

/* A failure of the exchange itself. */
static void fail_as(struct kf_grant *grant, const struct kf_exchange *exchange)
{
    struct kf_grant_failure *failure = &grant->failure;
    struct kf_retry_case one;
    struct kf_retry_verdict verdict;

    kf_registry_case(&one, exchange, &grant->hops, 0);
    one.redirected = false;
    verdict = kf_retry_decide(&one);
    (void)kf_registry_fail(&failure->why, verdict.kind, exchange, grant->hops.origin);
    (void)kf_fail_wrap(&failure->why, "no token for '%s'", grant->host);
    failure->end = exchange->end;
    failure->status = exchange->status;
    failure->curl_code = exchange->curl_code;
    failure->retry_after_ns = exchange->retry_after_ns;
    failure->lasting = verdict.action == KF_RETRY_GIVE_UP &&
                       exchange->end != KF_HTTP_CANCELLED &&
                       exchange->end != KF_HTTP_DEADLINE;
    if (exchange->end == KF_HTTP_DEADLINE || exchange->end == KF_HTTP_CANCELLED)
        failure->end = KF_HTTP_STALLED; /* the deadline was ours, not that of who waits */
    if (failure->lasting && exchange->end == KF_HTTP_STATUS) {
        failure->status = 401; /* whatever it is, it is no login */
        failure->why.kind = KF_E_REFUSED;
    }
    finish(grant);
}

static void follow(struct kf_grant *grant)
{
    struct kf_err *why = &grant->failure.why;

    if (kf_hops_follow(&grant->hops, &grant->exchange, why) != 0) {
        fail_own(grant);
        return;
    }
    if (!kf_hops_is_home(&grant->hops) && steps[grant->step].is_secret) {
        (void)kf_fail(
            why, KF_E_REFUSED, "'%s' asks for credentials and then redirects to '%s'",
            kf_url_origin_host(grant->hops.home), kf_url_origin_host(grant->hops.origin));
        fail_own(grant);
        return;
    }
    go_on(grant);
}

static void ask(struct kf_grant *grant, enum step step);
static void look_up(struct kf_grant *grant);

static void on_ended(struct kf_exchange *exchange)
{
    struct kf_grant *grant = kf_container_of(exchange, struct kf_grant, exchange);
    int status = exchange->end == KF_HTTP_STATUS ? exchange->status : 0;

    exchange->not_before_ns = 0;
    if (exchange->end == KF_HTTP_COMPLETE) {
        take_answer(grant);
    } else if (kf_hops_is_redirect(exchange)) {
        follow(grant);
    } else if (grant->step == BY_REFRESH && status / 100 == 4 && status != 429) {
        kf_wipe_text(grant->refresh); /* it is over, or was not meant for this */
        grant->refresh = NULL;
        look_up(grant);
    } else if (grant->step == BY_PASSWORD && (status == 404 || status == 405)) {
        ask(grant, BY_PASSWORD_POST);
    } else if (status == 400 || status == 401 || status == 403) {
        fail_refused(grant, kf_url_origin_host(grant->hops.origin), status);
    } else {
        fail_as(grant, exchange);
    }
}

static void go_on(struct kf_grant *grant)
{
    struct kf_exchange *exchange = &grant->exchange;

    exchange->url = grant->hops.url;
    exchange->origin = grant->hops.origin;
    grant->answer_length = 0;
    kf_loop_submit(grant->loop, exchange);
}

/* Fills basic, form and hops. */
static int compose(struct kf_grant *grant, struct kf_err *err)
{
    const struct kf_cred *cred = &grant->cred;
    bool get = steps[grant->step].method == KF_HTTP_GET;
    const char *identity = cred->identity_token ? cred->identity_token : cred->password;
    char *url = get ? kf_token_url(grant->realm, grant->service, grant->scope)
                    : strdup(grant->realm);

    if (grant->step == BY_PASSWORD)
        grant->basic = kf_token_basic(cred->username, cred->password);
    else if (grant->step == BY_PASSWORD_POST)
        grant->form = kf_token_password_form(cred->username, cred->password,
                                             grant->service, grant->scope);
    else if (!get)
        grant->form =
            kf_token_refresh_form(grant->step == BY_REFRESH ? grant->refresh : identity,
                                  grant->service, grant->scope);
    grant->answer = malloc(KF_TOKEN_ANSWER_LIMIT);
    if (kf_hops_init(&grant->hops, url, err) != 0)
        return -1;
    if (!grant->answer || (!get && !grant->form) ||
        (grant->step == BY_PASSWORD && !grant->basic))
        return kf_fail(err, KF_E_NOMEM, "no memory for a login");
    return 0;
}

static bool is_stopping(struct kf_grant *grant, struct kf_err *why)
{
    bool stopping;

    (void)pthread_mutex_lock(&grant->lock);
    stopping = grant->stopping;
    (void)pthread_mutex_unlock(&grant->lock);
    if (stopping)
        (void)kf_fail(why, KF_E_CANCELLED, "cancelled"); /* the caller knows */
    return stopping;
}

static void ask(struct kf_grant *grant, enum step step)
{
    struct kf_exchange *exchange = &grant->exchange;
    int64_t now = kf_now_ns();

    clean_question(grant);
    grant->step = (int)step;
    if (is_stopping(grant, &grant->failure.why) ||
        compose(grant, &grant->failure.why) != 0) {
        fail_own(grant);
        return;
    }
    exchange->method = steps[step].method;
    exchange->accept = "application/json";
    exchange->authorization = grant->basic;
    exchange->content_type = grant->form ? FORM : NULL;
    exchange->send = grant->form;
    exchange->send_length = grant->form ? strlen(grant->form) : 0;
    exchange->body_limit = KF_TOKEN_ANSWER_LIMIT;
    exchange->urgency = KF_DEMAND;
    exchange->not_before_ns = grant->not_before_ns;
    exchange->deadline_ns =
        (now > grant->not_before_ns ? now : grant->not_before_ns) + KF_GRANT_TIMEOUT_NS;
    exchange->write = on_write;
    exchange->ended = on_ended;
    go_on(grant);
}

/* ---- credentials ------------------------------------------------------------------- */

static void name_who(struct kf_grant *grant)
{
    const struct kf_cred *cred = &grant->cred;
    const char *from = cred->from ? cred->from : "";

    grant->who[0] = '\0';
    (void)snprintf(grant->user, sizeof(grant->user), "%s",
                   cred->username ? cred->username : ""); /* cut is fine */
    (void)snprintf(grant->from, sizeof(grant->from), "%s", from);
    if (cred->username)
        (void)snprintf(grant->who, sizeof(grant->who), " for \"%.80s\" (from %s)",
                       cred->username, from); /* cut is fine */
    else if (cred->identity_token || cred->registry_token)
        (void)snprintf(grant->who, sizeof(grant->who), " for a token (from %s)", from);
}

static void use_cred(struct kf_grant *grant)
{
    const struct kf_cred *cred = &grant->cred;
    bool has_user = cred->username && cred->password;
    bool bearer = grant->scheme == KF_CHALLENGE_BEARER;

    name_who(grant);
    if (cred->registry_token)
        succeed(grant, kf_token_bearer(cred->registry_token), KF_NO_DEADLINE);
    else if (bearer && (cred->identity_token ||
                        (has_user && strcmp(cred->username, KF_CRED_TOKEN_USER) == 0)))
        ask(grant, BY_IDENTITY);
    else if (bearer)
        ask(grant, has_user ? BY_PASSWORD : ANONYMOUS);
    else if (has_user)
        succeed(grant, kf_token_basic(cred->username, cred->password), KF_NO_DEADLINE);
    else
        fail_refused(grant, grant->host, 401);
}

static void find_cred(void *arg)
{
    struct kf_grant *grant = arg;

    if (grant->creds->find(grant->creds, grant->host, grant->repository, &grant->cred,
                           &grant->failure.why) != 0) {
        (void)kf_fail_wrap(&grant->failure.why, "no credentials for '%s'", grant->host);
        fail_own(grant);
        return;
    }
    use_cred(grant);
}

/* Lock held, so that it is begun before kf_grant_stop looks, or not at all. */
static int begin_find_locked(struct kf_grant *grant, struct kf_err *why)
{
    if (grant->stopping)
        return kf_fail(why, KF_E_CANCELLED, "cancelled");
    if (!grant->has_beside)
        kf_beside_init(&grant->beside);
    grant->has_beside = true;
    if (!grant->beside.started) /* the network thread must not wait for a file */
        return kf_fail(why, KF_E_NOMEM, "no thread to look up credentials");
    kf_beside_start(&grant->beside, find_cred, grant);
    return 0;
}

static void look_up(struct kf_grant *grant)
{
    int rc;

    if (!grant->creds) {
        use_cred(grant);
        return;
    }
    (void)pthread_mutex_lock(&grant->lock);
    rc = begin_find_locked(grant, &grant->failure.why);
    (void)pthread_mutex_unlock(&grant->lock);
    if (rc != 0)
        fail_own(grant);
}

/* ---- for the owner ----------------------------------------------------------------- */

void kf_grant_init(struct kf_grant *grant)
{
    *grant = (struct kf_grant){0};
    (void)pthread_mutex_init(&grant->lock, NULL); /* default attributes: cannot fail */
    kf_http_init(&grant->exchange);
}

void kf_grant_start(struct kf_grant *grant)
{
    grant->failure = (struct kf_grant_failure){0};
    grant->line = NULL;
    if (grant->refresh && grant->scheme == KF_CHALLENGE_BEARER)
        ask(grant, BY_REFRESH);
    else
        look_up(grant);
}

void kf_grant_stop(struct kf_grant *grant)
{
    bool has_beside;

    (void)pthread_mutex_lock(&grant->lock);
    grant->stopping = true;
    has_beside = grant->has_beside;
    (void)pthread_mutex_unlock(&grant->lock);
    if (has_beside)
        kf_beside_wait(&grant->beside);
}

void kf_grant_fini(struct kf_grant *grant)
{
    if (grant->has_beside)
        kf_beside_fini(&grant->beside);
    kf_wipe_text(grant->refresh);
    free(grant->realm);
    free(grant->service);
    free(grant->scope);
    clean_question(grant);
    kf_cred_fini(&grant->cred);
    kf_http_fini(&grant->exchange);
    (void)pthread_mutex_destroy(&grant->lock);
}
