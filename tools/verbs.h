/*
 * The verbs: one table row and one file each. A verb gets parsed options and returns the
 * exit code; it has printed its own error.
 */
#ifndef KF_TOOLS_VERBS_H
#define KF_TOOLS_VERBS_H

#include <stddef.h>

struct kf_err;
struct kf_options;

struct kf_verb {
    const char *name;
    unsigned bit;          /* enum kf_verb_bit */
    const char *arguments; /* "REF DIR" */
    size_t min_args, max_args;
    const char *summary;
    const char *detail; /* what --help teaches below the summary */
    int (*run)(const struct kf_options *options);
};

extern const struct kf_verb kf_verb_table[];
extern const size_t kf_verb_count;
const struct kf_verb *kf_verb_find(const char *name); /* NULL when there is none */
/* Says so, with the nearest one. Returns the exit code. */
int kf_report_no_verb(const char *name);

int kf_verb_mount(const struct kf_options *options);
int kf_verb_umount(const struct kf_options *options);
int kf_verb_ls(const struct kf_options *options);
int kf_verb_cat(const struct kf_options *options);
int kf_verb_list(const struct kf_options *options);
int kf_verb_status(const struct kf_options *options);
int kf_verb_pack(const struct kf_options *options);
int kf_verb_verify(const struct kf_options *options);
int kf_verb_info(const struct kf_options *options);
int kf_verb_inspect(const struct kf_options *options);
int kf_verb_tag(const struct kf_options *options);
int kf_verb_login(const struct kf_options *options);
int kf_verb_logout(const struct kf_options *options);
int kf_verb_diff(const struct kf_options *options);
int kf_verb_unpack(const struct kf_options *options);
int kf_verb_version(const struct kf_options *options);
int kf_verb_doctor(const struct kf_options *options);
int kf_verb_completion(const struct kf_options *options);
int kf_verb_help(const struct kf_options *options);

/* tools/help.c */
void kf_print_usage(void);
void kf_print_verb_help(const struct kf_verb *verb);

#endif
