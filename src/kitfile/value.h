/*
 * A value of a Kitfile, a config or a manifest that is to be written: text, list, map, or
 * a literal (number, truth, time), which is kept as JSON writes it. Plain data, owned by
 * the caller, all zero is null; one thread. Whoever builds values limits them; nothing
 * here recurses deeper than they are nested.
 */
#ifndef KF_KITFILE_VALUE_H
#define KF_KITFILE_VALUE_H

#include <stddef.h>
#include <stdint.h>

struct kf_buf;
struct kf_err;

enum kf_value_kind {
    KF_VALUE_NULL,
    KF_VALUE_TEXT,
    KF_VALUE_LITERAL,
    KF_VALUE_LIST,
    KF_VALUE_MAP,
};

struct kf_value {
    enum kf_value_kind kind;
    unsigned line, column; /* where it stands, a map's item: its key; 0: nowhere */
    char *text; /* of a text; of a literal as it was written in YAML, else NULL */
    char *json; /* of a literal; NULL: JSON cannot hold it (.inf, .nan) */
    struct kf_value *items;
    char **keys; /* of a map: one an item */
    size_t count, capacity;
};

void kf_value_fini(struct kf_value *value);

/* Makes a text of a null or a text. */
int kf_value_set_text(struct kf_value *value, const char *text, size_t length,
                      struct kf_err *err);
/* Makes a literal of a null: a whole number. */
int kf_value_set_number(struct kf_value *value, uint64_t number, struct kf_err *err);
/* Everything of `from` into a null value. */
int kf_value_copy(struct kf_value *to, const struct kf_value *from, struct kf_err *err);

/* A new null item of a list, or of a map under `key` (copied); NULL on no memory. The
 * pointer is good until the next append. */
struct kf_value *kf_value_append(struct kf_value *value, const char *key,
                                 struct kf_err *err);
/* The item of a map, or NULL; also NULL when `value` is NULL or no map. */
struct kf_value *kf_value_get(const struct kf_value *value, const char *key);
/* Text of a text value, or NULL. */
const char *kf_value_text(const struct kf_value *value);
/* A map by its keys' bytes, as Go writes maps; equal keys stay in their order. */
int kf_value_sort(struct kf_value *map, struct kf_err *err);

/* As Go's encoding/json writes it: <, > and & escaped, no spaces; maps as they are. */
int kf_value_to_json(const struct kf_value *value, struct kf_buf *ret,
                     struct kf_err *err);

#endif
