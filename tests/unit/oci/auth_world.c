#include "auth_world.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/source.h"
#include "base/stats.h"
#include "base/workq.h"
#include "http_peer.h"
#include "oci/creds.h"
#include "oci/origin.h"

/* ---- the registry and its token service ---- */

struct auth_is auth_is;

struct kf_http_peer *auth_registry, *auth_tokens, *auth_third;
char auth_content[AUTH_SIZE];
static char body[6200]; /* what the token service says; one at a time */

void auth_say(struct kf_http_answer *ret, int status, const char *lines, const void *data,
              size_t length)
{
    (void)snprintf(ret->head, sizeof(ret->head),
                   "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status, length,
                   lines);
    ret->body = data;
    ret->body_length = length;
}

static void refuse(struct kf_http_answer *ret, int status, const char *challenge,
                   const char *text)
{
    char line[400] = "";

    if (challenge)
        (void)snprintf(line, sizeof(line), "WWW-Authenticate: %s\r\n", challenge);
    auth_say(ret, status, line, text, strlen(text));
}

void auth_answer_registry(void *arg, const char *request, struct kf_http_answer *ret)
{
    const char *sent = strstr(request, "\r\nAuthorization: ");
    const char *range = strstr(request, "\r\nRange: bytes=");
    size_t length = strlen(auth_is.takes);
    unsigned first = 0, last = 0;
    char lines[128];

    sent = sent ? sent + strlen("\r\nAuthorization: ") : NULL;
    if (length > 0 && sent && strncmp(sent, auth_is.takes, length) == 0 &&
        strncmp(sent + length, "\r\n", 2) == 0) {
        if (!range || sscanf(range, "\r\nRange: bytes=%u-%u", &first, &last) != 2)
            abort();
        (void)snprintf(lines, sizeof(lines), "Content-Range: bytes %u-%u/%u\r\n", first,
                       last, AUTH_SIZE);
        auth_say(ret, 206, lines, auth_content + first, last - first + 1);
    } else if (auth_is.harbor && sent) {
        refuse(ret, 401, "Basic realm=\"harbor\"", "");
    } else if (auth_is.ecr && sent) {
        refuse(ret, 403, NULL,
               "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"Your Authorization Token "
               "has expired. Reauthenticate and try again.\"}]}");
    } else if (auth_is.narrow && sent) {
        refuse(ret, 403, auth_is.wider, "");
    } else {
        refuse(ret, 401, auth_is.challenge[0] ? auth_is.challenge : NULL, "");
    }
}

static void give_token(struct kf_http_answer *ret)
{
    char value[16];

    (void)snprintf(value, sizeof(value), "t%u", ++auth_is.given);
    (void)snprintf(body, sizeof(body), "{\"token\":\"%s\"%s}",
                   auth_is.value ? auth_is.value : value,
                   auth_is.more ? auth_is.more : "");
    if (!auth_is.useless)
        (void)snprintf(auth_is.takes, sizeof(auth_is.takes), "Bearer %s",
                       auth_is.value ? auth_is.value : value);
    auth_say(ret, 200, "", body, strlen(body));
}

static void answer_tokens(void *arg, const char *request, struct kf_http_answer *ret)
{
    char line[200];
    int status = auth_is.status;

    if (strncmp(request, "GET ", 4) == 0 && auth_is.get_status)
        status = auth_is.get_status;
    if (auth_is.hangs) {
        ret->then = KF_HTTP_THEN_HANG;
    } else if (auth_is.location[0]) {
        (void)snprintf(line, sizeof(line), "Location: %s\r\n", auth_is.location);
        auth_say(ret, 307, line, NULL, 0);
    } else if (status) {
        auth_say(ret, status, "", "no", 2);
    } else if (auth_is.body) {
        auth_say(ret, 200, "", auth_is.body,
                 auth_is.body_length ? auth_is.body_length : strlen(auth_is.body));
    } else {
        give_token(ret);
    }
}

static void answer_third(void *arg, const char *request, struct kf_http_answer *ret)
{
    give_token(ret);
}

/* ---- credentials ---- */

struct auth_known auth_known;
unsigned auth_finds;

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static int find(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err)
{
    (void)__atomic_add_fetch(&auth_finds, 1, __ATOMIC_RELAXED); /* the test looks later */
    if (strncmp(host, "127.0.0.1:", 10) != 0 || strcmp(repository, "a/b") != 0)
        abort();
    if (auth_known.fails)
        return kf_fail(err, KF_E_IO, "docker-credential-x is broken");
    *ret = (struct kf_cred){.username = copy(auth_known.username),
                            .password = copy(auth_known.password),
                            .identity_token = copy(auth_known.identity),
                            .registry_token = copy(auth_known.registry),
                            .from = copy("/a/file")};
    return 0;
}

struct kf_creds auth_creds = {find};

/* ---- reading ---- */

static struct kf_workq *workq;
static struct kf_stats stats;
struct kf_origin *auth_origin;
struct kf_source *auth_source;
struct kf_err auth_err;

void auth_open(struct kf_creds *creds)
{
    const struct kf_origin_opts opts = {
        .net = {.plain_http = true, .creds = creds}, .workq = workq, .stats = &stats};
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    struct kf_desc desc = {.size = AUTH_SIZE};
    char text[64];

    (void)snprintf(text, sizeof(text), "127.0.0.1:%u/a/b:v1",
                   kf_http_peer_port(auth_registry));
    cr_assert_eq(kf_ref_parse(&ref, text, &auth_err), 0, "%s", auth_err.message);
    cr_assert_eq(kf_registry_open(&auth_origin, &ref, &opts, &auth_err), 0, "%s",
                 auth_err.message);
    cr_assert_eq(kf_digest_of(&desc.digest, auth_content, AUTH_SIZE, &auth_err), 0);
    auth_source = kf_origin_blob(auth_origin, &desc, &auth_err);
    cr_assert_not_null(auth_source, "%s", auth_err.message);
}

void auth_set_up(void)
{
    for (size_t i = 0; i < AUTH_SIZE; i++)
        auth_content[i] = (char)(i * 7 + i / 256);
    auth_registry = kf_http_peer_new();
    auth_tokens = kf_http_peer_new();
    auth_third = kf_http_peer_new();
    kf_http_peer_handle(auth_registry, auth_answer_registry, NULL);
    kf_http_peer_handle(auth_tokens, answer_tokens, NULL);
    kf_http_peer_handle(auth_third, answer_third, NULL);
    workq = kf_workq_new(2, &auth_err);
    cr_assert_not_null(workq, "%s", auth_err.message);
    (void)snprintf(auth_is.challenge, sizeof(auth_is.challenge),
                   "Bearer realm=\"http://127.0.0.1:%u/token\",service=\"the service\","
                   "scope=\"" AUTH_SCOPE "\"",
                   kf_http_peer_port(auth_tokens));
}

void auth_tear_down(void)
{
    kf_source_close(auth_source);
    kf_origin_close(auth_origin);
    kf_workq_free(workq);
    kf_http_peer_free(auth_registry);
    kf_http_peer_free(auth_tokens);
    kf_http_peer_free(auth_third);
}

static int read_some(void)
{
    uint8_t got[50];
    int rc;

    kf_err_clear(&auth_err);
    rc = kf_source_read(auth_source, got, 100, sizeof(got), kf_deadline_ns(AUTH_WAIT_NS),
                        &auth_err);
    if (rc == 0)
        cr_expect_arr_eq(got, auth_content + 100, sizeof(got));
    return rc;
}

void auth_expect_read(void)
{
    cr_assert_eq(read_some(), 0, "%s", auth_err.message);
}

void auth_expect_failure(enum kf_err_kind kind, const char *words)
{
    cr_expect_eq(read_some(), -1);
    cr_expect_eq(auth_err.kind, kind, "%s", auth_err.message);
    cr_expect(strstr(auth_err.message, words), "%s", auth_err.message);
}

/* How many requests each has had. */
void auth_expect_requests(unsigned of_registry, unsigned of_tokens)
{
    cr_expect_eq(kf_http_peer_requests(auth_registry), of_registry, "%u",
                 kf_http_peer_requests(auth_registry));
    cr_expect_eq(kf_http_peer_requests(auth_tokens), of_tokens, "%u",
                 kf_http_peer_requests(auth_tokens));
}

void auth_expect_in(struct kf_http_peer *peer, unsigned index, const char *text)
{
    const char *request = kf_http_peer_request(peer, index);

    cr_assert_not_null(request);
    cr_expect(strstr(request, text), "no '%s' in %s", text, request);
}

void auth_expect_not_in(struct kf_http_peer *peer, unsigned index, const char *text)
{
    const char *request = kf_http_peer_request(peer, index);

    cr_assert_not_null(request);
    cr_expect_null(strstr(request, text), "%s", request);
}

void auth_await_tokens(unsigned count)
{
    while (kf_http_peer_requests(auth_tokens) < count)
        (void)sched_yield();
}
