#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/url.h"

static struct kf_err err;

static void expect_origin(const char *url, const char *expected)
{
    kf_auto(kf_free) char *origin = NULL;

    cr_assert_eq(kf_url_origin(&origin, url, &err), 0, "%s: %s", url, err.message);
    cr_expect_str_eq(origin, expected);
}

Test(url, origins)
{
    expect_origin("http://127.0.0.1:5000/v2/a", "http://127.0.0.1:5000");
    expect_origin("https://Registry.Example/v2/a?b#c", "https://registry.example");
    expect_origin("HTTPS://registry.example:443", "https://registry.example");
    expect_origin("http://registry.example:443", "http://registry.example:443");
    expect_origin("http://[::1]:5000/", "http://[::1]:5000");
}

Test(url, origins_of_what_is_not_for_us)
{
    static const char *const urls[] = {
        "",
        "ftp://a/b",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://user:secret@a/b",
        "http://a:99999/",
        "http://a b/",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(urls); i++) {
        char *origin = NULL;

        cr_expect_eq(kf_url_origin(&origin, urls[i], &err), -1, "%s", urls[i]);
        cr_expect_null(origin);
        cr_expect_null(strstr(err.message, "secret"));
    }
}

Test(url, parts_of_an_origin)
{
    cr_assert_str_eq(kf_url_origin_host("https://a:5000"), "a:5000");
    cr_assert(kf_url_origin_is_tls("https://a"));
    cr_assert_not(kf_url_origin_is_tls("http://https"));
}

static void expect_resolved(const char *base, const char *reference, const char *expected)
{
    kf_auto(kf_free) char *url = NULL;

    cr_assert_eq(kf_url_resolve(&url, base, reference, &err), 0, "%s + %s: %s", base,
                 reference, err.message);
    cr_expect_str_eq(url, expected);
}

Test(url, references)
{
    expect_resolved("http://a:5000/v2/x/blobs/y?q", "/z?w=1#f", "http://a:5000/z?w=1");
    expect_resolved("http://a/v2/x", "y", "http://a/v2/y");
    expect_resolved("http://a/v2/x", "?n=2", "http://a/v2/x?n=2");
    expect_resolved("https://a/v2/x", "//b/y", "https://b/y");
    expect_resolved("https://a/v2/x", "http://b/y", "http://b/y");
    /* A signature must arrive as it was signed. */
    expect_resolved("http://a/", "https://b/x%2Fy?Sig=%2B%zz+/==&e=a%20b",
                    "https://b/x%2Fy?Sig=%2B%zz+/==&e=a%20b");
}

Test(url, references_that_lead_elsewhere)
{
    static const char *const references[] = {"ftp://b/x", "file:///etc/passwd",
                                             "http://u:p@b/x", "gopher://b/"};

    for (size_t i = 0; i < KF_ARRAY_LEN(references); i++) {
        char *url = NULL;

        cr_expect_eq(kf_url_resolve(&url, "http://a/", references[i], &err), -1, "%s",
                     references[i]);
        cr_expect_null(url);
    }
}
