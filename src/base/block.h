/*
 * A counted block of memory charged to a budget: the bytes of a chunk on their way from
 * the network to readers and to the cache. Reference counting is atomic; the bytes are
 * written by one owner before the block is shared and immutable afterwards.
 *
 * A budget is a number of bytes; taking never blocks, it fails when the ceiling would be
 * passed. `forced` takes go through whatever the level (a reply that was admitted must
 * finish). When bytes return, `freed` (may be NULL) is called on the releasing thread,
 * which therefore holds no lock that `freed` takes. A budget outlives its blocks.
 */
#ifndef KF_BASE_BLOCK_H
#define KF_BASE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_budget {
    uint64_t limit_bytes;
    uint64_t used_bytes; /* atomic */
    uint64_t peak_bytes; /* atomic */
    void (*freed)(void *arg);
    void *arg;
};

void kf_budget_init(struct kf_budget *budget, uint64_t limit_bytes, void (*freed)(void *),
                    void *arg);
uint64_t kf_budget_used(const struct kf_budget *budget);
bool kf_budget_has_room(const struct kf_budget *budget, uint64_t bytes);

struct kf_block {
    uint8_t *data; /* page aligned */
    size_t length;
    /* private */
    struct kf_budget *budget;
    size_t capacity;
    int refs;
};

/* One reference, or NULL: no memory, length 0, or over the budget and not forced. Charged
 * by whole pages, and more than 512 KiB up to 1 MiB as 1 MiB. The bytes are not set. */
struct kf_block *kf_block_new(struct kf_budget *budget, size_t length, bool forced);
struct kf_block *kf_block_ref(struct kf_block *block);
void kf_block_unref(struct kf_block *block); /* NULL is fine */

#endif
