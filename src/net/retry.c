#include "net/retry.h"

#include <curl/curl.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/mem.h"

#define DELAY_BASE_NS (100 * KF_NS_PER_MS)
#define DELAY_LIMIT_NS (5 * KF_NS_PER_S)

enum class { TRANSIENT, DOUBTFUL, PERMANENT };

struct row {
    int code;
    enum class class;
    enum kf_err_kind kind;
    bool stale; /* from a redirected host: perhaps the URL expired */
};

static const struct row statuses[] = {
    {400, PERMANENT, KF_E_REFUSED, true},      {401, PERMANENT, KF_E_REFUSED, true},
    {403, PERMANENT, KF_E_REFUSED, true},      {404, PERMANENT, KF_E_NOTFOUND, true},
    {407, PERMANENT, KF_E_REFUSED, false},     {408, TRANSIENT, KF_E_UNREACHABLE, false},
    {410, PERMANENT, KF_E_NOTFOUND, true},     {416, PERMANENT, KF_E_CORRUPT, false},
    {429, TRANSIENT, KF_E_UNREACHABLE, false}, {500, TRANSIENT, KF_E_UNREACHABLE, false},
    {502, TRANSIENT, KF_E_UNREACHABLE, false}, {503, TRANSIENT, KF_E_UNREACHABLE, false},
    {504, TRANSIENT, KF_E_UNREACHABLE, false},
};
static const struct row other_status = {0, PERMANENT, KF_E_REFUSED, false};

static const struct row curl_codes[] = {
    {CURLE_COULDNT_RESOLVE_PROXY, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_COULDNT_RESOLVE_HOST, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_COULDNT_CONNECT, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_HTTP2, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_PARTIAL_FILE, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_OPERATION_TIMEDOUT, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_SSL_CONNECT_ERROR, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_GOT_NOTHING, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_SEND_ERROR, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_RECV_ERROR, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_HTTP2_STREAM, TRANSIENT, KF_E_UNREACHABLE, false},
    {CURLE_URL_MALFORMAT, PERMANENT, KF_E_ARG, false},
    {CURLE_PEER_FAILED_VERIFICATION, PERMANENT, KF_E_REFUSED, false},
    {CURLE_SSL_CACERT_BADFILE, PERMANENT, KF_E_ARG, false},
    {CURLE_SSL_CERTPROBLEM, PERMANENT, KF_E_ARG, false},
    {CURLE_SSL_CIPHER, PERMANENT, KF_E_ARG, false},
    {CURLE_SSL_ISSUER_ERROR, PERMANENT, KF_E_REFUSED, false},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, PERMANENT, KF_E_REFUSED, false},
    {CURLE_SSL_INVALIDCERTSTATUS, PERMANENT, KF_E_REFUSED, false},
    {CURLE_OUT_OF_MEMORY, DOUBTFUL, KF_E_NOMEM,
     false}, /* also a header line over 100 KB */
};
static const struct row other_curl_code = {0, DOUBTFUL, KF_E_UNREACHABLE, false};

/* By end; STATUS and BROKEN have tables of their own. */
static const struct row ends[] = {
    [KF_HTTP_STALLED] = {0, TRANSIENT, KF_E_UNREACHABLE, false},
    [KF_HTTP_SLOW] = {0, TRANSIENT, KF_E_UNREACHABLE, false},
    [KF_HTTP_BAD] = {0, DOUBTFUL, KF_E_MALFORMED, false},
    [KF_HTTP_TOO_LONG] = {0, PERMANENT, KF_E_LIMIT, false},
    [KF_HTTP_STOPPED] = {0, PERMANENT, KF_E_CANCELLED, false},
    [KF_HTTP_DEADLINE] = {0, PERMANENT, KF_E_TIMEOUT, false},
    [KF_HTTP_CANCELLED] = {0, PERMANENT, KF_E_CANCELLED, false},
};

static const struct row *find(const struct row *rows, size_t count, int code,
                              const struct row *otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].code == code)
            return &rows[i];
    return otherwise;
}

static const struct row *row_of(const struct kf_retry_case *failure)
{
    if (failure->end == KF_HTTP_STATUS)
        return find(statuses, KF_ARRAY_LEN(statuses), failure->status, &other_status);
    if (failure->end == KF_HTTP_BROKEN)
        return find(curl_codes, KF_ARRAY_LEN(curl_codes), failure->curl_code,
                    &other_curl_code);
    return &ends[failure->end];
}

static unsigned tries_allowed(const struct kf_retry_case *failure, const struct row *row)
{
    unsigned tries = UINT32_MAX;

    if (row->class == DOUBTFUL)
        tries = KF_RETRY_DOUBTFUL_TRIES;
    if (failure->urgency != KF_DEMAND && tries > KF_RETRY_BACKGROUND_TRIES)
        tries = KF_RETRY_BACKGROUND_TRIES;
    if (failure->max_tries > 0 && tries > failure->max_tries)
        tries = failure->max_tries;
    return tries;
}

static int64_t delay_of(const struct kf_retry_case *failure)
{
    int64_t ceiling = 0, asked = failure->retry_after_ns;

    if (failure->failures > 0) {
        ceiling = DELAY_BASE_NS;
        for (unsigned i = 1; i < failure->failures && ceiling < DELAY_LIMIT_NS; i++)
            ceiling *= 2;
    }
    if (ceiling > DELAY_LIMIT_NS)
        ceiling = DELAY_LIMIT_NS;
    if (asked > KF_RETRY_AFTER_LIMIT_NS)
        asked = KF_RETRY_AFTER_LIMIT_NS;
    int64_t drawn = (int64_t)((double)ceiling * ((double)failure->random / UINT32_MAX));
    return drawn > asked ? drawn : asked;
}

struct kf_retry_verdict kf_retry_decide(const struct kf_retry_case *failure)
{
    const struct row *row = row_of(failure);
    struct kf_retry_verdict verdict = {.action = KF_RETRY_GIVE_UP, .kind = row->kind};

    if (row->class == PERMANENT) {
        if (row->stale && failure->redirected && !failure->resolved_anew)
            verdict.action = KF_RETRY_RESOLVE;
        return verdict;
    }
    if (failure->failures + 1 >= tries_allowed(failure, row))
        return verdict;
    /* A second failure in a row at the end of a redirection: perhaps another target is
     * well. */
    verdict.action =
        failure->redirected && failure->failures > 0 ? KF_RETRY_RESOLVE : KF_RETRY_AGAIN;
    verdict.delay_ns = delay_of(failure);
    /* What broke or stalled may have taken the idle connections with it. */
    verdict.fresh_connection = failure->end == KF_HTTP_BROKEN ||
                               failure->end == KF_HTTP_STALLED ||
                               failure->end == KF_HTTP_SLOW;
    return verdict;
}

bool kf_retry_is_of_host(const struct kf_exchange *exchange)
{
    const struct kf_retry_case failure = {.end = exchange->end,
                                          .status = exchange->status,
                                          .curl_code = exchange->curl_code};

    if (exchange->end == KF_HTTP_OPEN || exchange->end == KF_HTTP_COMPLETE ||
        exchange->end == KF_HTTP_SLOW || exchange->status == 429 ||
        exchange->delivered >= KF_RETRY_PROGRESS_BYTES)
        return false;
    return row_of(&failure)->class == TRANSIENT;
}
