#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/token.h"

static const struct {
    const char *json, *value, *refresh;
    int64_t lifetime_ns;
} good[] = {
    {"{\"token\":\"t\"}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"access_token\":\"a\"}", "a", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"access_token\":\"a\",\"token\":\"t\"}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"access_token\":\"a\",\"token\":\"\"}", "a", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"access_token\":\"a\",\"token\":null}", "a", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"expires_in\":300}", "t", NULL, 300 * KF_NS_PER_S},
    {"{\"token\":\"t\",\"expires_in\":1}", "t", NULL, KF_NS_PER_S},
    {"{\"token\":\"t\",\"expires_in\":0.5}", "t", NULL, KF_NS_PER_S / 2},
    {"{\"token\":\"t\",\"expires_in\":0}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"expires_in\":-5}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"expires_in\":\"300\"}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"expires_in\":86399}", "t", NULL, 86399 * KF_NS_PER_S},
    {"{\"token\":\"t\",\"expires_in\":86401}", "t", NULL, KF_TOKEN_LIFETIME_LIMIT_NS},
    {"{\"token\":\"t\",\"expires_in\":1e300}", "t", NULL, KF_TOKEN_LIFETIME_LIMIT_NS},
    /* Nobody's clock but ours counts. */
    {"{\"token\":\"t\",\"issued_at\":\"1999-01-01T00:00:00Z\",\"expires_in\":60}", "t",
     NULL, 60 * KF_NS_PER_S},
    {"{\"token\":\"t\",\"refresh_token\":\"r\"}", "t", "r", KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"refresh_token\":\"r r\"}", "t", NULL, KF_TOKEN_LIFETIME_NS},
    {"{\"token\":\"t\",\"refresh_token\":7}", "t", NULL, KF_TOKEN_LIFETIME_NS},
};

static const char *const bad[] = {
    "",
    "{}",
    "[]",
    "7",
    "{\"token\":\"t\"",
    "{\"token\":7}",
    "{\"token\":\"\"}",
    "{\"token\":{\"token\":\"t\"}}",
    "{\"token\":\"a b\"}",
    "{\"token\":\"a\\r\\nX: y\"}", /* another header line */
    "{\"token\":\"a\\u0000b\"}",
    "{\"token\":\"\xc3\xa4\"}",
    "{\"token\":\"a\\u007f\"}",
    "<html>Log in, please</html>",
};

Test(token, answers)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(good); i++) {
        struct kf_token token;
        struct kf_err err;

        cr_assert_eq(kf_token_parse(&token, good[i].json, strlen(good[i].json), &err), 0,
                     "%s: %s", good[i].json, err.message);
        cr_expect_str_eq(token.value, good[i].value);
        cr_expect_eq(token.lifetime_ns, good[i].lifetime_ns, "%s", good[i].json);
        cr_expect_eq(!token.refresh, !good[i].refresh, "%s", good[i].json);
        if (token.refresh && good[i].refresh)
            cr_expect_str_eq(token.refresh, good[i].refresh);
        kf_token_fini(&token);
    }
}

Test(token, answers_without_a_token)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        struct kf_token token;
        struct kf_err err;

        cr_expect_eq(kf_token_parse(&token, bad[i], strlen(bad[i]), &err), -1, "%s",
                     bad[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED, "%s", bad[i]);
    }
}

/* An answer of so many bytes. */
static int parse_long(size_t length, struct kf_err *err)
{
    static const char head[] = "{\"token\":\"", tail[] = "\"}";
    kf_auto(kf_free) char *json = malloc(length);
    struct kf_token token = {0};
    int rc;

    cr_assert_not_null(json);
    memset(json, 't', length);
    memcpy(json, head, strlen(head));
    memcpy(json + length - strlen(tail), tail, strlen(tail));
    rc = kf_token_parse(&token, json, length, err);
    kf_token_fini(&token);
    return rc;
}

Test(token, an_answer_at_the_limit_and_above)
{
    struct kf_err err;

    cr_expect_eq(parse_long(5000, &err), 0);
    cr_expect_eq(parse_long(KF_TOKEN_ANSWER_LIMIT, &err), 0);
    cr_expect_eq(parse_long(KF_TOKEN_ANSWER_LIMIT + 1, &err), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT);
}

static void expect_text(char *text, const char *expected)
{
    cr_assert_not_null(text);
    cr_expect_str_eq(text, expected);
    kf_token_wipe(text);
}

Test(token, questions)
{
    static const char two[] = "repository:a/b:pull,push repository:c:pull";

    expect_text(kf_token_url("https://t/token", "r.example", two),
                "https://t/token?service=r.example&scope=repository%3Aa%2Fb%3Apull%2Cpush"
                "&scope=repository%3Ac%3Apull");
    expect_text(kf_token_url("https://t/token?a=b", "x y&z", ""),
                "https://t/token?a=b&service=x%20y%26z");
    expect_text(kf_token_url("https://t/", NULL, "s"), "https://t/?scope=s");
    expect_text(kf_token_url("https://t/", NULL, ""), "https://t/");
    expect_text(kf_token_refresh_form("r+/=", "s", two),
                "grant_type=refresh_token&refresh_token=r%2B%2F%3D&service=s"
                "&scope=repository%3Aa%2Fb%3Apull%2Cpush%20repository%3Ac%3Apull"
                "&client_id=kitfs");
    expect_text(kf_token_password_form("u&x", "p%=", NULL, ""),
                "grant_type=password&username=u%26x&password=p%25%3D&access_type=offline"
                "&client_id=kitfs");
}

Test(token, lines)
{
    expect_text(kf_token_bearer("abc"), "Bearer abc");
    /* RFC 7617, and all ends of base64. */
    expect_text(kf_token_basic("Aladdin", "open sesame"),
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    expect_text(kf_token_basic("test", "123\xc2\xa3"), "Basic dGVzdDoxMjPCow==");
    expect_text(kf_token_basic("", ""), "Basic Og==");
    expect_text(kf_token_basic("a", ""), "Basic YTo=");
    expect_text(kf_token_basic("a", "b"), "Basic YTpi");
    expect_text(kf_token_basic("\xff\xff", "\xff"), "Basic //86/w==");
}
