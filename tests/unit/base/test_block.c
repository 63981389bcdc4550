#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "base/block.h"

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)

static int freed_calls;

static void freed(void *arg)
{
    freed_calls += *(int *)arg;
}

Test(block, charges_whole_pages_and_gives_them_back)
{
    struct kf_budget budget;
    struct kf_block *block;
    int one = 1;

    kf_budget_init(&budget, 3 * PAGE, freed, &one);
    block = kf_block_new(&budget, PAGE + 1, false);
    cr_assert_not_null(block);
    cr_assert_eq(block->length, PAGE + 1);
    cr_assert_eq((uintptr_t)block->data % PAGE, 0);
    memset(block->data, 1, block->length);
    cr_assert_eq(kf_budget_used(&budget), 2 * PAGE);
    kf_block_unref(block);
    cr_assert_eq(kf_budget_used(&budget), 0);
    cr_assert_eq(budget.peak_bytes, 2 * PAGE);
    cr_assert_eq(freed_calls, 1);
    kf_block_unref(NULL);
}

Test(block, the_ceiling_and_one_above)
{
    struct kf_budget budget;
    struct kf_block *first, *second;

    kf_budget_init(&budget, 2 * PAGE, NULL, NULL);
    cr_assert(kf_budget_has_room(&budget, 2 * PAGE));
    cr_assert_not(kf_budget_has_room(&budget, 2 * PAGE + 1));
    cr_assert_null(kf_block_new(&budget, 2 * PAGE + 1, false));
    first = kf_block_new(&budget, 2 * PAGE, false);
    cr_assert_not_null(first);
    cr_assert_null(kf_block_new(&budget, 1, false));
    second = kf_block_new(&budget, 1, true);
    cr_assert_not_null(second);
    cr_assert_eq(kf_budget_used(&budget), 3 * PAGE);
    cr_assert_not(kf_budget_has_room(&budget, 0));
    kf_block_unref(first);
    cr_assert(kf_budget_has_room(&budget, PAGE));
    cr_assert_not(kf_budget_has_room(&budget, PAGE + 1));
    kf_block_unref(second);
}

Test(block, impossible_lengths_are_refused)
{
    struct kf_budget budget;

    kf_budget_init(&budget, UINT64_MAX, NULL, NULL);
    cr_assert_null(kf_block_new(&budget, 0, true));
    cr_assert_null(kf_block_new(&budget, SIZE_MAX, true));
    cr_assert_eq(kf_budget_used(&budget), 0);
}

Test(block, lives_until_the_last_reference)
{
    struct kf_budget budget;
    struct kf_block *block;
    int one = 1;

    kf_budget_init(&budget, MIB, freed, &one);
    block = kf_block_new(&budget, 10, false);
    cr_assert_eq(kf_block_ref(block), block);
    kf_block_unref(block);
    cr_assert_eq(freed_calls, 0);
    block->data[9] = 1;
    kf_block_unref(block);
    cr_assert_eq(freed_calls, 1);
}

Test(block, whole_chunks_are_charged_as_such_and_used_again)
{
    enum { COUNT = 40 };
    static const uint64_t lengths[] = {MIB / 2, MIB / 2 + 1, MIB, MIB + 1};
    static const uint64_t charged[] = {MIB / 2, MIB, MIB, MIB + PAGE};
    struct kf_block *blocks[COUNT];
    struct kf_budget budget;

    kf_budget_init(&budget, UINT64_MAX, NULL, NULL);
    for (size_t i = 0; i < 4; i++) {
        blocks[0] = kf_block_new(&budget, lengths[i], false);
        cr_assert_eq(kf_budget_used(&budget), charged[i]);
        cr_assert_eq(blocks[0]->length, lengths[i]);
        kf_block_unref(blocks[0]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            blocks[i] = kf_block_new(&budget, MIB, false);
            memset(blocks[i]->data, i, MIB);
        }
        for (int i = 0; i < COUNT; i++) {
            cr_assert_eq(blocks[i]->data[0], i);
            cr_assert_eq(blocks[i]->data[MIB - 1], i);
            kf_block_unref(blocks[i]);
        }
    }
    cr_assert_eq(kf_budget_used(&budget), 0);
}

#define ROUNDS 2000

static void *take_and_give(void *arg)
{
    struct kf_budget *budget = arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct kf_block *block = kf_block_new(budget, PAGE, false);

        kf_block_unref(block);
    }
    return NULL;
}

Test(block, threads_never_pass_the_ceiling)
{
    struct kf_budget budget;
    pthread_t threads[4];

    kf_budget_init(&budget, 3 * PAGE, NULL, NULL);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_give, &budget), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(kf_budget_used(&budget), 0);
    cr_assert_leq(budget.peak_bytes, 3 * PAGE);
}
