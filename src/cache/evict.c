#include "cache/evict.h"

#include <stdlib.h>

#include "base/mem.h"

static uint64_t excess(uint64_t have, uint64_t wanted, uint64_t ceiling)
{
    uint64_t sum;

    if (!kf_add_u64(have, wanted, &sum))
        sum = UINT64_MAX;
    return sum > ceiling ? sum - ceiling : 0;
}

uint64_t kf_evict_need(const struct kf_evict_state *state, uint64_t wanted_bytes)
{
    uint64_t over_limit = excess(state->used_bytes, wanted_bytes, state->limit_bytes);
    uint64_t over_free = excess(state->min_free_bytes, wanted_bytes, state->free_bytes);

    return kf_max_u64(over_limit, state->min_free_bytes ? over_free : 0);
}

static int compare(const void *a, const void *b)
{
    const struct kf_evict_candidate *x = a, *y = b;

    if (x->last_used_ns != y->last_used_ns)
        return x->last_used_ns < y->last_used_ns ? -1 : 1;
    return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

void kf_evict_order(struct kf_evict_candidate *candidates, size_t count)
{
    if (count > 1)
        qsort(candidates, count, sizeof(*candidates), compare);
}
