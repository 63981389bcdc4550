#include "fetch/plan.h"

#include <assert.h>
#include <stdbool.h>

#include "base/mem.h"

/* Whether `b` follows `a` without a hole, by number and in the source. */
static bool adjoins(const struct kf_plan_chunk *a, const struct kf_plan_chunk *b)
{
    uint64_t end;

    return a->number != UINT64_MAX && b->number == a->number + 1 &&
           kf_add_u64(a->stored_offset, a->stored_length, &end) &&
           b->stored_offset == end;
}

static bool fits(const struct kf_plan_range *range, const struct kf_plan_chunk *chunk,
                 uint64_t max_bytes)
{
    uint64_t length;

    return kf_add_u64(range->length, chunk->stored_length, &length) &&
           length <= max_bytes;
}

struct kf_plan_range kf_plan_range(const struct kf_plan_chunk *chunks, size_t count,
                                   size_t seed, uint64_t max_bytes)
{
    uint8_t urgency;
    struct kf_plan_range range;

    assert(seed < count);
    urgency = chunks[seed].urgency;
    range = (struct kf_plan_range){seed, 1, chunks[seed].stored_offset,
                                   chunks[seed].stored_length};
    for (size_t i = seed + 1; i < count; i++) {
        const struct kf_plan_chunk *chunk = &chunks[i];

        if (chunk->urgency < urgency || chunk->urgency > urgency + 1 ||
            !adjoins(chunk - 1, chunk) || !fits(&range, chunk, max_bytes))
            break;
        range.count++;
        range.length += chunk->stored_length;
    }
    while (range.first > 0) {
        const struct kf_plan_chunk *chunk = &chunks[range.first - 1];

        if (chunk->urgency != urgency || !adjoins(chunk, chunk + 1) ||
            !fits(&range, chunk, max_bytes))
            break;
        range.first--;
        range.count++;
        range.offset = chunk->stored_offset;
        range.length += chunk->stored_length;
    }
    return range;
}
