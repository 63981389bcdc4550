#include "fs/trouble.h"

#include <stdio.h>

#include "base/clock.h"

void kf_trouble_init(struct kf_trouble *trouble)
{
    *trouble = (struct kf_trouble){.lock = PTHREAD_MUTEX_INITIALIZER};
}

void kf_trouble_fini(struct kf_trouble *trouble)
{
    (void)pthread_mutex_destroy(&trouble->lock);
}

int64_t kf_trouble_answer_at(struct kf_trouble *trouble, uint32_t node, uint64_t offset,
                             int64_t now_ns)
{
    uint64_t place = offset / KF_TROUBLE_PLACE_SIZE;
    size_t slot = (size_t)((node * UINT64_C(31) + place) % KF_TROUBLE_PLACES);
    int64_t when_ns = now_ns;

    (void)pthread_mutex_lock(&trouble->lock);
    if (trouble->places[slot].answered_ns != 0 && trouble->places[slot].node == node &&
        trouble->places[slot].place == place) {
        int64_t answered_ns = trouble->places[slot].answered_ns;

        if (answered_ns > now_ns)
            when_ns = answered_ns;
        else if (now_ns - answered_ns < KF_TROUBLE_PERIOD_NS)
            when_ns = answered_ns + KF_TROUBLE_PERIOD_NS;
    }
    trouble->places[slot].node = node;
    trouble->places[slot].place = place;
    trouble->places[slot].answered_ns = when_ns;
    (void)pthread_mutex_unlock(&trouble->lock);
    return when_ns;
}

void kf_trouble_record(struct kf_trouble *trouble, const char *path,
                       const struct kf_err *err)
{
    (void)pthread_mutex_lock(&trouble->lock);
    trouble->last.when_s = kf_wall_s();
    trouble->last.when_ns = kf_now_ns();
    trouble->last.err = *err;
    (void)snprintf(trouble->last.path, sizeof(trouble->last.path), "%s",
                   path); /* cut is fine */
    (void)pthread_mutex_unlock(&trouble->lock);
}

bool kf_trouble_last(struct kf_trouble *trouble, struct kf_trouble_last *ret)
{
    bool any;

    (void)pthread_mutex_lock(&trouble->lock);
    any = trouble->last.err.kind != KF_E_NONE;
    if (any)
        *ret = trouble->last;
    (void)pthread_mutex_unlock(&trouble->lock);
    return any;
}
