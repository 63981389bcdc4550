#include "pack/parents.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/chain.h"
#include "kitfile/kitfile_pack.h"
#include "kitfile/kitfile_path.h"
#include "oci/origin.h"

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for the paths of parents");
}

static int open_origin(void *arg, struct kf_origin **ret, const struct kf_ref *ref,
                       struct kf_err *err)
{
    return kf_origin_open(ret, ref, arg, err);
}

static int add_paths(struct kf_parents *parents, const struct kf_kitfile *kitfile,
                     struct kf_err *err)
{
    struct kf_parent_path *grown = reallocarray(
        parents->paths, parents->count + kitfile->entry_count + 1, sizeof(*grown));

    if (!grown)
        return no_memory(err);
    parents->paths = grown;
    for (size_t i = 0; i < kitfile->entry_count; i++) {
        const struct kf_entry *entry = &kitfile->entries[i];
        bool is_remote_model =
            entry->kind == KF_ENTRY_MODEL && kf_entry_reference(entry) != NULL;

        if (!entry->path || is_remote_model || entry->kind > KF_ENTRY_DOCS)
            continue;
        grown[parents->count].path = kf_path_clean(entry->path);
        grown[parents->count].is_unpacked = kf_part_holds(KF_PART_MODEL, entry->kind);
        if (!grown[parents->count].path)
            return no_memory(err);
        parents->count++;
    }
    return 0;
}

static int find(struct kf_parents *parents, const struct kf_ref *ref,
                const struct kf_origin_opts *opts, const char *name, struct kf_err *err)
{
    struct kf_origin_opts own = *opts;
    const struct kf_chain_from from = {.open = open_origin,
                                       .arg = &own,
                                       .timeout_ns = opts->timeout_ns,
                                       .part = KF_PART_MODEL,
                                       .child = name ? name : "the kit to pack"};
    struct kf_chain chain;
    int rc = 0;

    if (kf_chain_open(&chain, ref, &from, err) != 0)
        return -1;
    for (size_t i = 0; rc == 0 && i < chain.count; i++)
        if (chain.kits[i].resolved.has_kitfile)
            rc = add_paths(parents, &chain.kits[i].resolved.kitfile, err);
    kf_chain_fini(&chain);
    return rc;
}

/* The reference of the model, or NULL. */
static const char *reference_in(const struct kf_kitfile_plan *plan)
{
    for (size_t i = 0; i < plan->entry_count; i++)
        if (plan->entries[i].kind == KF_ENTRY_MODEL && plan->entries[i].is_reference)
            return plan->entries[i].path;
    return NULL;
}

int kf_parents_find(struct kf_parents *ret, const struct kf_kitfile_plan *plan,
                    const struct kf_origin_opts *opts, const char *name,
                    struct kf_err *err)
{
    const char *reference = reference_in(plan);
    struct kf_parents parents = {0};
    struct kf_ref ref;
    int rc;

    *ret = parents;
    if (!reference)
        return 0;
    if (!opts)
        return kf_fail(err, KF_E_ARG, "the model is another kit, '%s'", reference);
    if (kf_ref_parse_plain(&ref, reference, err) != 0)
        return -1;
    rc = find(&parents, &ref, opts, name, err);
    if (rc != 0)
        (void)kf_fail_wrap(err, "the model is another kit");
    kf_ref_fini(&ref);
    if (rc == 0)
        *ret = parents;
    else
        kf_parents_fini(&parents);
    return rc;
}

void kf_parents_fini(struct kf_parents *parents)
{
    for (size_t i = 0; i < parents->count; i++)
        free(parents->paths[i].path);
    free(parents->paths);
    *parents = (struct kf_parents){0};
}
