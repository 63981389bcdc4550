/*
 * The fields of a Kitfile, in the order of kit's structs, which is the order of the
 * config and of what kit prints: kitops pkg/artifact/kitfile.go. Constant.
 */
#ifndef KF_KITFILE_KITFILE_FIELDS_H
#define KF_KITFILE_KITFILE_FIELDS_H

#include <stdbool.h>

enum kf_field_type {
    KF_FIELD_TEXT,
    KF_FIELD_TEXTS,
    KF_FIELD_ANY,
    KF_FIELD_OBJECT,
    KF_FIELD_LIST,
};

struct kf_field {
    const char *key; /* NULL ends a list of fields */
    enum kf_field_type type;
    const struct kf_field *fields; /* of an object, of the items of a list */
    bool always; /* in the config even when empty; in YAML, too, when it is a text */
};

extern const struct kf_field kf_kitfile_fields[];

#endif
