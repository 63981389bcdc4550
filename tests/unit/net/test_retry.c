#include <criterion/criterion.h>
#include <curl/curl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/retry.h"

static struct kf_retry_verdict after_status(int status, bool redirected)
{
    return kf_retry_decide(&(struct kf_retry_case){
        .end = KF_HTTP_STATUS, .status = status, .redirected = redirected});
}

static struct kf_retry_verdict after_curl(CURLcode code, unsigned failures)
{
    return kf_retry_decide(&(struct kf_retry_case){
        .end = KF_HTTP_BROKEN, .curl_code = (int)code, .failures = failures});
}

struct row {
    int code;
    enum kf_retry_action here;  /* from the registry's own URL */
    enum kf_retry_action there; /* from where it redirected us to */
    enum kf_err_kind kind;
};

Test(retry, statuses)
{
    static const struct row rows[] = {
        {400, KF_RETRY_GIVE_UP, KF_RETRY_RESOLVE, KF_E_REFUSED},
        {401, KF_RETRY_GIVE_UP, KF_RETRY_RESOLVE, KF_E_REFUSED},
        {403, KF_RETRY_GIVE_UP, KF_RETRY_RESOLVE, KF_E_REFUSED},
        {404, KF_RETRY_GIVE_UP, KF_RETRY_RESOLVE, KF_E_NOTFOUND},
        {410, KF_RETRY_GIVE_UP, KF_RETRY_RESOLVE, KF_E_NOTFOUND},
        {405, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_REFUSED},
        {407, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_REFUSED},
        {416, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_CORRUPT},
        {501, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_REFUSED},
        {204, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_REFUSED},
        {302, KF_RETRY_GIVE_UP, KF_RETRY_GIVE_UP, KF_E_REFUSED},
        {408, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
        {429, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
        {500, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
        {502, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
        {503, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
        {504, KF_RETRY_AGAIN, KF_RETRY_AGAIN, KF_E_UNREACHABLE},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_retry_verdict here = after_status(rows[i].code, false);
        struct kf_retry_verdict there = after_status(rows[i].code, true);

        cr_expect_eq(here.action, rows[i].here, "%d", rows[i].code);
        cr_expect_eq(there.action, rows[i].there, "%d", rows[i].code);
        cr_expect_eq(here.kind, rows[i].kind, "%d", rows[i].code);
        cr_expect_eq(here.delay_ns, 0, "%d: the first time is at once", rows[i].code);
        cr_expect_not(here.fresh_connection, "%d", rows[i].code);
    }
}

Test(retry, a_url_is_asked_for_anew_once)
{
    struct kf_retry_case failure = {
        .end = KF_HTTP_STATUS, .status = 403, .redirected = true, .resolved_anew = true};

    cr_assert_eq(kf_retry_decide(&failure).action, KF_RETRY_GIVE_UP);
}

Test(retry, trouble_with_the_connection)
{
    static const struct row rows[] = {
        {CURLE_COULDNT_RESOLVE_HOST, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_COULDNT_CONNECT, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_PARTIAL_FILE, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_OPERATION_TIMEDOUT, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_SSL_CONNECT_ERROR, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_GOT_NOTHING, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_SEND_ERROR, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_RECV_ERROR, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_WEIRD_SERVER_REPLY, KF_RETRY_AGAIN, 0, KF_E_UNREACHABLE},
        {CURLE_PEER_FAILED_VERIFICATION, KF_RETRY_GIVE_UP, 0, KF_E_REFUSED},
        {CURLE_SSL_CACERT_BADFILE, KF_RETRY_GIVE_UP, 0, KF_E_ARG},
        {CURLE_SSL_CERTPROBLEM, KF_RETRY_GIVE_UP, 0, KF_E_ARG},
        {CURLE_URL_MALFORMAT, KF_RETRY_GIVE_UP, 0, KF_E_ARG},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_retry_verdict verdict = after_curl((CURLcode)rows[i].code, 0);

        cr_expect_eq(verdict.action, rows[i].here, "%d", rows[i].code);
        cr_expect_eq(verdict.kind, rows[i].kind, "%d", rows[i].code);
        cr_expect_eq(verdict.fresh_connection, rows[i].here == KF_RETRY_AGAIN, "%d",
                     rows[i].code);
    }
}

Test(retry, what_ends_for_good)
{
    static const struct {
        enum kf_http_end end;
        enum kf_err_kind kind;
    } rows[] = {
        {KF_HTTP_TOO_LONG, KF_E_LIMIT},
        {KF_HTTP_STOPPED, KF_E_CANCELLED},
        {KF_HTTP_DEADLINE, KF_E_TIMEOUT},
        {KF_HTTP_CANCELLED, KF_E_CANCELLED},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_retry_verdict verdict =
            kf_retry_decide(&(struct kf_retry_case){.end = rows[i].end});

        cr_expect_eq(verdict.action, KF_RETRY_GIVE_UP);
        cr_expect_eq(verdict.kind, rows[i].kind);
    }
}

static bool again(enum kf_http_end end, enum kf_urgency urgency, unsigned failures,
                  unsigned max_tries)
{
    struct kf_retry_case failure = {
        .end = end, .urgency = urgency, .failures = failures, .max_tries = max_tries};

    return kf_retry_decide(&failure).action == KF_RETRY_AGAIN;
}

Test(retry, demand_tries_until_its_deadline)
{
    cr_assert(again(KF_HTTP_STALLED, KF_DEMAND, 0, 0));
    cr_assert(again(KF_HTTP_STALLED, KF_DEMAND, 100000, 0));
}

Test(retry, others_try_twice)
{
    cr_assert(again(KF_HTTP_STALLED, KF_READAHEAD, 0, 0));
    cr_assert_not(again(KF_HTTP_STALLED, KF_READAHEAD, 1, 0));
    cr_assert(again(KF_HTTP_STALLED, KF_PREFETCH, 0, 0));
    cr_assert_not(again(KF_HTTP_STALLED, KF_PREFETCH, 1, 0));
}

Test(retry, an_unusable_answer_is_not_asked_for_for_ever)
{
    cr_assert(again(KF_HTTP_BAD, KF_DEMAND, KF_RETRY_DOUBTFUL_TRIES - 2, 0));
    cr_assert_not(again(KF_HTTP_BAD, KF_DEMAND, KF_RETRY_DOUBTFUL_TRIES - 1, 0));
}

Test(retry, a_call_has_its_own_limit)
{
    cr_assert(again(KF_HTTP_STALLED, KF_DEMAND, 1, 3));
    cr_assert_not(again(KF_HTTP_STALLED, KF_DEMAND, 2, 3));
}

static int64_t delay(unsigned failures, uint32_t random, int64_t retry_after_ns)
{
    struct kf_retry_case failure = {.end = KF_HTTP_STATUS,
                                    .status = 503,
                                    .failures = failures,
                                    .random = random,
                                    .retry_after_ns = retry_after_ns};

    return kf_retry_decide(&failure).delay_ns;
}

Test(retry, delays_double_up_to_five_seconds)
{
    cr_assert_eq(delay(0, UINT32_MAX, 0), 0);
    cr_assert_eq(delay(1, UINT32_MAX, 0), 100 * KF_NS_PER_MS);
    cr_assert_eq(delay(2, UINT32_MAX, 0), 200 * KF_NS_PER_MS);
    cr_assert_eq(delay(6, UINT32_MAX, 0), 3200 * KF_NS_PER_MS);
    cr_assert_eq(delay(7, UINT32_MAX, 0), 5 * KF_NS_PER_S);
    cr_assert_eq(delay(UINT32_MAX, UINT32_MAX, 0), 5 * KF_NS_PER_S);
}

Test(retry, delays_are_drawn_from_the_whole_span)
{
    int64_t half = delay(1, UINT32_MAX / 2, 0);

    cr_assert_eq(delay(1, 0, 0), 0);
    cr_assert(half > 49 * KF_NS_PER_MS && half < 51 * KF_NS_PER_MS);
}

Test(retry, retry_after_counts_up_to_a_minute)
{
    cr_assert_eq(delay(0, UINT32_MAX, 3 * KF_NS_PER_S), 3 * KF_NS_PER_S);
    cr_assert_eq(delay(7, UINT32_MAX, 3 * KF_NS_PER_S), 5 * KF_NS_PER_S);
    cr_assert_eq(delay(0, 0, 60 * KF_NS_PER_S), 60 * KF_NS_PER_S);
    cr_assert_eq(delay(0, 0, 3600 * KF_NS_PER_S), 60 * KF_NS_PER_S);
}

Test(retry, the_second_failure_at_a_target_asks_for_another)
{
    struct kf_retry_case failure = {.end = KF_HTTP_STALLED, .redirected = true};

    cr_assert_eq(kf_retry_decide(&failure).action, KF_RETRY_AGAIN);
    failure.failures = 1;
    cr_assert_eq(kf_retry_decide(&failure).action, KF_RETRY_RESOLVE);
}

/* What makes the loop ask a host less (net/health.h). */
Test(retry, trouble_of_the_host_itself)
{
    static const struct {
        struct kf_exchange exchange;
        bool of_host;
    } rows[] = {
        {{.end = KF_HTTP_COMPLETE, .status = 200}, false},
        {{.end = KF_HTTP_STATUS, .status = 404}, false},
        {{.end = KF_HTTP_STATUS, .status = 401}, false},
        {{.end = KF_HTTP_STATUS, .status = 429}, false},
        {{.end = KF_HTTP_STATUS, .status = 503}, true},
        {{.end = KF_HTTP_STATUS, .status = 408}, true},
        {{.end = KF_HTTP_STALLED}, true},
        {{.end = KF_HTTP_STALLED, .status = 206, .delivered = 100}, true},
        {{.end = KF_HTTP_STALLED, .status = 206, .delivered = KF_RETRY_PROGRESS_BYTES},
         false},
        {{.end = KF_HTTP_BROKEN, .curl_code = CURLE_COULDNT_CONNECT}, true},
        {{.end = KF_HTTP_BROKEN, .curl_code = CURLE_PEER_FAILED_VERIFICATION}, false},
        {{.end = KF_HTTP_SLOW, .status = 206}, false},
        {{.end = KF_HTTP_BAD, .status = 206}, false},
        {{.end = KF_HTTP_STOPPED}, false},
        {{.end = KF_HTTP_DEADLINE}, false},
        {{.end = KF_HTTP_CANCELLED}, false},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++)
        cr_expect_eq(kf_retry_is_of_host(&rows[i].exchange), rows[i].of_host, "row %zu",
                     i);
}
