/* Manifests and tags, asked of a peer on loopback that says what the test wants. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http_peer.h"
#include "oci/hops.h"
#include "oci/origin.h"
#include "oci/registry.h"

#define MANIFEST "{\"schemaVersion\":2}"
#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n"

static struct kf_http_peer *peer;
static struct kf_origin *origin;
static struct kf_err err;
static struct kf_buf bytes;
static struct kf_digest digest;

static void set_up(void)
{
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    char text[64];

    peer = kf_http_peer_new();
    (void)snprintf(text, sizeof(text), "127.0.0.1:%u/a/b:v1", kf_http_peer_port(peer));
    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    cr_assert_eq(
        kf_registry_open(&origin, &ref,
                         &(struct kf_origin_opts){.net.plain_http = true,
                                                  .timeout_ns = 30 * KF_NS_PER_S},
                         &err),
        0, "%s", err.message);
    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
}

static void tear_down(void)
{
    kf_origin_close(origin);
    kf_http_peer_free(peer);
    kf_buf_fini(&bytes);
}

TestSuite(registry, .init = set_up, .fini = tear_down, .timeout = 60);

/* An answer with a text and further header lines. */
static void answer(int status, const char *body, const char *lines)
{
    kf_http_peer_say(peer, body, strlen(body), KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n", status,
                     strlen(body), lines);
}

static int manifest(const char *wanted, const struct kf_digest *known)
{
    kf_err_clear(&err);
    return kf_origin_manifest(origin, wanted, known, &bytes, &digest, &err);
}

static void expect_failure(const char *wanted, enum kf_err_kind kind, const char *words)
{
    cr_expect_eq(manifest(wanted, NULL), -1);
    cr_expect_eq(err.kind, kind, "%s", err.message);
    cr_expect(strstr(err.message, words), "%s", err.message);
}

static struct kf_digest digest_of(const char *text)
{
    struct kf_digest ret;

    cr_assert_eq(kf_digest_of(&ret, text, strlen(text), &err), 0);
    return ret;
}

/* ---- manifests ---- */

Test(registry, a_manifest_by_its_tag)
{
    struct kf_digest expected = digest_of(MANIFEST);
    const char *request;

    answer(200, MANIFEST, "");
    cr_assert_eq(manifest("v1", NULL), 0, "%s", err.message);
    cr_expect_str_eq((char *)bytes.data, MANIFEST);
    cr_expect(kf_digest_equal(&digest, &expected));
    request = kf_http_peer_request(peer, 0);
    cr_expect_eq(strncmp(request, "GET /v2/a/b/manifests/v1 HTTP/1.1\r\n", 35), 0);
    cr_expect(strstr(request, "application/vnd.oci.image.manifest.v1+json"));
    cr_expect_eq(kf_http_peer_requests(peer), 1u, "no ping, no HEAD");
}

Test(registry, a_manifest_that_is_known)
{
    struct kf_digest known = digest_of(MANIFEST);

    answer(304, "", "");
    cr_assert_eq(manifest("v1", &known), 1, "%s", err.message);
    cr_expect(kf_digest_equal(&digest, &known));
    cr_expect(strstr(kf_http_peer_request(peer, 0), "\r\nIf-None-Match: \"sha256:"));
    /* The same from a registry that knows no such condition. */
    answer(200, MANIFEST, "");
    cr_assert_eq(manifest("v1", &known), 1);
    cr_expect_eq(bytes.length, 0u);
}

Test(registry, a_manifest_of_another_digest)
{
    struct kf_digest other = digest_of("something else");
    char text[KF_DIGEST_TEXT_SIZE], line[KF_DIGEST_TEXT_SIZE + 64];

    (void)kf_digest_format(&other, text);
    (void)snprintf(line, sizeof(line), "Docker-Content-Digest: %s\r\n", text);
    answer(200, MANIFEST, "");
    expect_failure(text, KF_E_CORRUPT, "sent a manifest that is not 'sha256:");
    answer(200, MANIFEST, line);
    expect_failure("v1", KF_E_CORRUPT, "sent a manifest that is not 'sha256:");
    cr_expect_eq(bytes.length, 0u);
}

Test(registry, what_is_no_name_is_not_asked_for)
{
    expect_failure("../v1", KF_E_ARG, "neither a tag nor a digest");
    expect_failure("", KF_E_ARG, "neither a tag nor a digest");
    cr_expect_eq(manifest("sha256:12", NULL), -1);
    cr_expect_eq(kf_http_peer_requests(peer), 0u);
}

Test(registry, manifests_that_are_not_there)
{
    answer(404, "{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}", "");
    expect_failure("v1", KF_E_NOTFOUND, "no such repository 'a/b'");
    answer(404, "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}", "");
    expect_failure("v1", KF_E_NOTFOUND, "no such tag 'v1'");
    answer(401, "", "WWW-Authenticate: Basic realm=\"x\"\r\n");
    expect_failure("v1", KF_E_REFUSED,
                   "answers 401: it wants a login. Run: kitfs login 127.0.0.1:");
    cr_expect_eq(kf_http_peer_requests(peer), 3u, "nothing is asked twice");
}

Test(registry, control_bytes_of_an_error_do_not_pass)
{
    answer(403, "{\"errors\":[{\"message\":\"\\u001b[2Jno \\r\\nentry\"}]}", "");
    expect_failure("v1", KF_E_REFUSED, "answers 403, it says: ?[2Jno ??entry");
}

Test(registry, a_manifest_over_the_limit)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG, JSON_HEAD "\r\n",
                     (size_t)KF_MANIFEST_LIMIT + 1);
    expect_failure("v1", KF_E_LIMIT, "its answer is too long");
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
}

/* ---- redirections ---- */

Test(registry, nothing_but_the_url_goes_elsewhere)
{
    struct kf_http_peer *other = kf_http_peer_new();
    char line[96];

    (void)snprintf(line, sizeof(line), "Location: http://127.0.0.1:%u/there?s=1\r\n",
                   kf_http_peer_port(other));
    answer(307, "", line);
    kf_http_peer_say(other, MANIFEST, strlen(MANIFEST), KF_HTTP_THEN_KEEP,
                     JSON_HEAD "\r\n", strlen(MANIFEST));
    cr_assert_eq(manifest("v1", NULL), 0, "%s", err.message);
    cr_expect_eq(
        strncmp(kf_http_peer_request(other, 0), "GET /there?s=1 HTTP/1.1\r\n", 25), 0);
    cr_expect_null(strstr(kf_http_peer_request(other, 0), "manifest"), "our Accept");
    kf_http_peer_free(other);
}

static void redirect_to_itself(void *arg, const char *request, struct kf_http_answer *ret)
{
    (void)snprintf(ret->head, sizeof(ret->head),
                   "HTTP/1.1 307 T\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n",
                   (const char *)arg);
}

Test(registry, a_circle_of_redirections)
{
    static char place[] = "/again?sig=secret";

    kf_http_peer_handle(peer, redirect_to_itself, place);
    expect_failure("v1", KF_E_LIMIT, "more than 10 redirections");
    cr_expect_eq(kf_http_peer_requests(peer), KF_HOPS_LIMIT + 1);
    cr_expect_null(strstr(err.message, "secret"));
}

Test(registry, a_redirection_to_a_file)
{
    static char place[] = "file:///etc/passwd";

    kf_http_peer_handle(peer, redirect_to_itself, place);
    cr_expect_eq(manifest("v1", NULL), -1);
    cr_expect_eq(kf_http_peer_requests(peer), 1u);
}

/* ---- tags ---- */

static int list(struct kf_strings *tags)
{
    kf_err_clear(&err);
    return kf_origin_tags(origin, tags, &err);
}

static void expect_no_list(enum kf_err_kind kind, const char *words)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};

    cr_expect_eq(list(&tags), -1);
    cr_expect_eq(err.kind, kind, "%s", err.message);
    cr_expect(strstr(err.message, words), "%s", err.message);
    cr_expect_eq(tags.count, 0u, "a part of a list is none");
}

Test(registry, tags_of_several_pages)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};

    answer(200, "{\"tags\":[\"v2\",\"v1\"]}",
           "Link: </v2/a/b/tags/list?last=v1&n=2>; rel=\"next\"\r\n");
    answer(200, "{\"tags\":null}", "Link: <list?last=x>; rel=next\r\n");
    answer(200, "{\"tags\":[\"latest\"]}", "");
    cr_assert_eq(list(&tags), 0, "%s", err.message);
    cr_assert_eq(tags.count, 3u);
    cr_expect_str_eq(tags.items[0], "latest");
    cr_expect_str_eq(tags.items[1], "v1");
    cr_expect_str_eq(tags.items[2], "v2");
    cr_expect(
        strstr(kf_http_peer_request(peer, 1), "GET /v2/a/b/tags/list?last=v1&n=2 "));
    cr_expect(strstr(kf_http_peer_request(peer, 2), "GET /v2/a/b/tags/list?last=x "));
}

static void another_page(void *arg, const char *request, struct kf_http_answer *ret)
{
    static const char page[] = "{\"tags\":[]}";

    ret->body = page;
    ret->body_length = sizeof(page) - 1;
    (void)snprintf(ret->head, sizeof(ret->head), JSON_HEAD "Link: <>; rel=next\r\n\r\n",
                   ret->body_length);
}

Test(registry, a_list_without_end)
{
    kf_http_peer_handle(peer, another_page, NULL);
    expect_no_list(KF_E_LIMIT, "of more than 1000 pages");
    cr_expect_eq(kf_http_peer_requests(peer), KF_REGISTRY_PAGES_LIMIT);
}

Test(registry, lists_that_are_refused)
{
    answer(200, "{\"tags\":[\"v1\"]}", "Link: <http://elsewhere/v2/>; rel=next\r\n");
    expect_no_list(KF_E_REFUSED, "continues its list of tags elsewhere");
    answer(200, "{\"tags\":[\"v1\"]}", "Link: v2; rel=next\r\n");
    expect_no_list(KF_E_MALFORMED, "malformed Link");
    answer(200, "<html>", "");
    expect_no_list(KF_E_MALFORMED, "malformed list of tags");
    answer(404, "", "");
    expect_no_list(KF_E_NOTFOUND, "no such repository 'a/b'");
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG, JSON_HEAD "\r\n",
                     (size_t)KF_REGISTRY_PAGE_LIMIT + 1);
    expect_no_list(KF_E_LIMIT, "its answer is too long");
    cr_expect_eq(kf_http_peer_requests(peer), 5u);
}
