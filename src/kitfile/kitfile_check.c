#include "kitfile/kitfile_check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "kitfile/kitfile_pack.h"
#include "kitfile/kitfile_path.h"

#define PART_TYPE_LIMIT 64u

void kf_kitfile_warn(const struct kf_kitfile_warn *warn, const char *format, ...)
{
    char line[256];
    va_list args;

    if (!warn->line)
        return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args); /* cut is fine */
    va_end(args);
    warn->line(warn->arg, line);
}

/* --- paths --- */

static int check_path(const struct kf_plan_entry *entry, struct kf_err *err)
{
    static const char *const words[] = {
        [KF_PATH_REFERENCE] = "names another kit",
        [KF_PATH_S3] = "is remote",
        [KF_PATH_URL] = "is a URL",
    };
    enum kf_path_kind kind = kf_path_kind(entry->path);

    if (kind == KF_PATH_REFERENCE && entry->kind == KF_ENTRY_MODEL)
        return 0;
    if (entry->path[0] == '/')
        return kf_fail(err, KF_E_ARG, "line %u: path '%s' must be relative", entry->line,
                       entry->path);
    if (kind != KF_PATH_LOCAL)
        return kf_fail(err, KF_E_ARG, "line %u: path '%s' %s; only files can be packed",
                       entry->line, entry->path, words[kind]);
    if (strcmp(entry->clean, "..") == 0 || strncmp(entry->clean, "../", 3) == 0)
        return kf_fail(err, KF_E_ARG, "line %u: path '%s' leads out of the folder",
                       entry->line, entry->path);
    return 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    if (strcmp(folder, ".") == 0)
        return true;
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

/* Beyond kit's rule prompts are compared too: kit packs two of one path, but cannot
 * unpack them. */
static int check_pair(const struct kf_kitfile_plan *plan, const struct kf_plan_entry *a,
                      const struct kf_plan_entry *b, struct kf_err *err)
{
    const struct kf_value *datasets = kf_value_get(&plan->root, "datasets");

    if (strcmp(a->clean, b->clean) == 0)
        return kf_fail(err, KF_E_ARG, "line %u: path '%s' is that of line %u too",
                       b->line, b->path, a->line);
    if (a->kind == KF_ENTRY_DATASET && a->is_reference && is_below(b->clean, a->clean) &&
        kf_path_kind(kf_value_text(
            kf_value_get(&datasets->items[a->index], "remotePath"))) == KF_PATH_REFERENCE)
        return kf_fail(err, KF_E_ARG,
                       "line %u: path '%s' lies in the remote dataset of line %u",
                       b->line, b->path, a->line);
    return 0;
}

static int check_paths(const struct kf_kitfile_plan *plan, struct kf_err *err)
{
    const struct kf_value *model = kf_value_get(&plan->root, "model");
    bool is_pathless = model && !kf_value_get(model, "path"); /* counts as "." */

    for (size_t i = 0; i < plan->entry_count; i++) {
        const struct kf_plan_entry *entry = &plan->entries[i];

        if (check_path(entry, err) != 0)
            return -1;
        if (is_pathless && strcmp(entry->clean, ".") == 0)
            return kf_fail(err, KF_E_ARG,
                           "line %u: path '%s' is that of the model of line %u, which "
                           "names none",
                           entry->line, entry->path, model->line);
        for (size_t k = 0; k < i; k++)
            if (check_pair(plan, &plan->entries[k], entry, err) != 0 ||
                check_pair(plan, entry, &plan->entries[k], err) != 0)
                return -1;
    }
    return 0;
}

/* --- kinds of entries --- */

/* ^[\w][\w.-]*$ */
static int check_part(const struct kf_value *part, struct kf_err *err)
{
    const struct kf_value *value = kf_value_get(part, "type");
    const char *type = kf_value_text(value);

    for (size_t i = 0; type && type[i]; i++) {
        unsigned char c = (unsigned char)type[i];
        bool is_word = c < 0x80 && (isalnum(c) || c == '_');

        if (!is_word && (i == 0 || (c != '.' && c != '-')))
            return kf_fail(err, KF_E_ARG,
                           "line %u: type '%s' has more than letters, digits, '_', '.' "
                           "and '-'",
                           value->line, type);
    }
    if (type && strlen(type) > PART_TYPE_LIMIT)
        return kf_fail(err, KF_E_ARG, "line %u: type '%s' has more than %u characters",
                       value->line, type, PART_TYPE_LIMIT);
    return 0;
}

static int check_dataset(const struct kf_value *dataset,
                         const struct kf_kitfile_warn *warn, struct kf_err *err)
{
    const struct kf_value *remote = kf_value_get(dataset, "remotePath");
    const struct kf_value *hash = kf_value_get(dataset, "remoteHash");

    if (!remote)
        return hash ? kf_fail(err, KF_E_ARG, "line %u: 'remoteHash' without 'remotePath'",
                              hash->line)
                    : 0;
    switch (kf_path_kind(remote->text)) {
    case KF_PATH_REFERENCE:
        if (hash)
            kf_kitfile_warn(warn, "line %u: 'remoteHash' of a kit is ignored",
                            hash->line);
        return 0;
    case KF_PATH_S3:
        if (!hash)
            return kf_fail(err, KF_E_ARG,
                           "line %u: remote path '%s' needs a 'remoteHash'", remote->line,
                           remote->text);
        kf_kitfile_warn(warn, "line %u: '%s' is not looked at", remote->line,
                        remote->text);
        return 0;
    case KF_PATH_LOCAL:
    case KF_PATH_URL:
        break;
    }
    return kf_fail(err, KF_E_ARG, "line %u: remote path '%s' is neither a kit nor s3://",
                   remote->line, remote->text);
}

static int check_mcp(const struct kf_kitfile_plan *plan,
                     const struct kf_plan_entry *entry, struct kf_err *err)
{
    static const char ending[] = ".mcpb";
    size_t length = strlen(entry->path), own = sizeof(ending) - 1;

    if (!entry->name)
        return kf_fail(err, KF_E_ARG, "line %u: an MCP server without a name",
                       entry->line);
    if (length < own || strcmp(entry->path + length - own, ending) != 0)
        return kf_fail(err, KF_E_ARG,
                       "line %u: path '%s' of an MCP server must end in %s", entry->line,
                       entry->path, ending);
    for (const struct kf_plan_entry *other = plan->entries; other < entry; other++)
        if (other->kind == KF_ENTRY_MCP && strcmp(other->name, entry->name) == 0)
            return kf_fail(err, KF_E_ARG, "line %u: a second MCP server named '%s'",
                           entry->line, entry->name);
    return 0;
}

static int check_entries(const struct kf_kitfile_plan *plan,
                         const struct kf_kitfile_warn *warn, struct kf_err *err)
{
    const struct kf_value *parts =
        kf_value_get(kf_value_get(&plan->root, "model"), "parts");
    const struct kf_value *datasets = kf_value_get(&plan->root, "datasets");

    for (size_t i = 0; i < plan->entry_count; i++) {
        const struct kf_plan_entry *entry = &plan->entries[i];
        int rc = 0;

        if (entry->kind == KF_ENTRY_PART)
            rc = check_part(&parts->items[entry->index], err);
        else if (entry->kind == KF_ENTRY_DATASET)
            rc = check_dataset(&datasets->items[entry->index], warn, err);
        else if (entry->kind == KF_ENTRY_MCP)
            rc = check_mcp(plan, entry, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}

int kf_kitfile_check(const struct kf_kitfile_plan *plan,
                     const struct kf_kitfile_warn *warn, struct kf_err *err)
{
    const char *version = kf_value_text(kf_value_get(&plan->root, "manifestVersion"));

    if (strcmp(version, "1.0.0") != 0)
        kf_kitfile_warn(warn, "manifestVersion '%s' is read as 1.0.0", version);
    if (check_entries(plan, warn, err) != 0)
        return -1;
    return check_paths(plan, err);
}
