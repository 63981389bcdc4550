#include <criterion/criterion.h>
#include <string.h>

#include "base/digest.h"
#include "base/err.h"

/* FIPS 180-2, appendix B.1, and the empty message. */
#define OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define TEXT(hex) "sha256:" hex

static enum kf_err_kind parse(const char *text, size_t length)
{
    struct kf_digest digest = {{7}};
    struct kf_err err = {0};

    if (kf_digest_parse(&digest, text, length, &err) == 0)
        return KF_E_NONE;
    cr_assert_eq(digest.bytes[0], 7);
    return err.kind;
}

Test(digest, known_values)
{
    struct kf_digest digest;
    char text[KF_DIGEST_TEXT_SIZE], hex[65];

    cr_assert_eq(kf_digest_of(&digest, "abc", 3, NULL), 0);
    cr_assert_str_eq(kf_digest_format(&digest, text), TEXT(OF_ABC));
    cr_assert_str_eq(kf_digest_hex(&digest, hex), OF_ABC);
    cr_assert_eq(kf_digest_of(&digest, NULL, 0, NULL), 0);
    cr_assert_str_eq(kf_digest_hex(&digest, hex), OF_NOTHING);
}

Test(digest, text_there_and_back)
{
    struct kf_digest parsed, computed;

    cr_assert_eq(kf_digest_parse(&parsed, TEXT(OF_ABC), 71, NULL), 0);
    kf_digest_of(&computed, "abc", 3, NULL);
    cr_assert(kf_digest_equal(&parsed, &computed));
    computed.bytes[31] ^= 1;
    cr_assert_not(kf_digest_equal(&parsed, &computed));
}

Test(digest, refuses_what_is_not_exactly_the_form)
{
    static const char *const bad[] = {
        "",
        "sha256",
        OF_ABC,
        TEXT("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
        TEXT("ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        TEXT("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"),
        TEXT("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ag"),
        TEXT(OF_ABC "0"),
        TEXT(OF_ABC "\n"),
        TEXT(""),
        TEXT("../../../../../../../../../../../../../../../../../../../etc/passw"),
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(parse(bad[i], strlen(bad[i])), KF_E_MALFORMED, "%s", bad[i]);
    cr_assert_eq(parse(TEXT(OF_ABC), 70), KF_E_MALFORMED);
    cr_assert_eq(parse(TEXT(OF_ABC), 72), KF_E_MALFORMED);
    cr_assert_eq(parse(NULL, 0), KF_E_MALFORMED);
}

Test(digest, names_other_algorithms)
{
    cr_assert_eq(parse("sha512:" OF_ABC OF_ABC, 135), KF_E_UNSUPPORTED);
    cr_assert_eq(parse("md5:0", 5), KF_E_UNSUPPORTED);
    cr_assert_eq(parse(":", 1), KF_E_UNSUPPORTED);
}

Test(digest, long_strangers_do_not_fill_the_message)
{
    char text[4096];
    struct kf_digest digest;
    struct kf_err err;

    memset(text, 'x', sizeof(text));
    cr_assert_eq(kf_digest_parse(&digest, text, sizeof(text), &err), -1);
    cr_assert_lt(strlen(err.message), 120);
}

Test(hasher, pieces_give_the_whole_and_it_starts_over)
{
    struct kf_hasher *hasher = kf_hasher_new(NULL);
    struct kf_digest digest;
    char hex[65];

    cr_assert_not_null(hasher);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(kf_hasher_update(hasher, "a", 1, NULL), 0);
        cr_assert_eq(kf_hasher_update(hasher, "", 0, NULL), 0);
        cr_assert_eq(kf_hasher_update(hasher, "bc", 2, NULL), 0);
        cr_assert_eq(kf_hasher_finish(hasher, &digest, NULL), 0);
        cr_assert_str_eq(kf_digest_hex(&digest, hex), OF_ABC);
    }
    cr_assert_eq(kf_hasher_finish(hasher, &digest, NULL), 0);
    cr_assert_str_eq(kf_digest_hex(&digest, hex), OF_NOTHING);
    kf_hasher_free(hasher);
    kf_hasher_free(NULL);
}
