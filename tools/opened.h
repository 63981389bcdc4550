/*
 * What the verbs that look into a kit share: threads, cache and kit opened from the
 * options, and closed again. One thread.
 */
#ifndef KF_TOOLS_OPENED_H
#define KF_TOOLS_OPENED_H

#include <jansson.h>

#include "base/stats.h"
#include "cache/store.h"
#include "kit/open.h"
#include "kitfile/filter.h"
#include "progress.h"

struct kf_err;
struct kf_options;
struct kf_resolved;

struct kf_opened {
    struct kf_workq *workq;
    struct kf_store *store; /* NULL: the cache could not be used, which was said */
    struct kf_kit *kit;
    struct kf_stats stats;
    struct kf_filter filter;
    char *ref;
    struct kf_progress streaming;
};

int kf_opened_open(struct kf_opened *ret, const struct kf_options *options,
                   struct kf_err *err);
/* The same, with what the cache has, and keeping no new chunks in it. A cache that cannot
 * be used is only said when it was asked for by name. */
int kf_opened_open_looking(struct kf_opened *ret, const struct kf_options *options,
                           struct kf_err *err);
/* The same, but what must be streamed is left to kit/scan. */
int kf_opened_open_deferred(struct kf_opened *ret, const struct kf_options *options,
                            struct kf_err *err);
/* The same, without looking into a cache or keeping anything, and deferred, too. */
int kf_opened_open_uncached(struct kf_opened *ret, const struct kf_options *options,
                            struct kf_err *err);
void kf_opened_close(struct kf_opened *opened);
/* One more kit by the same threads and cache; close it first, and leave `opened` when
 * that fails. */
int kf_opened_another(struct kf_kit **ret, struct kf_opened *opened,
                      const struct kf_options *options, const char *ref,
                      struct kf_err *err);

/* Manifest and Kitfile alone, by way of the cache. */
int kf_opened_resolve(struct kf_resolved *ret, const struct kf_options *options,
                      struct kf_err *err);

/* All but work queue, counters and time. */
void kf_origin_from_options(struct kf_origin_opts *ret, const struct kf_options *options);
void kf_net_from_options(struct kf_net_opts *ret, const struct kf_options *options);
void kf_cache_from_options(struct kf_store_opts *ret, const struct kf_options *options);
/* Yours to release; an error of the options' own is KF_E_ARG. */
int kf_filter_from_options(struct kf_filter *ret, const struct kf_options *options,
                           struct kf_err *err);
/* Filter and options are borrowed. */
void kf_kit_from_options(struct kf_kit_opts *ret, const struct kf_filter *filter,
                         const struct kf_options *options);

/* The reference with `latest` where it has neither tag nor digest, which is said on
 * stderr as kit does; a layout without one is left alone. Yours to free; NULL: `err` is
 * set. */
char *kf_ref_with_tag(const char *text, bool quiet, struct kf_err *err);

/* "[ERROR] Cannot WHAT SUBJECT: cause" on stderr. Returns the exit code. */
int kf_report(const char *what, const char *subject, const struct kf_err *err);
/* The same where the first argument is a reference: when its repository has no such tag,
 * the nearest one that it has is named. */
int kf_report_ref(const char *what, const struct kf_options *options,
                  const struct kf_err *err);

/* Text of others for a terminal: control characters become '?'. */
void kf_make_plain(char *text);

/* A name of others; one that is not UTF-8 has no JSON form: its other bytes become '?'.
 */
json_t *kf_json_name(const char *name, size_t length);

/* Indented, on stdout. */
void kf_print_json(const json_t *json);

/* 1.5 GiB, as people read sizes; `out` is returned. */
char *kf_format_size(uint64_t bytes, char out[32]);

#endif
