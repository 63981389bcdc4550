#include "cache/syncer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "cache/private.h"

#define SYNC_SLICE (UINT64_C(64) << 20)

static bool stopped(const bool *stopping)
{
    return __atomic_load_n(stopping, __ATOMIC_RELAXED);
}

/* sync_file_range: only these mean that data was lost, others that it cannot do it here.
 */
static bool is_loss(int os_errno)
{
    return os_errno == EIO || os_errno == ENOSPC || os_errno == EDQUOT;
}

/* The kernel tells of lost pages once, and not which ones. */
static void drop_all(struct kf_object *object, int os_errno)
{
    static struct kf_log_rate rate;
    uint32_t dropped;

    for (uint64_t chunk = 0; chunk < object->shape.chunk_count; chunk++)
        kf_object_drop(object, chunk);
    kf_stats_add(object->stats, KF_STAT_CACHE_DAMAGED, 1);
    if (kf_log_allowed(&rate, 1, 60 * KF_NS_PER_S, &dropped))
        kf_log(KF_LOG_ERROR, "cache", "event=lost_writes object=%s errno=%d left_out=%u",
               object->spec.name, os_errno, dropped);
}

/* A range that holds no page waits for none, and still reports the file's errors. */
bool kf_object_check_disk(struct kf_object *object)
{
    if (sync_file_range(object->files.data_fd, (off_t)object->spec.size, 1,
                        SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ||
        !is_loss(errno))
        return true;
    drop_all(object, errno);
    return false;
}

/* Slice by slice, so that stopping never waits for a whole model; where the file system
 * cannot do that, the fdatasync at the end does all the work. 1: stopped. */
static int sync_files(const struct kf_object *object, const bool *stopping)
{
    const unsigned flags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int data_fd = object->files.data_fd;

    for (uint64_t at = 0; at < object->spec.size; at += SYNC_SLICE) {
        if (stopped(stopping))
            return 1;
        if (sync_file_range(data_fd, (off_t)at, (off_t)SYNC_SLICE, flags) != 0 &&
            is_loss(errno))
            return -1;
    }
    return fdatasync(data_fd) != 0 || fdatasync(object->files.map_fd) != 0 ? -1 : 0;
}

void kf_object_make_durable(struct kf_object *object, const bool *stopping)
{
    struct kf_map *map = &object->files.map;
    uint32_t drops = kf_map_drops(map);

    if (!kf_object_complete(object))
        return;
    int outcome = sync_files(object, stopping);

    if (outcome == 0)
        kf_map_set_durable(map, drops);
    else if (outcome < 0)
        drop_all(object, errno);
}

static struct kf_object *next_object(struct kf_syncer *syncer)
{
    struct kf_object *object;

    pthread_mutex_lock(&syncer->lock);
    while (!syncer->queue && !syncer->stopping)
        pthread_cond_wait(&syncer->wake, &syncer->lock);
    object = syncer->queue;
    if (object) {
        syncer->queue = object->sync_next;
        if (!syncer->queue)
            syncer->queue_end = &syncer->queue;
        object->sync_queued = false;
    }
    pthread_mutex_unlock(&syncer->lock);
    return object;
}

static void *run(void *arg)
{
    struct kf_syncer *syncer = arg;
    struct kf_object *object;
    sigset_t all;

    (void)sigfillset(&all); /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "kf-cache-sync"); /* for people only */
    while ((object = next_object(syncer))) {
        if (!stopped(&syncer->stopping))
            kf_object_make_durable(object, &syncer->stopping);
        kf_object_unref(object);
    }
    return NULL;
}

int kf_syncer_start(struct kf_syncer *syncer, struct kf_err *err)
{
    syncer->queue_end = &syncer->queue;
    (void)pthread_mutex_init(&syncer->lock, NULL); /* cannot fail without attributes */
    (void)pthread_cond_init(&syncer->wake, NULL);
    errno = pthread_create(&syncer->thread, NULL, run, syncer);
    if (errno != 0)
        return kf_fail_errno(err, "cannot start the cache's sync thread");
    return 0;
}

void kf_syncer_stop(struct kf_syncer *syncer)
{
    pthread_mutex_lock(&syncer->lock);
    __atomic_store_n(&syncer->stopping, true, __ATOMIC_RELAXED);
    pthread_cond_signal(&syncer->wake);
    pthread_mutex_unlock(&syncer->lock);
    (void)pthread_join(syncer->thread, NULL); /* ours, and joinable */
    (void)pthread_cond_destroy(&syncer->wake);
    (void)pthread_mutex_destroy(&syncer->lock); /* nobody holds it */
}

void kf_syncer_submit(struct kf_syncer *syncer, struct kf_object *object)
{
    if (!kf_object_complete(object) || kf_map_is_durable(&object->files.map))
        return;
    pthread_mutex_lock(&syncer->lock);
    if (!object->sync_queued) {
        object->sync_queued = true;
        object->sync_next = NULL;
        *syncer->queue_end = kf_object_ref(object);
        syncer->queue_end = &object->sync_next;
        pthread_cond_signal(&syncer->wake);
    }
    pthread_mutex_unlock(&syncer->lock);
}
