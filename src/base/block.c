#include "base/block.h"

#include <pthread.h>
#include <stdlib.h>
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)0)
#endif

#define PAGE 4096u

/* Memory of whole chunks goes round and round. The allocator would give it back to the
 * kernel and have it zeroed again page by page: 0.5 s of processor time for 1 GB,
 * measured. So a few pieces of this one size are kept, for all budgets. */
#define SLAB_BYTES ((size_t)1 << 20)
#define SLAB_WORTH ((size_t)512 << 10) /* smaller blocks are not rounded up to a slab */
#define SLABS_KEPT 16u

static struct {
    pthread_mutex_t lock;
    void *free[SLABS_KEPT];
    unsigned count;
} slabs = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t capacity_for(size_t length)
{
    if (length > SLAB_WORTH && length <= SLAB_BYTES)
        return SLAB_BYTES;
    return (length + PAGE - 1) / PAGE * PAGE; /* 0 when that overflows */
}

static void *memory_new(size_t capacity)
{
    void *memory = NULL;

    if (capacity == SLAB_BYTES) {
        (void)pthread_mutex_lock(&slabs.lock);
        if (slabs.count > 0)
            memory = slabs.free[--slabs.count];
        (void)pthread_mutex_unlock(&slabs.lock);
    }
    if (memory)
        ASAN_UNPOISON_MEMORY_REGION(memory, capacity);
    else if (posix_memalign(&memory, PAGE, capacity) != 0)
        return NULL;
    return memory;
}

static void memory_free(void *memory, size_t capacity)
{
    if (memory && capacity == SLAB_BYTES) {
        (void)pthread_mutex_lock(&slabs.lock);
        if (slabs.count < SLABS_KEPT) {
            ASAN_POISON_MEMORY_REGION(memory, capacity); /* nobody's until taken again */
            slabs.free[slabs.count++] = memory;
            memory = NULL;
        }
        (void)pthread_mutex_unlock(&slabs.lock);
    }
    free(memory);
}

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

/* Compare and exchange, so that a take that fails never makes another one fail. */
static bool take(struct kf_budget *budget, uint64_t bytes, bool forced)
{
    uint64_t used = kf_budget_used(budget);

    do {
        if (!forced && (used > budget->limit_bytes || bytes > budget->limit_bytes - used))
            return false;
    } while (!__atomic_compare_exchange_n(&budget->used_bytes, &used, used + bytes, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    note_peak(budget, used + bytes);
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
    size_t capacity = capacity_for(length);
    struct kf_block *block;
    void *data;

    if (capacity == 0 || capacity < length ||
        (!forced && !kf_budget_has_room(budget, capacity)))
        return NULL;
    block = calloc(1, sizeof(*block));
    data = block ? memory_new(capacity) : NULL;
    /* Taken last: nothing has to be given back, so `freed` never runs on this path, where
     * the caller may hold the lock that it takes. */
    if (!data || !take(budget, capacity, forced)) {
        memory_free(data, capacity);
        free(block);
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
    memory_free(block->data, capacity);
    free(block);
    give(budget, capacity);
}
