#include "kit/warm.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/source.h"
#include "kit/layers.h"
#include "kit/pair.h"
#include "layer/toc_open.h"
#include "oci/manifest.h"

#define TIMEOUT_NS (3 * KF_NS_PER_S)

struct warming {
    const struct kf_layers_from *from;
    const struct kf_pair *pairs;
    size_t count;
    size_t next; /* atomic */
};

static void warm_one(const struct kf_layers_from *from, const struct kf_pair *pair)
{
    const struct kf_desc *desc = pair->toc_desc ? pair->toc_desc : pair->desc;
    struct kf_source *source = kf_layers_source(from, desc, NULL);
    const struct kf_toc_from toc_from = {.link = &pair->toc,
                                         .source = source,
                                         .blob_size = pair->desc->size,
                                         .store = from->store,
                                         .fetch = from->fetch,
                                         .timeout_ns = TIMEOUT_NS};
    struct kf_opened_toc opened;

    if (source && kf_toc_open(&opened, &toc_from, NULL) == 0)
        kf_opened_toc_fini(&opened);
    kf_source_close(source);
}

static void *warm_some(void *arg)
{
    struct warming *warming = arg;
    size_t index;

    while ((index = __atomic_fetch_add(&warming->next, 1, __ATOMIC_RELAXED)) <
           warming->count)
        if (warming->pairs[index].has_toc)
            warm_one(warming->from, &warming->pairs[index]);
    return NULL;
}

void kf_warm_tocs(const struct kf_manifest *manifest, const struct kf_filter *filter,
                  const struct kf_layers_from *from)
{
    const struct kf_pair_from pair_from = {
        .manifest = manifest, .filter = filter, .is_early = true};
    kf_auto(kf_free) struct kf_pair *pairs = NULL;
    struct warming warming = {.from = from};
    pthread_t helpers[KF_LAYERS_AT_ONCE - 1];
    size_t started = 0;

    if (!from->store || !from->origin ||
        kf_pair_layers(&pairs, &warming.count, &pair_from, NULL) != 0)
        return;
    warming.pairs = pairs;
    while (started + 1 < warming.count && started < KF_ARRAY_LEN(helpers) &&
           pthread_create(&helpers[started], NULL, warm_some, &warming) == 0)
        started++;
    (void)warm_some(&warming);
    for (size_t i = 0; i < started; i++)
        (void)pthread_join(helpers[i], NULL); /* cannot fail: ours, joined once */
}
