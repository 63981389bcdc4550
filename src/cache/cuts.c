#include "cache/cuts.h"

#include <stdlib.h>

#include "base/err.h"
#include "cache/map.h"

struct kf_cuts *kf_cuts_new(uint64_t count, struct kf_err *err)
{
    struct kf_cuts *cuts = calloc(1, sizeof(*cuts));

    if (count > KF_MAP_CHUNK_LIMIT) {
        free(cuts);
        (void)kf_fail(err, KF_E_LIMIT, "an object has more than %llu chunks",
                      (unsigned long long)KF_MAP_CHUNK_LIMIT);
        return NULL;
    }
    if (cuts) {
        cuts->refs = 1;
        cuts->count = count;
        cuts->offsets = calloc(count + 1, sizeof(*cuts->offsets));
        cuts->digests = calloc(count + 1, sizeof(*cuts->digests));
    }
    if (!cuts || !cuts->offsets || !cuts->digests) {
        kf_cuts_unref(cuts);
        (void)kf_fail(err, KF_E_NOMEM, "no memory for the chunks of an object");
        return NULL;
    }
    return cuts;
}

struct kf_cuts *kf_cuts_ref(struct kf_cuts *cuts)
{
    (void)__atomic_add_fetch(&cuts->refs, 1, __ATOMIC_RELAXED); /* the caller holds one */
    return cuts;
}

void kf_cuts_unref(struct kf_cuts *cuts)
{
    if (!cuts || __atomic_sub_fetch(&cuts->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    free(cuts->offsets);
    free(cuts->digests);
    free(cuts);
}

uint64_t kf_cuts_at(const struct kf_cuts *cuts, uint64_t offset)
{
    uint64_t low = 0, high = cuts->count;

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        if (cuts->offsets[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}
