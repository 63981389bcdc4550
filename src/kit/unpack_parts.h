/*
 * Which stretches of a layer's stream go into which file while it is unpacked, and how
 * much of each is there: lengths of files say it, since they are written in order.
 */
#ifndef KF_KIT_UNPACK_PARTS_H
#define KF_KIT_UNPACK_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_table;

#define KF_UNPACK_BETWEEN UINT32_MAX /* headers and padding: all in one file */

struct kf_unpack_part {
    uint64_t offset; /* in the stream */
    uint64_t size;   /* > 0 */
    uint64_t have;   /* of it in the file */
    uint64_t place;  /* in the file: 0 but for KF_UNPACK_BETWEEN */
    uint32_t entry;  /* of the table, or KF_UNPACK_BETWEEN */
};

/* The parts by offset, yours to free; nothing is there of them. `wanted` by entry: only
 * those files; NULL: the whole stream without a gap. KF_E_MALFORMED when files overlap in
 * it. */
int kf_unpack_parts_make(struct kf_unpack_part **ret, size_t *ret_count,
                         const struct kf_table *table, const bool *wanted,
                         struct kf_err *err);
uint64_t kf_unpack_parts_total(const struct kf_unpack_part *parts, size_t count);

/* Sets how much is there. `in_order`: nothing counts behind the first part that is not
 * all there. A file that is too long is none. */
int kf_unpack_parts_look(struct kf_unpack_part *parts, size_t count, int folder_fd,
                         bool in_order, uint64_t *ret_have, struct kf_err *err);

/* The file of a part by its entry. */
#define KF_UNPACK_FILE_NAME_SIZE 12
void kf_unpack_file_name(uint32_t entry, char out[KF_UNPACK_FILE_NAME_SIZE]);

#endif
