#include "oci/scope.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"

/*
 * Each action becomes a text of its own, "type:name" MARK "action": sorted, those of one
 * entry stand together, since no byte of a scope is smaller than the mark. What has no
 * actions is a text without one.
 */
#define MARK '\1'

static int add_atom(struct kf_strings *atoms, const char *key, size_t key_length,
                    const char *action, size_t action_length, struct kf_err *err)
{
    kf_auto(kf_free) char *text = NULL;

    if (atoms->count == KF_SCOPE_ACTIONS_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "a scope of more than %u actions",
                       KF_SCOPE_ACTIONS_LIMIT);
    if (asprintf(&text, "%.*s%c%.*s", (int)key_length, key, MARK, (int)action_length,
                 action) < 0) {
        text = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a scope");
    }
    return kf_strings_add(atoms, text, err);
}

static int add_opaque(struct kf_strings *atoms, const char *entry, size_t length,
                      struct kf_err *err)
{
    kf_auto(kf_free) char *text = strndup(entry, length);

    if (!text)
        return kf_fail(err, KF_E_NOMEM, "no memory for a scope");
    if (atoms->count == KF_SCOPE_ACTIONS_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "a scope of more than %u actions",
                       KF_SCOPE_ACTIONS_LIMIT);
    return kf_strings_add(atoms, text, err);
}

/* The name may hold colons (a host's port): the last one counts. */
static int add_entry(struct kf_strings *atoms, const char *entry, size_t length,
                     struct kf_err *err)
{
    const char *colon = memrchr(entry, ':', length), *end = entry + length;
    bool added = false;

    if (!colon || colon == entry || !memchr(entry, ':', (size_t)(colon - entry)))
        return add_opaque(atoms, entry, length, err);
    for (const char *at = colon + 1; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t action = (size_t)((comma ? comma : end) - at);

        if (action > 0 &&
            add_atom(atoms, entry, (size_t)(colon - entry), at, action, err) != 0)
            return -1;
        added = added || action > 0;
        at += action + 1;
    }
    return added ? 0 : add_opaque(atoms, entry, length, err);
}

static int add_scope(struct kf_strings *atoms, const char *scope, struct kf_err *err)
{
    for (const char *at = scope ? scope : ""; *at;) {
        size_t length = strcspn(at, " ");

        for (size_t i = 0; i < length; i++)
            if (at[i] < 0x21 || at[i] > 0x7e || at[i] == '"' || at[i] == '\\')
                return kf_fail(err, KF_E_MALFORMED, "malformed scope");
        if (length > 0 && add_entry(atoms, at, length, err) != 0)
            return -1;
        at += length;
        at += strspn(at, " ");
    }
    return 0;
}

/* Whether two texts are of one entry. */
static bool is_same_entry(const char *atom, const char *other)
{
    const char *mark = strchr(atom, MARK);

    return mark ? strncmp(atom, other, (size_t)(mark - atom) + 1) == 0
                : strcmp(atom, other) == 0;
}

/* The actions of one entry, sorted. */
static int write_entry(struct kf_buf *out, char *const *atoms, size_t count,
                       struct kf_err *err)
{
    const char *mark = strchr(atoms[0], MARK);
    size_t key = mark ? (size_t)(mark - atoms[0]) : 0;
    bool star = false;

    if (!mark)
        return kf_buf_append_text(out, atoms[0], err);
    for (size_t i = 0; i < count; i++)
        star = star || strcmp(atoms[i] + key + 1, "*") == 0;
    if (kf_buf_printf(out, err, "%.*s:%s", (int)key, atoms[0],
                      star ? "*" : atoms[0] + key + 1) != 0)
        return -1;
    for (size_t i = 1; i < count && !star; i++)
        if (strcmp(atoms[i], atoms[i - 1]) != 0 &&
            kf_buf_printf(out, err, ",%s", atoms[i] + key + 1) != 0)
            return -1;
    return 0;
}

int kf_scope_merge(char **ret, const char *one, const char *other, struct kf_err *err)
{
    kf_auto(kf_strings_fini) struct kf_strings atoms = {0};
    kf_auto(kf_buf_fini) struct kf_buf out;
    size_t next;
    char *text;

    kf_buf_init(&out, KF_SCOPE_LIMIT);
    if (add_scope(&atoms, one, err) != 0 || add_scope(&atoms, other, err) != 0)
        return -1;
    kf_strings_sort(&atoms);
    for (size_t i = 0; i < atoms.count; i = next) {
        next = i + 1;
        while (next < atoms.count && is_same_entry(atoms.items[i], atoms.items[next]))
            next++;
        if ((i > 0 && kf_buf_append_text(&out, " ", err) != 0) ||
            write_entry(&out, atoms.items + i, next - i, err) != 0)
            return kf_fail_wrap(err, "scope");
    }
    text = strdup(out.length > 0 ? (char *)out.data : "");
    if (!text)
        return kf_fail(err, KF_E_NOMEM, "no memory for a scope");
    *ret = text;
    return 0;
}
