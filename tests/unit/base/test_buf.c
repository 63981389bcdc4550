#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

Test(buf, grows_and_stays_terminated)
{
    struct kf_buf buf;
    char expected[3001];

    kf_buf_init(&buf, 3000);
    cr_assert_null(buf.data);
    for (int i = 0; i < 3000; i++) {
        expected[i] = (char)('a' + i % 26);
        cr_assert_eq(kf_buf_append(&buf, &expected[i], 1, NULL), 0);
        cr_assert_eq(buf.data[buf.length], 0);
    }
    cr_assert_eq(buf.length, 3000);
    cr_assert_eq(memcmp(buf.data, expected, 3000), 0);
    kf_buf_fini(&buf);
}

Test(buf, limit_and_one_above)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_buf_init(&buf, 8);
    cr_assert_eq(kf_buf_append_text(&buf, "12345678", &err), 0);
    cr_assert_eq(kf_buf_append(&buf, "", 0, &err), 0);
    cr_assert_eq(kf_buf_append(&buf, "9", 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_eq(kf_buf_printf(&buf, &err, "%d", 9), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_str_eq((char *)buf.data, "12345678");
    cr_assert_eq(buf.length, 8);
    kf_buf_fini(&buf);
}

Test(buf, hostile_length_does_not_overflow)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_buf_init(&buf, SIZE_MAX);
    cr_assert_eq(kf_buf_append_text(&buf, "abc", NULL), 0);
    cr_assert_eq(kf_buf_append(&buf, "x", SIZE_MAX - 3, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_str_eq((char *)buf.data, "abc");
    kf_buf_fini(&buf);
}

Test(buf, printf_appends)
{
    struct kf_buf buf;

    kf_buf_init(&buf, 10000);
    cr_assert_eq(kf_buf_printf(&buf, NULL, "%s=%d;", "a", 1), 0);
    cr_assert_eq(kf_buf_printf(&buf, NULL, "%2000d", 7), 0);
    cr_assert_eq(buf.length, 2004);
    cr_assert_eq(memcmp(buf.data, "a=1; ", 5), 0);
    cr_assert_eq(buf.data[2003], '7');
    kf_buf_fini(&buf);
}

Test(buf, clear_keeps_memory)
{
    struct kf_buf buf;

    kf_buf_init(&buf, 100);
    kf_buf_clear(&buf);
    cr_assert_null(buf.data);
    kf_buf_append_text(&buf, "abc", NULL);
    kf_buf_clear(&buf);
    cr_assert_eq(buf.length, 0);
    cr_assert_str_empty((char *)buf.data);
    cr_assert_gt(buf.capacity, 0);
    kf_buf_fini(&buf);
}

Test(buf, take_moves_out_and_starts_over)
{
    struct kf_buf buf;
    size_t length = 7;
    uint8_t *data;

    kf_buf_init(&buf, 3);
    cr_assert_null(kf_buf_take(&buf, &length));
    cr_assert_eq(length, 0);
    kf_buf_append_text(&buf, "abc", NULL);
    data = kf_buf_take(&buf, &length);
    cr_assert_str_eq((char *)data, "abc");
    cr_assert_eq(length, 3);
    free(data);
    cr_assert_null(buf.data);
    cr_assert_eq(kf_buf_append_text(&buf, "abc", NULL), 0);
    cr_assert_eq(kf_buf_append_text(&buf, "d", NULL), -1);
    kf_buf_fini(&buf);
    kf_buf_fini(&buf);
}
