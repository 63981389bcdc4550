#include "fetch/plan.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "base/workq.h"

#define MIB (UINT64_C(1) << 20)

/* Chunks of 1 MiB that lie in the source as in the object. */
static struct kf_plan_chunk plain(uint64_t number, enum kf_urgency urgency)
{
    return (struct kf_plan_chunk){number, number * MIB, (uint32_t)MIB, (uint8_t)urgency};
}

static void expect(const struct kf_plan_chunk *chunks, size_t count, size_t seed,
                   uint64_t max_bytes, size_t first, size_t taken)
{
    struct kf_plan_range range = kf_plan_range(chunks, count, seed, max_bytes);
    uint64_t length = 0;

    cr_assert_eq(range.first, first, "first %zu, not %zu", range.first, first);
    cr_assert_eq(range.count, taken, "count %zu, not %zu", range.count, taken);
    for (size_t i = first; i < first + taken; i++)
        length += chunks[i].stored_length;
    cr_assert_eq(range.offset, chunks[first].stored_offset);
    cr_assert_eq(range.length, length);
}

Test(plan, one_chunk_alone)
{
    struct kf_plan_chunk chunks[] = {plain(7, KF_DEMAND)};

    expect(chunks, 1, 0, 8 * MIB, 0, 1);
}

Test(plan, a_chunk_longer_than_the_limit_goes_alone)
{
    struct kf_plan_chunk chunks[] = {plain(6, KF_DEMAND), plain(7, KF_DEMAND),
                                     plain(8, KF_DEMAND)};

    expect(chunks, 3, 1, MIB - 1, 1, 1);
}

Test(plan, merges_up_to_the_limit_and_not_beyond)
{
    struct kf_plan_chunk chunks[10];

    for (size_t i = 0; i < 10; i++)
        chunks[i] = plain(i, KF_READAHEAD);
    expect(chunks, 10, 0, 8 * MIB, 0, 8);
    expect(chunks, 10, 0, 8 * MIB - 1, 0, 7);
    expect(chunks, 10, 0, 10 * MIB, 0, 10);
}

Test(plan, grows_forward_first_then_backward)
{
    struct kf_plan_chunk chunks[10];

    for (size_t i = 0; i < 10; i++)
        chunks[i] = plain(i, KF_READAHEAD);
    expect(chunks, 10, 3, 4 * MIB, 3, 4);
    expect(chunks, 10, 8, 4 * MIB, 6, 4);
    expect(chunks, 10, 9, 20 * MIB, 0, 10);
}

Test(plan, a_hole_in_the_numbers_ends_it)
{
    struct kf_plan_chunk chunks[] = {plain(1, KF_DEMAND), plain(3, KF_DEMAND),
                                     plain(4, KF_DEMAND), plain(6, KF_DEMAND)};

    expect(chunks, 4, 1, 8 * MIB, 1, 2);
    expect(chunks, 4, 2, 8 * MIB, 1, 2);
}

Test(plan, a_hole_in_the_source_ends_it)
{
    struct kf_plan_chunk chunks[] = {plain(1, KF_DEMAND), plain(2, KF_DEMAND),
                                     plain(3, KF_DEMAND), plain(4, KF_DEMAND)};

    chunks[2].stored_offset++;
    chunks[3].stored_offset++;
    expect(chunks, 4, 0, 8 * MIB, 0, 2);
    expect(chunks, 4, 3, 8 * MIB, 2, 2);
}

Test(plan, chunks_out_of_order_in_the_source_are_not_joined)
{
    struct kf_plan_chunk chunks[] = {plain(1, KF_DEMAND), plain(2, KF_DEMAND)};

    chunks[0].stored_offset = 5 * MIB;
    chunks[1].stored_offset = 4 * MIB;
    expect(chunks, 2, 0, 8 * MIB, 0, 1);
}

Test(plan, ends_of_the_number_space_do_not_wrap)
{
    struct kf_plan_chunk chunks[] = {{UINT64_MAX, 10, 10, KF_DEMAND},
                                     {0, 20, 10, KF_DEMAND}};
    struct kf_plan_chunk far[] = {{1, UINT64_MAX - 9, 10, KF_DEMAND},
                                  {2, 0, 10, KF_DEMAND}};

    expect(chunks, 2, 0, MIB, 0, 1);
    expect(far, 2, 0, MIB, 0, 1);
}

Test(plan, demand_takes_readahead_after_it_but_not_prefetch)
{
    struct kf_plan_chunk chunks[] = {plain(0, KF_READAHEAD), plain(1, KF_DEMAND),
                                     plain(2, KF_READAHEAD), plain(3, KF_PREFETCH)};

    expect(chunks, 4, 1, 8 * MIB, 1, 2);
}

Test(plan, readahead_takes_prefetch_after_it_and_nothing_less_urgent_before)
{
    struct kf_plan_chunk chunks[] = {plain(0, KF_PREFETCH), plain(1, KF_READAHEAD),
                                     plain(2, KF_PREFETCH), plain(3, KF_READAHEAD)};

    expect(chunks, 4, 1, 8 * MIB, 1, 3);
}

/* ---- against the definition, by trying everything ---- */

static bool valid(const struct kf_plan_chunk *chunks, size_t first, size_t last,
                  size_t seed, uint64_t max_bytes)
{
    uint64_t length = 0;

    for (size_t i = first; i <= last; i++) {
        length += chunks[i].stored_length;
        if (i > first && (chunks[i].number != chunks[i - 1].number + 1 ||
                          chunks[i].stored_offset !=
                              chunks[i - 1].stored_offset + chunks[i - 1].stored_length))
            return false;
        if (i < seed && chunks[i].urgency != chunks[seed].urgency)
            return false;
        if (i > seed && chunks[i].urgency != chunks[seed].urgency &&
            chunks[i].urgency != chunks[seed].urgency + 1)
            return false;
    }
    return first == last || length <= max_bytes;
}

static size_t random_chunks(struct kf_plan_chunk *chunks, size_t capacity)
{
    size_t count = 1 + (size_t)random() % capacity;
    uint64_t number = (uint64_t)random() % 100, offset = (uint64_t)random() % 1000;

    for (size_t i = 0; i < count; i++) {
        uint32_t length = 1 + (uint32_t)random() % 50;

        chunks[i] = (struct kf_plan_chunk){number, offset, length,
                                           (uint8_t)(random() % 5 ? 1 : random() % 3)};
        number += random() % 12 ? 1 : 2;
        offset += length + (random() % 12 ? 0 : (uint64_t)random() % 3);
    }
    return count;
}

Test(plan, random_sets_against_a_naive_search)
{
    unsigned seed_value = (unsigned)time(NULL);
    struct kf_plan_chunk chunks[16];

    fprintf(stderr, "plan: seed %u\n", seed_value);
    srandom(seed_value);
    for (int round = 0; round < 20000; round++) {
        size_t count = random_chunks(chunks, KF_ARRAY_LEN(chunks));
        size_t seed = (size_t)random() % count, last = seed, first = seed;
        uint64_t max_bytes = (uint64_t)random() % 300;

        for (size_t i = seed; i < count; i++)
            if (valid(chunks, seed, i, seed, max_bytes))
                last = i;
        for (size_t i = 0; i <= seed; i++) {
            if (valid(chunks, i, last, seed, max_bytes)) {
                first = i;
                break;
            }
        }
        expect(chunks, count, seed, max_bytes, first, last - first + 1);
    }
}
