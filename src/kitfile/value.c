#include "kitfile/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a value");
}

void kf_value_fini(struct kf_value *value)
{
    for (size_t i = 0; i < value->count; i++) {
        kf_value_fini(&value->items[i]);
        if (value->keys)
            free(value->keys[i]);
    }
    free(value->items);
    free(value->keys);
    free(value->text);
    free(value->json);
    memset(value, 0, sizeof(*value));
}

int kf_value_set_text(struct kf_value *value, const char *text, size_t length,
                      struct kf_err *err)
{
    char *copy = strndup(text, length);

    if (!copy)
        return no_memory(err);
    free(value->text);
    value->text = copy;
    value->kind = KF_VALUE_TEXT;
    return 0;
}

int kf_value_set_number(struct kf_value *value, uint64_t number, struct kf_err *err)
{
    if (asprintf(&value->json, "%" PRIu64, number) < 0) {
        value->json = NULL;
        return no_memory(err);
    }
    value->kind = KF_VALUE_LITERAL;
    return 0;
}

int kf_value_copy(struct kf_value *to, const struct kf_value *from, struct kf_err *err)
{
    to->kind = from->kind;
    to->line = from->line;
    to->column = from->column;
    if (from->text && !(to->text = strdup(from->text)))
        return no_memory(err);
    if (from->json && !(to->json = strdup(from->json)))
        return no_memory(err);
    for (size_t i = 0; i < from->count; i++) {
        struct kf_value *item =
            kf_value_append(to, from->keys ? from->keys[i] : NULL, err);

        if (!item || kf_value_copy(item, &from->items[i], err) != 0)
            return -1;
    }
    return 0;
}

static int grow(struct kf_value *value, struct kf_err *err)
{
    size_t capacity = value->capacity ? value->capacity * 2 : 4;
    struct kf_value *items = reallocarray(value->items, capacity, sizeof(*items));
    char **keys;

    if (!items)
        return no_memory(err);
    value->items = items;
    if (value->kind == KF_VALUE_MAP) {
        keys = reallocarray(value->keys, capacity, sizeof(*keys));
        if (!keys)
            return no_memory(err);
        value->keys = keys;
    }
    value->capacity = capacity;
    return 0;
}

struct kf_value *kf_value_append(struct kf_value *value, const char *key,
                                 struct kf_err *err)
{
    if (value->count == value->capacity && grow(value, err) != 0)
        return NULL;
    if (value->kind == KF_VALUE_MAP) {
        value->keys[value->count] = strdup(key);
        if (!value->keys[value->count]) {
            (void)no_memory(err); /* NULL says it */
            return NULL;
        }
    }
    value->items[value->count] = (struct kf_value){0};
    return &value->items[value->count++];
}

struct kf_value *kf_value_get(const struct kf_value *value, const char *key)
{
    if (!value || value->kind != KF_VALUE_MAP)
        return NULL;
    for (size_t i = 0; i < value->count; i++)
        if (strcmp(value->keys[i], key) == 0)
            return &value->items[i];
    return NULL;
}

const char *kf_value_text(const struct kf_value *value)
{
    return value && value->kind == KF_VALUE_TEXT ? value->text : NULL;
}

static int compare_keys(const void *left, const void *right, void *arg)
{
    const struct kf_value *map = arg;
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    int order = strcmp(map->keys[a], map->keys[b]);

    return order != 0 ? order : (a > b) - (a < b);
}

int kf_value_sort(struct kf_value *map, struct kf_err *err)
{
    kf_auto(kf_free) size_t *order = calloc(map->count + 1, sizeof(*order));
    kf_auto(kf_free) struct kf_value *items = calloc(map->count + 1, sizeof(*items));
    kf_auto(kf_free) char **keys = calloc(map->count + 1, sizeof(*keys));

    if (!order || !items || !keys)
        return no_memory(err);
    if (map->count < 2)
        return 0;
    for (size_t i = 0; i < map->count; i++)
        order[i] = i;
    qsort_r(order, map->count, sizeof(*order), compare_keys, map);
    for (size_t i = 0; i < map->count; i++) {
        items[i] = map->items[order[i]];
        keys[i] = map->keys[order[i]];
    }
    memcpy(map->items, items, map->count * sizeof(*items));
    memcpy(map->keys, keys, map->count * sizeof(*keys));
    return 0;
}

/* --- JSON, as Go writes it --- */

/* U+2028 and U+2029, which Go escapes, are E2 80 A8 and E2 80 A9. */
static bool is_separator(const char *text)
{
    return (unsigned char)text[0] == 0xe2 && (unsigned char)text[1] == 0x80 &&
           ((unsigned char)text[2] == 0xa8 || (unsigned char)text[2] == 0xa9);
}

static int put_char(struct kf_buf *ret, const char **text, struct kf_err *err)
{
    static const char shorts[] = "\b\f\n\r\t\"\\", letters[] = "bfnrt\"\\";
    unsigned char c = (unsigned char)**text;
    const char *found = c ? strchr(shorts, c) : NULL;

    if (is_separator(*text)) {
        int rc = kf_buf_printf(ret, err, "\\u202%c",
                               (unsigned char)(*text)[2] == 0xa8 ? '8' : '9');

        *text += 3;
        return rc;
    }
    (*text)++;
    if (found)
        return kf_buf_printf(ret, err, "\\%c", letters[found - shorts]);
    if (c < 0x20 || c == '<' || c == '>' || c == '&')
        return kf_buf_printf(ret, err, "\\u%04x", c);
    return kf_buf_append(ret, &c, 1, err);
}

static int put_text(struct kf_buf *ret, const char *text, struct kf_err *err)
{
    if (kf_buf_append(ret, "\"", 1, err) != 0)
        return -1;
    while (*text)
        if (put_char(ret, &text, err) != 0)
            return -1;
    return kf_buf_append(ret, "\"", 1, err);
}

static int put_items(const struct kf_value *value, const char *ends, struct kf_buf *ret,
                     struct kf_err *err)
{
    if (kf_buf_append(ret, &ends[0], 1, err) != 0)
        return -1;
    for (size_t i = 0; i < value->count; i++) {
        if (i > 0 && kf_buf_append(ret, ",", 1, err) != 0)
            return -1;
        if (value->kind == KF_VALUE_MAP && (put_text(ret, value->keys[i], err) != 0 ||
                                            kf_buf_append(ret, ":", 1, err) != 0))
            return -1;
        if (kf_value_to_json(&value->items[i], ret, err) != 0)
            return -1;
    }
    return kf_buf_append(ret, &ends[1], 1, err);
}

int kf_value_to_json(const struct kf_value *value, struct kf_buf *ret, struct kf_err *err)
{
    switch (value->kind) {
    case KF_VALUE_TEXT:
        return put_text(ret, value->text, err);
    case KF_VALUE_LITERAL:
        if (!value->json)
            return kf_fail(err, KF_E_ARG, "line %u, column %u: JSON has no '%s'",
                           value->line, value->column, value->text);
        return kf_buf_append_text(ret, value->json, err);
    case KF_VALUE_LIST:
        return put_items(value, "[]", ret, err);
    case KF_VALUE_MAP:
        return put_items(value, "{}", ret, err);
    case KF_VALUE_NULL:
        break;
    }
    return kf_buf_append_text(ret, "null", err);
}
