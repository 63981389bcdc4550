/* A repository as a destination, at a peer that says what the test wants: what needs no
 * real registry. Uploads themselves: tests/integration/pushing.sh. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http_peer.h"
#include "oci/dest.h"

#define SIZE 5000u

static struct kf_http_peer *peer;
static struct kf_dest *dest;
static struct kf_digest digest;
static struct kf_err err;

static void set_up(void)
{
    struct kf_origin_opts opts = {.net.plain_http = true};
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    char text[64];

    peer = kf_http_peer_new();
    (void)snprintf(text, sizeof(text), "oci://127.0.0.1:%u/a/b:v1",
                   kf_http_peer_port(peer));
    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    cr_assert_eq(kf_dest_open(&dest, &ref, &opts, &err), 0, "%s", err.message);
    cr_assert_eq(kf_digest_of(&digest, "x", 1, &err), 0);
}

static void tear_down(void)
{
    kf_dest_close(dest);
    kf_http_peer_free(peer);
}

TestSuite(dest_registry, .init = set_up, .fini = tear_down, .timeout = 60);

static int has(int status, const char *lines)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP, "HTTP/1.1 %d X\r\n%s\r\n", status,
                     lines);
    return kf_dest_has(dest, &digest, SIZE, &err);
}

static void say(int status, const char *lines)
{
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 %d X\r\n%sContent-Length: 0\r\n\r\n", status, lines);
}

Test(dest_registry, opening_sends_nothing)
{
    cr_expect_str_eq(dest->kind, "the registry");
    cr_expect_eq(kf_http_peer_connections(peer), 0);
}

Test(dest_registry, a_blob_that_is_there)
{
    char want[128], hex[65];

    cr_expect_eq(has(200, "Content-Length: 5000\r\n"), 1);
    (void)snprintf(want, sizeof(want), "HEAD /v2/a/b/blobs/sha256:%s HTTP/1.1\r\n",
                   kf_digest_hex(&digest, hex));
    cr_expect_eq(strncmp(kf_http_peer_request(peer, 0), want, strlen(want)), 0);
}

Test(dest_registry, a_blob_whose_size_is_not_said_is_there)
{
    cr_expect_eq(has(200, "Transfer-Encoding: chunked\r\n"), 1);
}

Test(dest_registry, what_counts_as_not_there)
{
    cr_expect_eq(has(404, "Content-Length: 0\r\n"), 0);
    cr_expect_eq(has(405, "Content-Length: 0\r\n"), 0, "it may not know HEAD");
    cr_expect_eq(has(200, "Content-Length: 5001\r\n"), 0, "of another size");
    cr_expect_eq(has(200, "Content-Length: 4999\r\n"), 0, "of another size");
}

Test(dest_registry, a_refusal_is_none_of_both)
{
    cr_expect_eq(has(403, "Content-Length: 0\r\n"), -1);
    cr_expect_not_null(strstr(err.message, "check that you may write"), "%s",
                       err.message);
    cr_expect_eq(has(401, "Content-Length: 0\r\n"), -1);
    cr_expect_eq(err.kind, KF_E_REFUSED);
    cr_expect_not_null(
        strstr(err.message, "answers 401: it wants a login. Run: kitfs login 127"), "%s",
        err.message);
}

/* A registry that looked, and sends us to content that is signed for GET. */
Test(dest_registry, redirected_to_a_refusal_it_is_there)
{
    static const int refusals[] = {400, 403, 405};

    for (size_t i = 0; i < KF_ARRAY_LEN(refusals); i++) {
        for (unsigned turn = 0; turn < 2; turn++) { /* it is asked for anew once */
            say(307, "Location: /signed\r\n");
            say(refusals[i], "");
            if (refusals[i] == 405)
                break; /* that is not taken for a URL that expired */
        }
        cr_expect_eq(kf_dest_has(dest, &digest, SIZE, &err), 1, "%d", refusals[i]);
    }
}

Test(dest_registry, redirected_to_nothing_it_is_not_there)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        say(307, "Location: /gone\r\n");
        say(404, "");
    }
    cr_expect_eq(kf_dest_has(dest, &digest, SIZE, &err), 0, "%s", err.message);
}

/* Nothing is sent before it must be, so giving up costs nothing. */
Test(dest_registry, a_small_blob_given_up_was_never_begun)
{
    struct kf_dest_blob *blob = kf_dest_begin(dest, &err);

    cr_assert_not_null(blob);
    cr_expect_eq(kf_dest_write(blob, "abc", 3, &err), 0);
    cr_expect_eq(blob->size, 3);
    kf_dest_abandon(blob);
    cr_expect_eq(kf_http_peer_connections(peer), 0);
}

/* The session is asked for when a blob is too large to be held, and a refusal is told by
 * the write. */
Test(dest_registry, a_large_blob_is_refused_while_it_is_written)
{
    static const uint8_t piece[1 << 20];
    struct kf_dest_blob *blob = kf_dest_begin(dest, &err);

    cr_assert_not_null(blob);
    say(403, "");
    for (unsigned i = 0; i < 8; i++)
        cr_expect_eq(kf_dest_write(blob, piece, sizeof(piece), &err), 0);
    cr_expect_eq(kf_http_peer_connections(peer), 0, "8 MiB are held");
    cr_expect_eq(kf_dest_write(blob, piece, 1, &err), -1);
    cr_expect_eq(err.kind, KF_E_REFUSED, "%s", err.message);
    cr_expect_not_null(strstr(err.message, "cannot upload a blob: "), "%s", err.message);
    kf_dest_abandon(blob);
    cr_expect_eq(kf_http_peer_requests(peer), 1);
}

/* A registry of which it is known that it wants to hear the size first is not even asked.
 */
Test(dest_registry, a_large_blob_of_unknown_size_for_a_host_that_wants_it)
{
    static const uint8_t piece[1 << 20];
    struct kf_origin_opts opts = {.net.plain_http = true};
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    struct kf_dest_blob *blob;
    struct kf_dest *ghcr;

    cr_expect_not(kf_dest_wants_size(dest));
    cr_assert_eq(kf_ref_parse(&ref, "oci://ghcr.io/a/b:v1", &err), 0);
    cr_assert_eq(kf_dest_open(&ghcr, &ref, &opts, &err), 0, "%s", err.message);
    cr_expect(kf_dest_wants_size(ghcr));
    blob = kf_dest_begin(ghcr, &err);
    cr_assert_not_null(blob);
    for (unsigned i = 0; i < 8; i++)
        cr_expect_eq(kf_dest_write(blob, piece, sizeof(piece), &err), 0);
    cr_expect_eq(kf_dest_write(blob, piece, 1, &err), -1);
    cr_expect_eq(err.kind, KF_E_UNSUPPORTED, "%s", err.message);
    kf_dest_abandon(blob);
    kf_dest_close(ghcr);
}

Test(dest_registry, a_refused_stream_teaches)
{
    static const uint8_t piece[1 << 20];
    struct kf_dest_blob *blob = kf_dest_begin(dest, &err);
    int rc = 0;

    cr_assert_not_null(blob);
    say(202, "Location: /session\r\n");
    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_CLOSE,
                     "HTTP/1.1 411 L\r\nContent-Length: 0\r\n\r\n");
    for (unsigned i = 0; i < 64 && rc == 0; i++)
        rc = kf_dest_write(blob, piece, sizeof(piece), &err);
    cr_expect_eq(rc, -1);
    cr_expect_eq(err.kind, KF_E_UNSUPPORTED, "%s", err.message);
    cr_expect(kf_dest_wants_size(dest));
    kf_dest_abandon(blob);
}

/* The peer answers an empty line, so that is how it ends. */
#define CONTENT "the end\r\n\r\n"

static int begin_known(struct kf_dest_blob **ret)
{
    cr_assert_eq(kf_digest_of(&digest, CONTENT, strlen(CONTENT), &err), 0);
    return kf_dest_begin_known(ret, dest, &digest, strlen(CONTENT), &err);
}

Test(dest_registry, a_blob_known_before_that_is_there)
{
    struct kf_dest_blob *blob;

    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 X\r\nContent-Length: 11\r\n\r\n");
    cr_expect_eq(begin_known(&blob), 1, "%s", err.message);
    cr_expect_eq(kf_http_peer_requests(peer), 1);
}

/* One that has no blobs yet, and takes them. */
static void take_blob(void *arg, const char *request, struct kf_http_answer *ret)
{
    static const struct {
        const char *in, *head;
    } rows[] = {
        {"HEAD /", "HTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n"},
        {"POST /", "HTTP/1.1 202 A\r\nLocation: /session\r\nContent-Length: 0\r\n\r\n"},
        {CONTENT, "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n"},
    };
    unsigned *seen = arg;

    for (unsigned i = 0; i < KF_ARRAY_LEN(rows); i++) {
        if (!strstr(request, rows[i].in))
            continue;
        (void)snprintf(ret->head, sizeof(ret->head), "%s", rows[i].head);
        (void)__atomic_add_fetch(&seen[i], 1, __ATOMIC_RELAXED);
    }
}

Test(dest_registry, a_blob_known_before_is_looked_for_once)
{
    static unsigned seen[3];
    struct kf_dest_blob *blob;

    kf_http_peer_handle(peer, take_blob, seen);
    cr_assert_eq(begin_known(&blob), 0, "%s", err.message);
    cr_expect_eq(kf_dest_write(blob, CONTENT, strlen(CONTENT), &err), 0);
    cr_expect_eq(kf_dest_commit(blob, &digest, &err), 0, "%s", err.message);
    for (unsigned i = 0; i < KF_ARRAY_LEN(seen); i++)
        cr_expect_eq(__atomic_load_n(&seen[i], __ATOMIC_RELAXED), 1, "%u", i);
}

static bool say_stop(void *arg)
{
    unsigned *asked = arg;

    ++*asked;
    return true;
}

/* The peer says nothing, and would for ever. */
Test(dest_registry, waiting_ends_when_somebody_says_so)
{
    unsigned asked = 0;

    kf_http_peer_say(peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", "");
    kf_dest_stop_when(dest, say_stop, &asked);
    cr_expect_eq(kf_dest_has(dest, &digest, SIZE, &err), -1);
    cr_expect_eq(err.kind, KF_E_CANCELLED, "%s", err.message);
    cr_expect_eq(asked, 1);
    kf_dest_stop_when(dest, NULL, NULL);
    cr_expect_eq(has(404, "Content-Length: 0\r\n"), 0, "%s", err.message);
}
