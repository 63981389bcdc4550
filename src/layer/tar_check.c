#include "layer/tar_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "layer/tar_decode.h"
#include "layer/tar_push.h"

struct kf_tar_check {
    const struct kf_table *expected;
    bool *seen; /* by entry of `expected` */
    uint32_t seen_count;
    struct kf_tar_decoder decoder;
    bool at_end;
    struct kf_tar_push push;
};

static int look(void *arg, const uint8_t *window, uint64_t offset, size_t length,
                uint64_t *ret_offset, uint64_t *ret_length, struct kf_err *err)
{
    return kf_tar_check_look(arg, window, offset, length, ret_offset, ret_length, err);
}

struct kf_tar_check *kf_tar_check_new(const struct kf_table *expected,
                                      uint64_t stream_size, struct kf_err *err)
{
    struct kf_tar_check *check = calloc(1, sizeof(*check));

    if (check)
        check->seen = calloc((size_t)expected->count + 1, sizeof(*check->seen));
    if (!check || !check->seen) {
        free(check);
        (void)kf_fail(err, KF_E_NOMEM, "no memory to check an archive");
        return NULL;
    }
    check->expected = expected;
    kf_tar_decoder_init(&check->decoder, stream_size);
    kf_tar_push_init(&check->push, look, check);
    return check;
}

void kf_tar_check_free(struct kf_tar_check *check)
{
    if (!check)
        return;
    kf_tar_decoder_fini(&check->decoder);
    free(check->seen);
    kf_tar_push_fini(&check->push);
    free(check);
}

/* By name; the table's count when there is none. */
static uint32_t find(const struct kf_table *table, const char *name, size_t length)
{
    uint32_t low = 0, high = table->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t other_length;
        const char *other = kf_table_name(table, middle, &other_length);
        int order = memcmp(other, name, length < other_length ? length : other_length);

        if (order == 0)
            order = (other_length > length) - (other_length < length);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return table->count;
}

static bool is_same(const struct kf_table_entry *a, const struct kf_table_entry *b)
{
    if (a->type != b->type || a->mode != b->mode || a->mtime != b->mtime ||
        a->size != b->size)
        return false;
    return a->type == KF_TYPE_DIR || a->offset == b->offset;
}

static int check_entry(void *arg, const struct kf_tar_result *found, struct kf_err *err)
{
    struct kf_tar_check *check = arg;
    const char *name = found->name;
    size_t length = found->name_length;
    char text[KF_NAME_TEXT_SIZE];
    uint32_t entry;

    if (kf_name_check(&name, &length, err) != 0)
        return -1;
    entry = find(check->expected, name, length);
    (void)kf_name_text(text, name, length);
    if (entry == check->expected->count)
        return kf_fail(err, KF_E_CORRUPT,
                       "the archive holds '%s', which its table of contents does not",
                       text);
    if (check->seen[entry])
        return kf_fail(err, KF_E_CORRUPT, "the archive holds '%s' twice", text);
    if (!is_same(&check->expected->entries[entry], &found->entry))
        return kf_fail(err, KF_E_CORRUPT,
                       "the archive and its table of contents say different things about "
                       "'%s'",
                       text);
    check->seen[entry] = true;
    check->seen_count++;
    return 0;
}

int kf_tar_check_look(struct kf_tar_check *check, const uint8_t *window, uint64_t offset,
                      size_t length, uint64_t *ret_offset, uint64_t *ret_length,
                      struct kf_err *err)
{
    struct kf_tar_result found;
    int rc = kf_tar_entries(&check->decoder, window, offset, length, check_entry, check,
                            &found, err);

    check->at_end = rc == 0;
    *ret_offset = found.need_offset;
    *ret_length = found.need_length;
    return rc;
}

int kf_tar_check_push(struct kf_tar_check *check, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    return kf_tar_push(&check->push, data, length, err);
}

int kf_tar_check_end(struct kf_tar_check *check, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE];
    const char *name;
    size_t length;

    if (!check->at_end && check->push.position > 0) /* pushed, and not to its end */
        return kf_fail(err, KF_E_CORRUPT, "the archive ends in an entry");
    if (check->seen_count == check->expected->count)
        return 0;
    for (uint32_t i = 0; i < check->expected->count; i++) {
        if (check->seen[i])
            continue;
        name = kf_table_name(check->expected, i, &length);
        return kf_fail(err, KF_E_CORRUPT,
                       "the archive lacks '%s' of its table of contents",
                       kf_name_text(text, name, length));
    }
    return 0;
}
