#include "layer/gather.h"

#include <string.h>

#include "base/mem.h"

#define PART_BYTES (UINT64_C(1) << 20)
#define WANTED_CHUNKS 1024u /* of a stretch; several requests */

/* A part may be answered before the call that started it returns, or on another thread:
 * whoever comes second goes on, so that the stack does not grow with the parts. */
enum { PHASE_READING, PHASE_RETURNED, PHASE_ANSWERED };

static void part_done(struct kf_read *part, const void *data, const struct kf_err *err);

static void next_part(struct kf_gather *gather)
{
    const struct kf_object *object = kf_feed_object(gather->feed);
    uint64_t at = gather->offset + gather->have, end = gather->offset + gather->length;
    uint64_t first = kf_object_chunk_at(object, at);
    uint64_t left = kf_object_chunk_at(object, end - 1) - first + 1;

    if (left > KF_READ_CHUNKS) {
        end = kf_object_chunk_offset(object, first + KF_READ_CHUNKS);
        if (first >= gather->wanted) {
            gather->wanted = first + kf_min_u64(left, WANTED_CHUNKS);
            kf_feed_want(gather->feed, first, gather->wanted - first, gather->urgency);
        }
    }
    /* The rest is as the part before left it: cancelled is cancelled, and the deadline is
     * that of all. */
    gather->part.offset = at;
    gather->part.length = (size_t)kf_min_u64(end - at, PART_BYTES);
}

/* True: the part has ended; false: `part_done` goes on. */
static bool read_part(struct kf_gather *gather)
{
    next_part(gather);
    __atomic_store_n(&gather->phase, PHASE_READING, __ATOMIC_RELEASE);
    kf_feed_read(gather->feed, &gather->part);
    return __atomic_exchange_n(&gather->phase, PHASE_RETURNED, __ATOMIC_ACQ_REL) ==
           PHASE_ANSWERED;
}

static bool go_on(struct kf_gather *gather)
{
    while (!gather->failed && gather->have < gather->length) {
        if (!read_part(gather))
            return false;
    }
    return true;
}

static void part_done(struct kf_read *part, const void *data, const struct kf_err *err)
{
    struct kf_gather *gather = kf_container_of(part, struct kf_gather, part);

    if (data) {
        memcpy(gather->bytes + gather->have, data, part->length);
        gather->have += part->length;
    } else {
        gather->failed = true;
        gather->error = *err;
    }
    if (__atomic_exchange_n(&gather->phase, PHASE_ANSWERED, __ATOMIC_ACQ_REL) ==
            PHASE_RETURNED &&
        go_on(gather))
        gather->done(gather);
}

bool kf_gather_start(struct kf_gather *gather)
{
    gather->part.deadline_ns = gather->deadline_ns;
    gather->part.urgency = gather->urgency;
    gather->part.done = part_done;
    return go_on(gather);
}

void kf_gather_cancel(struct kf_gather *gather)
{
    kf_feed_cancel(gather->feed, &gather->part);
}
