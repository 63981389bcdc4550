#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "kit/resolve.h"
#include "oci/kitstore.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define LIST_TIMEOUT (30 * KF_NS_PER_S)
#define NONE "<none>"
#define COLUMNS 6
#define GAP 3

KF_DEFINE_AUTO(json, json_t *, json_decref)

/* ---- tags of a repository ---- */

static int list_tags(const struct kf_options *options, struct kf_workq *workq,
                     struct kf_strings *tags, struct kf_err *err)
{
    struct kf_origin *origin = NULL;
    struct kf_origin_opts opts;
    struct kf_ref ref;
    int rc;

    if (kf_ref_parse(&ref, options->args[0], err) != 0)
        return -1;
    kf_origin_from_options(&opts, options);
    opts.workq = workq;
    opts.timeout_ns = LIST_TIMEOUT;
    rc = kf_origin_open(&origin, &ref, &opts, err);
    if (rc == 0)
        rc = kf_origin_tags(origin, tags, err);
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    return rc;
}

static int print_tags(const struct kf_options *options, struct kf_workq *workq,
                      struct kf_err *err)
{
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};
    kf_auto(kf_auto_json) json_t *list = json_array();

    if (list_tags(options, workq, &tags, err) != 0)
        return -1;
    for (size_t i = 0; i < tags.count; i++) {
        if (options->json)
            (void)json_array_append_new(list, json_string(tags.items[i]));
        else
            printf("%s\n", tags.items[i]);
    }
    if (options->json)
        kf_print_json(list);
    return 0;
}

/* ---- kits of the store ---- */

/* The keys are those of `kit list --format json`; sizeBytes is ours. */
static json_t *describe(const struct kf_kitstore_kit *kit,
                        const struct kf_resolved *resolved)
{
    const struct kf_kitfile *kitfile = resolved->has_kitfile ? &resolved->kitfile : NULL;
    struct kf_ref named = {.registry = kit->ref.registry,
                           .repository = kit->ref.repository};
    kf_auto(kf_free) char *name = kf_ref_format_name(&named);
    const char *title = kitfile ? kitfile->package_name : NULL;
    const char *author = kitfile ? kitfile->package_author : NULL;
    char digest[KF_DIGEST_TEXT_SIZE], size[32];
    json_t *tags = json_array();
    uint64_t bytes = 0;

    for (size_t i = 0; i < kit->tags.count; i++)
        (void)json_array_append_new(tags, json_string(kit->tags.items[i]));
    for (size_t i = 0; i < resolved->manifest.layer_count; i++)
        bytes += resolved->manifest.layers[i].size;
    if (!name)
        return NULL;
    return json_pack(
        "{s:s, s:s, s:o, s:s, s:s, s:I, s:s}", "repo",
        kf_ref_is_local(&kit->ref) && strcmp(name, KF_REF_NAMELESS) == 0 ? NONE : name,
        "digest", kf_digest_format(&kit->ref.digest, digest), "tags", tags, "modelName",
        title && *title ? title : NONE, "size", kf_format_size(bytes, size), "sizeBytes",
        (json_int_t)bytes, "author", author && *author ? author : NONE);
}

/* What is no ModelKit is passed over, as kit does. */
static int add_kit(json_t *rows, const struct kf_kitstore_kit *kit,
                   struct kf_workq *workq, struct kf_err *err)
{
    const struct kf_origin_opts opts = {.workq = workq, .timeout_ns = LIST_TIMEOUT};
    struct kf_resolve_from from = {.ref = &kit->ref, .timeout_ns = LIST_TIMEOUT};
    struct kf_resolved resolved;
    struct kf_err why = {0};
    int rc;

    if (kf_kitstore_open(&from.origin, &kit->ref, &opts, err) != 0)
        return -1;
    rc = kf_resolve(&resolved, &from, &why);
    kf_origin_close(from.origin);
    if (rc != 0)
        return why.kind == KF_E_UNSUPPORTED ? 0
                                            : kf_fail(err, why.kind, "%s", why.message);
    rc = json_array_append_new(rows, describe(kit, &resolved));
    kf_resolved_fini(&resolved);
    return rc == 0 ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for a listing");
}

/* As wide as a terminal shows it, near enough: characters. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void add_line(json_t *lines, const json_t *row, const char *tag)
{
    (void)json_array_append_new(
        lines,
        json_pack("[O, s, O, O, O, O]", json_object_get(row, "repo"), tag,
                  json_object_get(row, "author"), json_object_get(row, "modelName"),
                  json_object_get(row, "size"), json_object_get(row, "digest")));
}

static json_t *lines_of(const json_t *rows)
{
    json_t *lines = json_array(), *row, *tag;
    size_t i, k;

    (void)json_array_append_new(lines,
                                json_pack("[s, s, s, s, s, s]", "REPOSITORY", "TAG",
                                          "MAINTAINER", "NAME", "SIZE", "DIGEST"));
    json_array_foreach(rows, i, row)
    {
        const json_t *tags = json_object_get(row, "tags");

        if (json_array_size(tags) == 0)
            add_line(lines, row, NONE);
        json_array_foreach(tags, k, tag) add_line(lines, row, json_string_value(tag));
    }
    return lines;
}

static const char *cell(const json_t *lines, size_t line, size_t column)
{
    return json_string_value(json_array_get(json_array_get(lines, line), column));
}

static void print_table(const json_t *rows)
{
    kf_auto(kf_auto_json) json_t *lines = lines_of(rows);
    size_t widths[COLUMNS] = {0};

    for (size_t i = 0; i < json_array_size(lines); i++)
        for (size_t k = 0; k < COLUMNS; k++)
            if (width_of(cell(lines, i, k)) > widths[k])
                widths[k] = width_of(cell(lines, i, k));
    for (size_t i = 0; i < json_array_size(lines); i++)
        for (size_t k = 0; k < COLUMNS; k++) {
            kf_auto(kf_free) char *text = strdup(cell(lines, i, k));
            size_t pad =
                k + 1 < COLUMNS ? widths[k] + GAP - width_of(text ? text : "") : 0;

            if (text)
                kf_make_plain(text);
            printf("%s%*s%s", text ? text : "", (int)pad, "",
                   k + 1 == COLUMNS ? "\n" : "");
        }
}

static int print_store(const struct kf_options *options, struct kf_workq *workq,
                       struct kf_err *err)
{
    kf_auto(kf_auto_json) json_t *rows = json_array();
    struct kf_kitstore_list list;
    int rc = 0;

    if (kf_kitstore_list(&list, err) != 0)
        return -1;
    for (size_t i = 0; i < list.count; i++) {
        struct kf_err why = {0};

        if (add_kit(rows, &list.kits[i], workq, &why) == 0)
            continue;
        if (rc == 0)
            rc = kf_fail(err, why.kind, "'%s': %s", list.kits[i].name, why.message);
    }
    kf_kitstore_list_fini(&list);
    if (options->json)
        kf_print_json(rows);
    else
        print_table(rows);
    return rc;
}

int kf_verb_list(const struct kf_options *options)
{
    struct kf_err err = {0};
    struct kf_workq *workq = kf_workq_new(1, &err);
    int rc = -1;

    if (workq)
        rc = options->arg_count > 0 ? print_tags(options, workq, &err)
                                    : print_store(options, workq, &err);
    kf_workq_free(workq);
    if (rc == 0)
        return 0;
    return options->arg_count > 0 ? kf_report_ref("list", options, &err)
                                  : kf_report("list", "kit's store", &err);
}
