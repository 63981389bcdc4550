#include "layer/tar_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "layer/table.h"
#include "layer/tar_decode.h"

struct kf_tar_check {
    const struct kf_table *expected;
    bool *seen; /* by entry of `expected` */
    uint32_t seen_count;
    struct kf_tar_decoder decoder;
    bool at_end;
    uint64_t position; /* of the next byte that is pushed */
    /* What the decoder wants, and as much of it as is here. */
    uint64_t need_offset, need_length;
    uint8_t *window;
    size_t have, capacity;
};

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
    return check;
}

void kf_tar_check_free(struct kf_tar_check *check)
{
    if (!check)
        return;
    kf_tar_decoder_fini(&check->decoder);
    free(check->seen);
    free(check->window);
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

static int check_entry(struct kf_tar_check *check, const struct kf_tar_result *found,
                       struct kf_err *err)
{
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
    for (;;) {
        struct kf_tar_result found = {0};

        switch (kf_tar_next(&check->decoder, window, offset, length, &found, err)) {
        case KF_TAR_END:
            check->at_end = true;
            return 0;
        case KF_TAR_NEED:
            *ret_offset = found.need_offset;
            *ret_length = found.need_length;
            return 1;
        case KF_TAR_ENTRY:
            if (check_entry(check, &found, err) != 0)
                return -1;
            break;
        case KF_TAR_ERROR:
            return -1;
        }
    }
}

static int reserve(struct kf_tar_check *check, struct kf_err *err)
{
    uint8_t *grown;

    if (check->need_length <= check->capacity)
        return 0;
    grown = realloc(check->window, check->need_length);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory to check an archive");
    check->window = grown;
    check->capacity = check->need_length;
    return 0;
}

/* A window begins where the one before was asked for, or later: what it needs of bytes
 * that have passed is still in the old one. */
static int want(struct kf_tar_check *check, struct kf_err *err)
{
    uint64_t offset = check->need_offset;
    size_t have = check->have;

    if (kf_tar_check_look(check, check->window, offset, have, &check->need_offset,
                          &check->need_length, err) < 0)
        return -1;
    check->have = 0;
    if (check->at_end)
        return 0;
    if (check->need_offset < check->position &&
        (check->need_offset < offset || check->position != offset + have))
        return kf_fail(err, KF_E_MALFORMED, "the archive is read backwards");
    if (reserve(check, err) != 0)
        return -1;
    if (check->need_offset < check->position) {
        check->have = (size_t)(check->position - check->need_offset);
        memmove(check->window, check->window + (check->need_offset - offset),
                check->have);
    }
    return 0;
}

int kf_tar_check_push(struct kf_tar_check *check, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    if (check->position == 0 && check->need_length == 0 && want(check, err) != 0)
        return -1;
    while (length > 0 && !check->at_end) {
        uint64_t wanted = check->need_offset + check->have, part;

        if (check->position < wanted) {
            part = kf_min_u64(length, wanted - check->position);
        } else {
            part = kf_min_u64(length, check->need_length - check->have);
            memcpy(check->window + check->have, data, part);
            check->have += part;
        }
        data += part;
        length -= part;
        check->position += part;
        if (check->have == check->need_length && want(check, err) != 0)
            return -1;
    }
    check->position += length;
    return 0;
}

int kf_tar_check_end(struct kf_tar_check *check, struct kf_err *err)
{
    char text[KF_NAME_TEXT_SIZE];
    const char *name;
    size_t length;

    if (!check->at_end && check->position > 0) /* pushed, and not to its end */
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
