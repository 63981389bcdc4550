/* Answers that are refused, other statuses than the ones taken, and whole bodies. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http_peer.h"
#include "loop_run.h"

TestSuite(loop_answer, .init = run_set_up, .fini = run_tear_down, .timeout = 60);

/* ---- answers that are refused on sight ---- */

/* The body never comes: what is refused here is refused by its head. */
static void expect_bad(const char *head, const char *why)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG, "%s", head);
    run_range(&run, 100, 50);
    cr_expect_eq(run_go(&run), KF_HTTP_BAD, "%s", head);
    cr_expect(strstr(run.exchange.text, why), "%s: %s", head, run.exchange.text);
    cr_expect_eq(run.length, 0u);
    run_fini(&run);
}

Test(loop_answer, wrong_ranges)
{
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
               "Content-Range: bytes 101-150/4096\r\n\r\n",
               "wrong Content-Range");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 51\r\n"
               "Content-Range: bytes 100-150/4096\r\n\r\n",
               "wrong Content-Range");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
               "Content-Range: bytes 100-149/4095\r\n\r\n",
               "4095 bytes there, not 4096");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 50\r\n\r\n", "without Content-Range");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 0\r\n"
               "Content-Range: bytes 4096-4095/4096\r\n\r\n",
               "malformed Content-Range");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
               "Content-Range: bytes 100-149/4096\r\n"
               "Content-Range: bytes 100-148/4096\r\n\r\n",
               "comes twice");
    expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n"
               "Content-Range: bytes 100-139/4096\r\n\r\n",
               "wrong Content-Range");
    expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 4097\r\n\r\n",
               "4097 bytes there, not 4096");
    expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n"
               "Content-Encoding: gzip\r\n\r\n",
               "encoded as 'gzip'");
    expect_bad("HTTP/1.1 206 P\r\nContent-Length: 50\r\nContent-Encoding: identity\r\n"
               "Content-Encoding: br\r\nContent-Range: bytes 100-149/4096\r\n\r\n",
               "encoded as 'identity, br'");
}

Test(loop_answer, a_control_byte_is_not_repeated)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 200 OK\r\nContent-Encoding: \x1b[31m\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_BAD);
    cr_assert_null(strchr(run.exchange.text, '\x1b'));
    run_fini(&run);
}

/* A head with that field, of so many bytes; yours to free. */
static char *head_with(const char *name, size_t length)
{
    char *head = NULL;

    cr_assert_gt(
        asprintf(&head, "HTTP/1.1 307 T\r\n%s: %0*d\r\n\r\n", name, (int)length, 0), 0);
    return head;
}

static enum kf_http_end with_head(const char *head)
{
    enum kf_http_end end;
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_CLOSE, "%s", head);
    run_range(&run, 0, 50);
    end = run_go(&run);
    if (end == KF_HTTP_BAD)
        cr_expect(strstr(run.exchange.text, "is too long"), "%s", run.exchange.text);
    run_fini(&run);
    return end;
}

Test(loop_answer, fields_at_their_limits_and_one_above)
{
    static const struct {
        const char *name;
        size_t limit;
        enum kf_http_end above;
    } fields[] = {
#define FIELD_LIMIT(id, text, most, rule) \
    {text, most, (rule) == KF_HTTP_NOTE ? KF_HTTP_STATUS : KF_HTTP_BAD},
        KF_HTTP_FIELDS(FIELD_LIMIT)
#undef FIELD_LIMIT
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(fields); i++) {
        kf_auto(kf_free) char *at = head_with(fields[i].name, fields[i].limit);
        kf_auto(kf_free) char *above = head_with(fields[i].name, fields[i].limit + 1);

        cr_expect_eq(with_head(at), KF_HTTP_STATUS, "%s", fields[i].name);
        cr_expect_eq(with_head(above), fields[i].above, "%s", fields[i].name);
    }
}

/* So many bytes of head in all, the lines' ends and the blank line among them. */
static enum kf_http_end with_head_of(size_t total)
{
    static char lines[KF_HTTP_HEAD_LIMIT + 64];
    static const char status[] = "HTTP/1.1 204 None\r\n";
    size_t length = total - (sizeof(status) - 1);
    enum kf_http_end end;
    struct run run;

    memset(lines, 'x', length);
    memcpy(lines, "X-Y: ", 5);
    memcpy(lines + length - 4, "\r\n\r\n", 4);
    kf_http_peer_say(run_peer, lines, length, KF_HTTP_THEN_CLOSE, status);
    run_range(&run, 0, 50);
    end = run_go(&run);
    run_fini(&run);
    return end;
}

Test(loop_answer, a_head_at_its_limit_and_one_above)
{
    cr_assert_eq(with_head_of(KF_HTTP_HEAD_LIMIT), KF_HTTP_STATUS);
    cr_assert_eq(with_head_of(KF_HTTP_HEAD_LIMIT + 1), KF_HTTP_BAD);
}

Test(loop_answer, a_field_that_comes_twice_alike)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 0-49/4096\r\n"
                     "content-range:\t bytes 0-49/4096 \t\r\n\r\n");
    run_expect_range(&run, 0, 50);
    run_fini(&run);
}

/* What is for people alone spoils no answer. */
Test(loop_answer, notes_that_come_twice_or_are_too_long)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 206 P\r\nContent-Length: 50\r\n"
                     "Content-Range: bytes 0-49/4096\r\n"
                     "RateLimit-Limit: 100;w=21600\r\nratelimit-limit: 200\r\n"
                     "RateLimit-Reset: %0100d\r\n\r\n",
                     1);
    run_expect_range(&run, 0, 50);
    cr_expect_str_eq(run.exchange.fields[KF_HTTP_RATE_LIMIT], "100;w=21600");
    cr_expect_null(run.exchange.fields[KF_HTTP_RATE_RESET]);
    run_fini(&run);
}

/* curl refuses some of these before we see them, as it likes. */
Test(loop_answer, heads_that_are_broken)
{
    static const char nul[] = "HTTP/1.1 307 T\r\nLocation: /a\0b\r\n\r\n";
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nContent-Length: 50\r\n\r\n",
        "HTTP/1.1 99999 OK\r\n\r\n",
        "HTTP/1.1 206 P\r\nContent-Range: bytes 0-49/4096\r\n",
    };
    enum kf_http_end end;
    struct run run;

    for (size_t i = 0; i < KF_ARRAY_LEN(heads); i++) {
        kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_CLOSE, "%s", heads[i]);
        run_range(&run, 0, 50);
        end = run_go(&run);
        cr_expect(end == KF_HTTP_BAD || end == KF_HTTP_BROKEN, "%s: %d", heads[i], end);
        cr_expect_eq(run.length, 0u);
        run_fini(&run);
    }
    kf_http_peer_say(run_peer, nul, sizeof(nul) - 1, KF_HTTP_THEN_CLOSE, "%s", "");
    run_range(&run, 0, 50);
    end = run_go(&run);
    cr_expect(end == KF_HTTP_BAD || end == KF_HTTP_BROKEN);
    run_fini(&run);
}

Test(loop_answer, no_http_at_all)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_CLOSE, "%s",
                     "SSH-2.0-OpenSSH\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    cr_assert_eq(run.length, 0u);
    run_fini(&run);
}

/* ---- other statuses ---- */

Test(loop_answer, a_status_with_its_text)
{
    static const char text[] = "{\"errors\":[]}";
    struct run run;

    kf_http_peer_say(
        run_peer, text, sizeof(text) - 1, KF_HTTP_THEN_KEEP,
        "HTTP/1.1 503 Later\r\nContent-Length: %zu\r\nRetry-After: 7\r\n\r\n",
        sizeof(text) - 1);
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run.exchange.status, 503);
    cr_assert_eq(run.exchange.retry_after_ns, 7 * KF_NS_PER_S);
    cr_assert_str_eq((char *)run.exchange.error_body.data, text);
    cr_assert_eq(run.length, 0u, "an error's text is not content");
    run_fini(&run);
}

Test(loop_answer, the_text_of_a_status_is_bounded)
{
    static char text[2 * KF_HTTP_ERROR_BODY_LIMIT];
    struct run run;

    memset(text, 'e', sizeof(text));
    kf_http_peer_say(run_peer, text, sizeof(text), KF_HTTP_THEN_HANG,
                     "HTTP/1.1 500 Oh\r\nContent-Length: 1000000000\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run.exchange.error_body.length, KF_HTTP_ERROR_BODY_LIMIT);
    run_fini(&run);
}

Test(loop_answer, a_416_is_not_drained)
{
    struct run run;

    kf_http_peer_say(run_peer, "no", 2, KF_HTTP_THEN_HANG,
                     "HTTP/1.1 416 No\r\nContent-Length: 1000000000\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run.exchange.status, 416);
    cr_assert_eq(run.exchange.error_body.length, 0u);
    run_fini(&run);
}

Test(loop_answer, a_pause_of_more_than_a_day)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 429 Later\r\nContent-Length: 0\r\n"
                     "Retry-After: 99999999\r\n\r\n");
    run_range(&run, 0, 50);
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run.exchange.retry_after_ns, 86400 * KF_NS_PER_S);
    run_fini(&run);
}

/* ---- unranged ---- */

Test(loop_answer, whole_body)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, RUN_TOTAL, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n"
                     "Docker-Content-Digest: sha256:ab\r\nLink: <a>; rel=x\r\n"
                     "link:<b>; rel=next  \r\n\r\n",
                     RUN_TOTAL);
    run_init(&run, kf_http_peer_port(run_peer));
    run.exchange.accept = "text/x";
    run.exchange.if_none_match = "\"e\"";
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    run_expect_bytes(&run, 0, RUN_TOTAL);
    cr_assert_str_eq(run.exchange.fields[KF_HTTP_DIGEST], "sha256:ab");
    cr_assert_str_eq(run.exchange.fields[KF_HTTP_LINK], "<a>; rel=x, <b>; rel=next");
    cr_assert_null(run.exchange.fields[KF_HTTP_LOCATION]);
    cr_expect(strstr(kf_http_peer_request(run_peer, 0), "\r\nAccept: text/x\r\n"));
    cr_expect(strstr(kf_http_peer_request(run_peer, 0), "\r\nIf-None-Match: \"e\"\r\n"));
    cr_expect_null(strstr(kf_http_peer_request(run_peer, 0), "\r\nRange:"));
    run_fini(&run);
}

/* What comes behind the last chunk is no part of the head. */
Test(loop_answer, a_body_in_chunks)
{
    static const char body[] = "2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nETag: \"late\"\r\n\r\n";
    struct run run;

    kf_http_peer_say(run_peer, body, sizeof(body) - 1, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                     "Trailer: ETag\r\n\r\n");
    run_init(&run, kf_http_peer_port(run_peer));
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    cr_assert_eq(run.length, 5u);
    cr_assert_eq(memcmp(run.data, "abcde", 5), 0);
    cr_assert_null(run.exchange.fields[KF_HTTP_ETAG]);
    run_fini(&run);
}

Test(loop_answer, a_body_in_chunks_that_is_cut)
{
    struct run run;

    kf_http_peer_say(run_peer, "5\r\nabc", 6, KF_HTTP_THEN_CLOSE,
                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    run_init(&run, kf_http_peer_port(run_peer));
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    run_fini(&run);
}

Test(loop_answer, empty_body)
{
    struct run run;

    kf_http_peer_say(run_peer, NULL, 0, KF_HTTP_THEN_KEEP,
                     "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run_init(&run, kf_http_peer_port(run_peer));
    cr_assert_eq(run_go(&run), KF_HTTP_COMPLETE);
    cr_assert_eq(run.length, 0u);
    run_fini(&run);
}

Test(loop_answer, whole_body_cut)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 20, KF_HTTP_THEN_CLOSE,
                     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
    run_init(&run, kf_http_peer_port(run_peer));
    cr_assert_eq(run_go(&run), KF_HTTP_BROKEN);
    run_fini(&run);
}

static enum kf_http_end with_limit(uint64_t limit, const char *length_line)
{
    enum kf_http_end end;
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_CLOSE,
                     "HTTP/1.1 200 OK\r\n%s\r\n", length_line);
    run_init(&run, kf_http_peer_port(run_peer));
    run.exchange.body_limit = limit;
    end = run_go(&run);
    run_fini(&run);
    return end;
}

Test(loop_answer, a_body_at_its_limit_and_one_above)
{
    cr_assert_eq(with_limit(50, "Content-Length: 50\r\n"), KF_HTTP_COMPLETE);
    cr_assert_eq(with_limit(49, "Content-Length: 50\r\n"), KF_HTTP_TOO_LONG);
    cr_assert_eq(with_limit(50, ""), KF_HTTP_COMPLETE);
    cr_assert_eq(with_limit(49, ""), KF_HTTP_TOO_LONG);
}

Test(loop_answer, a_range_where_none_was_asked_for)
{
    struct run run;

    kf_http_peer_say(run_peer, run_resource, 50, KF_HTTP_THEN_KEEP, RUN_HEAD_50);
    run_init(&run, kf_http_peer_port(run_peer));
    cr_assert_eq(run_go(&run), KF_HTTP_STATUS);
    cr_assert_eq(run.length, 0u);
    run_fini(&run);
}
