#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/registry.h"
#include "oci/reply.h"

static struct kf_err err;

/* ---- error bodies ---- */

static void expect_text(const char *body, const char *expected)
{
    char text[KF_REPLY_TEXT_SIZE];

    cr_assert_eq(kf_reply_error(text, body, strlen(body)), text);
    cr_expect_str_eq(text, expected, "%s", body);
}

Test(reply, what_an_error_says)
{
    expect_text("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no entry\"}]}",
                "no entry");
    expect_text("{\"errors\":[{\"code\":\"DENIED\"}]}", "DENIED");
    expect_text("{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\"}]}", "DENIED");
    expect_text("{\"errors\":[{\"message\":\"one\"},{\"message\":\"two\"}]}", "one");
}

Test(reply, errors_that_say_nothing)
{
    static const char *const bodies[] = {
        "",
        "<html><h1>502 Bad Gateway</h1></html>",
        "{",
        "[]",
        "{\"errors\":null}",
        "{\"errors\":[]}",
        "{\"errors\":{}}",
        "{\"errors\":[null]}",
        "{\"errors\":[{}]}",
        "{\"errors\":[{\"message\":7,\"code\":[]}]}",
        "{\"errors\":[{\"message\":\"nul \\u0000\"}]}",
        "{\"errors\":[{\"message\":\"\xff\"}]}",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(bodies); i++)
        expect_text(bodies[i], "");
}

/* A terminal must not be told to do things. */
Test(reply, control_bytes_do_not_pass)
{
    expect_text("{\"errors\":[{\"message\":\"a\\u001b[2Jb\\nc\\u007f\\u009bd\"}]}",
                "a?[2Jb?c???d");
}

Test(reply, a_long_error_is_cut)
{
    char body[2 * KF_REPLY_TEXT_SIZE], text[KF_REPLY_TEXT_SIZE];

    for (size_t length = KF_REPLY_TEXT_SIZE - 2; length < KF_REPLY_TEXT_SIZE + 2;
         length++) {
        size_t kept = length < KF_REPLY_TEXT_SIZE ? length : KF_REPLY_TEXT_SIZE - 1;

        (void)snprintf(body, sizeof(body), "{\"errors\":[{\"message\":\"%0*d\"}]}",
                       (int)length, 0);
        cr_expect_eq(strlen(kf_reply_error(text, body, strlen(body))), kept);
    }
}

/* ---- lists of tags ---- */

static int parse(struct kf_strings *tags, const char *json)
{
    kf_err_clear(&err);
    return kf_reply_tags(tags, json, strlen(json), &err);
}

Test(reply, tags_are_appended)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};

    cr_assert_eq(parse(&tags, "{\"name\":\"a/b\",\"tags\":[\"v1\",\"v2\"]}"), 0);
    cr_assert_eq(parse(&tags, "{\"name\":\"a/b\",\"tags\":[\"latest\"]}"), 0);
    cr_assert_eq(parse(&tags, "{\"tags\":null}"), 0);
    cr_assert_eq(parse(&tags, "{\"tags\":[]}"), 0);
    cr_assert_eq(tags.count, 3u);
    cr_expect_str_eq(tags.items[0], "v1");
    cr_expect_str_eq(tags.items[1], "v2");
    cr_expect_str_eq(tags.items[2], "latest");
}

Test(reply, lists_that_are_malformed)
{
    static const char *const lists[] = {
        "",
        "null",
        "[\"v1\"]",
        "{\"tags\":[\"v1\"]",
        "{\"tags\":[\"v1\"]} x",
        "{}",
        "{\"tags\":\"v1\"}",
        "{\"tags\":{}}",
        "{\"tags\":[7]}",
        "{\"tags\":[null]}",
        "{\"tags\":[\"\"]}",
        "{\"tags\":[\"../v1\"]}",
        "{\"tags\":[\"a\\u001b[2J\"]}",
        "{\"tags\":[],\"tags\":[\"v1\"]}",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(lists); i++) {
        kf_auto(kf_strings_fini) struct kf_strings tags = {0};

        cr_expect_eq(parse(&tags, lists[i]), -1, "%s", lists[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED, "%s", lists[i]);
        cr_expect_null(strchr(err.message, '\x1b'));
    }
}

/* {"tags":["v","v",...]} */
static char *list_of(size_t count)
{
    char *json = malloc(count * 4 + 32), *at;

    cr_assert_not_null(json);
    at = stpcpy(json, "{\"tags\":[");
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, i ? ",\"v\"" : "\"v\"");
    (void)stpcpy(at, "]}");
    return json;
}

Test(reply, tags_at_their_limit_and_one_above)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};
    kf_auto(kf_free) char *json = list_of(KF_REPLY_TAG_LIMIT);

    cr_assert_eq(parse(&tags, json), 0, "%s", err.message);
    cr_assert_eq(tags.count, KF_REPLY_TAG_LIMIT);
    cr_assert_eq(parse(&tags, "{\"tags\":[\"v\"]}"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

/* What would be some hundred megabytes once it is parsed is not parsed. */
Test(reply, a_page_of_too_many_values)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};
    size_t length = KF_REGISTRY_PAGE_LIMIT;
    kf_auto(kf_free) char *json = malloc(length + 1);

    cr_assert_not_null(json);
    for (size_t i = 0; i < length; i++)
        json[i] = "[],"[i % 3];
    json[length] = '\0';
    memcpy(json, "{\"x\":[", 6);
    memcpy(json + length - 14, "  ],\"tags\":[]}", 15);
    cr_assert_eq(parse(&tags, json), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT, "%s", err.message);
}

Test(reply, what_is_a_tag)
{
    char longest[130];

    memset(longest, 'x', 128);
    longest[128] = '\0';
    cr_expect(kf_reply_is_tag("v1.2-rc_3"));
    cr_expect(kf_reply_is_tag("_"));
    cr_expect(kf_reply_is_tag(longest));
    memset(longest, 'x', 129);
    longest[129] = '\0';
    cr_expect_not(kf_reply_is_tag(longest));
    cr_expect_not(kf_reply_is_tag(""));
    cr_expect_not(kf_reply_is_tag(".v1"));
    cr_expect_not(kf_reply_is_tag("-v1"));
    cr_expect_not(kf_reply_is_tag("a/b"));
    cr_expect_not(kf_reply_is_tag("a:b"));
    cr_expect_not(kf_reply_is_tag("v1\n"));
    cr_expect_not(kf_reply_is_tag("v\xc3\xa9"));
}
