/* What is made of a registry's answers, for people. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "oci/call.h"
#include "oci/survey.h"

#define NOW INT64_C(1800000000) /* 2027-01-15T08:00:00Z */

static struct kf_survey survey;
static struct kf_call call;

static void set_up(void)
{
    survey = (struct kf_survey){0};
    call = (struct kf_call){0};
    kf_http_init(&call.exchange);
}

static void tear_down(void)
{
    kf_http_fini(&call.exchange);
}

TestSuite(survey, .init = set_up, .fini = tear_down);

/* ---- how long a signed URL is good ---- */

#define NOT_SAID INT64_MIN

static const struct {
    const char *url;
    int64_t life_s;
} lives[] = {
    {"https://h/p", NOT_SAID},
    {"https://h/p?", NOT_SAID},
    {"https://h/X-Amz-Expires=20", NOT_SAID},
    {"https://h/p?X-Amz-Expires=1200", 1200},
    {"https://h/p?X-Amz-Date=20270115T080000Z&X-Amz-Expires=1200&X-Amz-Signature=a",
     1200},
    {"https://h/p?X-Goog-Expires=900&x", 900},
    {"https://h/p?aX-Amz-Expires=1200", NOT_SAID},
    {"https://h/p?X-Amz-Expires2=1200", NOT_SAID},
    {"https://h/p?X-Amz-Expires", NOT_SAID},
    {"https://h/p?X-Amz-Expires=", NOT_SAID},
    {"https://h/p?X-Amz-Expires=12x", NOT_SAID},
    {"https://h/p?X-Amz-Expires=-12", NOT_SAID},
    {"https://h/p?X-Amz-Expires=99999999999999999999", NOT_SAID},
    /* The first that can be read counts. */
    {"https://h/p?X-Amz-Expires=x&Expires=1800000060", 60},
    {"https://h/p?se=2027-01-15T08:01:00Z&X-Amz-Expires=7", 7},
    /* Times. */
    {"https://h/p?Expires=1800000060&Signature=a", 60},
    {"https://h/p?Expires=1799996400", -3600},
    {"https://h/p?Expires=3600", NOT_SAID},
    {"https://h/p?expires=1800000060", NOT_SAID},
    {"https://h/p?sv=2019-12-12&se=2027-01-15T08%3A05%3A00Z&sig=a%2Fb", 300},
    {"https://h/p?se=2027-01-15T08:05:00Z", 300},
    {"https://h/p?se=2027-01-15T08%3A05%3A0", NOT_SAID},
    {"https://h/p?se=%", NOT_SAID},
    {"https://h/p?se=%3", NOT_SAID},
    {"https://h/p?se=%zz", NOT_SAID},
    {"https://h/p?se=%00", NOT_SAID},
    {"https://h/"
     "p?se=2027-01-15T08%3A05%3A00Z00000000000000000000000000000000000000000000",
     NOT_SAID},
};

Test(survey, url_life)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(lives); i++) {
        int64_t life_s = NOT_SAID;
        bool said = kf_survey_url_life(lives[i].url, NOW, &life_s);

        cr_expect_eq(life_s, lives[i].life_s, "%s: %lld", lives[i].url,
                     (long long)life_s);
        cr_expect_eq(said, lives[i].life_s != NOT_SAID, "%s", lives[i].url);
    }
}

Test(survey, spans)
{
    static const struct {
        int64_t seconds;
        const char *words;
    } spans[] = {
        {0, "0 s"},       {60, "60 s"},       {119, "119 s"},     {120, "2 min"},
        {1200, "20 min"}, {7199, "119 min"},  {7200, "2 h"},      {21600, "6 h"},
        {172799, "47 h"}, {172800, "2 days"}, {604800, "7 days"},
    };
    char out[32];

    for (size_t i = 0; i < KF_ARRAY_LEN(spans); i++)
        cr_expect_str_eq(kf_survey_span(spans[i].seconds, out), spans[i].words);
}

/* ---- ranges ---- */

Test(survey, ranges)
{
    static const struct {
        enum kf_http_end end;
        int status;
        bool ignored;
        enum kf_survey_ranges ranges;
        const char *name;
        bool can_read;
    } rows[] = {
        {KF_HTTP_COMPLETE, 206, false, KF_SURVEY_YES, "206", true},
        {KF_HTTP_COMPLETE, 200, false, KF_SURVEY_AS_200, "200", true},
        {KF_HTTP_COMPLETE, 200, true, KF_SURVEY_WHOLE, "whole", true},
        {KF_HTTP_STATUS, 403, false, KF_SURVEY_REFUSED, "refused", false},
        {KF_HTTP_STATUS, 307, false, KF_SURVEY_REFUSED, "refused", false},
        {KF_HTTP_BAD, 206, false, KF_SURVEY_WRONG, "wrong", false},
        {KF_HTTP_STALLED, 0, false, KF_SURVEY_SILENT, "silent", false},
        {KF_HTTP_BROKEN, 206, false, KF_SURVEY_SILENT, "silent", false},
        {KF_HTTP_DEADLINE, 0, false, KF_SURVEY_SILENT, "silent", false},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        call.exchange.end = rows[i].end;
        call.exchange.status = rows[i].status;
        call.exchange.range_ignored = rows[i].ignored;
        cr_expect_eq(kf_survey_ranges_of(&call.exchange), rows[i].ranges);
        cr_expect_str_eq(kf_survey_ranges_name(rows[i].ranges), rows[i].name);
        cr_expect_eq(kf_survey_can_read(rows[i].ranges), rows[i].can_read);
    }
}

/* ---- throughput ---- */

static void expect_steps(unsigned connections, const char *expected)
{
    unsigned steps[KF_SURVEY_STEPS];
    size_t count = kf_survey_steps(connections, steps);
    char text[64] = "";

    for (size_t i = 0; i < count; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u", steps[i]);
    cr_expect_str_eq(text, expected);
}

Test(survey, steps)
{
    expect_steps(1, " 1");
    expect_steps(2, " 1 2");
    expect_steps(3, " 1 2 3");
    expect_steps(6, " 1 2 4 6");
    expect_steps(8, " 1 2 4 8");
    expect_steps(64, " 1 2 4 8");
}

#define MIB (UINT64_C(1) << 20)

Test(survey, loads)
{
    static const struct {
        uint64_t size, piece, count, whole;
    } rows[] = {
        {8 * MIB, MIB, 8, 8},
        {32 * MIB - 1, MIB, 31, 31},
        {32 * MIB, 4 * MIB, 8, 8},
        {100 * MIB + 1, 4 * MIB, 8, 25},
        {UINT64_C(1) << 40, 4 * MIB, 8, UINT64_C(1) << 18},
    };
    struct kf_survey_load load;

    cr_expect_not(kf_survey_load_of(8 * MIB - 1, &load));
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        cr_assert(kf_survey_load_of(rows[i].size, &load));
        cr_expect_eq(load.piece, rows[i].piece);
        cr_expect_eq(load.count, rows[i].count);
        cr_expect_eq(load.whole, rows[i].whole);
        for (size_t step = 0; step < KF_SURVEY_STEPS; step++)
            for (uint64_t index = 0; index < load.count; index++)
                cr_expect_leq(kf_survey_piece(&load, step, index) + load.piece,
                              rows[i].size);
    }
    cr_assert(kf_survey_load_of(100 * MIB, &load));
    cr_expect_eq(kf_survey_piece(&load, 0, 0), 0u);
    cr_expect_eq(kf_survey_piece(&load, 1, 1), 36 * MIB);
    cr_expect_eq(kf_survey_piece(&load, 3, 1), 0u, "at the end, from the beginning");
}

/* ---- limits ---- */

static void field(enum kf_http_field which, const char *value)
{
    free(call.exchange.fields[which]);
    call.exchange.fields[which] = value ? strdup(value) : NULL;
}

/* An answer to the call, at its end of that many redirections. */
static void answer(int status, const char *url, const char *origin, unsigned hops)
{
    static char url_copy[200], origin_copy[100];

    (void)snprintf(url_copy, sizeof(url_copy), "%s", url);
    (void)snprintf(origin_copy, sizeof(origin_copy), "%s", origin);
    call.exchange.status = status;
    call.exchange.end = status / 100 == 2 ? KF_HTTP_COMPLETE : KF_HTTP_STATUS;
    call.hops.url = url_copy;
    call.hops.origin = origin_copy;
    call.hops.count = hops;
    kf_survey_note(&survey, &call, NOW);
}

static void plain_answer(int status)
{
    answer(status, "https://r/v2/a", "https://r", 0);
}

static void expect_limits(const char *words, bool spent)
{
    char out[KF_SURVEY_TEXT_SIZE];

    cr_expect_str_eq(kf_survey_limits_words(&survey, out), words);
    cr_expect_eq(kf_survey_is_spent(&survey), spent);
}

Test(survey, limits_that_nobody_says)
{
    plain_answer(206);
    expect_limits("says nothing of limits to requests", false);
    cr_expect_not(kf_survey_has_limits(&survey));
}

Test(survey, limits_as_docker_hub_says_them)
{
    field(KF_HTTP_RATE_LIMIT, "100;w=21600");
    field(KF_HTTP_RATE_REMAINING, "76;w=21600");
    field(KF_HTTP_DOCKER_RATE_SOURCE, "192.0.2.1");
    plain_answer(200);
    expect_limits("limits requests: 100 per 6 h, 76 left, counted for 192.0.2.1", false);
    cr_expect(kf_survey_has_limits(&survey));
    cr_expect_str_eq(kf_survey_limit_name(0), "ratelimit-limit");
    cr_expect_str_eq(survey.limits[0], "100;w=21600");
    /* What a later answer says counts, and what it does not say stays. */
    field(KF_HTTP_RATE_LIMIT, NULL);
    field(KF_HTTP_RATE_REMAINING, "0;w=21600");
    plain_answer(206);
    expect_limits("limits requests: 100 per 6 h, 0 left, counted for 192.0.2.1", true);
}

Test(survey, limits_as_others_say_them)
{
    field(KF_HTTP_X_RATE_LIMIT, "5000");
    field(KF_HTTP_X_RATE_REMAINING, "10");
    field(KF_HTTP_X_RATE_RESET, "1800000060");
    plain_answer(200);
    expect_limits("limits requests: 5000, 10 left, reset 1800000060", false);
    field(KF_HTTP_X_RATE_REMAINING, "0");
    plain_answer(200);
    cr_expect(kf_survey_is_spent(&survey));
}

Test(survey, limits_of_the_later_drafts)
{
    field(KF_HTTP_RATE, "\"default\";r=50;t=30");
    field(KF_HTTP_RATE_POLICY, "\"default\";q=100;w=60");
    plain_answer(200);
    expect_limits("limits requests: policy \"default\";q=100;w=60, now "
                  "\"default\";r=50;t=30",
                  false);
    field(KF_HTTP_RATE, "\"default\";r=0;t=30");
    plain_answer(200);
    cr_expect(kf_survey_is_spent(&survey));
}

Test(survey, limits_that_make_no_sense)
{
    field(KF_HTTP_RATE_LIMIT, "\x1b[31m\xff;w=");
    field(KF_HTTP_RATE_REMAINING, "");
    field(KF_HTTP_RATE_RESET, "9;w=99999999999999999999");
    plain_answer(200);
    expect_limits("limits requests: ?[31m?;w=, reset 9;w=99999999999999999999", false);
}

Test(survey, too_many_requests)
{
    plain_answer(429);
    expect_limits("answers 429, too many requests", false);
    call.exchange.retry_after_ns = 900 * KF_NS_PER_S;
    field(KF_HTTP_RATE_LIMIT, "10;w=1");
    plain_answer(429);
    cr_expect(survey.limited);
    expect_limits("answers 429, too many requests, again in 15 min; it limits requests: "
                  "10 per 1 s",
                  false);
    /* That it did so once is what counts. */
    plain_answer(206);
    cr_expect(survey.limited);
}

/* ---- redirections ---- */

static void expect_hops(const char *words)
{
    char out[KF_SURVEY_TEXT_SIZE];

    cr_expect_str_eq(kf_survey_hops_words(&survey, out), words, "%s", out);
}

static void redirection(const char *location, unsigned hops)
{
    field(KF_HTTP_LOCATION, location);
    answer(307, "https://r/v2/a", "https://r", hops);
    field(KF_HTTP_LOCATION, NULL);
}

Test(survey, no_redirection)
{
    plain_answer(206);
    expect_hops("gives blobs itself, without redirecting");
}

Test(survey, one_redirection)
{
    redirection("https://cdn.example/x?X-Amz-Expires=1200&sig=secret", 0);
    expect_hops("redirects to nowhere (307); how long that URL is good is not said");
    answer(206, "https://cdn.example/x?X-Amz-Expires=1200&sig=secret",
           "https://cdn.example", 1);
    expect_hops("redirects to https://cdn.example (307); that URL is good for 20 min");
    cr_expect_eq(survey.hop_count, 1u);
    cr_expect_not(survey.hops[0].relative);
}

Test(survey, redirections_behind_each_other)
{
    redirection("/artifacts-downloads/x", 0);
    redirection("HTTPS://cdn.example/x?Expires=1799992800", 1);
    answer(403, "https://cdn.example/x?Expires=1799992800", "https://cdn.example", 2);
    expect_hops(
        "redirects 2 times to https://r (307, relative), then to "
        "https://cdn.example (307); that URL ended 2 h ago by this machine's clock");
    /* It is asked anew, and answers itself. */
    plain_answer(206);
    expect_hops("gives blobs itself, without redirecting");
}

Test(survey, redirections_without_end)
{
    char out[KF_SURVEY_TEXT_SIZE];

    for (unsigned i = 0; i <= KF_HOPS_LIMIT; i++)
        redirection("/again", i);
    cr_expect_eq(survey.hop_count, KF_HOPS_LIMIT);
    cr_expect_str_eq(survey.hops[KF_HOPS_LIMIT - 1].to, "https://r");
    cr_expect_lt(strlen(kf_survey_hops_words(&survey, out)), sizeof(out));
}
