/*
 * Which parts of a kit are wanted, as `kit unpack --filter` takes it (kitops
 * pkg/lib/kitfile/filter.go):
 *     type[,type...][:name-or-path[,name-or-path...]]
 * types are kitfile, model (its parts too), datasets, code, docs, prompts and mcpservers;
 * what follows the colon is an entry's name or its path, exactly as the Kitfile has it.
 * Any of several filters is enough. Pure; immutable once all are added.
 */
#ifndef KF_KITFILE_FILTER_H
#define KF_KITFILE_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/containers.h"
#include "kitfile/kitfile.h"

struct kf_err;

struct kf_filter_rule {
    unsigned types;           /* bits: 1 << the number of a type */
    bool is_whole;            /* no colon: every entry of these types */
    struct kf_strings fields; /* names and paths */
};

/* All zero: no filter, everything is wanted. */
struct kf_filter {
    struct kf_filter_rule *rules;
    size_t count;
};

/* KF_E_ARG names the types that there are. */
int kf_filter_add(struct kf_filter *filter, const char *text, struct kf_err *err);
void kf_filter_fini(struct kf_filter *filter);

/* In these, a filter of NULL is none; name and path of an entry may be NULL. */
bool kf_filter_wants(const struct kf_filter *filter, enum kf_entry_kind kind,
                     const char *name, const char *path);
bool kf_filter_kitfile(const struct kf_filter *filter);
/* Whether there can be an entry of that kind that is wanted, and whether each is. */
bool kf_filter_some(const struct kf_filter *filter, enum kf_entry_kind kind);
bool kf_filter_all(const struct kf_filter *filter, enum kf_entry_kind kind);

#endif
