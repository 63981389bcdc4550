#include "oci/auth.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/challenge.h"
#include "oci/grant.h"
#include "oci/reply.h"
#include "oci/scope.h"
#include "oci/token.h"

#define REFUSALS_LIMIT 3u /* of one request, whatever others say of the same token */
#define PAUSE_NS (100 * KF_NS_PER_MS)
#define PAUSE_LIMIT_NS (5 * KF_NS_PER_S)

/* What requests carry. */
struct held {
    char *line;          /* NULL: nothing */
    uint64_t generation; /* counts what was got */
    int64_t renew_ns, good_ns;
    bool accepted; /* the host took it once */
};

struct kf_auth {
    char *origin, *host, *repository; /* fixed */
    pthread_mutex_t lock;             /* guards the rest, but for what a run owns */
    struct kf_challenge challenge;    /* scheme, realm, service; error and scope unused */
    char *scope;                      /* merged of all that was needed and asked for */
    struct held held;
    bool fetching;                   /* the grant's thread has the grant */
    uint64_t fetches;                /* begun */
    unsigned failures;               /* of them, in a row */
    int64_t next_fetch_ns;           /* not before */
    struct kf_grant_failure failure; /* of the last one, or a refusal; or clear */
    int64_t failed_until_ns;         /* while a lasting one is remembered */
    bool drop_refresh;               /* before the next fetch */
    char who[KF_GRANT_WHO_SIZE];     /* of the last one, as are the next two */
    char user[KF_GRANT_USER_SIZE];
    char from[KF_GRANT_FROM_SIZE];
    struct kf_grant grant;
};

/* ---- what is held ------------------------------------------------------------------ */

static void drop_held_locked(struct kf_auth *auth)
{
    kf_wipe_text(auth->held.line);
    auth->held.line = NULL;
}

static void fail_locked(struct kf_auth *auth, const struct kf_grant_failure *failure)
{
    auth->failure = *failure;
    auth->failed_until_ns = failure->lasting ? kf_deadline_ns(KF_AUTH_FAILURE_NS) : 0;
}

/* After failures that may pass: as the service asks, else ever longer. */
static int64_t pause_locked(const struct kf_auth *auth, int64_t asked_ns)
{
    int64_t pause_ns = PAUSE_NS;

    for (unsigned i = 1; i < auth->failures && pause_ns < PAUSE_LIMIT_NS; i++)
        pause_ns *= 2;
    if (asked_ns > KF_RETRY_AFTER_LIMIT_NS)
        asked_ns = KF_RETRY_AFTER_LIMIT_NS;
    return pause_ns > asked_ns ? pause_ns : asked_ns;
}

static void take_grant_locked(struct kf_auth *auth)
{
    struct kf_grant *grant = &auth->grant;
    int64_t life = grant->lifetime_ns;

    auth->fetching = false;
    memcpy(auth->who, grant->who, sizeof(auth->who));
    memcpy(auth->user, grant->user, sizeof(auth->user));
    memcpy(auth->from, grant->from, sizeof(auth->from));
    if (!grant->line) {
        auth->failures++;
        fail_locked(auth, &grant->failure);
        auth->next_fetch_ns =
            kf_deadline_ns(pause_locked(auth, grant->failure.retry_after_ns));
        return;
    }
    drop_held_locked(auth);
    auth->failures = 0;
    auth->next_fetch_ns = 0;
    auth->failure = (struct kf_grant_failure){0};
    auth->failed_until_ns = 0;
    if (strcmp(grant->scope, auth->scope) != 0) {
        kf_wipe_text(kf_steal(grant->line)); /* more was asked for meanwhile */
        return;
    }
    auth->held = (struct held){
        .line = kf_steal(grant->line),
        .generation = auth->held.generation + 1,
        .renew_ns = life == KF_NO_DEADLINE ? life : kf_deadline_ns(life / 5 * 4),
        .good_ns = life == KF_NO_DEADLINE ? life : kf_deadline_ns(life)};
}

static void on_granted(struct kf_grant *grant)
{
    struct kf_auth *auth = kf_container_of(grant, struct kf_auth, grant);
    struct kf_loop *loop = grant->loop;

    (void)pthread_mutex_lock(&auth->lock);
    take_grant_locked(auth);
    (void)pthread_mutex_unlock(&auth->lock);
    kf_loop_resume(loop);
}

static int copy(char **slot, const char *text)
{
    char *fresh = text ? strdup(text) : NULL;

    if (text && !fresh)
        return -1;
    free(*slot);
    *slot = fresh;
    return 0;
}

/* The next fetch is the caller's to begin once the lock is free. */
static int claim_fetch_locked(struct kf_auth *auth)
{
    struct kf_grant *grant = &auth->grant;

    if (copy(&grant->realm, auth->challenge.realm) != 0 ||
        copy(&grant->service, auth->challenge.service) != 0 ||
        copy(&grant->scope, auth->scope) != 0)
        return -1;
    if (auth->drop_refresh) {
        kf_wipe_text(grant->refresh);
        grant->refresh = NULL;
        auth->drop_refresh = false;
    }
    grant->scheme = auth->challenge.scheme;
    grant->not_before_ns = auth->next_fetch_ns;
    auth->fetching = true;
    auth->fetches++;
    return 0;
}

/* ---- before a request -------------------------------------------------------------- */

static enum kf_http_gate_says shut(struct kf_auth_use *use, struct kf_exchange *exchange,
                                   const struct kf_grant_failure *failure)
{
    use->why = failure->why;
    exchange->end = failure->end;
    exchange->status = failure->status;
    exchange->curl_code = failure->curl_code;
    return KF_HTTP_GATE_SHUT;
}

static enum kf_http_gate_says shut_no_memory(struct kf_auth_use *use,
                                             struct kf_exchange *exchange)
{
    struct kf_grant_failure failure = {.end = KF_HTTP_BAD};

    (void)kf_fail(&failure.why, KF_E_NOMEM, "no memory for a login"); /* for shut */
    return shut(use, exchange, &failure);
}

/* What is held goes with the request. */
static enum kf_http_gate_says pass_locked(struct kf_auth_use *use,
                                          struct kf_exchange *exchange)
{
    const struct held *held = &use->auth->held;

    if (use->generation != held->generation || !use->line) {
        kf_wipe_text(use->line);
        use->line = strdup(held->line);
        if (!use->line)
            return shut_no_memory(use, exchange);
        use->generation = held->generation;
    }
    exchange->authorization = use->line;
    return KF_HTTP_GATE_OPEN;
}

/* Nothing is held: waits for a fetch, or learns that it failed. */
static enum kf_http_gate_says wait_locked(struct kf_auth_use *use,
                                          struct kf_exchange *exchange, int64_t now,
                                          bool *ret_fetch)
{
    struct kf_auth *auth = use->auth;

    if (auth->failure.end != KF_HTTP_OPEN && !auth->fetching &&
        (now < auth->failed_until_ns || (use->fetch != 0 && use->fetch == auth->fetches)))
        return shut(use, exchange, &auth->failure);
    if (!auth->fetching) {
        if (claim_fetch_locked(auth) != 0)
            return shut_no_memory(use, exchange);
        *ret_fetch = true;
    }
    use->fetch = auth->fetches;
    return KF_HTTP_GATE_WAIT;
}

static enum kf_http_gate_says ask_locked(struct kf_auth_use *use,
                                         struct kf_exchange *exchange, bool *ret_fetch)
{
    struct kf_auth *auth = use->auth;
    int64_t now = kf_now_ns();

    exchange->authorization = NULL;
    if (use->bare)
        return KF_HTTP_GATE_OPEN;
    if (auth->challenge.scheme == KF_CHALLENGE_NONE) {
        use->generation = 0;
        return KF_HTTP_GATE_OPEN;
    }
    if (!auth->held.line || now >= auth->held.good_ns)
        return wait_locked(use, exchange, now, ret_fetch);
    if (now >= auth->held.renew_ns && !auth->fetching && now >= auth->failed_until_ns)
        *ret_fetch = claim_fetch_locked(auth) == 0; /* no memory: the next one tries */
    return pass_locked(use, exchange);
}

static enum kf_http_gate_says on_ask(struct kf_http_gate *gate,
                                     struct kf_exchange *exchange)
{
    struct kf_auth_use *use = kf_container_of(gate, struct kf_auth_use, gate);
    struct kf_auth *auth = use->auth;
    enum kf_http_gate_says says;
    bool fetch = false;

    (void)pthread_mutex_lock(&auth->lock);
    says = ask_locked(use, exchange, &fetch);
    (void)pthread_mutex_unlock(&auth->lock);
    if (fetch)
        kf_grant_start(&auth->grant);
    return says;
}

void kf_auth_prepare(struct kf_auth_use *use, struct kf_auth *auth,
                     struct kf_exchange *exchange)
{
    if (use->auth != auth) {
        kf_auth_use_fini(use);
        use->auth = auth;
    }
    use->gate.ask = on_ask;
    use->fetch = 0;
    kf_err_clear(&use->why);
    use->home = auth && strcmp(exchange->origin, auth->origin) == 0;
    exchange->authorization = NULL;
    exchange->gate = use->home ? &use->gate : NULL;
}

/* ---- after it ---------------------------------------------------------------------- */

/* AWS says it so, with status 403. */
static bool says_expired(const struct kf_exchange *exchange)
{
    char text[KF_REPLY_TEXT_SIZE];

    return exchange->error_body.length > 0 &&
           strcasestr(kf_reply_error(text, exchange->error_body.data,
                                     exchange->error_body.length),
                      "authorization token has expired");
}

static bool wants_more(const struct kf_challenge *challenge)
{
    return challenge->error && strcmp(challenge->error, "insufficient_scope") == 0;
}

static bool same(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

/* Whether credentials may go there. */
static int check_realm(const struct kf_auth *auth, const char *realm, struct kf_err *err)
{
    kf_auto(kf_free) char *origin = NULL;

    if (kf_url_origin(&origin, realm, err) != 0)
        return kf_fail_wrap(err, "the token service of '%s'", auth->host);
    if (kf_url_origin_is_tls(auth->origin) && !kf_url_origin_is_tls(origin))
        return kf_fail(err, KF_E_REFUSED,
                       "'%s' wants its tokens got without https, "
                       "from '%s'",
                       auth->host, kf_url_origin_host(origin));
    return 0;
}

/* Merges the scope that is asked for; whether it grew. What cannot be merged is not asked
 * for. */
static bool widen_locked(struct kf_auth *auth, const char *scope)
{
    char *merged = NULL;
    bool grew;

    if (!scope || kf_scope_merge(&merged, auth->scope, scope, NULL) != 0)
        return false;
    grew = strcmp(merged, auth->scope) != 0;
    free(auth->scope);
    auth->scope = merged;
    return grew;
}

/* Takes the host's word for how to log in; the texts move. */
static int adopt_locked(struct kf_auth *auth, struct kf_challenge *challenge,
                        bool *ret_grew, struct kf_err *err)
{
    struct kf_challenge *now = &auth->challenge;

    *ret_grew = false;
    if (challenge->scheme == KF_CHALLENGE_NONE)
        return 0;
    if (challenge->scheme == KF_CHALLENGE_BEARER &&
        check_realm(auth, challenge->realm, err) != 0)
        return -1;
    *ret_grew = widen_locked(auth, challenge->scope);
    if (now->scheme == challenge->scheme && same(now->realm, challenge->realm) &&
        same(now->service, challenge->service))
        return 0;
    drop_held_locked(auth);
    kf_challenge_fini(now);
    *now = (struct kf_challenge){.scheme = challenge->scheme,
                                 .realm = kf_steal(challenge->realm),
                                 .service = kf_steal(challenge->service)};
    return 0;
}

static bool give_up_locked(struct kf_auth_use *use, int status, bool remember)
{
    struct kf_auth *auth = use->auth;
    struct kf_grant_failure failure = {
        .end = KF_HTTP_STATUS, .status = 401, .lasting = true};

    if (use->why.kind == KF_E_NONE)
        (void)kf_grant_refused(&use->why, kf_url_origin_host(auth->origin), status,
                               auth->who, auth->host);
    failure.why = use->why;
    if (remember)
        fail_locked(auth, &failure);
    return false;
}

/* A request was refused, for want of a login or for the one it has. */
static bool refused_locked(struct kf_auth_use *use, struct kf_challenge *challenge,
                           int status)
{
    struct kf_auth *auth = use->auth;
    bool sent = use->generation != 0;
    bool current = sent && use->generation == auth->held.generation && auth->held.line;
    bool was_bare = use->bare, accepted = auth->held.accepted, grew;

    use->bare = false;
    /* Harbor answers so to a bearer that is too old; without one it tells the truth. */
    if (sent && !was_bare && challenge->scheme == KF_CHALLENGE_BASIC &&
        auth->challenge.scheme == KF_CHALLENGE_BEARER) {
        if (current)
            drop_held_locked(auth);
        use->bare = true;
        return true;
    }
    use->refusals++;
    if (adopt_locked(auth, challenge, &grew, &use->why) != 0)
        return give_up_locked(use, status, false);
    if (auth->challenge.scheme == KF_CHALLENGE_NONE)
        return give_up_locked(use, status, false);
    if (current && grew && !use->widened) {
        use->widened = true;
        drop_held_locked(auth);
        return true;
    }
    if (use->refusals >= REFUSALS_LIMIT)
        return give_up_locked(use, status, false);
    if (!current)
        return true;
    drop_held_locked(auth);
    auth->drop_refresh = true;
    return use->refusals < 2 || accepted ? true : give_up_locked(use, status, true);
}

static bool is_refusal(const struct kf_exchange *exchange,
                       const struct kf_challenge *challenge)
{
    return exchange->end == KF_HTTP_STATUS &&
           (exchange->status == 401 ||
            (exchange->status == 403 &&
             (says_expired(exchange) || wants_more(challenge))));
}

bool kf_auth_again(struct kf_auth_use *use, const struct kf_exchange *exchange)
{
    struct kf_auth *auth = use->auth;
    struct kf_challenge challenge = {0};
    const char *value = exchange->fields[KF_HTTP_WWW_AUTHENTICATE];
    bool again = false;

    if (!use->home || exchange->status == 0 || use->why.kind != KF_E_NONE)
        return false;
    if (value && kf_challenge_parse(&challenge, value, NULL) != 0)
        return false; /* no memory; then it counts as refused */
    (void)pthread_mutex_lock(&auth->lock);
    /* RFC 9110 wants a challenge; who sends none can only mean a password. */
    if (!value && exchange->status == 401 && auth->challenge.scheme == KF_CHALLENGE_NONE)
        challenge.scheme = KF_CHALLENGE_BASIC;
    if (is_refusal(exchange, &challenge)) {
        again = refused_locked(use, &challenge, exchange->status);
    } else {
        use->refusals = 0;
        use->bare = use->widened = false;
        if (use->generation == auth->held.generation)
            auth->held.accepted = true;
    }
    (void)pthread_mutex_unlock(&auth->lock);
    kf_challenge_fini(&challenge);
    return again;
}

void kf_auth_explain(const struct kf_auth_use *use, const struct kf_exchange *exchange,
                     struct kf_err *err)
{
    if (use->why.kind != KF_E_NONE)
        *err = use->why;
    else if (exchange->end == KF_HTTP_DEADLINE && use->fetch != 0 &&
             !exchange->authorization)
        (void)kf_fail(err, KF_E_TIMEOUT, "no token for '%s' in time", use->auth->host);
}

void kf_auth_use_fini(struct kf_auth_use *use)
{
    kf_wipe_text(use->line);
    *use = (struct kf_auth_use){0};
}

/* ---- what people want to know ------------------------------------------------------ */

void kf_auth_look(struct kf_auth *auth, struct kf_auth_state *ret)
{
    kf_auto(kf_free) char *origin = NULL;

    *ret = (struct kf_auth_state){0};
    (void)pthread_mutex_lock(&auth->lock);
    ret->asks = auth->challenge.scheme;
    ret->granted = auth->held.line != NULL;
    (void)snprintf(ret->user, sizeof(ret->user), "%s", auth->user); /* cut is fine */
    (void)snprintf(ret->from, sizeof(ret->from), "%s", auth->from);
    if (auth->challenge.realm && kf_url_origin(&origin, auth->challenge.realm, NULL) == 0)
        (void)snprintf(ret->tokens_by, sizeof(ret->tokens_by), "%s",
                       kf_url_origin_host(origin)); /* cut is fine */
    (void)pthread_mutex_unlock(&auth->lock);
}

/* ---- the state as a whole ---------------------------------------------------------- */

/* Of the repository; without one, when only a login is tried, nothing is asked for. */
static int set_scope(struct kf_auth *auth, const char *actions, struct kf_err *err)
{
    char *scope;

    if (!*auth->repository)
        scope = strdup("");
    else if (asprintf(&scope, "repository:%s:%s", auth->repository, actions) < 0)
        scope = NULL;
    if (!scope)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    free(auth->scope);
    auth->scope = scope;
    return 0;
}

static int init(struct kf_auth *auth, const struct kf_auth_opts *opts, struct kf_err *err)
{
    (void)pthread_mutex_init(&auth->lock, NULL); /* default attributes: cannot fail */
    kf_grant_init(&auth->grant);
    auth->host = strdup(opts->host);
    auth->repository = strdup(opts->repository);
    auth->grant.loop = opts->loop;
    auth->grant.creds = opts->creds;
    auth->grant.host = auth->host;
    auth->grant.repository = auth->repository;
    auth->grant.done = on_granted;
    if (!auth->host || !auth->repository)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    return set_scope(auth, "pull", err) == 0
               ? kf_url_origin(&auth->origin, opts->base, err)
               : -1;
}

int kf_auth_new(struct kf_auth **ret, const struct kf_auth_opts *opts, struct kf_err *err)
{
    struct kf_auth *auth = calloc(1, sizeof(*auth));

    if (!auth)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    if (init(auth, opts, err) != 0) {
        kf_auth_free(auth);
        return -1;
    }
    *ret = auth;
    return 0;
}

int kf_auth_want_push(struct kf_auth *auth, struct kf_err *err)
{
    return set_scope(auth, "pull,push", err);
}

void kf_auth_stop(struct kf_auth *auth)
{
    if (auth)
        kf_grant_stop(&auth->grant);
}

void kf_auth_free(struct kf_auth *auth)
{
    if (!auth)
        return;
    kf_grant_fini(&auth->grant);
    drop_held_locked(auth); /* nobody is left */
    kf_challenge_fini(&auth->challenge);
    free(auth->scope);
    free(auth->origin);
    free(auth->host);
    free(auth->repository);
    (void)pthread_mutex_destroy(&auth->lock);
    free(auth);
}
