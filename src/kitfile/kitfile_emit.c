#include "kitfile/kitfile_emit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kitfile/kitfile_fields.h"
#include "kitfile/kitfile_load.h"
#include "kitfile/unicode.h"
#include "kitfile/yaml_emit.h"
#include "kitfile/yaml_scalar.h"

/* --- keys of maps, in the order of yaml.v3's sorter.go --- */

/* Goes on with a number over the digits that begin there; how many. As Go computes it:
 * what is too large wraps around, and a digit of another script counts from '0'. */
static size_t take_number(const char *text, int64_t *number)
{
    uint64_t value = (uint64_t)*number;
    size_t count = 0;

    while (*text) {
        uint32_t c = kf_utf8_next(&text);

        if (!kf_is_digit(c))
            break;
        value = value * 10 + (c - '0');
        count++;
    }
    *number = (int64_t)value;
    return count;
}

/* Where two texts begin to differ: numbers by value, other characters before letters, but
 * not right behind a digit. `in_number`: digits other than 0 come before. */
static int compare_rest(const char *left, const char *right, bool behind_digit,
                        bool in_number)
{
    const char *left_at = left, *right_at = right;
    uint32_t a = kf_utf8_next(&left_at), b = kf_utf8_next(&right_at);
    bool a_letter = kf_is_letter(a), b_letter = kf_is_letter(b);
    int64_t a_number = 0, b_number = 0;
    size_t a_count, b_count;

    if (a_letter != b_letter)
        return a_letter == behind_digit ? -1 : 1;
    if (!a_letter) {
        if ((a == '0' || b == '0') && in_number)
            a_number = b_number = 1;
        a_count = take_number(left, &a_number);
        b_count = take_number(right, &b_number);
        if (a_number != b_number)
            return a_number < b_number ? -1 : 1;
        if (a_count != b_count)
            return a_count < b_count ? -1 : 1;
    }
    return a < b ? -1 : 1;
}

static int compare(const char *left, const char *right)
{
    bool behind_digit = false, in_number = false;

    while (*left && *right) {
        const char *left_next = left, *right_next = right;
        uint32_t c = kf_utf8_next(&left_next);

        if (c != kf_utf8_next(&right_next))
            return compare_rest(left, right, behind_digit, in_number);
        behind_digit = kf_is_digit(c);
        in_number = behind_digit && (in_number || c != '0');
        left = left_next;
        right = right_next;
    }
    return (*left != 0) - (*right != 0);
}

/* By merging: numbers that wrap around can make a circle of this order, which qsort must
 * not be given. */
static void sort_keys(const char **keys, const char **spare, size_t count)
{
    size_t half = count / 2, left = 0, right = half;

    if (count < 2)
        return;
    sort_keys(keys, spare, half);
    sort_keys(keys + half, spare, count - half);
    memcpy(spare, keys, half * sizeof(*keys));
    for (size_t i = 0; left < half; i++)
        keys[i] = right < count && compare(keys[right], spare[left]) < 0 ? keys[right++]
                                                                         : spare[left++];
}

/* --- values of any kind --- */

/* The fewest digits, with an exponent below 1e-4 and from 1e6 on: Go's 'g'. */
static void put_number(struct kf_yaml_out *out, double real)
{
    char text[KF_YAML_NUMBER_SIZE];
    int digits = kf_yaml_shortest(real, text);
    long power = strtol(strchr(text, 'e') + 1, NULL, 10);

    if (power >= -4 && power < 6)
        (void)snprintf(text, sizeof(text), "%.*f",
                       digits - 1 > power ? (int)(digits - 1 - power) : 0, real);
    kf_yaml_word(out, text);
}

static int put_any(struct kf_yaml_out *out, json_t *value, struct kf_err *err);

static int put_map(struct kf_yaml_out *out, json_t *map, struct kf_err *err)
{
    size_t count = json_object_size(map), i = 0;
    kf_auto(kf_free) const char **keys = calloc(count, 2 * sizeof(*keys));
    const char *key;
    json_t *value;

    if (!keys)
        return kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
    json_object_foreach(map, key, value) keys[i++] = key;
    sort_keys(keys, keys + count, count);
    kf_yaml_open(out);
    for (i = 0; i < count; i++) {
        kf_yaml_key(out, keys[i]);
        if (put_any(out, json_object_get(map, keys[i]), err) != 0)
            return -1;
    }
    kf_yaml_close(out);
    return 0;
}

static int put_list(struct kf_yaml_out *out, json_t *list, struct kf_err *err)
{
    kf_yaml_open(out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        kf_yaml_item(out);
        if (put_any(out, json_array_get(list, i), err) != 0)
            return -1;
    }
    kf_yaml_close(out);
    return 0;
}

static int put_any(struct kf_yaml_out *out, json_t *value, struct kf_err *err)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        if (json_object_size(value) > 0)
            return put_map(out, value, err);
        kf_yaml_word(out, "{}");
        break;
    case JSON_ARRAY:
        if (json_array_size(value) > 0)
            return put_list(out, value, err);
        kf_yaml_word(out, "[]");
        break;
    case JSON_STRING:
        kf_yaml_text(out, json_string_value(value));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        put_number(out, json_number_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        kf_yaml_word(out, json_is_true(value) ? "true" : "false");
        break;
    case JSON_NULL:
        kf_yaml_word(out, "null");
        break;
    }
    return 0;
}

/* --- kit's structs --- */

static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value);
}

static int check_type(const json_t *value, const struct kf_field *field,
                      struct kf_err *err)
{
    static const json_type wanted[] = {
        [KF_FIELD_TEXT] = JSON_STRING,
        [KF_FIELD_TEXTS] = JSON_ARRAY,
        [KF_FIELD_OBJECT] = JSON_OBJECT,
        [KF_FIELD_LIST] = JSON_ARRAY,
    };

    if (field->type == KF_FIELD_ANY || is_nothing(value) ||
        json_typeof(value) == wanted[field->type])
        return 0;
    return kf_fail(err, KF_E_MALFORMED, "malformed Kitfile: '%s' has the wrong type",
                   field->key);
}

static bool is_empty(const json_t *value)
{
    return !value || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* What yaml.v3 leaves out (omitempty): of an object that is always in the config what has
 * nothing inside. */
static bool is_left_out(const json_t *value, const struct kf_field *field)
{
    if (field->type == KF_FIELD_ANY)
        return is_nothing(value);
    if (field->type != KF_FIELD_OBJECT || !field->always)
        return !field->always && is_empty(value);
    for (const struct kf_field *own = field->fields; own->key; own++)
        if (!is_left_out(json_object_get(value, own->key), own))
            return false;
    return true;
}

static void put_text(struct kf_yaml_out *out, const json_t *value)
{
    kf_yaml_text(out, json_is_string(value) ? json_string_value(value) : "");
}

static int put_texts(struct kf_yaml_out *out, const json_t *list,
                     const struct kf_field *field, struct kf_err *err)
{
    const struct kf_field item = {.key = field->key, .type = KF_FIELD_TEXT};

    kf_yaml_flow_open(out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);

        if (check_type(value, &item, err) != 0)
            return -1;
        if (i > 0)
            kf_yaml_flow_next(out);
        put_text(out, value);
    }
    kf_yaml_flow_close(out);
    return 0;
}

static int put_field(struct kf_yaml_out *out, json_t *value, const struct kf_field *field,
                     struct kf_err *err);

static int put_object(struct kf_yaml_out *out, const json_t *object,
                      const struct kf_field *fields, struct kf_err *err)
{
    bool empty = true;

    kf_yaml_open(out);
    for (; fields->key; fields++) {
        json_t *value = json_object_get(object, fields->key);

        if (check_type(value, fields, err) != 0)
            return -1;
        if (is_left_out(value, fields))
            continue;
        empty = false;
        kf_yaml_key(out, fields->key);
        if (put_field(out, value, fields, err) != 0)
            return -1;
    }
    kf_yaml_close(out);
    if (empty)
        kf_yaml_word(out, "{}");
    return 0;
}

static int put_objects(struct kf_yaml_out *out, const json_t *list,
                       const struct kf_field *field, struct kf_err *err)
{
    const struct kf_field item = {.key = field->key, .type = KF_FIELD_OBJECT};

    kf_yaml_open(out);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);

        if (check_type(value, &item, err) != 0)
            return -1;
        kf_yaml_item(out);
        if (put_object(out, value, field->fields, err) != 0)
            return -1;
    }
    kf_yaml_close(out);
    return 0;
}

static int put_field(struct kf_yaml_out *out, json_t *value, const struct kf_field *field,
                     struct kf_err *err)
{
    switch (field->type) {
    case KF_FIELD_TEXT:
        put_text(out, value);
        break;
    case KF_FIELD_TEXTS:
        return put_texts(out, value, field, err);
    case KF_FIELD_ANY:
        return put_any(out, value, err);
    case KF_FIELD_OBJECT:
        return put_object(out, value, field->fields, err);
    case KF_FIELD_LIST:
        return put_objects(out, value, field, err);
    }
    return 0;
}

static int put_root(struct kf_buf *ret, const json_t *root, struct kf_err *err)
{
    static const struct kf_field kitfile = {.key = "Kitfile", .type = KF_FIELD_OBJECT};
    struct kf_yaml_out out;

    if (check_type(root, &kitfile, err) != 0)
        return -1;
    kf_yaml_begin(&out, ret, err);
    if (put_object(&out, root, kf_kitfile_fields, err) != 0)
        return -1;
    return kf_yaml_end(&out);
}

int kf_kitfile_emit(struct kf_buf *ret, const void *json, size_t length,
                    struct kf_err *err)
{
    json_t *root = kf_kitfile_load(json, length, err);
    int rc;

    if (!root)
        return -1;
    rc = put_root(ret, root, err);
    json_decref(root);
    return rc;
}
