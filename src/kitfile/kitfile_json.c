#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "kitfile/kitfile.h"
#include "kitfile/kitfile_load.h"

static const struct {
    enum kf_entry_kind kind;
    const char *key; /* in the Kitfile */
    const char *name;
} kinds[] = {
    [KF_ENTRY_MODEL] = {KF_ENTRY_MODEL, "model", "model"},
    [KF_ENTRY_PART] = {KF_ENTRY_PART, "parts", "modelpart"},
    [KF_ENTRY_CODE] = {KF_ENTRY_CODE, "code", "code"},
    [KF_ENTRY_DATASET] = {KF_ENTRY_DATASET, "datasets", "dataset"},
    [KF_ENTRY_DOCS] = {KF_ENTRY_DOCS, "docs", "docs"},
    [KF_ENTRY_PROMPT] = {KF_ENTRY_PROMPT, "prompts", "prompt"},
    [KF_ENTRY_MCP] = {KF_ENTRY_MCP, "mcpServers", "mcp"},
};

const char *kf_entry_kind_name(enum kf_entry_kind kind)
{
    return kinds[kind].name;
}

static int malformed(struct kf_err *err, const char *what)
{
    return kf_fail(err, KF_E_MALFORMED, "malformed Kitfile: '%s' has the wrong type",
                   what);
}

static int take_string(const json_t *object, const char *key, char **ret,
                       struct kf_err *err)
{
    const json_t *value = json_object_get(object, key);

    *ret = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return malformed(err, key);
    *ret = strdup(json_string_value(value));
    return *ret ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
}

static int take_digest(const json_t *object, const char *key, bool *ret_has,
                       struct kf_digest *ret, struct kf_err *err)
{
    const json_t *value = json_object_get(object, key);

    *ret_has = false;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return malformed(err, key);
    if (json_string_length(value) == 0)
        return 0;
    if (kf_digest_parse(ret, json_string_value(value), json_string_length(value), err) !=
        0)
        return kf_fail_wrap(err, "malformed Kitfile");
    *ret_has = true;
    return 0;
}

static struct kf_entry *new_entry(struct kf_kitfile *kitfile, struct kf_err *err)
{
    if (kitfile->entry_count == KF_KITFILE_ENTRY_LIMIT) {
        (void)kf_fail(err, KF_E_LIMIT, "Kitfile with more than %u entries",
                      KF_KITFILE_ENTRY_LIMIT); /* NULL says it */
        return NULL;
    }
    if ((kitfile->entry_count & (kitfile->entry_count - 1)) == 0) {
        size_t capacity = kitfile->entry_count ? kitfile->entry_count * 2 : 1;
        struct kf_entry *grown =
            reallocarray(kitfile->entries, capacity, sizeof(*kitfile->entries));

        if (!grown) {
            (void)kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile"); /* NULL says it */
            return NULL;
        }
        kitfile->entries = grown;
    }
    kitfile->entries[kitfile->entry_count] = (struct kf_entry){0};
    return &kitfile->entries[kitfile->entry_count++];
}

static int take_entry(struct kf_kitfile *kitfile, enum kf_entry_kind kind,
                      const json_t *object, struct kf_err *err)
{
    struct kf_entry *entry;

    if (!json_is_object(object))
        return malformed(err, kinds[kind].key);
    entry = new_entry(kitfile, err);
    if (!entry)
        return -1;
    entry->kind = kind;
    if (take_string(object, "name", &entry->name, err) != 0 ||
        take_string(object, "path", &entry->path, err) != 0 ||
        (kind == KF_ENTRY_DATASET &&
         take_string(object, "remotePath", &entry->remote_path, err) != 0) ||
        take_digest(object, "digest", &entry->has_digest, &entry->digest, err) != 0)
        return -1;
    return take_digest(object, "diffId", &entry->has_diff_id, &entry->diff_id, err);
}

static int take_list(struct kf_kitfile *kitfile, enum kf_entry_kind kind,
                     const json_t *owner, struct kf_err *err)
{
    const json_t *list = json_object_get(owner, kinds[kind].key);

    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return malformed(err, kinds[kind].key);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (take_entry(kitfile, kind, json_array_get(list, i), err) != 0)
            return -1;
    return 0;
}

static int take_model(struct kf_kitfile *kitfile, const json_t *root, struct kf_err *err)
{
    const json_t *model = json_object_get(root, "model");

    if (!model || json_is_null(model))
        return 0;
    if (take_entry(kitfile, KF_ENTRY_MODEL, model, err) != 0)
        return -1;
    return take_list(kitfile, KF_ENTRY_PART, model, err);
}

static int take_author(struct kf_kitfile *kitfile, const json_t *package,
                       struct kf_err *err)
{
    const json_t *authors = json_object_get(package, "authors");
    const json_t *first = json_array_get(authors, 0);

    if (!first || json_is_null(first))
        return 0;
    if (!json_is_string(first))
        return malformed(err, "authors");
    kitfile->package_author = strdup(json_string_value(first));
    return kitfile->package_author ? 0
                                   : kf_fail(err, KF_E_NOMEM, "no memory for a Kitfile");
}

static int take_all(struct kf_kitfile *kitfile, const json_t *root, struct kf_err *err)
{
    const json_t *package = json_object_get(root, "package");

    if (!json_is_object(root))
        return malformed(err, "Kitfile");
    if (take_string(root, "manifestVersion", &kitfile->manifest_version, err) != 0 ||
        take_string(package, "name", &kitfile->package_name, err) != 0 ||
        take_string(package, "version", &kitfile->package_version, err) != 0 ||
        take_author(kitfile, package, err) != 0 || take_model(kitfile, root, err) != 0)
        return -1;
    for (size_t kind = KF_ENTRY_CODE; kind < KF_ARRAY_LEN(kinds); kind++)
        if (take_list(kitfile, (enum kf_entry_kind)kind, root, err) != 0)
            return -1;
    return 0;
}

json_t *kf_kitfile_load(const char *json, size_t length, struct kf_err *err)
{
    json_error_t where;
    json_t *root;

    if (kf_json_check_size(json, length, KF_KITFILE_LIMIT, KF_KITFILE_VALUE_LIMIT,
                           "Kitfile", err) != 0)
        return NULL;
    root = json_loadb(json, length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                      &where);
    if (!root)
        (void)kf_fail(err, KF_E_MALFORMED, "malformed Kitfile: %s", where.text);
    return root;
}

int kf_kitfile_from_json(struct kf_kitfile *ret, const void *json, size_t length,
                         struct kf_err *err)
{
    struct kf_kitfile kitfile = {0};
    json_t *root = kf_kitfile_load(json, length, err);
    int rc;

    if (!root)
        return -1;
    rc = take_all(&kitfile, root, err);
    json_decref(root);
    if (rc != 0) {
        kf_kitfile_fini(&kitfile);
        return -1;
    }
    *ret = kitfile;
    return 0;
}

void kf_kitfile_fini(struct kf_kitfile *kitfile)
{
    for (size_t i = 0; i < kitfile->entry_count; i++) {
        free(kitfile->entries[i].name);
        free(kitfile->entries[i].path);
        free(kitfile->entries[i].remote_path);
    }
    free(kitfile->entries);
    free(kitfile->manifest_version);
    free(kitfile->package_name);
    free(kitfile->package_version);
    free(kitfile->package_author);
    memset(kitfile, 0, sizeof(*kitfile));
}
