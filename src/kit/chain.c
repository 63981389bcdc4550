#include "kit/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "kitfile/filter.h"
#include "kitfile/kitfile_path.h"
#include "layer/table.h"
#include "oci/origin.h"

#define CHAIN_TEXT_SIZE 400
#define CAUSED_TEXT_SIZE 256 /* where a cause follows in the message */

/* A reference that is being followed, and those that led to it. */
struct step {
    const struct step *up;
    const char *name;
    const struct kf_digest *digest; /* NULL: not known yet */
    unsigned references;            /* one after the other, up to here */
};

struct walk {
    const struct kf_chain_from *from;
    struct kf_chain chain;
    size_t begun; /* kits, those on the way included */
    bool left_out;
};

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for a chain of kits");
}

/* ---- what counts ---- */

bool kf_part_holds(enum kf_part part, enum kf_entry_kind kind)
{
    switch (part) {
    case KF_PART_MODEL:
        return kind == KF_ENTRY_MODEL || kind == KF_ENTRY_PART;
    case KF_PART_DATASETS:
        return kind == KF_ENTRY_DATASET;
    case KF_PART_ALL:
        break;
    }
    return true;
}

static bool is_remote(const struct kf_entry *entry)
{
    return entry->kind == KF_ENTRY_DATASET && entry->remote_path && *entry->remote_path;
}

const char *kf_entry_reference(const struct kf_entry *entry)
{
    const char *text = is_remote(entry) ? entry->remote_path : NULL;

    if (entry->kind == KF_ENTRY_MODEL && !entry->has_digest)
        text = entry->path;
    return text && kf_path_kind(text) == KF_PATH_REFERENCE ? text : NULL;
}

/* ---- the chain in words ---- */

/* "a -> b -> c"; of a long one the end is shown. */
static const char *show(const struct step *last, char *out, size_t size)
{
    static const char arrow[] = " -> ", more[] = "...";
    size_t begin = size - 1;

    out[begin] = '\0';
    for (const struct step *step = last; step; step = step->up) {
        char text[KF_NAME_TEXT_SIZE];
        const char *name = kf_name_text(text, step->name, strlen(step->name));
        const char *behind = step == last ? "" : arrow;
        bool fits = begin >= strlen(name) + sizeof(arrow) + sizeof(more) + strlen(arrow);

        name = fits ? name : more;
        begin -= strlen(behind);
        memcpy(out + begin, behind, strlen(behind));
        begin -= strlen(name);
        memcpy(out + begin, name, strlen(name));
        if (!fits)
            break;
    }
    return out + begin;
}

static int check_step(const struct step *step, struct kf_err *err)
{
    char text[CHAIN_TEXT_SIZE];

    if (step->references > KF_CHAIN_REFERENCES)
        return kf_fail(err, KF_E_LIMIT, "more than %u references one after the other: %s",
                       KF_CHAIN_REFERENCES, show(step, text, sizeof(text)));
    for (const struct step *above = step->up; above; above = above->up)
        if (strcmp(above->name, step->name) == 0)
            return kf_fail(err, KF_E_ARG, "references lead back: %s",
                           show(step, text, sizeof(text)));
    return 0;
}

/* Another name of the same manifest leads back just the same. */
static int check_digest(const struct step *step, struct kf_err *err)
{
    char text[CHAIN_TEXT_SIZE];

    for (const struct step *above = step->up; above; above = above->up)
        if (above->digest && kf_digest_equal(above->digest, step->digest))
            return kf_fail(err, KF_E_ARG, "references lead back: %s, which is %s",
                           show(step, text, sizeof(text)), above->name);
    return 0;
}

/* ---- following ---- */

static void kit_fini(struct kf_chain_kit *kit)
{
    kf_resolved_fini(&kit->resolved);
    kf_origin_close(kit->origin);
    kf_ref_fini(&kit->ref);
    free(kit->name);
    free(kit->prefix);
}

static int follow(struct walk *walk, const struct kf_chain_kit *kit,
                  const struct step *step, struct kf_err *err);

static int keep(struct kf_chain *chain, struct kf_chain_kit *kit, struct kf_err *err)
{
    struct kf_chain_kit *grown =
        reallocarray(chain->kits, chain->count + 1, sizeof(*grown));

    if (!grown)
        return no_memory(err);
    chain->kits = grown;
    chain->kits[chain->count++] = *kit;
    *kit = (struct kf_chain_kit){0};
    return 0;
}

struct meanwhile {
    const struct kf_chain_from *from;
    struct kf_origin *origin;
};

static void meanwhile(void *arg, const struct kf_manifest *manifest)
{
    const struct meanwhile *job = arg;

    job->from->meanwhile(job->from->arg, job->origin, manifest);
}

static int resolve(const struct walk *walk, struct kf_chain_kit *kit, bool is_first,
                   struct kf_err *err)
{
    struct meanwhile job = {.from = walk->from};
    struct kf_resolve_from from = {.ref = &kit->ref,
                                   .store = walk->from->store,
                                   .timeout_ns = walk->from->timeout_ns};

    if (walk->from->open(walk->from->arg, &kit->origin, &kit->ref, err) != 0)
        return -1;
    from.origin = job.origin = kit->origin;
    from.labels = is_first ? walk->from->labels : NULL;
    if (is_first && walk->from->meanwhile) {
        from.meanwhile = meanwhile;
        from.arg = &job;
    }
    if (kf_resolve(&kit->resolved, &from, err) != 0)
        return -1;
    kit->digest = kit->resolved.digest;
    kit->outage = kit->resolved.outage;
    return 0;
}

/* `kit` holds what is known of it: reference, part and prefix. What it refers to comes
 * before it. */
static int add(struct walk *walk, struct kf_chain_kit *kit, const struct step *up,
               struct kf_err *err)
{
    char text[CAUSED_TEXT_SIZE];
    struct step step = {.up = up, .references = up ? up->references + 1 : 0};

    kit->name = kf_ref_format(&kit->ref);
    if (!kit->name)
        return no_memory(err);
    step.name = kit->name;
    if (check_step(&step, err) != 0)
        return -1;
    if (walk->begun == KF_CHAIN_KITS)
        return kf_fail(err, KF_E_LIMIT, "more than %u kits refer to one another: %s",
                       KF_CHAIN_KITS, show(&step, text, sizeof(text)));
    walk->begun++;
    if (resolve(walk, kit, !up, err) != 0)
        return up ? kf_fail_wrap(err, "%s", show(&step, text, sizeof(text))) : -1;
    step.digest = &kit->digest;
    if (check_digest(&step, err) != 0 || follow(walk, kit, &step, err) != 0)
        return -1;
    return keep(&walk->chain, kit, err);
}

/* Where the files of a remote dataset go; `ret` is the caller's to free. */
static int join(char **ret, const char *prefix, const char *path, struct kf_err *err)
{
    kf_auto(kf_free) char *clean = kf_path_clean(path);
    const char *checked;
    size_t length;

    if (!clean)
        return no_memory(err);
    if (strcmp(clean, ".") == 0) {
        *ret = strdup(prefix);
        return *ret ? 0 : no_memory(err);
    }
    if (asprintf(ret, "%s%s%s", prefix, *prefix ? "/" : "", clean) < 0) {
        *ret = NULL;
        return no_memory(err);
    }
    checked = *ret;
    length = strlen(checked);
    return kf_name_check(&checked, &length, err);
}

static int follow_entry(struct walk *walk, const struct kf_chain_kit *kit,
                        const struct kf_entry *entry, const struct step *step,
                        struct kf_err *err)
{
    bool is_dataset = entry->kind == KF_ENTRY_DATASET;
    const char *path = is_dataset && entry->path ? entry->path : "";
    kf_auto(kit_fini) struct kf_chain_kit other = {.part = is_dataset ? KF_PART_DATASETS
                                                                      : KF_PART_MODEL};
    char chain[CAUSED_TEXT_SIZE];

    if (kf_ref_parse_plain(&other.ref, kf_entry_reference(entry), err) != 0)
        return kf_fail_wrap(err, "%s", show(step, chain, sizeof(chain)));
    if (join(&other.prefix, kit->prefix, path, err) != 0)
        return kf_fail_wrap(err, "a dataset of '%s'", step->name);
    return add(walk, &other, step, err);
}

static int follow_remote(struct walk *walk, const struct kf_chain_kit *kit,
                         const struct kf_entry *entry, const struct step *step,
                         struct kf_err *err)
{
    const char *where = entry->remote_path, *path = entry->path ? entry->path : "";
    char shown_path[KF_NAME_TEXT_SIZE], shown[KF_NAME_TEXT_SIZE];
    bool is_s3 = kf_path_kind(where) == KF_PATH_S3;

    if (!walk->from->include_remote) {
        walk->left_out = true;
        return 0;
    }
    if (kf_entry_reference(entry))
        return follow_entry(walk, kit, entry, step, err);
    return kf_fail(err, is_s3 ? KF_E_UNSUPPORTED : KF_E_MALFORMED,
                   "dataset '%s' of '%s' is at '%s': %s",
                   kf_name_text(shown_path, path, strlen(path)), step->name,
                   kf_name_text(shown, where, strlen(where)),
                   is_s3 ? "s3:// is not supported" : "neither a kit nor s3://");
}

/* A model's parent may have what is wanted under another name. */
static bool is_wanted(const struct walk *walk, const struct kf_chain_kit *kit,
                      const struct kf_entry *entry)
{
    const struct kf_filter *filter = walk->from->filter;

    return kf_part_holds(kit->part, entry->kind) &&
           (entry->kind == KF_ENTRY_MODEL
                ? kf_filter_some(filter, entry->kind)
                : kf_filter_wants(filter, entry->kind, entry->name, entry->path));
}

/* Model first, then datasets, which is the order of entries. */
static int follow(struct walk *walk, const struct kf_chain_kit *kit,
                  const struct step *step, struct kf_err *err)
{
    const struct kf_kitfile *kitfile = &kit->resolved.kitfile;

    if (walk->from->alone || !kit->resolved.has_kitfile)
        return 0;
    for (size_t i = 0; i < kitfile->entry_count; i++) {
        const struct kf_entry *entry = &kitfile->entries[i];
        int rc = 0;

        if (!is_wanted(walk, kit, entry))
            continue;
        if (is_remote(entry))
            rc = follow_remote(walk, kit, entry, step, err);
        else if (kf_entry_reference(entry))
            rc = follow_entry(walk, kit, entry, step, err);
        if (rc != 0)
            return -1;
    }
    return 0;
}

/* ---- all of it ---- */

static int add_first(struct walk *walk, const struct kf_ref *first,
                     struct kf_chain_kit *kit, struct kf_err *err)
{
    const struct step child = {.name = walk->from->child};
    kf_auto(kf_free) char *text = kf_ref_format(first);

    kit->part = walk->from->part;
    kit->prefix = strdup("");
    if (!text || !kit->prefix)
        return no_memory(err);
    if (kf_ref_parse(&kit->ref, text, err) != 0)
        return -1;
    return add(walk, kit, child.name ? &child : NULL, err);
}

int kf_chain_open(struct kf_chain *ret, const struct kf_ref *first,
                  const struct kf_chain_from *from, struct kf_err *err)
{
    struct walk walk = {.from = from};
    kf_auto(kit_fini) struct kf_chain_kit kit = {0};

    if (add_first(&walk, first, &kit, err) != 0) {
        kf_chain_fini(&walk.chain);
        return -1;
    }
    if (walk.left_out)
        kf_log(KF_LOG_WARN, "kit",
               "event=datasets_left_out why=\"they are remote: --include-remote\"");
    *ret = walk.chain;
    return 0;
}

void kf_chain_forget(struct kf_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        kf_resolved_fini(&chain->kits[i].resolved);
}

void kf_chain_fini(struct kf_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        kit_fini(&chain->kits[i]);
    free(chain->kits);
    *chain = (struct kf_chain){0};
}

static bool has_answered(struct kf_origin *origin)
{
    struct kf_origin_host host;

    for (size_t i = 0; origin && kf_origin_host(origin, i, &host); i++)
        if (host.answers > 0)
            return true;
    return false;
}

const struct kf_err *kf_chain_outage(const struct kf_chain *chain, bool lasting)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct kf_chain_kit *one = &chain->kits[i];

        if (one->outage.kind != KF_E_NONE && !(lasting && has_answered(one->origin)))
            return &one->outage;
    }
    return NULL;
}
