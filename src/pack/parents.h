/*
 * The paths of the kits that a Kitfile refers to by its model.path: kit leaves them out
 * of the layers above them, since whoever unpacks the new kit gets them from there. They
 * are those of model, parts, code, datasets and docs, though of a parent only model and
 * parts are unpacked. Blocking; the result is immutable.
 */
#ifndef KF_PACK_PARENTS_H
#define KF_PACK_PARENTS_H

#include <stdbool.h>
#include <stddef.h>

struct kf_err;
struct kf_kitfile_plan;
struct kf_origin_opts;

struct kf_parent_path {
    char *path; /* cleaned */
    bool is_unpacked;
};

struct kf_parents {
    struct kf_parent_path *paths;
    size_t count;
};

/* Manifests and configs alone are asked for. The kit being packed is called `name` (NULL:
 * not known); `opts` may be NULL when the plan refers to no kit, else it is KF_E_ARG.
 * Errors as of kf_chain_open. */
int kf_parents_find(struct kf_parents *ret, const struct kf_kitfile_plan *plan,
                    const struct kf_origin_opts *opts, const char *name,
                    struct kf_err *err);
void kf_parents_fini(struct kf_parents *parents); /* zeroed is fine */

#endif
