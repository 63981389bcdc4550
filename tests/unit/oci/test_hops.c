/* Following redirections; no network. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/hops.h"

static struct kf_err err;

static void begin(struct kf_hops *hops, const char *url)
{
    kf_err_clear(&err);
    cr_assert_eq(kf_hops_init(hops, strdup(url), &err), 0, "%s", err.message);
}

/* An answer of status 307 to that place. */
static int follow(struct kf_hops *hops, const char *location)
{
    struct kf_exchange exchange;
    int rc;

    kf_http_init(&exchange);
    exchange.end = KF_HTTP_STATUS;
    exchange.status = 307;
    exchange.fields[KF_HTTP_LOCATION] = strdup(location);
    cr_assert(kf_hops_is_redirect(&exchange));
    rc = kf_hops_follow(hops, &exchange, &err);
    kf_http_fini(&exchange);
    return rc;
}

Test(hops, begins_at_home)
{
    kf_auto(kf_hops_fini) struct kf_hops hops;

    begin(&hops, "https://R.example:443/v2/a/blobs/x");
    cr_expect_str_eq(hops.url, "https://R.example:443/v2/a/blobs/x");
    cr_expect_str_eq(hops.origin, "https://r.example");
    cr_expect(kf_hops_is_home(&hops));
    cr_expect_not(hops.redirected);
}

Test(hops, no_beginning)
{
    struct kf_hops hops;

    cr_expect_eq(kf_hops_init(&hops, NULL, &err), -1);
    cr_expect_eq(err.kind, KF_E_NOMEM);
    kf_hops_fini(&hops);
    cr_expect_eq(kf_hops_init(&hops, strdup("ftp://a/"), &err), -1);
    kf_hops_fini(&hops);
}

Test(hops, relative_and_absolute)
{
    kf_auto(kf_hops_fini) struct kf_hops hops;

    begin(&hops, "http://a/v2/x/blobs/y");
    cr_assert_eq(follow(&hops, "/other?q=%2F"), 0);
    cr_expect_str_eq(hops.url, "http://a/other?q=%2F");
    cr_expect(kf_hops_is_home(&hops));
    cr_expect(hops.redirected);
    cr_assert_eq(follow(&hops, "https://B:8443/z"), 0);
    cr_expect_not(kf_hops_is_home(&hops));
    cr_expect_str_eq(hops.origin, "https://b:8443");
    cr_assert_eq(follow(&hops, "//c/w"), 0, "relative to where it is now");
    cr_expect_str_eq(hops.url, "https://c/w");
}

/* The scheme and the port belong to whom one talks to. */
Test(hops, home_is_scheme_host_and_port)
{
    static const char *const elsewhere[] = {"https://a/x", "http://a:81/x",
                                            "http://a.b/x"};

    for (size_t i = 0; i < KF_ARRAY_LEN(elsewhere); i++) {
        kf_auto(kf_hops_fini) struct kf_hops hops;

        begin(&hops, "http://a/v2");
        cr_assert_eq(follow(&hops, elsewhere[i]), 0, "%s", err.message);
        cr_expect_not(kf_hops_is_home(&hops), "%s", elsewhere[i]);
    }
}

Test(hops, never_from_https_to_http)
{
    kf_auto(kf_hops_fini) struct kf_hops hops;

    begin(&hops, "https://a/v2");
    cr_assert_eq(follow(&hops, "https://b/signed?secret=1"), 0);
    cr_assert_eq(follow(&hops, "http://b/signed?secret=1"), -1);
    cr_expect_eq(err.kind, KF_E_REFUSED);
    cr_expect_null(strstr(err.message, "secret"));
    cr_expect_str_eq(hops.url, "https://b/signed?secret=1", "it stays where it is");
    /* Nor by way of http at first: once on https it stays there. */
    kf_hops_fini(&hops);
    begin(&hops, "http://a/v2");
    cr_assert_eq(follow(&hops, "https://a/v2"), 0);
    cr_assert_eq(follow(&hops, "http://a/v2"), -1);
    cr_expect_eq(err.kind, KF_E_REFUSED);
}

Test(hops, places_that_are_none)
{
    static const char *const places[] = {"ftp://b/", "file:///etc/passwd",
                                         "http://user:secret@b/", "http://b:99999/",
                                         "http://b b/"};

    for (size_t i = 0; i < KF_ARRAY_LEN(places); i++) {
        kf_auto(kf_hops_fini) struct kf_hops hops;

        begin(&hops, "http://a/v2");
        cr_expect_eq(follow(&hops, places[i]), -1, "%s", places[i]);
        cr_expect(strstr(err.message, "a redirection by 'a'"), "%s", err.message);
        cr_expect_null(strstr(err.message, "secret"));
        cr_expect_eq(hops.count, 0u);
    }
}

Test(hops, as_many_as_allowed_and_one_more)
{
    kf_auto(kf_hops_fini) struct kf_hops hops;

    begin(&hops, "http://a/v2");
    for (unsigned i = 0; i < KF_HOPS_LIMIT; i++)
        cr_assert_eq(follow(&hops, "http://a/v2"), 0);
    cr_assert_eq(follow(&hops, "http://a/v2"), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(kf_hops_restart(&hops, &err), 0);
    cr_expect_eq(follow(&hops, "http://a/v2"), 0, "counted anew");
}

Test(hops, straight_there_and_back)
{
    kf_auto(kf_hops_fini) struct kf_hops hops;

    begin(&hops, "http://a/v2");
    cr_assert_eq(kf_hops_jump(&hops, "https://b/x", &err), 0);
    cr_expect(hops.redirected);
    cr_expect_not(kf_hops_is_home(&hops));
    cr_assert_eq(kf_hops_jump(&hops, "nowhere://", &err), -1);
    cr_expect_str_eq(hops.url, "https://b/x");
    cr_assert_eq(kf_hops_restart(&hops, &err), 0);
    cr_expect_str_eq(hops.url, "http://a/v2");
    cr_expect(kf_hops_is_home(&hops));
    cr_expect_not(hops.redirected);
    cr_expect(hops.resolved_anew);
}

Test(hops, what_is_a_redirection)
{
    static const struct {
        int status;
        bool redirection;
    } cases[] = {{200, false}, {300, false}, {301, true},  {302, true},
                 {303, true},  {304, false}, {305, false}, {306, false},
                 {307, true},  {308, true},  {309, false}, {401, false}};
    char place[] = "/x";

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct kf_exchange exchange = {.end = KF_HTTP_STATUS, .status = cases[i].status};

        cr_expect_not(kf_hops_is_redirect(&exchange), "%d to nowhere", cases[i].status);
        exchange.fields[KF_HTTP_LOCATION] = place;
        cr_expect_eq(kf_hops_is_redirect(&exchange), cases[i].redirection, "%d",
                     cases[i].status);
        exchange.end = KF_HTTP_BROKEN;
        cr_expect_not(kf_hops_is_redirect(&exchange));
    }
}
