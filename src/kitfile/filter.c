#include "kitfile/filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define FORM "<type1>,<type2>[:<filter1>,<filter2>]"
#define TYPES "kitfile, model, datasets, code, prompts, docs, mcpservers"

enum {
    TYPE_KITFILE,
    TYPE_MODEL,
    TYPE_DATASETS,
    TYPE_CODE,
    TYPE_PROMPTS,
    TYPE_DOCS,
    TYPE_MCP
};

static const char *const types[] = {
    [TYPE_KITFILE] = "kitfile", [TYPE_MODEL] = "model",     [TYPE_DATASETS] = "datasets",
    [TYPE_CODE] = "code",       [TYPE_PROMPTS] = "prompts", [TYPE_DOCS] = "docs",
    [TYPE_MCP] = "mcpservers",
};

static const unsigned char type_of_kind[] = {
    [KF_ENTRY_MODEL] = TYPE_MODEL, [KF_ENTRY_PART] = TYPE_MODEL,
    [KF_ENTRY_CODE] = TYPE_CODE,   [KF_ENTRY_DATASET] = TYPE_DATASETS,
    [KF_ENTRY_DOCS] = TYPE_DOCS,   [KF_ENTRY_PROMPT] = TYPE_PROMPTS,
    [KF_ENTRY_MCP] = TYPE_MCP,
};

/* ---- from text ---- */

static int add_type(unsigned *bits, const char *name, size_t length, struct kf_err *err)
{
    for (size_t i = 0; i < KF_ARRAY_LEN(types); i++) {
        if (strlen(types[i]) == length && memcmp(types[i], name, length) == 0) {
            *bits |= 1u << i;
            return 0;
        }
    }
    return kf_fail(err, KF_E_ARG, "invalid filter type '%.*s' (must be one of " TYPES ")",
                   (int)kf_min_u64(length, 64), name);
}

/* The parts between commas, of which an empty text has one: the empty one. */
static int add_fields(struct kf_strings *fields, const char *text, struct kf_err *err)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        kf_auto(kf_free) char *field = strndup(text, length);

        if (!field)
            return kf_fail(err, KF_E_NOMEM, "no memory for a filter");
        if (kf_strings_add(fields, field, err) != 0)
            return -1;
        if (!text[length])
            return 0;
        text += length + 1;
    }
}

static int parse(struct kf_filter_rule *rule, const char *text, struct kf_err *err)
{
    const char *colon = strchr(text, ':'), *end = colon ? colon : text + strlen(text);

    if (colon && strchr(colon + 1, ':'))
        return kf_fail(err, KF_E_ARG, "invalid filter '%.64s': should be in format " FORM,
                       text);
    for (const char *type = text;;) {
        const char *comma = memchr(type, ',', (size_t)(end - type));

        if (add_type(&rule->types, type, (size_t)((comma ? comma : end) - type), err) !=
            0)
            return -1;
        if (!comma)
            break;
        type = comma + 1;
    }
    rule->is_whole = !colon;
    return colon ? add_fields(&rule->fields, colon + 1, err) : 0;
}

int kf_filter_add(struct kf_filter *filter, const char *text, struct kf_err *err)
{
    struct kf_filter_rule rule = {0}, *grown;

    grown = reallocarray(filter->rules, filter->count + 1, sizeof(*grown));
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory for a filter");
    filter->rules = grown;
    if (parse(&rule, text, err) != 0) {
        kf_strings_fini(&rule.fields);
        return -1;
    }
    filter->rules[filter->count++] = rule;
    return 0;
}

void kf_filter_fini(struct kf_filter *filter)
{
    for (size_t i = 0; i < filter->count; i++)
        kf_strings_fini(&filter->rules[i].fields);
    free(filter->rules);
    memset(filter, 0, sizeof(*filter));
}

/* ---- asking ---- */

static bool is_none(const struct kf_filter *filter)
{
    return !filter || filter->count == 0;
}

static bool has_type(const struct kf_filter_rule *rule, unsigned type)
{
    return (rule->types >> type & 1u) != 0;
}

/* As in kit, what is absent is the empty text. */
static bool has_field(const struct kf_filter_rule *rule, const char *field)
{
    for (size_t i = 0; i < rule->fields.count; i++)
        if (strcmp(rule->fields.items[i], field ? field : "") == 0)
            return true;
    return false;
}

/* Code and docs have no name. */
static bool has_name(enum kf_entry_kind kind)
{
    return kind != KF_ENTRY_CODE && kind != KF_ENTRY_DOCS;
}

bool kf_filter_wants(const struct kf_filter *filter, enum kf_entry_kind kind,
                     const char *name, const char *path)
{
    for (size_t i = 0; !is_none(filter) && i < filter->count; i++) {
        const struct kf_filter_rule *rule = &filter->rules[i];

        if (has_type(rule, type_of_kind[kind]) &&
            (rule->is_whole || has_field(rule, path) ||
             (has_name(kind) && has_field(rule, name))))
            return true;
    }
    return is_none(filter);
}

bool kf_filter_kitfile(const struct kf_filter *filter)
{
    for (size_t i = 0; !is_none(filter) && i < filter->count; i++)
        if (has_type(&filter->rules[i], TYPE_KITFILE))
            return true;
    return is_none(filter);
}

bool kf_filter_some(const struct kf_filter *filter, enum kf_entry_kind kind)
{
    for (size_t i = 0; !is_none(filter) && i < filter->count; i++)
        if (has_type(&filter->rules[i], type_of_kind[kind]))
            return true;
    return is_none(filter);
}

bool kf_filter_all(const struct kf_filter *filter, enum kf_entry_kind kind)
{
    for (size_t i = 0; !is_none(filter) && i < filter->count; i++)
        if (filter->rules[i].is_whole && has_type(&filter->rules[i], type_of_kind[kind]))
            return true;
    return is_none(filter);
}
