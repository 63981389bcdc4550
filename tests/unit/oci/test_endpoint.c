/* What is said to one host of a registry, and to no other. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "oci/endpoint.h"
#include "oci/origin.h"

static struct kf_endpoint endpoint;
static struct kf_hosts hosts;
static struct kf_exchange exchange;
static struct kf_err err;

/* The mirror of a hosts.toml, for references to r.example:5000. */
static void make(const char *base, const char *toml, const struct kf_net_opts *net)
{
    cr_assert_eq(kf_hosts_parse(&hosts, toml, strlen(toml), "/d", &err), 0, "%s",
                 err.message);
    cr_assert_eq(kf_endpoint_init(&endpoint, strdup(base), strdup("m")), 0);
    cr_assert_eq(kf_endpoint_configure(&endpoint, &hosts.mirrors[0], "r.example:5000",
                                       "https://r.example:5000", net, &err),
                 0, "%s", err.message);
    kf_http_init(&exchange);
}

static void tear_down(void)
{
    kf_endpoint_fini(&endpoint);
    kf_hosts_fini(&hosts);
    kf_http_fini(&exchange);
}

TestSuite(endpoint, .fini = tear_down);

static void expect_url(char *url, const char *expected)
{
    cr_expect_str_eq(url, expected);
    free(url);
}

Test(endpoint, the_registry_itself)
{
    make("https://r.example:5000/v2/a/b", "[host.\"https://x\"]",
         &(struct kf_net_opts){0});
    expect_url(kf_endpoint_url(&endpoint, "blobs/%s", "d"),
               "https://r.example:5000/v2/a/b/blobs/d");
    expect_url(kf_endpoint_complete(&endpoint, strdup("https://x/")), "https://x/");
    exchange.origin = "https://r.example:5000";
    kf_endpoint_prepare(&endpoint, &exchange);
    cr_expect_null(exchange.headers);
    cr_expect_null(exchange.tls, "as the loop has it");
    cr_expect_eq(exchange.connect_ns, 0);
}

Test(endpoint, a_mirror_is_told_whose_blobs)
{
    make("http://m/v2/a", "[host.\"http://m\"]", &(struct kf_net_opts){0});
    expect_url(kf_endpoint_url(&endpoint, "manifests/v1"),
               "http://m/v2/a/manifests/v1?ns=r.example%3A5000");
    expect_url(kf_endpoint_url(&endpoint, "tags/list?n=%d", 9),
               "http://m/v2/a/tags/list?n=9&ns=r.example%3A5000");
    expect_url(kf_endpoint_complete(&endpoint, strdup("http://m/x?last=1")),
               "http://m/x?last=1&ns=r.example%3A5000");
    expect_url(kf_endpoint_complete(&endpoint, strdup("http://m/x?ns=r&last=1")),
               "http://m/x?ns=r&last=1");
    cr_expect_null(kf_endpoint_complete(&endpoint, NULL));
}

Test(endpoint, what_goes_to_no_other_host)
{
    static const struct kf_net_opts net = {.ca_file = "ca"};

    make("https://m/v2/a",
         "[host.\"https://m\"]\nheader.x = \"1\"\nskip_verify = true\n"
         "client = [[\"/c\", \"/k\"]]\ndial_timeout = \"1s\"\n",
         &net);
    exchange.origin = "https://m";
    kf_endpoint_prepare(&endpoint, &exchange);
    cr_assert_not_null(exchange.headers);
    cr_expect_str_eq(exchange.headers[0], "x: 1");
    cr_expect_null(exchange.headers[1]);
    cr_expect_eq(exchange.connect_ns, INT64_C(1000000000));
    cr_expect_str_eq(exchange.tls->client_cert, "/c");
    cr_expect_str_eq(exchange.tls->client_key, "/k");
    cr_expect(exchange.tls->no_verify);
    exchange.origin = "https://m:444";
    kf_endpoint_prepare(&endpoint, &exchange);
    cr_expect_null(exchange.headers);
    cr_expect_eq(exchange.connect_ns, 0);
    cr_expect_null(exchange.tls->client_cert);
    cr_expect(exchange.tls->no_verify, "whom it trusts, it redirects to");
    cr_expect_str_eq(exchange.tls->ca_file, "ca");
}

Test(endpoint, what_the_file_does_not_say)
{
    static const struct kf_net_opts net = {
        .tls_no_verify = true, .ca_file = "ca", .client_cert = "c", .client_key = "k"};

    make("https://m/v2/a", "[host.\"https://m\"]\nskip_verify = false\n", &net);
    exchange.origin = "https://m";
    kf_endpoint_prepare(&endpoint, &exchange);
    cr_expect_not(exchange.tls->no_verify);
    cr_expect_str_eq(exchange.tls->ca_file, "ca");
    cr_expect_str_eq(exchange.tls->client_cert, "c");
    cr_expect_str_eq(exchange.tls->client_key, "k");
}
