#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/scope.h"

#define PULL "repository:a/b:pull"
#define BOTH "repository:a/b:pull,push"

static const struct {
    const char *one, *other, *merged;
} rows[] = {
    {NULL, NULL, ""},
    {PULL, NULL, PULL},
    {PULL, "", PULL},
    {PULL, PULL, PULL},
    {PULL, "repository:a/b:push", BOTH},
    {"repository:a/b:push,pull", PULL, BOTH},
    {"repository:a/b:push,pull,push", NULL, BOTH},
    /* A blob mounted from another repository. */
    {"repository:models/new:push,pull repository:models/demo:pull", NULL,
     "repository:models/demo:pull repository:models/new:pull,push"},
    {"repository:b:pull", "repository:a:pull", "repository:a:pull repository:b:pull"},
    {"repository:a:pull repository:b:pull", "repository:a:push",
     "repository:a:pull,push repository:b:pull"},
    /* Types, names with a port, names that begin alike. */
    {"repository(plugin):a:pull", "repository:a:pull",
     "repository(plugin):a:pull repository:a:pull"},
    {"repository:h:5000/a:pull", "repository:h:5000/a:push",
     "repository:h:5000/a:pull,push"},
    {"repository:a:pull repository:a-b:pull repository:a:b:pull", "repository:a:delete",
     "repository:a:delete,pull repository:a-b:pull repository:a:b:pull"},
    {"registry:catalog:*", PULL, "registry:catalog:* repository:a/b:pull"},
    /* A star stands for all. */
    {"repository:a:*", "repository:a:pull", "repository:a:*"},
    {"repository:a:!x,*,pull", NULL, "repository:a:*"},
    {"repository:a:*x,pull", NULL, "repository:a:*x,pull"},
    /* What is of another form stays, once. */
    {"aws", "openid aws", "aws openid"},
    {"repository:a:", "repository:a:", "repository:a:"},
    {"repository:a:,,", NULL, "repository:a:,,"},
    {"a:b", PULL, "a:b repository:a/b:pull"},
    {":b:c", NULL, ":b:c"},
    {"  repository:a:pull   x ", NULL, "repository:a:pull x"},
};

Test(scope, table)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_free) char *merged = NULL;
        kf_auto(kf_free) char *swapped = NULL;
        kf_auto(kf_free) char *again = NULL;
        struct kf_err err;

        cr_assert_eq(kf_scope_merge(&merged, rows[i].one, rows[i].other, &err), 0, "%s",
                     err.message);
        cr_expect_str_eq(merged, rows[i].merged);
        cr_assert_eq(kf_scope_merge(&swapped, rows[i].other, rows[i].one, &err), 0);
        cr_expect_str_eq(swapped, merged);
        cr_assert_eq(kf_scope_merge(&again, merged, rows[i].one, &err), 0);
        cr_expect_str_eq(again, merged);
    }
}

static void expect_failure(const char *scope, enum kf_err_kind kind)
{
    char *merged = NULL;
    struct kf_err err;

    cr_expect_eq(kf_scope_merge(&merged, PULL, scope, &err), -1, "%s", scope);
    cr_expect_eq(err.kind, kind, "%s", err.message);
    cr_expect_null(merged);
}

Test(scope, bytes_that_no_scope_has)
{
    static const char *const bad[] = {"a\tb", "a\"b", "a\\b", "\x7f", "\xc3\xa4", "\1"};

    for (size_t i = 0; i < KF_ARRAY_LEN(bad); i++)
        expect_failure(bad[i], KF_E_MALFORMED);
}

Test(scope, as_long_as_the_limit_and_one_more)
{
    char text[KF_SCOPE_LIMIT + 2];
    size_t room = KF_SCOPE_LIMIT - strlen(" " PULL);
    char *merged = NULL;

    memset(text, 'a', sizeof(text));
    text[room] = '\0';
    cr_assert_eq(kf_scope_merge(&merged, PULL, text, NULL), 0);
    cr_expect_eq(strlen(merged), KF_SCOPE_LIMIT);
    free(merged);
    text[room] = 'a';
    text[room + 1] = '\0';
    expect_failure(text, KF_E_LIMIT);
}

/* "r:n:a0,a1,..." and as many texts without actions. */
static int merge_many(unsigned actions, unsigned opaque, struct kf_err *err)
{
    kf_auto(kf_free) char *merged = NULL;
    char text[KF_SCOPE_LIMIT] = "r:n:";

    for (unsigned i = 0; i < actions; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u,", i);
    for (unsigned i = 0; i < opaque; i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " x%u", i);
    return kf_scope_merge(&merged, text, NULL, err);
}

Test(scope, as_many_actions_as_the_limit_and_one_more)
{
    struct kf_err err;

    cr_expect_eq(merge_many(KF_SCOPE_ACTIONS_LIMIT, 0, &err), 0);
    cr_expect_eq(merge_many(KF_SCOPE_ACTIONS_LIMIT + 1, 0, &err), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT);
    cr_expect_eq(merge_many(1, KF_SCOPE_ACTIONS_LIMIT - 1, &err), 0);
    cr_expect_eq(merge_many(1, KF_SCOPE_ACTIONS_LIMIT, &err), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT);
}
