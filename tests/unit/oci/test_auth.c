/* Logging in at a registry and its token service. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_world.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/source.h"
#include "http_peer.h"
#include "oci/auth.h"
#include "oci/creds.h"
#include "oci/token.h"

TestSuite(auth, .init = auth_set_up, .fini = auth_tear_down, .timeout = 60);

/* ---- tokens ---- */

Test(auth, an_anonymous_token)
{
    auth_open(NULL);
    auth_expect_read();
    auth_expect_requests(2, 1);
    auth_expect_not_in(auth_registry, 0, "Authorization");
    auth_expect_in(auth_tokens, 0,
                   "GET /token?service=the%20service&" AUTH_SCOPE_SENT " HTTP/1.1\r\n");
    auth_expect_not_in(auth_tokens, 0, "Authorization");
    auth_expect_in(auth_registry, 1, "\r\nAuthorization: Bearer t1\r\n");
    auth_expect_read();
    auth_expect_requests(3, 1);
    auth_expect_in(auth_registry, 2, "\r\nAuthorization: Bearer t1\r\n");
}

/* Credentials that are not there are the same. */
Test(auth, no_credentials_for_this_host)
{
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_requests(2, 1);
    auth_expect_not_in(auth_tokens, 0, "Authorization");
    cr_expect_eq(auth_finds, 1u);
}

Test(auth, a_token_of_5000_bytes)
{
    static char value[5001];

    memset(value, 'v', sizeof(value) - 1);
    auth_is.value = value;
    auth_open(NULL);
    auth_expect_read();
    auth_expect_in(auth_registry, 1, value);
}

Test(auth, what_is_not_asked_for_is_not_looked_up)
{
    /* A registry that takes all that come without. */
    kf_http_peer_handle(auth_registry, NULL, NULL);
    kf_http_peer_say(auth_registry, auth_content + 100, 50, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 100-149/4096\r\n\r\n");
    auth_known.username = auth_known.password = "x";
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_not_in(auth_registry, 0, "Authorization");
    cr_expect_eq(auth_finds, 0u);
}

Test(auth, name_and_password_for_a_token)
{
    auth_known.username = "Aladdin";
    auth_known.password = "open sesame";
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_requests(2, 1);
    auth_expect_in(auth_tokens, 0, "GET /token?service=");
    auth_expect_in(auth_tokens, 0,
                   "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n");
    auth_expect_in(auth_registry, 1, "\r\nAuthorization: Bearer t1\r\n");
}

static void expect_post_after(int status)
{
    auth_known.username = "ci";
    auth_known.password = "p&w";
    auth_is.get_status = status;
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_requests(2, 2);
    auth_expect_in(auth_tokens, 1, "POST /token HTTP/1.1\r\n");
    auth_expect_in(auth_tokens, 1,
                   "\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    auth_expect_not_in(auth_tokens, 1, "Authorization");
    auth_expect_in(
        auth_tokens, 1,
        "\r\n\r\ngrant_type=password&username=ci&password=p%26w&access_type=offline"
        "&service=the%20service&" AUTH_SCOPE_SENT "&client_id=kitfs");
    cr_expect_eq(auth_finds, 1u);
}

Test(auth, a_service_that_knows_no_get)
{
    expect_post_after(405);
}

Test(auth, a_service_that_finds_no_get)
{
    expect_post_after(404);
}

static void expect_identity(void)
{
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_requests(2, 1);
    auth_expect_in(auth_tokens, 0, "POST /token HTTP/1.1\r\n");
    auth_expect_in(auth_tokens, 0,
                   "\r\n\r\ngrant_type=refresh_token&refresh_token=id%2B1&service=the%"
                   "20service&" AUTH_SCOPE_SENT "&client_id=kitfs");
}

Test(auth, an_identity_token)
{
    auth_known.identity = "id+1";
    expect_identity();
}

Test(auth, an_identity_token_as_helpers_say_it)
{
    auth_known.username = "<token>";
    auth_known.password = "id+1";
    expect_identity();
}

Test(auth, a_registry_token)
{
    auth_known.registry = "r1";
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer r1");
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_requests(2, 0);
}

/* What a POST gave is used, until it is refused. */
Test(auth, a_refresh_token_of_the_service)
{
    auth_known.username = auth_known.password = "x";
    auth_is.get_status = 405;
    auth_is.more = ",\"refresh_token\":\"again\",\"expires_in\":100";
    kf_clock_fake(AUTH_START_NS);
    auth_open(&auth_creds);
    auth_expect_read();
    kf_clock_fake(AUTH_START_NS + 101 * KF_NS_PER_S);
    auth_expect_read();
    auth_expect_requests(3, 3);
    auth_expect_in(auth_tokens, 2, "grant_type=refresh_token&refresh_token=again&");
    cr_expect_eq(auth_finds, 1u);
    kf_clock_fake(AUTH_START_NS + 202 * KF_NS_PER_S);
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer other");
    auth_is.status = 400;
    auth_is.get_status = 401;
    auth_expect_failure(KF_E_CREDENTIALS, "answers 401 for \"x\"");
    auth_expect_in(auth_tokens, 3, "refresh_token=again");
    auth_expect_in(auth_tokens, 4, "GET ");
    auth_expect_requests(3, 5);
    cr_expect_eq(auth_finds, 2u);
}

/* ---- Basic ---- */

Test(auth, basic)
{
    (void)snprintf(auth_is.challenge, sizeof(auth_is.challenge), "Basic realm=\"x\"");
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6cHc=");
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_read();
    auth_expect_requests(3, 0);
    cr_expect_eq(auth_finds, 1u);
}

Test(auth, basic_without_credentials)
{
    (void)snprintf(auth_is.challenge, sizeof(auth_is.challenge), "Basic realm=\"x\"");
    auth_open(NULL);
    auth_expect_failure(KF_E_REFUSED,
                        "answers 401: it wants a login. Run: kitfs login 127.0.0.1:");
    auth_expect_failure(KF_E_REFUSED, "answers 401: it wants a login");
    auth_expect_requests(1, 0);
}

/* Rotated secrets: files are read again, once. */
Test(auth, a_password_that_changed)
{
    (void)snprintf(auth_is.challenge, sizeof(auth_is.challenge), "Basic realm=\"x\"");
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6cHc=");
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_read();
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6bmV3");
    auth_known.password = "new";
    auth_expect_read();
    auth_expect_requests(4, 0);
    cr_expect_eq(auth_finds, 2u);
}

Test(auth, ecr_says_403_when_a_token_is_too_old)
{
    (void)snprintf(auth_is.challenge, sizeof(auth_is.challenge), "Basic realm=\"x\"");
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6cHc=");
    auth_is.ecr = true;
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_read();
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6bmV3");
    auth_known.password = "new";
    auth_expect_read();
    auth_expect_requests(4, 0);
}

/* ---- refusals ---- */

Test(auth, a_new_token_is_refused)
{
    auth_is.useless = true;
    kf_clock_fake(AUTH_START_NS);
    auth_open(NULL);
    auth_expect_failure(KF_E_REFUSED, "answers 401: it wants a login. Run: kitfs login");
    auth_expect_requests(2, 1);
    auth_expect_failure(KF_E_REFUSED, "answers 401: it wants a login. Run: kitfs login");
    auth_expect_requests(2, 1);
    kf_clock_fake(AUTH_START_NS + KF_AUTH_FAILURE_NS + 1);
    auth_is.useless = false;
    auth_expect_read();
}

Test(auth, a_new_token_for_somebody_is_refused)
{
    auth_is.useless = true;
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_failure(
        KF_E_CREDENTIALS,
        "answers 401 for \"ci\" (from /a/file). Run: kitfs login 127.0.0.1:");
}

Test(auth, the_service_refuses_a_password)
{
    auth_is.status = 401;
    auth_known.username = "ci";
    auth_known.password = "secret";
    auth_open(&auth_creds);
    auth_expect_failure(KF_E_CREDENTIALS,
                        "answers 401 for \"ci\" (from /a/file). Run: kitfs login");
    cr_expect_null(strstr(auth_err.message, "secret"));
    auth_expect_failure(KF_E_CREDENTIALS, "answers 401 for \"ci\"");
    auth_expect_requests(1, 1);
}

Test(auth, a_token_that_ends_early)
{
    auth_open(NULL);
    auth_expect_read();
    auth_is.takes[0] = '\0';
    auth_expect_read();
    auth_expect_requests(4, 2);
    auth_expect_in(auth_registry, 3, "\r\nAuthorization: Bearer t2\r\n");
}

/* It says Basic to a bearer that is too old, and the truth without one. */
Test(auth, harbor)
{
    auth_is.harbor = true;
    auth_open(NULL);
    auth_expect_read();
    auth_is.takes[0] = '\0';
    auth_expect_read();
    auth_expect_requests(5, 2);
    auth_expect_in(auth_registry, 2, "\r\nAuthorization: Bearer t1\r\n");
    auth_expect_not_in(auth_registry, 3, "Authorization");
    auth_expect_in(auth_registry, 4, "\r\nAuthorization: Bearer t2\r\n");
}

Test(auth, a_larger_scope_is_asked_for_once)
{
    auth_open(NULL);
    auth_expect_read();
    auth_is.narrow = true;
    (void)snprintf(auth_is.wider, sizeof(auth_is.wider),
                   "Bearer realm=\"http://127.0.0.1:%u/token\",service=\"the service\","
                   "scope=\"repository:c:pull\",error=\"insufficient_scope\"",
                   kf_http_peer_port(auth_tokens));
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer other");
    auth_expect_read();
    auth_expect_requests(4, 2);
    auth_expect_in(auth_tokens, 1,
                   "&" AUTH_SCOPE_SENT "&scope=repository%3Ac%3Apull HTTP");
    auth_is.useless = true;
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer other");
    auth_expect_failure(KF_E_REFUSED, "answers 403: it wants a login. Run: kitfs login");
    auth_expect_requests(6, 3);
}

Test(auth, a_refusal_that_names_no_way)
{
    auth_is.challenge[0] = '\0';
    auth_open(NULL);
    auth_expect_failure(KF_E_REFUSED, "answers 401: it wants a login");
    auth_expect_requests(1, 0);
}

Test(auth, a_password_where_no_way_is_named)
{
    auth_is.challenge[0] = '\0';
    (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Basic Y2k6cHc=");
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_read();
    auth_expect_read();
    auth_expect_requests(3, 0);
}

/* ---- the token service is not well ---- */

Test(auth, garbage_from_the_service)
{
    auth_is.body = "<html>hello</html>";
    auth_open(NULL);
    auth_expect_failure(KF_E_MALFORMED, "no token in the answer");
    cr_expect_leq(kf_http_peer_requests(auth_tokens), 5u);
}

Test(auth, an_answer_that_is_too_long)
{
    static char huge[KF_TOKEN_ANSWER_LIMIT + 1];

    memset(huge, ' ', sizeof(huge));
    auth_is.body = huge;
    auth_is.body_length = sizeof(huge);
    auth_open(NULL);
    auth_expect_failure(KF_E_LIMIT, "its answer is too long");
    auth_expect_requests(1, 1);
}

Test(auth, the_service_is_away_for_a_while)
{
    auth_is.status = 503;
    auth_open(NULL);
    kf_err_clear(&auth_err);
    cr_expect_eq(kf_source_read(auth_source, (uint8_t[50]){0}, 0, 50,
                                kf_deadline_ns(600 * KF_NS_PER_MS), &auth_err),
                 -1);
    cr_expect_eq(auth_err.kind, KF_E_TIMEOUT, "%s", auth_err.message);
    cr_expect(strstr(auth_err.message, "no token for '127.0.0.1:"), "%s",
              auth_err.message);
    cr_expect_leq(kf_http_peer_requests(auth_tokens), 8u);
    auth_is.status = 0;
    auth_expect_read();
}

Test(auth, credentials_that_cannot_be_looked_up)
{
    auth_known.fails = true;
    auth_open(&auth_creds);
    auth_expect_failure(KF_E_IO, "docker-credential-x is broken");
    auth_expect_failure(KF_E_IO, "docker-credential-x is broken");
    cr_expect_eq(auth_finds, 1u);
}

Test(auth, the_service_redirects_credentials_elsewhere)
{
    (void)snprintf(auth_is.location, sizeof(auth_is.location), "http://127.0.0.1:%u/",
                   kf_http_peer_port(auth_third));
    auth_known.username = "ci";
    auth_known.password = "pw";
    auth_open(&auth_creds);
    auth_expect_failure(KF_E_REFUSED,
                        "asks for credentials and then redirects to '127.0.0.1:");
    cr_expect_eq(kf_http_peer_requests(auth_third), 0u);
}

Test(auth, the_service_redirects_elsewhere_who_has_none)
{
    (void)snprintf(auth_is.location, sizeof(auth_is.location), "http://127.0.0.1:%u/",
                   kf_http_peer_port(auth_third));
    auth_open(NULL);
    auth_expect_read();
    cr_expect_eq(kf_http_peer_requests(auth_third), 1u);
}

/* ---- where Authorization goes ---- */

static void answer_redirect(void *arg, const char *request, struct kf_http_answer *ret)
{
    char line[64];

    if (!strstr(request, "\r\nAuthorization: ")) {
        auth_answer_registry(NULL, request, ret);
        return;
    }
    (void)snprintf(line, sizeof(line), "Location: http://127.0.0.1:%u/x\r\n",
                   kf_http_peer_port(auth_third));
    auth_say(ret, 307, line, NULL, 0);
}

static void answer_content(void *arg, const char *request, struct kf_http_answer *ret)
{
    auth_say(ret, 206, "Content-Range: bytes 100-149/4096\r\n", auth_content + 100, 50);
}

Test(auth, nothing_goes_to_where_a_redirection_leads)
{
    kf_http_peer_handle(auth_registry, answer_redirect, NULL);
    kf_http_peer_handle(auth_third, answer_content, NULL);
    auth_open(NULL);
    auth_expect_read();
    auth_expect_in(auth_registry, 1, "\r\nAuthorization: Bearer t1\r\n");
    auth_expect_not_in(auth_third, 0, "Authorization");
}

/* A challenge as a host at `base` might send it. */
static bool is_taken_up(const char *base, const char *challenge, struct kf_err *ret)
{
    kf_auto(kf_free) char *host = strdup(base);
    struct kf_auth_opts opts = {.base = base, .host = "r.example", .repository = "a"};
    struct kf_auth_use use = {0};
    struct kf_exchange exchange;
    struct kf_auth *auth;
    bool again;

    kf_err_clear(ret);
    kf_http_init(&exchange);
    cr_assert_eq(kf_auth_new(&auth, &opts, ret), 0, "%s", ret->message);
    exchange.origin = host;
    kf_auth_prepare(&use, auth, &exchange);
    cr_assert_not_null(exchange.gate);
    exchange.end = KF_HTTP_STATUS;
    exchange.status = 401;
    exchange.fields[KF_HTTP_WWW_AUTHENTICATE] = strdup(challenge);
    again = kf_auth_again(&use, &exchange);
    kf_auth_explain(&use, &exchange, ret);
    kf_auth_use_fini(&use);
    kf_http_fini(&exchange);
    kf_auth_free(auth);
    return again;
}

Test(auth, realms)
{
    static const struct {
        const char *base, *challenge;
        bool good;
        const char *words;
    } rows[] = {
        {"https://r.example", "Bearer realm=\"https://t.example/\"", true, NULL},
        {"https://r.example", "Bearer realm=\"http://t.example/\"", false,
         "'r.example' wants its tokens got without https, from 't.example'"},
        {"https://r.example", "Bearer realm=\"http://r.example/\"", false,
         "without https"},
        {"http://r.example", "Bearer realm=\"http://t.example/\"", true, NULL},
        {"http://r.example", "Bearer realm=\"https://t.example/\"", true, NULL},
        {"http://r.example", "Bearer realm=\"ftp://t.example/\"", false, "neither"},
        {"http://r.example", "Bearer realm=\"file:///etc/passwd\"", false, "URL"},
        {"http://r.example", "Bearer realm=\"https://u:p@t.example/\"", false, "URL"},
        {"http://r.example", "Bearer realm=\"/token\"", false, "URL"},
        {"http://r.example", "Bearer realm=\"\"", false, "URL"},
        {"https://r.example", "Basic", true, NULL},
        {"https://r.example", "Negotiate", false, "it wants a login"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_err why;

        cr_expect_eq(is_taken_up(rows[i].base, rows[i].challenge, &why), rows[i].good,
                     "%s", rows[i].challenge);
        if (rows[i].words)
            cr_expect(strstr(why.message, rows[i].words), "%s", why.message);
    }
}
