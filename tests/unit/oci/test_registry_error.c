/* What is said of an exchange that failed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/http.h"
#include "net/retry.h"
#include "oci/hops.h"
#include "oci/registry.h"

static struct kf_exchange exchange;

static void set_up(void)
{
    kf_http_init(&exchange);
}

static void tear_down(void)
{
    kf_http_fini(&exchange);
}

TestSuite(registry_error, .init = set_up, .fini = tear_down);

static void expect_message(const char *expected)
{
    struct kf_err err = {0};

    cr_assert_eq(kf_registry_fail(&err, KF_E_UNREACHABLE, &exchange, "https://r:5000"),
                 -1);
    cr_expect_eq(err.kind, KF_E_UNREACHABLE);
    cr_expect_str_eq(err.message, expected);
}

static void set_body(const char *body)
{
    kf_buf_clear(&exchange.error_body);
    cr_assert_eq(kf_buf_append_text(&exchange.error_body, body, NULL), 0);
}

Test(registry_error, a_status)
{
    exchange.end = KF_HTTP_STATUS;
    exchange.status = 503;
    expect_message("'r:5000' answers 503");
    set_body("<html>a proxy's page</html>");
    expect_message("'r:5000' answers 503");
    set_body(
        "{\"errors\":[{\"code\":\"X\",\"message\":\"come \\u001b[31mlater\\r\\n\"}]}");
    expect_message("'r:5000' answers 503, it says: come ?[31mlater??");
}

/* However long both are, the record holds it. */
Test(registry_error, the_longest)
{
    char host[300], body[600];
    struct kf_err err = {0};

    (void)snprintf(host, sizeof(host), "https://%0280d", 0);
    (void)snprintf(body, sizeof(body), "{\"errors\":[{\"message\":\"%0500d\"}]}", 0);
    exchange.end = KF_HTTP_STATUS;
    exchange.status = 500;
    set_body(body);
    cr_assert_eq(kf_registry_fail(&err, KF_E_UNREACHABLE, &exchange, host), -1);
    cr_expect(strstr(err.message, " answers 500, it says: 0"));
    cr_expect_lt(strlen(err.message), sizeof(err.message));
}

Test(registry_error, other_ends)
{
    static const struct {
        enum kf_http_end end;
        const char *message;
    } cases[] = {
        {KF_HTTP_BROKEN, "'r:5000': the cause"},
        {KF_HTTP_BAD, "'r:5000': the cause"},
        {KF_HTTP_STALLED, "'r:5000': it stopped sending"},
        {KF_HTTP_TOO_LONG, "'r:5000': its answer is too long"},
        {KF_HTTP_DEADLINE, "'r:5000': it gave no answer in time"},
        {KF_HTTP_CANCELLED, "'r:5000': cancelled"},
        {KF_HTTP_STOPPED, "'r:5000': stopped"},
    };

    (void)snprintf(exchange.text, sizeof(exchange.text), "the cause");
    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        exchange.end = cases[i].end;
        expect_message(cases[i].message);
    }
}

Test(registry_error, the_failure_before_a_deadline_is_kept)
{
    struct kf_err err = {0};

    exchange.end = KF_HTTP_STATUS;
    exchange.status = 503;
    (void)kf_registry_fail(&err, KF_E_UNREACHABLE, &exchange, "http://r");
    exchange.end = KF_HTTP_DEADLINE;
    cr_assert_eq(kf_registry_fail(&err, KF_E_TIMEOUT, &exchange, "http://r"), -1);
    cr_expect_eq(err.kind, KF_E_TIMEOUT);
    cr_expect_str_eq(err.message, "timed out: 'r' answers 503");
}

Test(registry_error, the_case_for_the_retry_table)
{
    struct kf_hops hops = {.redirected = true, .resolved_anew = true};
    struct kf_retry_case one, two;

    exchange.end = KF_HTTP_STATUS;
    exchange.status = 429;
    exchange.retry_after_ns = 7;
    exchange.urgency = KF_PREFETCH;
    kf_registry_case(&one, &exchange, &hops, 3);
    kf_registry_case(&two, &exchange, &hops, 3);
    cr_expect_eq(one.end, KF_HTTP_STATUS);
    cr_expect_eq(one.status, 429);
    cr_expect_eq(one.retry_after_ns, 7);
    cr_expect_eq(one.urgency, KF_PREFETCH);
    cr_expect_eq(one.failures, 3u);
    cr_expect(one.redirected && one.resolved_anew);
    cr_expect_neq(one.random, two.random);
}
