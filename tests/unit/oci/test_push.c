/* Which registries want to know a blob's size before, and what a refusal means. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/http.h"
#include "oci/push.h"

Test(push, hosts_that_want_the_size)
{
    static const char *const hosts[] = {
        "ghcr.io",
        "GHCR.io",
        "ghcr.io:443",
        "gcr.io",
        "eu.gcr.io",
        "europe-west1-docker.pkg.dev",
        "1234.dkr.ecr.eu-west-1.amazonaws.com",
        "1234.dkr.ecr.cn-north-1.amazonaws.com.cn:443",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(hosts); i++)
        cr_expect(kf_push_wants_size(hosts[i]), "%s", hosts[i]);
}

Test(push, hosts_of_which_nothing_is_known)
{
    static const char *const hosts[] = {
        "",
        "o",
        "my.ghcr.io",
        "ghcr.io.example.com",
        "pkg.dev",
        "amazonaws.com",
        "example.com:5000",
        "localhost",
        "jozu.ml",
        "gcr.io.example.com:443",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(hosts); i++)
        cr_expect_not(kf_push_wants_size(hosts[i]), "%s", hosts[i]);
}

static struct kf_exchange answer(enum kf_http_method method, int status)
{
    return (struct kf_exchange){
        .method = method, .end = KF_HTTP_STATUS, .status = status};
}

Test(push, refusals_of_a_stream_that_are_about_its_size)
{
    static const int yes[] = {405, 411, 413, 416, 501}, no[] = {400, 401, 403, 404, 503};
    struct kf_exchange exchange;

    for (size_t i = 0; i < KF_ARRAY_LEN(yes); i++) {
        exchange = answer(KF_HTTP_PATCH, yes[i]);
        cr_expect(kf_push_is_about_size(&exchange), "%d", yes[i]);
        exchange = answer(KF_HTTP_PUT, yes[i]);
        cr_expect_not(kf_push_is_about_size(&exchange), "PUT %d", yes[i]);
    }
    for (size_t i = 0; i < KF_ARRAY_LEN(no); i++) {
        exchange = answer(KF_HTTP_PATCH, no[i]);
        cr_expect_not(kf_push_is_about_size(&exchange), "%d", no[i]);
    }
    exchange = answer(KF_HTTP_PATCH, 416);
    exchange.end = KF_HTTP_BROKEN;
    cr_expect_not(kf_push_is_about_size(&exchange), "no answer");
}

static struct kf_err said(enum kf_http_method method, int status)
{
    struct kf_exchange exchange = answer(method, status);
    struct kf_err err;

    (void)kf_fail(&err, KF_E_REFUSED, "before");
    cr_expect_eq(kf_push_refused(&err, &exchange), -1);
    cr_expect_eq(kf_push_refused(NULL, &exchange), -1);
    return err;
}

Test(push, remedies)
{
    static const struct {
        enum kf_http_method method;
        int status;
        const char *text;
    } rows[] = {
        {KF_HTTP_HEAD, 401, "before"},
        {KF_HTTP_PUT, 403, "before; check that you may write there, and that it exists"},
        {KF_HTTP_POST, 405, "before; it takes no uploads: is it a mirror or a cache?"},
        {KF_HTTP_PUT, 405, "before"},
        {KF_HTTP_PUT, 413,
         "before; it, or a proxy before it, takes no blobs of this "
         "size"},
        {KF_HTTP_PUT, 500, "before"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_err err = said(rows[i].method, rows[i].status);

        cr_expect_str_eq(err.message, rows[i].text);
        cr_expect_eq(err.kind, KF_E_REFUSED);
    }
}

Test(push, a_stream_of_unknown_size_that_is_not_taken)
{
    struct kf_err err = said(KF_HTTP_PATCH, 411);

    cr_expect_eq(err.kind, KF_E_UNSUPPORTED);
    cr_expect_str_eq(err.message, "before; it wants to know a blob's size before");
}
