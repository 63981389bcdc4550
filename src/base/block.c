#include "base/block.h"

#include <stdlib.h>

#define PAGE 4096u

void kf_budget_init(struct kf_budget *budget, uint64_t limit_bytes, void (*freed)(void *),
                    void *arg)
{
    *budget = (struct kf_budget){.limit_bytes = limit_bytes, .freed = freed, .arg = arg};
}

uint64_t kf_budget_used(const struct kf_budget *budget)
{
    return __atomic_load_n(&budget->used_bytes, __ATOMIC_RELAXED);
}

bool kf_budget_has_room(const struct kf_budget *budget, uint64_t bytes)
{
    uint64_t used = kf_budget_used(budget);

    return used <= budget->limit_bytes && bytes <= budget->limit_bytes - used;
}

static void note_peak(struct kf_budget *budget, uint64_t used)
{
    uint64_t peak = __atomic_load_n(&budget->peak_bytes, __ATOMIC_RELAXED);

    while (used > peak &&
           !__atomic_compare_exchange_n(&budget->peak_bytes, &peak, used, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static bool take(struct kf_budget *budget, uint64_t bytes, bool forced)
{
    uint64_t used = __atomic_add_fetch(&budget->used_bytes, bytes, __ATOMIC_RELAXED);

    if (used > budget->limit_bytes && !forced) {
        (void)__atomic_sub_fetch(&budget->used_bytes, bytes, __ATOMIC_RELAXED);
        return false;
    }
    note_peak(budget, used);
    return true;
}

static void give(struct kf_budget *budget, uint64_t bytes)
{
    (void)__atomic_sub_fetch(&budget->used_bytes, bytes, __ATOMIC_RELAXED);
    if (budget->freed)
        budget->freed(budget->arg);
}

struct kf_block *kf_block_new(struct kf_budget *budget, size_t length, bool forced)
{
    size_t capacity = (length + PAGE - 1) / PAGE * PAGE;
    struct kf_block *block;
    void *data = NULL;

    if (capacity < length || !take(budget, capacity, forced))
        return NULL;
    block = calloc(1, sizeof(*block));
    if (!block || posix_memalign(&data, PAGE, capacity ? capacity : PAGE) != 0) {
        free(block);
        give(budget, capacity);
        return NULL;
    }
    *block = (struct kf_block){.data = data,
                               .length = length,
                               .budget = budget,
                               .capacity = capacity,
                               .refs = 1};
    return block;
}

struct kf_block *kf_block_ref(struct kf_block *block)
{
    (void)__atomic_add_fetch(&block->refs, 1,
                             __ATOMIC_RELAXED); /* the caller holds one */
    return block;
}

void kf_block_unref(struct kf_block *block)
{
    struct kf_budget *budget;
    size_t capacity;

    if (!block || __atomic_sub_fetch(&block->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    budget = block->budget;
    capacity = block->capacity;
    free(block->data);
    free(block);
    give(budget, capacity);
}
