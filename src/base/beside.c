#include "base/beside.h"

#include <stddef.h>

static void *beside_main(void *arg)
{
    struct kf_beside *beside = arg;

    (void)pthread_mutex_lock(&beside->lock);
    for (;;) {
        while (!beside->work && !beside->stopping)
            (void)pthread_cond_wait(&beside->cond, &beside->lock);
        if (!beside->work)
            break;
        (void)pthread_mutex_unlock(&beside->lock);
        beside->work(beside->arg); /* only we take it away */
        (void)pthread_mutex_lock(&beside->lock);
        beside->work = NULL;
        (void)pthread_cond_broadcast(&beside->cond);
    }
    (void)pthread_mutex_unlock(&beside->lock);
    return NULL;
}

void kf_beside_init(struct kf_beside *beside)
{
    *beside = (struct kf_beside){0};
    (void)pthread_mutex_init(&beside->lock, NULL); /* these cannot fail without */
    (void)pthread_cond_init(&beside->cond, NULL);  /* attributes */
    beside->started = pthread_create(&beside->thread, NULL, beside_main, beside) == 0;
}

void kf_beside_wait(struct kf_beside *beside)
{
    (void)pthread_mutex_lock(&beside->lock);
    while (beside->work)
        (void)pthread_cond_wait(&beside->cond, &beside->lock);
    (void)pthread_mutex_unlock(&beside->lock);
}

void kf_beside_start(struct kf_beside *beside, void (*work)(void *arg), void *arg)
{
    if (!beside->started) {
        work(arg);
        return;
    }
    kf_beside_wait(beside);
    (void)pthread_mutex_lock(&beside->lock);
    beside->work = work;
    beside->arg = arg;
    (void)pthread_cond_broadcast(&beside->cond);
    (void)pthread_mutex_unlock(&beside->lock);
}

void kf_beside_fini(struct kf_beside *beside)
{
    kf_beside_wait(beside);
    (void)pthread_mutex_lock(&beside->lock);
    beside->stopping = true;
    (void)pthread_cond_broadcast(&beside->cond);
    (void)pthread_mutex_unlock(&beside->lock);
    if (beside->started)
        (void)pthread_join(beside->thread, NULL); /* ours, joined once */
    (void)pthread_cond_destroy(&beside->cond);
    (void)pthread_mutex_destroy(&beside->lock); /* nobody holds it */
}
