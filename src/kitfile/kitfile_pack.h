/*
 * A Kitfile that is to be packed: validated as kit >= 1.15 does, put into the order in
 * which kit writes the config, its layers named. Fields and rules: kitops
 * pkg/artifact/kitfile.go. Unknown fields are kept after the known ones and warned about
 * (kit refuses them); one that a reader would take for a known field, or for what the
 * packer adds, is an error. Errors and warnings name the line, not the file. One thread.
 */
#ifndef KF_KITFILE_KITFILE_PACK_H
#define KF_KITFILE_KITFILE_PACK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "kitfile/kitfile.h"
#include "kitfile/kitfile_path.h"
#include "kitfile/value.h"

struct kf_buf;
struct kf_err;

struct kf_plan_entry {
    enum kf_entry_kind kind;
    size_t index; /* among those of its kind; 0 for the model */
    unsigned line;
    const char *name;  /* borrowed from the plan; NULL when absent */
    const char *path;  /* as typed; "" when absent */
    char *clean;       /* the path cleaned: "." for the whole folder */
    bool is_reference; /* no layer: the model is another kit, the dataset is remote */
};

struct kf_kitfile_plan {
    struct kf_value root;          /* in the config's order */
    struct kf_plan_entry *entries; /* in layer order */
    size_t entry_count;
};

/* `warn` gets a line for each thing that is odd but packed; may be NULL. KF_E_MALFORMED
 * is no YAML, KF_E_ARG no Kitfile. */
int kf_kitfile_plan(struct kf_kitfile_plan *ret, const void *yaml, size_t length,
                    void (*warn)(void *arg, const char *line), void *arg,
                    struct kf_err *err);
void kf_kitfile_plan_fini(struct kf_kitfile_plan *plan);

/* Notes what was packed for an entry, which is no reference. */
int kf_kitfile_plan_set(struct kf_kitfile_plan *plan, size_t entry,
                        const struct kf_digest *digest, const struct kf_digest *diff_id,
                        struct kf_err *err);

/* The config blob; KF_E_LIMIT when it is larger than kf_kitfile_from_json reads. */
int kf_kitfile_plan_json(const struct kf_kitfile_plan *plan, struct kf_buf *ret,
                         struct kf_err *err);

#endif
