#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/err.h"
#include "base/mem.h"

/* RFC 4648 section 10. */
static const struct {
    const char *plain, *encoded;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xff\xfe", "+//+"},
};

static void expect_decoded(const char *text, const char *plain)
{
    kf_auto(kf_free) char *decoded = NULL;
    size_t length = 99;

    cr_assert_eq(kf_base64_decode(&decoded, &length, text, NULL), 0, "%s", text);
    cr_expect_eq(length, strlen(plain), "%s", text);
    cr_expect_str_eq(decoded, plain);
}

Test(base64, both_ways)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(vectors); i++) {
        const char *plain = vectors[i].plain;
        kf_auto(kf_free) char *encoded = kf_base64_encode(plain, strlen(plain));

        cr_expect_str_eq(encoded, vectors[i].encoded);
        expect_decoded(vectors[i].encoded, plain);
    }
}

Test(base64, without_padding_and_with_line_ends)
{
    expect_decoded("Zg", "f");
    expect_decoded("Zm8", "fo");
    expect_decoded("Zm9v\r\nYmFy\n", "foobar");
}

Test(base64, bytes_may_be_nul)
{
    kf_auto(kf_free) char *decoded = NULL;
    size_t length;

    cr_assert_eq(kf_base64_decode(&decoded, &length, "YQBi", NULL), 0);
    cr_expect_eq(length, 3);
    cr_expect_arr_eq(decoded, "a\0b", 3);
}

Test(base64, what_is_none)
{
    static const char *const bad[] = {
        "Z",     "Zg=",      "Zg===", "Zm9vY",  "=",         "Zm=8",
        "Zm9v=", "Zm8=Zm8=", "Z g=",  "Zm9v-_", "\xc3\xa4g="};

    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++) {
        struct kf_err err = {0};
        char *decoded = NULL;
        size_t length = 7;

        cr_expect_eq(kf_base64_decode(&decoded, &length, bad[i], &err), -1, "%s", bad[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED);
        cr_expect_null(decoded);
        cr_expect_eq(length, 7);
    }
}
