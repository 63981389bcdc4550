#include "fetch/feed.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/stats.h"
#include "fetch/flight.h"

#define WORD_BITS 64

int kf_feed_new(struct kf_feed **ret, struct kf_fetch *fetch, struct kf_source *source,
                struct kf_object *object, const struct kf_feed_ops *ops, void *arg,
                struct kf_err *err)
{
    uint64_t chunk_count = kf_object_chunk_count(object);
    struct kf_feed *feed = calloc(1, sizeof(*feed));
    uint64_t *needed = calloc(chunk_count / WORD_BITS + 1, sizeof(*needed));

    if (!feed || !needed) {
        free(feed);
        free(needed);
        return kf_fail(err, KF_E_NOMEM, "no memory for a feed of '%s'", source->name);
    }
    *feed = (struct kf_feed){.refs = 1,
                             .fetch = kf_fetch_ref(fetch),
                             .source = kf_source_ref(source),
                             .object = kf_object_ref(object),
                             .ops = ops,
                             .arg = arg,
                             .size = kf_object_size(object),
                             .chunk_count = chunk_count,
                             .needed = needed};
    *ret = feed;
    return 0;
}

struct kf_feed *kf_feed_ref(struct kf_feed *feed)
{
    (void)__atomic_add_fetch(&feed->refs, 1, __ATOMIC_RELAXED); /* the caller holds one */
    return feed;
}

void kf_feed_unref(struct kf_feed *feed)
{
    if (!feed || __atomic_sub_fetch(&feed->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (feed->ops->destroy)
        feed->ops->destroy(feed->arg);
    kf_object_unref(feed->object);
    kf_source_close(feed->source);
    kf_fetch_unref(feed->fetch);
    free(feed->needed);
    free(feed);
}

struct kf_object *kf_feed_object(struct kf_feed *feed)
{
    return feed->object;
}

void kf_feed_note_needed(struct kf_feed *feed, uint64_t offset, size_t length)
{
    uint64_t last = kf_object_chunk_at(feed->object, offset + length - 1);

    for (uint64_t chunk = kf_object_chunk_at(feed->object, offset); chunk <= last;
         chunk++) {
        uint64_t *word = &feed->needed[chunk / WORD_BITS];
        uint64_t bit = UINT64_C(1) << (chunk % WORD_BITS);

        /* Almost always known already: then nothing is written, and no cache line moves.
         */
        if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit)
            continue;
        if (!(__atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit))
            kf_stats_add(feed->fetch->opts.stats, KF_STAT_NEEDED_BYTES,
                         kf_object_chunk_length(feed->object, chunk));
    }
}
