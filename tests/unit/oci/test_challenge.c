#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/challenge.h"

#define NONE KF_CHALLENGE_NONE
#define BASIC KF_CHALLENGE_BASIC
#define BEARER KF_CHALLENGE_BEARER

struct row {
    const char *value;
    enum kf_challenge_scheme scheme;
    const char *realm, *service, *scope, *error;
};

static const struct row rows[] = {
    /* As registries send them. */
    {"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\","
     "scope=\"repository:samalba/my-app:pull,push\"",
     BEARER, "https://auth.docker.io/token", "registry.docker.io",
     "repository:samalba/my-app:pull,push", NULL},
    {"Bearer realm=\"http://t/\",service=\"r\",scope=\"repository:models/new:push,pull "
     "repository:models/demo:pull\",error=\"insufficient_scope\"",
     BEARER, "http://t/", "r",
     "repository:models/new:push,pull repository:models/demo:pull", "insufficient_scope"},
    {"Basic realm=\"harbor\"", BASIC, "harbor", NULL, NULL, NULL},
    {"Basic "
     "realm=\"https://1.dkr.ecr.eu-west-1.amazonaws.com/\",service=\"ecr.amazonaws.com\"",
     BASIC, "https://1.dkr.ecr.eu-west-1.amazonaws.com/", "ecr.amazonaws.com", NULL,
     NULL},
    /* Several: Bearer before Basic, in any order; unknown ones are skipped. */
    {"Basic realm=\"b\", Bearer realm=\"t\"", BEARER, "t", NULL, NULL, NULL},
    {"Bearer realm=\"t\", Basic realm=\"b\"", BEARER, "t", NULL, NULL, NULL},
    {"Bearer realm=\"t\",service=s,Bearer realm=\"u\"", BEARER, "t", "s", NULL, NULL},
    {"Basic realm=\"b\", Basic realm=\"c\"", BASIC, "b", NULL, NULL, NULL},
    {"Negotiate, Basic realm=b", BASIC, "b", NULL, NULL, NULL},
    {"Negotiate YWJj/+==, NTLM, Bearer realm=t", BEARER, "t", NULL, NULL, NULL},
    {"Digest realm=\"d\", qop=\"auth, auth-int\", nonce=\"Bearer realm=x\", Basic "
     "realm=b",
     BASIC, "b", NULL, NULL, NULL},
    {"Negotiate", NONE, NULL, NULL, NULL, NULL},
    /* Forms of the grammar. */
    {"bEARER REALM=\"t\",Service=\"s\"", BEARER, "t", "s", NULL, NULL},
    {"Bearer realm = \"t\" , scope\t=\t\"a b\"", BEARER, "t", NULL, "a b", NULL},
    {"Bearer realm=\"a\\\"b\\\\c\\d, e\"", BEARER, "a\"b\\cd, e", NULL, NULL, NULL},
    {"Bearer realm=token!#$%&'*+-.^_`|~", BEARER, "token!#$%&'*+-.^_`|~", NULL, NULL,
     NULL},
    {"Bearer realm=https://t/token,service=s", BEARER, "https://t/token", "s", NULL,
     NULL},
    {",, ,Bearer realm=\"t\",,service=\"s\",", BEARER, "t", "s", NULL, NULL},
    {"Bearer realm=\"t\",x=\"y\",error=\"e\"", BEARER, "t", NULL, NULL, "e"},
    {"Bearer realm=\"t\",realm=\"u\"", BEARER, "t", NULL, NULL, NULL},
    {"Bearer realm=\"\"", BEARER, "", NULL, NULL, NULL},
    {"Basic", BASIC, NULL, NULL, NULL, NULL},
    {"Basic,Bearer realm=t", BEARER, "t", NULL, NULL, NULL},
    {"Bearer realm=\"\xc3\xa4\"", BEARER, "\xc3\xa4", NULL, NULL, NULL},
    /* A Bearer that does not say where tokens are is none. */
    {"Bearer service=\"s\"", NONE, NULL, NULL, NULL, NULL},
    {"Bearer service=\"s\", Basic realm=b", BASIC, "b", NULL, NULL, NULL},
    /* What breaks the grammar ends it; what stands before counts. */
    {"", NONE, NULL, NULL, NULL, NULL},
    {" , ,", NONE, NULL, NULL, NULL, NULL},
    {"=", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"t", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"t\\", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"t\\\"", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"t\"x", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"t\" x=y", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"a\nb\"", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=\"a\x7f\"", NONE, NULL, NULL, NULL, NULL},
    {"Bearer=realm", NONE, NULL, NULL, NULL, NULL},
    {"Bearer realm=;", NONE, NULL, NULL, NULL, NULL},
    {"Basic realm=b, Bearer realm=\"t", BASIC, "b", NULL, NULL, NULL},
    {"Basic realm=b, \"x\", Bearer realm=t", BASIC, "b", NULL, NULL, NULL},
};

static bool same(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

Test(challenge, table)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        struct kf_challenge challenge;
        struct kf_err err;

        cr_assert_eq(kf_challenge_parse(&challenge, row->value, &err), 0, "%s",
                     row->value);
        cr_expect_eq(challenge.scheme, row->scheme, "%s", row->value);
        cr_expect(same(challenge.realm, row->realm), "%s: %s", row->value,
                  challenge.realm);
        cr_expect(same(challenge.service, row->service), "%s", row->value);
        cr_expect(same(challenge.scope, row->scope), "%s", row->value);
        cr_expect(same(challenge.error, row->error), "%s", row->value);
        kf_challenge_fini(&challenge);
    }
}

/* A value of so many bytes, quoted or not. */
static enum kf_challenge_scheme scheme_with(size_t length, bool quoted)
{
    kf_auto(kf_free) char *realm = malloc(length + 1), *text = NULL;
    enum kf_challenge_scheme scheme;
    struct kf_challenge challenge;

    cr_assert_not_null(realm);
    memset(realm, 'r', length);
    realm[length] = '\0';
    cr_assert(asprintf(&text, "Basic, Bearer realm=%s%s%s", quoted ? "\"" : "", realm,
                       quoted ? "\"" : "") > 0);
    cr_assert_eq(kf_challenge_parse(&challenge, text, NULL), 0);
    scheme = challenge.scheme;
    kf_challenge_fini(&challenge);
    return scheme;
}

Test(challenge, a_value_at_the_limit_and_above)
{
    for (int quoted = 0; quoted < 2; quoted++) {
        cr_expect_eq(scheme_with(KF_CHALLENGE_VALUE_LIMIT, quoted), BEARER);
        cr_expect_eq(scheme_with(KF_CHALLENGE_VALUE_LIMIT + 1, quoted), BASIC);
        cr_expect_eq(scheme_with(3 * KF_CHALLENGE_VALUE_LIMIT, quoted), BASIC);
    }
}

/* The Bearer is the one behind so many others. */
static enum kf_challenge_scheme scheme_behind(unsigned others)
{
    struct kf_challenge challenge;
    enum kf_challenge_scheme scheme;
    char text[1024] = "";

    for (unsigned i = 0; i < others; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "X%u, ", i);
    (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "Bearer realm=t");
    cr_assert_eq(kf_challenge_parse(&challenge, text, NULL), 0);
    scheme = challenge.scheme;
    kf_challenge_fini(&challenge);
    return scheme;
}

Test(challenge, as_many_as_the_limit_and_one_more)
{
    cr_expect_eq(scheme_behind(KF_CHALLENGE_LIMIT - 1), BEARER);
    cr_expect_eq(scheme_behind(KF_CHALLENGE_LIMIT), NONE);
}
