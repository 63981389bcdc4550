#include "kitfile/kitfile_pack.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "kitfile/kitfile_check.h"
#include "kitfile/kitfile_fields.h"
#include "kitfile/kitfile_path.h"
#include "kitfile/kitfile_yaml.h"

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
}

/* --- into the config's order --- */

static int wrong(struct kf_err *err, const struct kf_value *value, const char *key,
                 const char *wanted)
{
    return kf_fail(err, KF_E_ARG, "line %u, column %u: '%s' must be %s", value->line,
                   value->column, key, wanted);
}

/* What Go's omitempty leaves out, and yaml.v3 before it: a null in a list of texts or
 * structs is no element. */
static bool is_empty(const struct kf_value *value, enum kf_field_type type)
{
    if (!value || value->kind == KF_VALUE_NULL)
        return true;
    if (type == KF_FIELD_TEXT)
        return value->kind == KF_VALUE_TEXT && !value->text[0];
    if ((type != KF_FIELD_TEXTS && type != KF_FIELD_LIST) || value->kind != KF_VALUE_LIST)
        return false;
    for (size_t i = 0; i < value->count; i++)
        if (value->items[i].kind != KF_VALUE_NULL)
            return false;
    return true;
}

/* A scalar is text where text is wanted, whatever it looks like. */
static int copy_text(struct kf_value *to, const struct kf_value *from, const char *key,
                     struct kf_err *err)
{
    if (!from || from->kind == KF_VALUE_NULL)
        return kf_value_set_text(to, "", 0, err);
    if (!from->text)
        return wrong(err, from, key, "text");
    return kf_value_set_text(to, from->text, strlen(from->text), err);
}

static int copy_object(const struct kf_kitfile_warn *warn, struct kf_value *to,
                       const struct kf_value *from, const struct kf_field *field,
                       struct kf_err *err);

static int copy_list(const struct kf_kitfile_warn *warn, struct kf_value *to,
                     const struct kf_value *from, const struct kf_field *field,
                     struct kf_err *err)
{
    if (from->kind != KF_VALUE_LIST)
        return wrong(err, from, field->key, "a list");
    to->kind = KF_VALUE_LIST;
    for (size_t i = 0; i < from->count; i++) {
        struct kf_value *item;

        if (from->items[i].kind == KF_VALUE_NULL)
            continue;
        item = kf_value_append(to, NULL, err);
        if (!item)
            return -1;
        if ((field->type == KF_FIELD_TEXTS
                 ? copy_text(item, &from->items[i], field->key, err)
                 : copy_object(warn, item, &from->items[i], field, err)) != 0)
            return -1;
    }
    return 0;
}

static int copy_field(const struct kf_kitfile_warn *warn, struct kf_value *to,
                      const struct kf_value *from, const struct kf_field *field,
                      struct kf_err *err)
{
    struct kf_value *item;

    if (is_empty(from, field->type) && !field->always)
        return 0;
    item = kf_value_append(to, field->key, err);
    if (!item)
        return -1;
    item->line = from ? from->line : 0;
    item->column = from ? from->column : 0;
    switch (field->type) {
    case KF_FIELD_TEXT:
        return copy_text(item, from, field->key, err);
    case KF_FIELD_ANY:
        return kf_value_copy(item, from, err);
    case KF_FIELD_OBJECT:
        return copy_object(warn, item, from, field, err);
    case KF_FIELD_TEXTS:
    case KF_FIELD_LIST:
        break;
    }
    return copy_list(warn, item, from, field, err);
}

/* Go's encoding/json takes a key for a field whatever its case, and folds these two, so
 * that kit would read another config than we do. */
static bool is_same_folded(const char *key, const char *name)
{
    static const char long_s[] = "\xc5\xbf", kelvin[] = "\xe2\x84\xaa";

    for (; *name; name++) {
        char c = *key;
        size_t length = 1;

        if (strncmp(key, long_s, sizeof(long_s) - 1) == 0) {
            c = 's';
            length = sizeof(long_s) - 1;
        } else if (strncmp(key, kelvin, sizeof(kelvin) - 1) == 0) {
            c = 'k';
            length = sizeof(kelvin) - 1;
        }
        if (tolower((unsigned char)c) != tolower((unsigned char)*name))
            return false;
        key += length;
    }
    return !*key;
}

/* The field that an unknown key would be taken for, or NULL. */
static const char *taken_for(const struct kf_field *fields, const char *key)
{
    static const char *const ours[] = {"digest", "diffId"};

    for (size_t i = 0; i < KF_ARRAY_LEN(ours); i++)
        if (is_same_folded(key, ours[i]))
            return ours[i];
    for (; fields->key; fields++)
        if (is_same_folded(key, fields->key))
            return fields->key;
    return NULL;
}

static bool is_known(const struct kf_field *fields, const char *key)
{
    for (; fields->key; fields++)
        if (strcmp(fields->key, key) == 0)
            return true;
    return false;
}

static int copy_unknown(const struct kf_kitfile_warn *warn, struct kf_value *to,
                        const struct kf_value *from, const struct kf_field *field,
                        struct kf_err *err)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct kf_value *value = &from->items[i];
        const char *key = from->keys[i], *known;
        struct kf_value *item;

        if (is_known(field->fields, key))
            continue;
        known = taken_for(field->fields, key);
        if (known)
            return kf_fail(err, KF_E_ARG,
                           "line %u, column %u: '%s' in '%s' would be taken for '%s'",
                           value->line, value->column, key, field->key, known);
        kf_kitfile_warn(warn, "line %u: unknown field '%s' in '%s' is kept", value->line,
                        key, field->key);
        item = kf_value_append(to, key, err);
        if (!item || kf_value_copy(item, value, err) != 0)
            return -1;
    }
    return 0;
}

static int copy_object(const struct kf_kitfile_warn *warn, struct kf_value *to,
                       const struct kf_value *from, const struct kf_field *field,
                       struct kf_err *err)
{
    static const struct kf_value nothing = {.kind = KF_VALUE_MAP};

    if (!from || from->kind == KF_VALUE_NULL)
        from = &nothing;
    if (from->kind != KF_VALUE_MAP)
        return wrong(err, from, field->key, "a map");
    to->kind = KF_VALUE_MAP;
    to->line = from->line;
    to->column = from->column;
    for (const struct kf_field *own = field->fields; own->key; own++)
        if (copy_field(warn, to, kf_value_get(from, own->key), own, err) != 0)
            return -1;
    return copy_unknown(warn, to, from, field, err);
}

/* --- entries --- */

static int add_entry(struct kf_kitfile_plan *plan, enum kf_entry_kind kind, size_t index,
                     const struct kf_value *value, struct kf_err *err)
{
    const struct kf_value *path = kf_value_get(value, "path");
    struct kf_plan_entry *entry, *grown;

    if (plan->entry_count == KF_KITFILE_ENTRY_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "more than %u entries", KF_KITFILE_ENTRY_LIMIT);
    grown = reallocarray(plan->entries, plan->entry_count + 1, sizeof(*plan->entries));
    if (!grown)
        return no_memory(err);
    plan->entries = grown;
    entry = &plan->entries[plan->entry_count];
    *entry = (struct kf_plan_entry){.kind = kind,
                                    .index = index,
                                    .line = path ? path->line : value->line,
                                    .name = kf_value_text(kf_value_get(value, "name")),
                                    .path = path ? path->text : ""};
    entry->is_reference =
        (kind == KF_ENTRY_MODEL && kf_path_kind(entry->path) == KF_PATH_REFERENCE) ||
        (kind == KF_ENTRY_DATASET && kf_value_get(value, "remotePath"));
    entry->clean = kf_path_clean(entry->path);
    if (!entry->clean)
        return no_memory(err);
    plan->entry_count++;
    return 0;
}

static const struct {
    enum kf_entry_kind kind;
    const char *key;
} lists[] = {
    {KF_ENTRY_CODE, "code"},      {KF_ENTRY_DATASET, "datasets"}, {KF_ENTRY_DOCS, "docs"},
    {KF_ENTRY_PROMPT, "prompts"}, {KF_ENTRY_MCP, "mcpServers"},
};

static struct kf_value *list_of(const struct kf_kitfile_plan *plan,
                                enum kf_entry_kind kind)
{
    if (kind == KF_ENTRY_PART)
        return kf_value_get(kf_value_get(&plan->root, "model"), "parts");
    for (size_t i = 0; i < KF_ARRAY_LEN(lists); i++)
        if (lists[i].kind == kind)
            return kf_value_get(&plan->root, lists[i].key);
    return NULL;
}

/* In the order of enum kf_entry_kind, which is that of layers. */
static int collect(struct kf_kitfile_plan *plan, struct kf_err *err)
{
    const struct kf_value *model = kf_value_get(&plan->root, "model");

    if (kf_value_get(model, "path") &&
        add_entry(plan, KF_ENTRY_MODEL, 0, model, err) != 0)
        return -1;
    for (int kind = KF_ENTRY_PART; kind <= KF_ENTRY_MCP; kind++) {
        const struct kf_value *list = list_of(plan, (enum kf_entry_kind)kind);

        for (size_t i = 0; list && i < list->count; i++)
            if (add_entry(plan, (enum kf_entry_kind)kind, i, &list->items[i], err) != 0)
                return -1;
    }
    return 0;
}

static int make_plan(struct kf_kitfile_plan *plan, const struct kf_value *source,
                     const struct kf_kitfile_warn *warn, struct kf_err *err)
{
    static const struct kf_field root = {"Kitfile", KF_FIELD_OBJECT, kf_kitfile_fields,
                                         true};

    if (source->kind == KF_VALUE_NULL)
        return kf_fail(err, KF_E_ARG, "it is empty");
    if (copy_object(warn, &plan->root, source, &root, err) != 0 ||
        collect(plan, err) != 0)
        return -1;
    return kf_kitfile_check(plan, warn, err);
}

int kf_kitfile_plan(struct kf_kitfile_plan *ret, const void *yaml, size_t length,
                    void (*warn)(void *arg, const char *line), void *arg,
                    struct kf_err *err)
{
    struct kf_kitfile_plan plan = {0};
    struct kf_kitfile_warn to = {warn, arg};
    struct kf_value source = {0};
    int rc = kf_yaml_parse(&source, yaml, length, err);

    if (rc == 0)
        rc = make_plan(&plan, &source, &to, err);
    kf_value_fini(&source);
    if (rc != 0) {
        kf_kitfile_plan_fini(&plan);
        return -1;
    }
    *ret = plan;
    return 0;
}

void kf_kitfile_plan_fini(struct kf_kitfile_plan *plan)
{
    for (size_t i = 0; i < plan->entry_count; i++)
        free(plan->entries[i].clean);
    free(plan->entries);
    kf_value_fini(&plan->root);
    memset(plan, 0, sizeof(*plan));
}

/* --- what was packed --- */

static int set_digest(struct kf_value *value, const char *key,
                      const struct kf_digest *digest, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_value *item = kf_value_get(value, key);

    if (!item)
        item = kf_value_append(value, key, err);
    if (!item)
        return -1;
    return kf_value_set_text(item, kf_digest_format(digest, text),
                             KF_DIGEST_TEXT_SIZE - 1, err);
}

int kf_kitfile_plan_set(struct kf_kitfile_plan *plan, size_t entry,
                        const struct kf_digest *digest, const struct kf_digest *diff_id,
                        struct kf_err *err)
{
    enum kf_entry_kind kind = plan->entries[entry].kind;
    struct kf_value *value =
        kind == KF_ENTRY_MODEL ? kf_value_get(&plan->root, "model") : list_of(plan, kind);

    assert(value); /* the entry was made from it */
    if (kind != KF_ENTRY_MODEL)
        value = &value->items[plan->entries[entry].index];
    if (set_digest(value, "digest", digest, err) != 0)
        return -1;
    return set_digest(value, "diffId", diff_id, err);
}

int kf_kitfile_plan_json(const struct kf_kitfile_plan *plan, struct kf_buf *ret,
                         struct kf_err *err)
{
    size_t start = ret->length;

    if (kf_value_to_json(&plan->root, ret, err) != 0)
        return -1;
    /* Never a config that a mount would refuse. */
    return kf_json_check_size((const char *)ret->data + start, ret->length - start,
                              KF_KITFILE_LIMIT, KF_KITFILE_VALUE_LIMIT, "Kitfile", err);
}
