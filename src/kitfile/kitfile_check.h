/*
 * The rules between the fields of a Kitfile that is to be packed: kitops
 * pkg/artifact/kitfile.go (Validate). Part of kitfile_pack. Pure.
 */
#ifndef KF_KITFILE_KITFILE_CHECK_H
#define KF_KITFILE_KITFILE_CHECK_H

struct kf_err;
struct kf_kitfile_plan;

/* Where warnings go: a line each; `line` may be NULL. */
struct kf_kitfile_warn {
    void (*line)(void *arg, const char *line);
    void *arg;
};

void kf_kitfile_warn(const struct kf_kitfile_warn *warn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int kf_kitfile_check(const struct kf_kitfile_plan *plan,
                     const struct kf_kitfile_warn *warn, struct kf_err *err);

#endif
