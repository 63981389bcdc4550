#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"

static const struct {
    enum kf_err_kind kind;
    const char *name;
    int reader_errno;
    int retry;
} kinds[] = {
    {KF_E_NONE, "KF_E_NONE", 0, 0},
    {KF_E_NOMEM, "KF_E_NOMEM", ENOMEM, 0},
    {KF_E_IO, "KF_E_IO", EIO, 0},
    {KF_E_ARG, "KF_E_ARG", EINVAL, 0},
    {KF_E_NOTFOUND, "KF_E_NOTFOUND", ENOENT, 0},
    {KF_E_REFUSED, "KF_E_REFUSED", EACCES, 0},
    {KF_E_CREDENTIALS, "KF_E_CREDENTIALS", EACCES, 0},
    {KF_E_UNREACHABLE, "KF_E_UNREACHABLE", ETIMEDOUT, 1},
    {KF_E_TIMEOUT, "KF_E_TIMEOUT", ETIMEDOUT, 1},
    {KF_E_CORRUPT, "KF_E_CORRUPT", EIO, 0},
    {KF_E_MALFORMED, "KF_E_MALFORMED", EIO, 0},
    {KF_E_LIMIT, "KF_E_LIMIT", EIO, 0},
    {KF_E_UNSUPPORTED, "KF_E_UNSUPPORTED", ENOTSUP, 0},
    {KF_E_CANCELLED, "KF_E_CANCELLED", EINTR, 0},
};

Test(err, each_kind_has_its_row)
{
    size_t count = sizeof(kinds) / sizeof(kinds[0]);

    cr_assert_eq(count, KF_ERR_KIND_COUNT);
    for (size_t i = 0; i < count; i++) {
        struct kf_err err;

        kf_fail(&err, kinds[i].kind, "x");
        cr_assert_eq(err.kind, kinds[i].kind);
        cr_assert_str_eq(kf_err_kind_name(err.kind), kinds[i].name);
        cr_assert_eq(kf_err_reader_errno(&err), kinds[i].reader_errno);
        cr_assert_eq(kf_err_worth_retrying(err.kind), kinds[i].retry);
        cr_assert_eq(kf_err_exit_code(&err), kinds[i].kind == KF_E_NONE ? 0 : 1);
        cr_assert_gt(strlen(kf_err_kind_text(err.kind)), 0);
    }
}

Test(err, unknown_kind_reads_as_local_failure)
{
    struct kf_err err = {.kind = (enum kf_err_kind)99};

    cr_assert_eq(kf_err_reader_errno(&err), EIO);
    cr_assert_eq(kf_err_exit_code(&err), 1);
}

Test(err, fail_fills_all_and_returns_minus_one)
{
    struct kf_err err;

    memset(&err, 0xff, sizeof(err));
    cr_assert_eq(kf_fail(&err, KF_E_CORRUPT, "chunk %d of '%s'", 17, "a"), -1);
    cr_assert_eq(err.kind, KF_E_CORRUPT);
    cr_assert_eq(err.os_errno, 0);
    cr_assert_str_eq(err.message, "chunk 17 of 'a'");
}

Test(err, errno_gives_kind_and_text)
{
    static const struct {
        int os_errno;
        enum kf_err_kind kind;
    } cases[] = {{ENOENT, KF_E_NOTFOUND}, {ENOTDIR, KF_E_NOTFOUND},
                 {EACCES, KF_E_REFUSED},  {EPERM, KF_E_REFUSED},
                 {ENOMEM, KF_E_NOMEM},    {ETIMEDOUT, KF_E_TIMEOUT},
                 {EIO, KF_E_IO},          {ENOSPC, KF_E_IO}};
    struct kf_err err;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        errno = cases[i].os_errno;
        cr_assert_eq(kf_fail_errno(&err, "cannot open '%s'", "f"), -1);
        cr_assert_eq(err.kind, cases[i].kind);
        cr_assert_eq(err.os_errno, cases[i].os_errno);
        cr_assert_eq(errno, cases[i].os_errno);
    }
    errno = ENOENT;
    kf_fail_errno(&err, "cannot open '%s'", "f");
    cr_assert_str_eq(err.message, "cannot open 'f': No such file or directory");
}

Test(err, wrap_puts_the_subject_in_front)
{
    struct kf_err err;

    errno = ENOENT;
    kf_fail_errno(&err, "inner");
    cr_assert_eq(kf_fail_wrap(&err, "cannot read '%s'", "kit"), -1);
    cr_assert_eq(err.kind, KF_E_NOTFOUND);
    cr_assert_eq(err.os_errno, ENOENT);
    cr_assert_str_eq(err.message, "cannot read 'kit': inner: No such file or directory");
}

Test(err, long_messages_are_cut)
{
    char text[2 * KF_ERR_MESSAGE_SIZE];
    struct kf_err err;

    memset(text, 'a', sizeof(text));
    text[KF_ERR_MESSAGE_SIZE - 1] = '\0';
    kf_fail(&err, KF_E_IO, "%s", text);
    cr_assert_str_eq(err.message, text);

    text[KF_ERR_MESSAGE_SIZE - 1] = 'a';
    text[sizeof(text) - 1] = '\0';
    kf_fail(&err, KF_E_IO, "%s", text);
    cr_assert_eq(strlen(err.message), KF_ERR_MESSAGE_SIZE - 1);
    errno = EIO;
    kf_fail_errno(&err, "%s", text);
    cr_assert_eq(strlen(err.message), KF_ERR_MESSAGE_SIZE - 1);
    kf_fail_wrap(&err, "%s", text);
    cr_assert_eq(strlen(err.message), KF_ERR_MESSAGE_SIZE - 1);
}

Test(err, control_characters_do_not_reach_a_terminal)
{
    struct kf_err err;

    kf_fail(&err, KF_E_ARG, "a\x1b[31m\n\x7f\xc3\xa4");
    cr_assert_str_eq(err.message, "a?[31m??\xc3\xa4");
}

Test(err, nobody_needs_the_record)
{
    errno = EIO;
    cr_assert_eq(kf_fail(NULL, KF_E_IO, "x"), -1);
    cr_assert_eq(kf_fail_errno(NULL, "x"), -1);
    cr_assert_eq(kf_fail_wrap(NULL, "x"), -1);
}

Test(err, clear_forgets)
{
    struct kf_err err;

    kf_fail(&err, KF_E_IO, "x");
    kf_err_clear(&err);
    cr_assert_eq(err.kind, KF_E_NONE);
    cr_assert_str_empty(err.message);
}
