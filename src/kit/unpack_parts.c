#include "kit/unpack_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "kit/unpack_folder.h"
#include "layer/table.h"

void kf_unpack_file_name(uint32_t entry, char out[KF_UNPACK_FILE_NAME_SIZE])
{
    if (entry == KF_UNPACK_BETWEEN)
        (void)snprintf(out, KF_UNPACK_FILE_NAME_SIZE, "rest"); /* fits */
    else
        (void)snprintf(out, KF_UNPACK_FILE_NAME_SIZE, "%" PRIu32, entry); /* fits */
}

static int by_offset(const void *a, const void *b)
{
    const struct kf_unpack_part *one = a, *other = b;

    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

static bool takes(const struct kf_table *table, const bool *wanted, uint32_t entry)
{
    const struct kf_table_entry *file = &table->entries[entry];

    return file->type == KF_TYPE_FILE && file->size > 0 && (!wanted || wanted[entry]);
}

/* What is between the files becomes parts, too. The files are at the end of `parts`,
 * always ahead of what is written. */
static int fill_between(struct kf_unpack_part *parts, size_t *ret_count,
                        const struct kf_unpack_part *files, size_t count,
                        uint64_t stream_size, struct kf_err *err)
{
    uint64_t offset = 0, place = 0;

    *ret_count = 0;
    for (size_t i = 0; i <= count; i++) {
        struct kf_unpack_part file =
            i < count ? files[i] : (struct kf_unpack_part){.offset = stream_size};

        if (file.offset < offset)
            return kf_fail(err, KF_E_MALFORMED, "files of the archive overlap");
        if (file.offset > offset)
            parts[(*ret_count)++] = (struct kf_unpack_part){.offset = offset,
                                                            .size = file.offset - offset,
                                                            .place = place,
                                                            .entry = KF_UNPACK_BETWEEN};
        place += file.offset - offset;
        offset = file.offset + file.size;
        if (i < count)
            parts[(*ret_count)++] = file;
    }
    return 0;
}

int kf_unpack_parts_make(struct kf_unpack_part **ret, size_t *ret_count,
                         const struct kf_table *table, const bool *wanted,
                         struct kf_err *err)
{
    kf_auto(kf_free) struct kf_unpack_part *parts = NULL;
    struct kf_unpack_part *first;
    size_t files = 0, room;

    for (uint32_t i = 0; i < table->count; i++)
        files += takes(table, wanted, i);
    room = wanted ? files : 2 * files + 1;
    parts = calloc(room + 1, sizeof(*parts));
    if (!parts)
        return kf_fail(err, KF_E_NOMEM, "no memory for the files of a layer");
    first = parts + (room - files);
    for (uint32_t i = 0, k = 0; i < table->count; i++)
        if (takes(table, wanted, i))
            first[k++] = (struct kf_unpack_part){.offset = table->entries[i].offset,
                                                 .size = table->entries[i].size,
                                                 .entry = i};
    qsort(first, files, sizeof(*first), by_offset);
    *ret_count = files;
    if (!wanted &&
        fill_between(parts, ret_count, first, files, table->stream_size, err) != 0)
        return -1;
    *ret = kf_steal(parts);
    return 0;
}

uint64_t kf_unpack_parts_total(const struct kf_unpack_part *parts, size_t count)
{
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += parts[i].size;
    return total;
}

static int length_of(int folder_fd, const char *name, uint64_t *ret, struct kf_err *err)
{
    struct stat info;

    *ret = 0;
    if (fstatat(folder_fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        *ret = (uint64_t)info.st_size;
        return 0;
    }
    return errno == ENOENT
               ? 0
               : kf_fail_errno(err, "cannot look into '" KF_UNPACK_FOLDER "'");
}

static int look_at(struct kf_unpack_part *part, int folder_fd, struct kf_err *err)
{
    char name[KF_UNPACK_FILE_NAME_SIZE];
    uint64_t length;

    kf_unpack_file_name(part->entry, name);
    if (length_of(folder_fd, name, &length, err) != 0)
        return -1;
    if (part->entry != KF_UNPACK_BETWEEN && length > part->size)
        length = 0;
    part->have = length > part->place ? kf_min_u64(length - part->place, part->size) : 0;
    return 0;
}

int kf_unpack_parts_look(struct kf_unpack_part *parts, size_t count, int folder_fd,
                         bool in_order, uint64_t *ret_have, struct kf_err *err)
{
    *ret_have = 0;
    for (size_t i = 0; i < count; i++) {
        if (look_at(&parts[i], folder_fd, err) != 0)
            return -1;
        *ret_have += parts[i].have;
        if (in_order && parts[i].have < parts[i].size)
            break;
    }
    return 0;
}
