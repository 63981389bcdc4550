#include "opened.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/containers.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "kit/choose.h"
#include "oci/creds_local.h"
#include "oci/ref.h"
#include "options.h"

#define WORK_THREADS 4
#define TAGS_TIMEOUT (5 * KF_NS_PER_S)
#define CLOSE_TIME (2 * KF_NS_PER_S)

void kf_net_from_options(struct kf_net_opts *ret, const struct kf_options *options)
{
    *ret = (struct kf_net_opts){.plain_http = options->plain_http,
                                .tls_no_verify = !options->tls_verify,
                                .ca_file = options->tls_cert,
                                .client_cert = options->cert,
                                .client_key = options->key,
                                .proxy = options->proxy,
                                .hosts_dir = options->hosts_dir,
                                .creds = &options->creds->creds,
                                .connections = options->connections};
}

static enum kf_pull pull_from_options(const struct kf_options *options)
{
    return strcmp(options->pull, "always") == 0  ? KF_PULL_ALWAYS
           : strcmp(options->pull, "never") == 0 ? KF_PULL_NEVER
                                                 : KF_PULL_MISSING;
}

void kf_origin_from_options(struct kf_origin_opts *ret, const struct kf_options *options)
{
    *ret = (struct kf_origin_opts){.offline = options->offline,
                                   .pull = pull_from_options(options)};
    kf_net_from_options(&ret->net, options);
}

void kf_cache_from_options(struct kf_store_opts *ret, const struct kf_options *options)
{
    *ret = (struct kf_store_opts){.path = options->cache_dir,
                                  .size_limit_bytes = options->cache_size.bytes,
                                  .size_limit_percent = options->cache_size.percent,
                                  .min_free_percent = options->min_free_percent};
}

static enum kf_layer_check check_from_options(const struct kf_options *options)
{
    if (options->verify && strcmp(options->verify, "full") == 0)
        return KF_CHECK_FULL;
    if (options->verify && strcmp(options->verify, "require-toc") == 0)
        return KF_CHECK_REQUIRE_TOC;
    return KF_CHECK_DEFERRED;
}

int kf_filter_from_options(struct kf_filter *ret, const struct kf_options *options,
                           struct kf_err *err)
{
    struct kf_filter filter = {0};

    for (size_t i = 0; i < options->filters.count; i++) {
        if (kf_filter_add(&filter, options->filters.items[i], err) != 0) {
            kf_filter_fini(&filter);
            return -1;
        }
    }
    *ret = filter;
    return 0;
}

void kf_kit_from_options(struct kf_kit_opts *ret, const struct kf_filter *filter,
                         const struct kf_options *options)
{
    *ret = (struct kf_kit_opts){.ref = options->args[0],
                                .memory_bytes = options->memory_bytes,
                                .read_timeout_ns = options->read_timeout_ns,
                                .offline = options->offline,
                                .pull = pull_from_options(options),
                                .include_remote = options->include_remote,
                                .alone = options->alone,
                                .filter = filter->count > 0 ? filter : NULL,
                                .labels = &options->labels,
                                .subdir = options->subdir,
                                .check = check_from_options(options)};
    kf_net_from_options(&ret->net, options);
}

char *kf_ref_with_tag(const char *text, bool quiet, struct kf_err *err)
{
    struct kf_ref ref;
    char *result;

    if (kf_ref_parse(&ref, text, err) != 0)
        return NULL;
    if (ref.where != KF_REF_LAYOUT && !ref.tag && !ref.has_digest) {
        ref.tag = strdup("latest");
        if (!quiet)
            fprintf(stderr, "No tag specified. Using 'latest' as default\n");
    }
    result = kf_ref_format(&ref);
    kf_ref_fini(&ref);
    if (!result)
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a reference"); /* NULL says it */
    return result;
}

enum caching { UNCACHED, LOOKING, CACHED };

static void open_store(struct kf_opened *opened, const struct kf_options *options,
                       enum caching caching)
{
    struct kf_store_opts cache;
    struct kf_err err = {0};

    kf_cache_from_options(&cache, options);
    cache.stats = &opened->stats;
    cache.look_only = caching == LOOKING;
    if (kf_store_open(&opened->store, &cache, &err) == 0)
        return;
    opened->store = NULL;
    if (!options->quiet && (caching == CACHED || options->cache_dir))
        fprintf(stderr, "[WARN ] Nothing is cached: %s\n", err.message);
}

static void use_opened(struct kf_kit_opts *kit, struct kf_opened *opened,
                       const struct kf_options *options)
{
    kf_kit_from_options(kit, &opened->filter, options);
    kit->ref = opened->ref;
    kit->workq = opened->workq;
    kit->store = opened->store;
    kit->stats = &opened->stats;
}

/* All that a kit is opened with. */
static int begin(struct kf_opened *ret, struct kf_kit_opts *ret_kit,
                 const struct kf_options *options, enum caching caching,
                 struct kf_err *err)
{
    *ret = (struct kf_opened){0};
    ret->ref = kf_ref_with_tag(options->args[0], options->quiet, err);
    ret->workq = ret->ref ? kf_workq_new(WORK_THREADS, err) : NULL;
    if (!ret->workq || kf_labels_check(&options->labels, err) != 0 ||
        kf_filter_from_options(&ret->filter, options, err) != 0) {
        kf_opened_close(ret);
        return -1;
    }
    if (caching != UNCACHED)
        open_store(ret, options, caching);
    use_opened(ret_kit, ret, options);
    return 0;
}

static void show_streaming(void *arg, const struct kf_kit_streaming *now)
{
    kf_progress_show(arg, now->kind, now->done, now->total);
}

static int open_all(struct kf_opened *ret, const struct kf_options *options,
                    enum caching caching, bool defer, struct kf_err *err)
{
    struct kf_kit_opts kit;
    int rc;

    if (begin(ret, &kit, options, caching, err) != 0)
        return -1;
    kit.defer = defer;
    kit.streaming = show_streaming;
    kit.arg = &ret->streaming;
    if (options->progress)
        kf_progress_init(&ret->streaming, options);
    rc = kf_kit_open(&ret->kit, &kit, err);
    kf_progress_clear(&ret->streaming);
    if (rc != 0) {
        ret->kit = NULL;
        kf_opened_close(ret);
        return -1;
    }
    if (kit.filter && kf_kit_is_empty(ret->kit) && !options->quiet)
        fprintf(stderr, "[WARN ] Nothing in it matches the filter\n");
    return 0;
}

int kf_opened_open(struct kf_opened *ret, const struct kf_options *options,
                   struct kf_err *err)
{
    return open_all(ret, options, CACHED, false, err);
}

int kf_opened_open_looking(struct kf_opened *ret, const struct kf_options *options,
                           struct kf_err *err)
{
    return open_all(ret, options, LOOKING, false, err);
}

int kf_opened_open_deferred(struct kf_opened *ret, const struct kf_options *options,
                            struct kf_err *err)
{
    return open_all(ret, options, CACHED, true, err);
}

int kf_opened_open_uncached(struct kf_opened *ret, const struct kf_options *options,
                            struct kf_err *err)
{
    return open_all(ret, options, UNCACHED, true, err);
}

int kf_opened_another(struct kf_kit **ret, struct kf_opened *opened,
                      const struct kf_options *options, const char *ref,
                      struct kf_err *err)
{
    kf_auto(kf_free) char *text = kf_ref_with_tag(ref, options->quiet, err);
    struct kf_kit_opts kit;

    if (!text)
        return -1;
    use_opened(&kit, opened, options);
    kit.ref = text;
    return kf_kit_open(ret, &kit, err);
}

int kf_opened_resolve(struct kf_resolved *ret, const struct kf_options *options,
                      struct kf_err *err)
{
    struct kf_opened opened;
    struct kf_kit_opts kit;
    int rc;

    if (begin(&opened, &kit, options, CACHED, err) != 0)
        return -1;
    rc = kf_kit_resolve(ret, &kit, err);
    kf_opened_close(&opened);
    return rc;
}

void kf_opened_close(struct kf_opened *opened)
{
    int64_t deadline = kf_deadline_ns(CLOSE_TIME);

    if (kf_kit_close(opened->kit, deadline) == 0) {
        kf_workq_free(opened->workq);
        kf_store_close(opened->store, deadline);
    } /* else requests outlast us: what they use goes with the process */
    kf_filter_fini(&opened->filter);
    free(opened->ref);
    *opened = (struct kf_opened){0};
}

/* "; did you mean TAG?" when the repository has tags, but not this one. Empty when nobody
 * answers, too: the error stands without it. */
static void suggest_tag(const struct kf_ref *ref, const struct kf_options *options,
                        char *out, size_t size)
{
    struct kf_origin_opts opts;
    struct kf_strings tags = {0};
    struct kf_origin *origin = NULL;
    const char *near = NULL;

    kf_origin_from_options(&opts, options);
    opts.timeout_ns = TAGS_TIMEOUT;
    opts.workq = kf_workq_new(1, NULL);
    if (opts.workq && kf_origin_open(&origin, ref, &opts, NULL) == 0 &&
        kf_origin_tags(origin, &tags, NULL) == 0)
        near = kf_nearest(ref->tag, (const char *const *)tags.items, tags.count);
    if (near && strcmp(near, ref->tag) != 0)
        (void)snprintf(out, size, "; did you mean %s?", near); /* cut is fine */
    kf_strings_fini(&tags);
    kf_origin_close(origin);
    kf_workq_free(opts.workq);
}

int kf_report_ref(const char *what, const struct kf_options *options,
                  const struct kf_err *err)
{
    char suggestion[256] = "";
    struct kf_ref ref;

    if (err->kind == KF_E_NOTFOUND && !options->offline &&
        kf_ref_parse(&ref, options->args[0], NULL) == 0) {
        if (ref.tag && !ref.has_digest)
            suggest_tag(&ref, options, suggestion, sizeof(suggestion));
        kf_ref_fini(&ref);
    }
    fprintf(stderr, "[ERROR] Cannot %s %s: %s%s\n", what, options->args[0], err->message,
            suggestion);
    return kf_err_exit_code(err);
}

int kf_report(const char *what, const char *subject, const struct kf_err *err)
{
    fprintf(stderr, "[ERROR] Cannot %s %s: %s\n", what, subject, err->message);
    return kf_err_exit_code(err);
}

void kf_make_plain(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

json_t *kf_json_name(const char *name, size_t length)
{
    json_t *text = json_stringn(name, length);
    kf_auto(kf_free) char *plain = text ? NULL : strndup(name, length);

    if (!plain)
        return text;
    for (char *c = plain; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(plain);
}

void kf_print_json(const json_t *json)
{
    (void)json_dumpf(json, stdout, JSON_INDENT(2)); /* seen when stdout is flushed */
    printf("\n");
}

char *kf_format_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    uint64_t tenths = bytes * 10;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(out, 32, "%u B", (unsigned)bytes);
        return out;
    }
    if (bytes > UINT64_MAX / 10)
        tenths = UINT64_MAX;
    while (tenths >= 10240 && unit + 1 < KF_ARRAY_LEN(units)) {
        tenths /= 1024;
        unit++;
    }
    (void)snprintf(out, 32, "%llu.%llu %s", (unsigned long long)tenths / 10,
                   (unsigned long long)tenths % 10, units[unit]);
    return out;
}
