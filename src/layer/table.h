/*
 * The file table of a layer: what files it holds and where their bytes lie in its
 * unpacked stream. Immutable after it was built. Encoded form: docs/formats/cache.md,
 * "File table".
 *
 * Limits: 4,194,304 entries, names of 4096 bytes and 255 a component, 1 GiB of names.
 */
#ifndef KF_LAYER_TABLE_H
#define KF_LAYER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_buf;
struct kf_err;

#define KF_TABLE_ENTRY_LIMIT (UINT32_C(1) << 22)
#define KF_NAME_LIMIT 4096u
#define KF_COMPONENT_LIMIT 255u

enum kf_file_type { KF_TYPE_FILE = 0, KF_TYPE_DIR = 5 };

struct kf_table_entry {
    uint64_t offset; /* of the data in the unpacked stream */
    uint64_t size;
    int64_t mtime; /* seconds since the epoch */
    uint64_t name_offset;
    uint32_t name_length;
    uint16_t mode; /* 0777 at most: set-id bits are dropped */
    uint8_t type;  /* enum kf_file_type */
};

struct kf_table {
    struct kf_table_entry *entries; /* in archive order; a name may come twice */
    uint32_t count;
    char *names; /* not terminated; see kf_table_name */
    uint64_t names_length;
    uint64_t stream_size; /* of the unpacked stream */
    uint32_t capacity;
    uint64_t names_capacity;
};

void kf_table_init(struct kf_table *table);
void kf_table_fini(struct kf_table *table);
/* `name` is checked by kf_name_check first; sizes against stream_size by the caller.
 * Where the name is kept is set here, whatever the entry says. */
int kf_table_add(struct kf_table *table, const struct kf_table_entry *entry,
                 const char *name, size_t name_length, struct kf_err *err);
const char *kf_table_name(const struct kf_table *table, uint32_t index,
                          size_t *ret_length);

bool kf_table_equal(const struct kf_table *a, const struct kf_table *b);

/* Appends to `ret`, within its limit. */
int kf_table_encode(const struct kf_table *table, struct kf_buf *ret, struct kf_err *err);
/* Fills an uninitialized table. Everything is checked: KF_E_MALFORMED, or
 * KF_E_UNSUPPORTED for a version that we do not know. */
int kf_table_decode(struct kf_table *ret, const void *data, size_t length,
                    struct kf_err *err);

/* A path inside a kit, by kit's rules: relative, no empty, "." or ".." component, no ".."
 * anywhere, no NUL, within the limits above. A leading "./" and a trailing slash are cut
 * off first: *name and *length move. "." alone becomes length 0 (the root). */
int kf_name_check(const char **name, size_t *length, struct kf_err *err);

/* A name from a stranger as it may stand in a message: control bytes become '?', a long
 * one keeps its end. Returns `out`. */
#define KF_NAME_TEXT_SIZE 160
char *kf_name_text(char out[KF_NAME_TEXT_SIZE], const char *name, size_t length);

#endif
