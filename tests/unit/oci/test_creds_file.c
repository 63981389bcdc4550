#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/creds_file.h"

#define HUB "https://index.docker.io/v1/"

static struct kf_err err;
static struct kf_creds_file file;

static int parse(const char *json, const char *host, const char *repository)
{
    return kf_creds_file_parse(&file, json, strlen(json), host, repository, &err);
}

static void expect_user(const char *json, const char *host, const char *repository,
                        const char *user)
{
    cr_assert_eq(parse(json, host, repository), 0, "%s: %s", json, err.message);
    if (user)
        cr_expect_str_eq(file.cred.username ? file.cred.username : "(nobody)", user,
                         "%s/%s in %s", host, repository ? repository : "", json);
    else
        cr_expect_null(file.cred.username, "%s in %s", host, json);
    kf_creds_file_fini(&file);
}

static void expect_failure(const char *json, enum kf_err_kind kind, const char *message)
{
    cr_expect_eq(parse(json, "h.io", NULL), -1, "%s", json);
    cr_expect_eq(err.kind, kind, "%s: %s", json, err.message);
    cr_expect(strstr(err.message, message), "%s: %s", json, err.message);
}

/* A file with these keys, each with the user that is called as the key's number. */
static const char *with_keys(const char *const *keys, size_t count)
{
    static char json[2048];
    size_t at = (size_t)snprintf(json, sizeof(json), "{\"auths\": {");

    for (size_t i = 0; i < count && keys[i]; i++)
        at += (size_t)snprintf(json + at, sizeof(json) - at,
                               "%s\"%s\": {\"username\": \"%zu\", \"password\": \"p\"}",
                               i ? ", " : "", keys[i], i);
    (void)snprintf(json + at, sizeof(json) - at, "}}");
    return json;
}

Test(creds_file, which_key_fits)
{
    static const struct {
        const char *keys[4];
        const char *host, *repository, *user;
    } cases[] = {
        {{"h.io"}, "h.io", "a/b", "0"},
        {{"h.io"}, "H.IO", "a/b", "0"},
        {{"H.io"}, "h.io", NULL, "0"},
        {{"h.io"}, "x.h.io", "a/b", NULL},
        {{"h.io"}, "h.io.evil", "a/b", NULL},
        /* ports */
        {{"h.io"}, "h.io:5000", "a/b", NULL},
        {{"h.io:5000"}, "h.io", "a/b", NULL},
        {{"h.io", "h.io:5000"}, "h.io:5000", "a/b", "1"},
        /* schemes */
        {{"https://h.io"}, "h.io", "a/b", "0"},
        {{"http://h.io/v2/"}, "h.io", "a/b", "0"},
        {{"https://h.io/other"}, "h.io", "a/b", "0"},
        {{"h.io/"}, "h.io", "a/b", "0"},
        /* Docker Hub */
        {{HUB}, "docker.io", "a/b", "0"},
        {{"docker.io"}, "registry-1.docker.io", "a/b", "0"},
        {{"registry-1.docker.io"}, "index.docker.io", "a/b", "0"},
        {{"docker.io/a"}, "registry-1.docker.io", "a/b", "0"},
        {{"hub.docker.io"}, "docker.io", "a/b", NULL},
        /* paths */
        {{"h.io/a"}, "h.io", "a/b", "0"},
        {{"h.io/a/b"}, "h.io", "a/b", "0"},
        {{"h.io/a/b/c"}, "h.io", "a/b", NULL},
        {{"h.io/a"}, "h.io", "ab/c", NULL},
        {{"h.io/a"}, "h.io", "a", "0"},
        {{"h.io/a"}, "h.io", NULL, NULL},
        {{"h.io", "h.io/a", "h.io/a/b", "h.io/a/b/c"}, "h.io", "a/b/x", "2"},
        {{"h.io/a/b", "h.io/a", "h.io"}, "h.io", "c", "2"},
        {{"h.io/a/b", "h.io/a", "h.io"}, "h.io", NULL, "2"},
        /* globs */
        {{"*.x.io"}, "r.x.io", "a/b", "0"},
        {{"*.x.io"}, "a.r.x.io", "a/b", NULL},
        {{"*.*.x.io"}, "a.r.x.io", "a/b", "0"},
        {{"*.x.io"}, "x.io", "a/b", NULL},
        {{"r*.x.io"}, "reg.x.io", "a/b", "0"},
        {{"r*g*1.x.io"}, "region-eg-1.x.io", "a/b", "0"},
        {{"r*g*1.x.io"}, "region-eg-2.x.io", "a/b", NULL},
        {{"*"}, "h.io", "a/b", NULL},
        {{"*.*"}, "h.io", "a/b", "0"},
        {{"?.io"}, "h.io", "a/b", "0"},
        {{"h?io"}, "h.io", "a/b", NULL},
        {{"h.*"}, "h.io:5000", "a/b", NULL},
        {{"h.*:5000"}, "h.io:5000", "a/b", "0"},
        {{"*.x.io/a"}, "r.x.io", "a/b", "0"},
        {{"*.x.io/a"}, "r.x.io", "b", NULL},
        {{"*.x.io", "r.x.io"}, "r.x.io", "a/b", "1"},
        {{"r.x.io", "*.x.io/a"}, "r.x.io", "a/b", "1"},
        {{"*.x.io/a", "r.x.io/a"}, "r.x.io", "a/b", "1"},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++)
        expect_user(with_keys(cases[i].keys, 4), cases[i].host, cases[i].repository,
                    cases[i].user);
}

Test(creds_file, what_an_entry_holds)
{
    /* "ci:a:b", "old:pw" and three NULs, "name:" */
    cr_assert_eq(parse("{\"auths\":{\"h.io\":{\"auth\":\"Y2k6YTpi\"}}}", "h.io", NULL),
                 0);
    cr_expect_str_eq(file.cred.username, "ci");
    cr_expect_str_eq(file.cred.password, "a:b");
    cr_expect_null(file.cred.from);
    kf_creds_file_fini(&file);
    cr_assert_eq(
        parse("{\"auths\":{\"h.io\":{\"auth\":\"b2xkOnB3AAAA\"}}}", "h.io", NULL), 0);
    cr_expect_str_eq(file.cred.password, "pw");
    kf_creds_file_fini(&file);
    cr_assert_eq(parse("{\"auths\":{\"h.io\":{\"auth\":\"bmFtZTo=\",\"identitytoken\":"
                       "\"it\",\"registrytoken\":\"rt\",\"email\":\"x@y\"}}}",
                       "h.io", NULL),
                 0);
    cr_expect_str_eq(file.cred.username, "name");
    cr_expect_str_eq(file.cred.password, "");
    cr_expect_str_eq(file.cred.identity_token, "it");
    cr_expect_str_eq(file.cred.registry_token, "rt");
    kf_creds_file_fini(&file);
    /* `auth` wins over the others. */
    expect_user("{\"auths\":{\"h.io\":{\"auth\":\"Y2k6YTpi\",\"username\":\"x\"}}}",
                "h.io", NULL, "ci");
}

Test(creds_file, nothing_in_it)
{
    static const char *const files[] = {
        "",
        "{}",
        "{\"auths\":null,\"credHelpers\":null,\"credsStore\":null}",
        "{\"auths\":{}}",
        "{\"auths\":{\"h.io\":{}}}",
        "{\"auths\":{\"h.io\":{\"auth\":\"\",\"username\":\"\"}}}",
        "{\"auths\":{\"h.io\":{\"auth\":\"Og==\"}}}",
        "{\"auths\":{\"h.io\":{\"password\":\"alone\"}}}",
        "{\"auths\":{\"other.io\":{\"auth\":\"broken\"}}}",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(files); i++) {
        expect_user(files[i], "h.io", "a/b", NULL);
        cr_expect_null(file.host_helper);
    }
    expect_user("{\"auths\":{\"h.io/a\":{},\"h.io\":{\"username\":\"u\"}}}", "h.io",
                "a/b", "u");
    expect_user("{\"auths\":{\"docker.io\":{},\"" HUB "\":{\"username\":\"u\"}}}",
                "docker.io", "a/b", "u");
}

Test(creds_file, broken_files)
{
    expect_failure("{", KF_E_MALFORMED, "no JSON in line 1");
    expect_failure("[]", KF_E_MALFORMED, "no JSON object");
    expect_failure("{\"auths\":[]}", KF_E_MALFORMED, "'auths' is no object");
    expect_failure("{\"credHelpers\":7}", KF_E_MALFORMED, "'credHelpers' is no object");
    expect_failure("{\"auths\":{\"h.io\":7}}", KF_E_MALFORMED, "'h.io' is no object");
    expect_failure("{\"auths\":{\"h.io\":{\"auth\":7}}}", KF_E_MALFORMED, "no text");
    expect_failure("{\"auths\":{\"h.io\":{\"auth\":\"!c2VjcmV0\"}}}", KF_E_MALFORMED,
                   "'auth' of 'h.io': no base64");
    expect_failure("{\"auths\":{\"h.io\":{\"auth\":\"c2VjcmV0\"}}}", KF_E_MALFORMED,
                   "not USER:PASSWORD");
    cr_expect_null(strstr(err.message, "secret"));
    expect_failure("{\"auths\":{\"h.io\":{\"auth\":\"YQBiOmM=\"}}}", KF_E_MALFORMED,
                   "not USER:PASSWORD");
    expect_failure("{\"auths\":{\"h.io\":{\"username\":\"a:b\",\"password\":\"p\"}}}",
                   KF_E_MALFORMED, "colon");
    expect_failure("{\"auths\":{\"h.io\":{\"registrytoken\":\"a\\r\\nX: y\"}}}",
                   KF_E_MALFORMED, "no token");
}

static void expect_helpers(const char *json, const char *host, const char *own,
                           const char *store)
{
    cr_assert_eq(parse(json, host, "a/b"), 0, "%s: %s", json, err.message);
    cr_expect_str_eq(file.host_helper ? file.host_helper : "-", own, "%s", json);
    cr_expect_str_eq(file.store_helper ? file.store_helper : "-", store, "%s", json);
    kf_creds_file_fini(&file);
}

Test(creds_file, helpers)
{
    expect_helpers("{\"credsStore\":\"pass\"}", "h.io", "-", "pass");
    expect_helpers("{\"credsStore\":\"\"}", "h.io", "-", "-");
    expect_helpers("{\"credHelpers\":{\"h.io\":\"ecr-login\"}}", "h.io", "ecr-login",
                   "-");
    expect_helpers("{\"credHelpers\":{\"h.io\":\"x\"},\"credsStore\":\"s\"}", "h.io", "x",
                   "s");
    expect_helpers("{\"credHelpers\":{\"o.io\":\"x\"},\"credsStore\":\"s\"}", "h.io", "-",
                   "s");
    expect_helpers("{\"credHelpers\":{\"h.io\":\"\"},\"credsStore\":\"s\"}", "h.io", "-",
                   "-");
    expect_helpers("{\"credHelpers\":{\"" HUB "\":\"x\"}}", "docker.io", "x", "-");
    expect_failure("{\"credsStore\":\"../../bin/sh\"}", KF_E_MALFORMED, "helper program");
    expect_failure("{\"credsStore\":\"a b\"}", KF_E_MALFORMED, "helper program");
    expect_failure("{\"credHelpers\":{\"h.io\":[]}}", KF_E_MALFORMED, "helper program");
    cr_expect_str_eq(kf_creds_server("docker.io"), HUB);
    cr_expect_str_eq(kf_creds_server("h.io:5000"), "h.io:5000");
}

/* ---- limits ---- */

static char *repeat(const char *before, char c, size_t count, const char *after)
{
    size_t length = strlen(before);
    char *text = malloc(length + count + strlen(after) + 1);

    memcpy(text, before, length);
    memset(text + length, c, count);
    memcpy(text + length + count, after, strlen(after) + 1);
    return text;
}

static void expect_limit(const char *before, const char *after, size_t limit)
{
    for (size_t over = 0; over < 2; over++) {
        kf_auto(kf_free) char *json = repeat(before, 'a', limit + over, after);

        cr_expect_eq(parse(json, "h.io", NULL), over ? -1 : 0, "%.40s", json);
        if (over)
            cr_expect_neq(err.kind, KF_E_NOMEM, "%s", err.message);
        else
            kf_creds_file_fini(&file);
    }
}

Test(creds_file, limits)
{
    const char *end = "\"}}}";

    expect_limit("{\"auths\":{\"h.io\":{\"username\":\"", end, KF_CRED_TEXT_LIMIT);
    expect_limit("{\"auths\":{\"h.io\":{\"username\":\"u\",\"password\":\"", end,
                 KF_CRED_TEXT_LIMIT);
    expect_limit("{\"auths\":{\"h.io\":{\"identitytoken\":\"", end, KF_CRED_TEXT_LIMIT);
    expect_limit("{\"auths\":{\"h.io\":{\"registrytoken\":\"", end, KF_CRED_TEXT_LIMIT);
    expect_limit("{\"credsStore\":\"", "\"}", KF_CREDS_SUFFIX_LIMIT);
    expect_limit("{\"x\":\"", "\"}", KF_CREDS_FILE_LIMIT - 8);
    for (size_t over = 0; over < 2; over++) {
        kf_auto(kf_free) char *json =
            repeat("{\"x\":[0", ',', KF_CREDS_FILE_VALUE_LIMIT - 2 + over, "0]}");

        (void)parse(json, "h.io", NULL); /* no JSON: told from the number alone */
        cr_expect_eq(err.kind, over ? KF_E_LIMIT : KF_E_MALFORMED);
    }
}

Test(creds_file, long_password_in_auth)
{
    for (size_t over = 0; over < 2; over++) {
        kf_auto(kf_free) char *plain = repeat("u:", 'p', KF_CRED_TEXT_LIMIT + over, "");
        kf_auto(kf_free) char *auth = kf_base64_encode(plain, strlen(plain));
        kf_auto(kf_free) char *json = NULL;

        cr_assert_geq(asprintf(&json, "{\"auths\":{\"h.io\":{\"auth\":\"%s\"}}}", auth),
                      0);
        cr_expect_eq(parse(json, "h.io", NULL), over ? -1 : 0);
        if (!over)
            kf_creds_file_fini(&file);
    }
    cr_expect_eq(err.kind, KF_E_LIMIT);
}

/* ---- login and logout ---- */

static char *edit(const char *json, const char *host, const char *user,
                  const char *password, bool expect_found)
{
    char *text = NULL;
    bool found = !expect_found;

    cr_assert_eq(
        kf_creds_file_edit(&text, &found, json, strlen(json), host, user, password, &err),
        0, "%s", err.message);
    cr_expect_eq(found, expect_found, "%s", json);
    return text;
}

Test(creds_file, what_is_put_in_is_found)
{
    kf_auto(kf_free) char *one = edit("", "h.io", "ci", "a:b\"\n\xff", false);
    kf_auto(kf_free) char *two = edit(one, "docker.io", "hub", "p", false);
    kf_auto(kf_free) char *again = edit(two, "h.io", "other", "q", true);

    cr_assert_eq(parse(one, "h.io", NULL), 0);
    cr_expect_str_eq(file.cred.username, "ci");
    cr_expect_str_eq(file.cred.password, "a:b\"\n\xff");
    kf_creds_file_fini(&file);
    expect_user(again, "h.io", NULL, "other");
    expect_user(again, "docker.io", NULL, "hub");
    cr_expect(strstr(again, "\"" HUB "\""));
}

Test(creds_file, what_is_not_ours_stays)
{
    const char *json =
        "{\"HttpHeaders\": {\"X\": \"y\"}, \"auths\": {\"https://h.io/v1/\": "
        "{\"auth\": \"Y2k6YTpi\"}, \"H.io\": {}, \"h.io/a\": {\"auth\": "
        "\"Y2k6YTpi\"}, \"o.io\": {\"username\": \"o\", \"email\": 7}}, "
        "\"credsStore\": \"\", \"n\": 1.5}";
    kf_auto(kf_free) char *text = edit(json, "h.io", NULL, NULL, true);
    kf_auto(kf_free) char *same = edit(text, "h.io", NULL, NULL, false);

    expect_user(text, "h.io", NULL, NULL);
    expect_user(text, "h.io", "a/b", "ci");
    expect_user(text, "o.io", NULL, "o");
    cr_expect(strstr(text, "HttpHeaders") && strstr(text, "\"email\": 7") &&
              strstr(text, "\"n\": 1.5"));
    cr_expect_str_eq(text, same);
}

Test(creds_file, a_broken_file_is_not_replaced)
{
    char *text = NULL;
    bool found;

    cr_expect_eq(kf_creds_file_edit(&text, &found, "{", 1, "h.io", "u", "p", &err), -1);
    cr_expect_eq(
        kf_creds_file_edit(&text, &found, "{\"auths\":[]}", 12, "h.io", "u", "p", &err),
        -1);
    cr_expect_null(text);
}

Test(creds_file, hosts_as_people_type_them)
{
    static const char *const cases[][2] = {{"H.io", "h.io"},
                                           {"https://h.io:5000/v2/", "h.io:5000"},
                                           {"h.io/a/b", "h.io"},
                                           {"index.docker.io", "docker.io"},
                                           {HUB, "docker.io"},
                                           {"localhost", "localhost"},
                                           {"[::1]:5000", "[::1]:5000"}};

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        kf_auto(kf_free) char *host = kf_creds_host(cases[i][0]);

        cr_expect_str_eq(host, cases[i][1]);
    }
}
