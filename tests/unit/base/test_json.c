#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"

static int check(const char *json, size_t bytes, size_t values, struct kf_err *err)
{
    kf_err_clear(err);
    return kf_json_check_size(json, strlen(json), bytes, values, "text", err);
}

Test(json, bytes_at_the_limit_and_one_above)
{
    struct kf_err err;

    cr_assert_eq(check("[1,2]", 5, 10, &err), 0);
    cr_assert_eq(check("[1,2]", 4, 10, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_str_eq(err.message, "text of 5 bytes is over the limit of 4");
}

Test(json, values_at_the_limit_and_one_above)
{
    struct kf_err err;

    cr_assert_eq(check("{\"a\":[1,2]}", 100, 3, &err), 0);
    cr_assert_eq(check("{\"a\":[1,2]}", 100, 2, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_str_eq(err.message, "text with more than 2 values");
    cr_assert_eq(check("", 0, 0, &err), 0);
}
