#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "kitfile/value.h"

static struct kf_err err;

static void append_text(struct kf_value *map, const char *key, const char *text)
{
    struct kf_value *item = kf_value_append(map, key, &err);

    cr_assert_not_null(item);
    cr_assert_eq(kf_value_set_text(item, text, strlen(text), &err), 0);
}

static void expect_json(const struct kf_value *value, const char *json)
{
    kf_auto(kf_buf_fini) struct kf_buf buf;

    kf_buf_init(&buf, 4096);
    cr_assert_eq(kf_value_to_json(value, &buf, &err), 0, "%s", err.message);
    cr_assert_str_eq((const char *)buf.data, json);
}

/* encoding/json, with its escaping for HTML. */
Test(value, json_as_go_writes_it)
{
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"", "\"\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\""},
        {"<a> & b", "\"\\u003ca\\u003e \\u0026 b\""},
        {"gr\xc3\xb6\xc3\x9f"
         "e \xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa",
         "\"gr\xc3\xb6\xc3\x9f"
         "e \\u2028\\u2029\xe2\x80\xaa\""},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        kf_auto(kf_value_fini) struct kf_value value = {0};

        cr_assert_eq(kf_value_set_text(&value, rows[i].text, strlen(rows[i].text), &err),
                     0);
        expect_json(&value, rows[i].json);
    }
}

Test(value, maps_lists_and_numbers)
{
    kf_auto(kf_value_fini) struct kf_value map = {.kind = KF_VALUE_MAP};
    kf_auto(kf_value_fini) struct kf_value copy = {0};
    struct kf_value *list;

    expect_json(&map, "{}");
    append_text(&map, "b", "2");
    append_text(&map, "a<", "1");
    list = kf_value_append(&map, "B", &err);
    list->kind = KF_VALUE_LIST;
    cr_assert_eq(kf_value_set_number(kf_value_append(list, NULL, &err), UINT64_MAX, &err),
                 0);
    cr_assert_not_null(kf_value_append(list, NULL, &err));
    expect_json(&map,
                "{\"b\":\"2\",\"a\\u003c\":\"1\",\"B\":[18446744073709551615,null]}");
    cr_assert_eq(kf_value_copy(&copy, &map, &err), 0);
    cr_assert_eq(kf_value_sort(&copy, &err), 0);
    expect_json(&copy,
                "{\"B\":[18446744073709551615,null],\"a\\u003c\":\"1\",\"b\":\"2\"}");
    cr_assert_str_eq(kf_value_text(kf_value_get(&copy, "b")), "2");
    cr_assert_null(kf_value_get(&copy, "c"));
    cr_assert_null(kf_value_get(NULL, "c"));
    cr_assert_null(kf_value_text(kf_value_get(&copy, "B")));
}

Test(value, sorting_keeps_the_order_of_equal_keys)
{
    kf_auto(kf_value_fini) struct kf_value map = {.kind = KF_VALUE_MAP};

    append_text(&map, "b", "1");
    append_text(&map, "a", "2");
    append_text(&map, "b", "3");
    append_text(&map, "a", "4");
    cr_assert_eq(kf_value_sort(&map, &err), 0);
    expect_json(&map, "{\"a\":\"2\",\"a\":\"4\",\"b\":\"1\",\"b\":\"3\"}");
}

Test(value, a_full_buffer_is_an_error)
{
    kf_auto(kf_value_fini) struct kf_value map = {.kind = KF_VALUE_MAP};

    append_text(&map, "key", "text");
    for (size_t limit = 1; limit < sizeof("{\"key\":\"text\"}") - 1; limit++) {
        kf_auto(kf_buf_fini) struct kf_buf buf;

        kf_buf_init(&buf, limit);
        cr_assert_eq(kf_value_to_json(&map, &buf, &err), -1, "limit %zu", limit);
        cr_assert_eq(err.kind, KF_E_LIMIT);
    }
}
