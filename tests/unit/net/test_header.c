#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "net/header.h"

static struct kf_err err;

Test(header, content_range_of_a_known_total)
{
    struct kf_content_range range;

    cr_assert_eq(kf_header_content_range(&range, "bytes 4096-8191/100000", &err), 0);
    cr_assert_eq(range.offset, 4096u);
    cr_assert_eq(range.length, 4096u);
    cr_assert(range.has_total);
    cr_assert_eq(range.total, 100000u);
}

Test(header, content_range_without_a_total)
{
    struct kf_content_range range;

    cr_assert_eq(kf_header_content_range(&range, "BYTES 0-0/*", &err), 0);
    cr_assert_eq(range.offset, 0u);
    cr_assert_eq(range.length, 1u);
    cr_assert_not(range.has_total);
}

Test(header, content_range_up_to_the_largest_number)
{
    struct kf_content_range range;

    cr_assert_eq(kf_header_content_range(
                     &range, "bytes 0-9223372036854775806/9223372036854775807", &err),
                 0);
    cr_assert_eq(range.length, (uint64_t)INT64_MAX);
    cr_assert_eq(kf_header_content_range(
                     &range, "bytes 0-9223372036854775807/9223372036854775808", &err),
                 -1);
}

Test(header, content_ranges_that_are_none)
{
    static const char *const values[] = {
        "",
        "bytes",
        "bytes */1234",
        "bytes 0-9",
        "bytes 0-9/",
        "bytes -9/10",
        "bytes 0-/10",
        "bytes 9-5/10",
        "bytes 10-9/10",
        "bytes 0-10/10",
        "bytes 0-9/10 ",
        "bytes 0-9/10, bytes 0-9/10",
        "bytes  0-9/10",
        "bytes 0x0-9/10",
        "bytes +0-9/10",
        "bytes 0-9/*x",
        "items 0-9/10",
        "bytes 0-99999999999999999999/*",
        "bytes 18446744073709551616-18446744073709551617/*",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(values); i++) {
        struct kf_content_range range = {.offset = 77};

        kf_err_clear(&err);
        cr_expect_eq(kf_header_content_range(&range, values[i], &err), -1, "%s",
                     values[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED);
        cr_expect_eq(range.offset, 77u, "%s: the result is touched", values[i]);
    }
}

Test(header, lengths)
{
    static const char *const bad[] = {"",   "-1", "+1",   "1 ",
                                      " 1", "0x", "1, 1", "9223372036854775808"};
    uint64_t length = 5;

    cr_assert_eq(kf_header_length(&length, "0", &err), 0);
    cr_assert_eq(length, 0u);
    cr_assert_eq(kf_header_length(&length, "9223372036854775807", &err), 0);
    cr_assert_eq(length, (uint64_t)INT64_MAX);
    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++)
        cr_expect_eq(kf_header_length(&length, bad[i], &err), -1, "%s", bad[i]);
}

static void expect_next(const char *value, const char *expected)
{
    kf_auto(kf_free) char *target = NULL;

    cr_assert_eq(kf_header_link_next(&target, value, &err), 0, "%s", value);
    if (expected)
        cr_expect_str_eq(target, expected, "%s", value);
    else
        cr_expect_null(target, "%s", value);
}

Test(header, links_with_a_next)
{
    expect_next("</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
                "/v2/a/tags/list?last=b&n=2");
    expect_next("<a>;rel=next", "a");
    expect_next("<a> ; REL = Next", "a");
    expect_next("<p>; rel=prev, <n>; title=\"x, <y>; rel=next\"; rel=\"last next\"", "n");
    expect_next("<a>; rel=\"\\\"\"; x, <b>; rel=next", "b");
    expect_next("<>; rel=next", "");
}

Test(header, links_without_a_next)
{
    expect_next("", NULL);
    expect_next("<a>", NULL);
    expect_next("<a>; rel=prev", NULL);
    expect_next("<a>; rel=nextdoor", NULL);
    expect_next("<a>; title=next", NULL);
    expect_next("<a>; rel", NULL);
}

Test(header, links_that_are_malformed)
{
    static const char *const values[] = {
        "a; rel=next",     "<a; rel=next",      "<a> rel=next",
        "<a>; rel=\"next", "<a>; rel=\"next\\", "<a>; rel=\"next\" x",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(values); i++) {
        char *target = NULL;

        kf_err_clear(&err);
        cr_expect_eq(kf_header_link_next(&target, values[i], &err), -1, "%s", values[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED);
        cr_expect_null(target);
    }
}
