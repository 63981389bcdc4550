#include "layer/tar_push.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

void kf_tar_push_init(struct kf_tar_push *push, kf_tar_look *look, void *arg)
{
    *push = (struct kf_tar_push){.look = look, .arg = arg};
}

void kf_tar_push_fini(struct kf_tar_push *push)
{
    free(push->window);
    push->window = NULL;
}

static int reserve(struct kf_tar_push *push, struct kf_err *err)
{
    uint8_t *grown;

    if (push->need_length <= push->capacity)
        return 0;
    grown = realloc(push->window, push->need_length);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory to read an archive");
    push->window = grown;
    push->capacity = push->need_length;
    return 0;
}

/* A window begins where the one before was asked for, or later: what it needs of bytes
 * that have passed is still in the old one. */
static int want(struct kf_tar_push *push, struct kf_err *err)
{
    uint64_t offset = push->need_offset;
    size_t have = push->have;
    int rc = push->look(push->arg, push->window, offset, have, &push->need_offset,
                        &push->need_length, err);

    if (rc < 0)
        return -1;
    push->have = 0;
    push->at_end = rc == 0;
    if (push->at_end)
        return 0;
    if (push->need_offset < push->position &&
        (push->need_offset < offset || push->position != offset + have))
        return kf_fail(err, KF_E_MALFORMED, "the archive is read backwards");
    if (reserve(push, err) != 0)
        return -1;
    if (push->need_offset < push->position) {
        push->have = (size_t)(push->position - push->need_offset);
        memmove(push->window, push->window + (push->need_offset - offset), push->have);
    }
    return 0;
}

int kf_tar_push(struct kf_tar_push *push, const uint8_t *data, size_t length,
                struct kf_err *err)
{
    if (push->position == 0 && push->need_length == 0 && want(push, err) != 0)
        return -1;
    while (length > 0 && !push->at_end) {
        uint64_t wanted = push->need_offset + push->have, part;

        if (push->position < wanted) {
            part = kf_min_u64(length, wanted - push->position);
        } else {
            part = kf_min_u64(length, push->need_length - push->have);
            memcpy(push->window + push->have, data, part);
            push->have += part;
        }
        data += part;
        length -= part;
        push->position += part;
        if (push->have == push->need_length && want(push, err) != 0)
            return -1;
    }
    push->position += length;
    return 0;
}
