/*
 * The part of TOML 1.0 that containerd's hosts.toml needs, as a tree in the order of the
 * text: comments; bare, quoted and dotted keys; tables; basic and literal strings on one
 * line; booleans; decimal integers; arrays over several lines, an array within an array
 * at most. A key or table that comes twice is refused, and so is everything else (floats,
 * times, inline tables, arrays of tables, strings of several lines) with a message that
 * names the line. Pure; any thread.
 */
#ifndef KF_OCI_TOML_H
#define KF_OCI_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;

#define KF_TOML_SIZE_LIMIT (64u << 10)
#define KF_TOML_DEPTH_LIMIT 8u       /* names in a key, or tables within one another */
#define KF_TOML_ARRAY_DEPTH_LIMIT 2u /* arrays within one another */
#define KF_TOML_COUNT_LIMIT 1000u    /* keys, tables and values of arrays */

enum kf_toml_type {
    KF_TOML_TABLE,
    KF_TOML_STRING,
    KF_TOML_BOOL,
    KF_TOML_INTEGER,
    KF_TOML_ARRAY,
};

struct kf_toml {
    enum kf_toml_type type;
    unsigned line; /* where it was named first */
    char *key;     /* NULL for the values of an array, and for the root */
    char *text; /* of a string; without NUL and control characters but tab and newline */
    bool truth;
    int64_t number;
    struct kf_toml *first; /* of a table or array, in the order of the text */
    struct kf_toml *last, *next;

    /* Private: how a table came to be, which says whether it may be opened again. */
    bool opened, dotted;
};

/* The root, a table; kf_toml_free is due. A failure is KF_E_MALFORMED or KF_E_LIMIT, and
 * the message begins with "line N: ". */
int kf_toml_parse(struct kf_toml **ret, const char *text, size_t length,
                  struct kf_err *err);
void kf_toml_free(struct kf_toml *root); /* NULL is fine */

#endif
