#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/toc.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ROOT "sha256:" HEX
#define LINK "1;" ROOT ";-;8;100;200;300"

static int parse(const char *text, struct kf_toc_link *link, struct kf_err *err)
{
    memset(link, 0xa5, sizeof(*link));
    return kf_toc_link_parse(link, text, err);
}

static void expect_round_trip(const char *text, struct kf_toc_link *link)
{
    struct kf_buf buf;
    struct kf_err err;

    cr_assert_eq(parse(text, link, &err), 0, "%s", err.message);
    kf_buf_init(&buf, 1000);
    cr_assert_eq(kf_toc_link_format(link, &buf, &err), 0);
    cr_assert_str_eq((const char *)buf.data, text);
    kf_buf_fini(&buf);
}

Test(toc_link, embedded)
{
    struct kf_toc_link link;

    expect_round_trip("1;" ROOT ";-;12345;678;91011;121314", &link);
    cr_assert(link.embedded && link.area_offset == 12345 && link.root_stored == 678 &&
              link.root_raw == 91011 && link.area_length == 121314);
    cr_assert_eq(link.root_digest.bytes[0], 0x01);
    cr_assert_eq(link.root_digest.bytes[31], 0xef);
}

Test(toc_link, in_a_layer_of_its_own)
{
    struct kf_toc_link link;

    expect_round_trip("1;" ROOT ";sha256:ff" /* 62 more */
                      "23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                      ";0;1;0;1",
                      &link);
    cr_assert(!link.embedded && link.blob.bytes[0] == 0xff && link.area_offset == 0);
}

Test(toc_link, at_the_limits)
{
    struct kf_toc_link link;

    expect_round_trip("1;" ROOT ";-;8;67108864;536870912;4294967287", &link);
    expect_round_trip("1;" ROOT ";-;18446744073709551614;1;1;1", &link);
}

Test(toc_link, over_the_limits)
{
    static const char *const texts[] = {
        "1;" ROOT ";-;8;67108865;536870912;4294967287",
        "1;" ROOT ";-;8;67108864;536870913;4294967287",
        "1;" ROOT ";-;8;67108864;536870912;4294967288",
        "1;" ROOT ";-;8;18446744073709551615;1;18446744073709551615",
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++) {
        struct kf_toc_link link;
        struct kf_err err;

        cr_assert_eq(parse(texts[i], &link, &err), -1, "%s", texts[i]);
        cr_assert_eq(err.kind, KF_E_LIMIT, "%s: %s", texts[i], err.message);
        cr_assert_not_null(strstr(err.message, "'org.kitfs.toc'"));
    }
}

Test(toc_link, other_versions_are_none)
{
    static const char *const texts[] = {"2;", "0;", "10;" ROOT ";-;8;100;200;300",
                                        "99999999999999999999999;x", "2;\n;;;;;;;;;;"};

    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++) {
        struct kf_toc_link link, untouched;

        memset(&untouched, 0xa5, sizeof(untouched));
        cr_assert_eq(parse(texts[i], &link, NULL), 1, "%s", texts[i]);
        cr_assert_eq(memcmp(&link, &untouched, sizeof(link)), 0);
    }
}

static const char *const malformed[] = {
    "",
    "1",
    "2",
    ";",
    "1;",
    "01;" ROOT ";-;8;100;200;300",
    "00;x",
    "-1;" ROOT ";-;8;100;200;300",
    "+1;" ROOT ";-;8;100;200;300",
    " 1;" ROOT ";-;8;100;200;300",
    "v1;" ROOT ";-;8;100;200;300",
    "1," ROOT ",-,8,100,200,300",
    LINK ";",
    LINK ";1",
    LINK " ",
    LINK "\n",
    "1;" ROOT ";-;8;100;200",
    "1;" ROOT ";-;8;100;200;",
    "1;" ROOT ";-;8;;200;300",
    "1;" ROOT ";;8;100;200;300",
    "1;;-;8;100;200;300",
    "1;" ROOT "0;-;8;100;200;300",
    "1;sha256:abc;-;8;100;200;300",
    "1;" HEX ";-;8;100;200;300",
    "1;SHA256:" HEX ";-;8;100;200;300",
    "1;sha512:" HEX HEX ";-;8;100;200;300",
    "1;sha256:"
    "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
    ";-;8;100;200;300",
    "1;" ROOT ";--;8;100;200;300",
    "1;" ROOT ";sha256:0;8;100;200;300",
    "1;" ROOT ";" HEX ";8;100;200;300",
    "1;" ROOT ";-;08;100;200;300",
    "1;" ROOT ";-;8;00;200;300",
    "1;" ROOT ";-;+8;100;200;300",
    "1;" ROOT ";-;-8;100;200;300",
    "1;" ROOT ";-; 8;100;200;300",
    "1;" ROOT ";-;8 ;100;200;300",
    "1;" ROOT ";-;0x8;100;200;300",
    "1;" ROOT ";-;8.0;100;200;300",
    "1;" ROOT ";-;18446744073709551616;100;200;300",
    "1;" ROOT ";-;99999999999999999999;100;200;300",
    "1;" ROOT ";-;100000000000000000000;100;200;300",
    /* numbers that contradict each other */
    "1;" ROOT ";-;7;100;200;300",
    "1;" ROOT ";-;8;0;200;300",
    "1;" ROOT ";-;8;301;200;300",
    "1;" ROOT ";-;18446744073709551615;1;1;1",
};

Test(toc_link, malformed)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(malformed); i++) {
        struct kf_toc_link link, untouched;
        struct kf_err err;

        memset(&untouched, 0xa5, sizeof(untouched));
        cr_assert_eq(parse(malformed[i], &link, &err), -1, "%s", malformed[i]);
        cr_assert_eq(err.kind, KF_E_MALFORMED, "%s: %s", malformed[i], err.message);
        cr_assert_not_null(strstr(err.message, "'org.kitfs.toc'"), "%s", err.message);
        cr_assert_eq(memcmp(&link, &untouched, sizeof(link)), 0);
    }
}

Test(toc_link, format_over_the_limit)
{
    struct kf_toc_link link;
    struct kf_buf buf;
    struct kf_err err;

    cr_assert_eq(parse(LINK, &link, &err), 0);
    kf_buf_init(&buf, sizeof(LINK) - 2);
    cr_assert_eq(kf_toc_link_format(&link, &buf, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_buf_fini(&buf);
}
