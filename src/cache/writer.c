#include "cache/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "cache/private.h"

#define GATHER_NS KF_NS_PER_S
#define FULL_PAUSE_NS KF_NS_PER_S            /* nothing could be evicted */
#define NO_SPACE_PAUSE_NS (10 * KF_NS_PER_S) /* the file system refused a write */

/* A window's chunks fit a bit mask: 2 MiB of chunks of 64 KiB, or one larger chunk. With
 * cuts of their own a window is as many chunks, of about as many bytes. */
#define WINDOW_CHUNKS (KF_WRITE_WINDOW / KF_CHUNK_SIZE_MIN)

static uint64_t chunks_per_window(const struct kf_object *object)
{
    return kf_max_u64(1, KF_WRITE_WINDOW / object->shape.chunk_size);
}

static uint64_t window_of(const struct kf_object_put *put)
{
    return put->chunk / chunks_per_window(put->object);
}

static unsigned slot_of(const struct kf_object_put *put)
{
    return (unsigned)(put->chunk % chunks_per_window(put->object));
}

static void pause_until(struct kf_writer *writer, int64_t deadline_ns)
{
    __atomic_store_n(&writer->paused_until_ns, deadline_ns, __ATOMIC_RELAXED);
}

static bool is_paused(const struct kf_writer *writer)
{
    return kf_now_ns() < __atomic_load_n(&writer->paused_until_ns, __ATOMIC_RELAXED);
}

/* Written or dropped: the map says which. */
static void finish(struct kf_writer *writer, struct kf_object_put *put)
{
    struct kf_object *object = put->object;
    struct kf_block *block = put->block;

    pthread_mutex_lock(&writer->lock);
    writer->queued_bytes -= block->length;
    pthread_mutex_unlock(&writer->lock);
    kf_block_unref(block);
    put->done(put);
    kf_object_unref(object);
}

static void report_failure(struct kf_writer *writer, const struct kf_object *object,
                           int os_errno)
{
    static struct kf_log_rate rate;
    struct kf_err reason;
    uint32_t dropped;

    if (os_errno == ENOSPC || os_errno == EDQUOT)
        pause_until(writer, kf_deadline_ns(NO_SPACE_PAUSE_NS));
    errno = os_errno;
    (void)kf_fail_errno(&reason, "cannot write object '%s'", object->spec.name);
    if (kf_log_allowed(&rate, 1, 60 * KF_NS_PER_S, &dropped))
        kf_log(KF_LOG_WARN, "cache", "event=not_kept reason=\"%s\" left_out=%u",
               reason.message, dropped);
}

/* Best effort: where it does nothing the file is only laid out worse. */
static void allocate_ahead(struct kf_writer *writer, struct kf_object *object,
                           uint64_t offset)
{
    uint8_t *region = &object->regions[offset / KF_CACHE_REGION];
    uint64_t start = offset - offset % KF_CACHE_REGION;
    uint64_t length = kf_min_u64(KF_CACHE_REGION, object->spec.size - start);

    if (*region == KF_REGION_TOUCHED && kf_space_fits(&writer->store->space, length))
        (void)fallocate(object->files.data_fd, FALLOC_FL_KEEP_SIZE, (off_t)start,
                        (off_t)length);
    if (*region != KF_REGION_ALLOCATED)
        (*region)++;
}

static int write_vector(int fd, struct iovec *iov, unsigned count, uint64_t offset)
{
    while (count > 0) {
        ssize_t written = pwritev(fd, iov, (int)count, (off_t)offset);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        offset += (uint64_t)written;
        while (count > 0 && (size_t)written >= iov->iov_len) {
            written -= (ssize_t)iov->iov_len;
            iov++;
            count--;
        }
        if (count > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + written;
            iov->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static void note_kept(struct kf_object *object, const struct kf_object_put *put)
{
    kf_map_set_verified(&object->files.map, put->chunk, &put->digest);
    kf_dedup_note(&object->store->dedup, object, put->chunk, &put->digest);
}

/* Neighbouring chunks by one call; then, and only then, their states. */
static bool write_run(struct kf_object *object, struct kf_object_put **puts,
                      unsigned count)
{
    struct iovec iov[WINDOW_CHUNKS];
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        iov[i].iov_base = puts[i]->block->data;
        iov[i].iov_len = puts[i]->block->length;
        bytes += puts[i]->block->length;
    }
    if (write_vector(object->files.data_fd, iov, count,
                     kf_object_chunk_offset(object, puts[0]->chunk)) != 0)
        return false;
    for (unsigned i = 0; i < count; i++)
        note_kept(object, puts[i]);
    kf_stats_add(object->stats, KF_STAT_CACHE_WRITTEN_BYTES, bytes);
    return true;
}

static unsigned run_length(struct kf_object_put **puts, unsigned first, unsigned count)
{
    unsigned next = first + 1;

    while (next < count && puts[next]->chunk == puts[next - 1]->chunk + 1)
        next++;
    return next - first;
}

static void charge(struct kf_writer *writer, struct kf_object *object)
{
    uint64_t bytes = kf_pair_disk_bytes(&object->files);

    if (bytes > object->charged_bytes) {
        kf_space_charge(&writer->store->space, bytes - object->charged_bytes);
        object->charged_bytes = bytes;
    }
}

/* Returns how many chunks of the sorted `puts` were written. */
static unsigned write_window(struct kf_writer *writer, struct kf_object *object,
                             struct kf_object_put **puts, unsigned count)
{
    uint64_t bytes = 0;
    unsigned written = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += puts[i]->block->length;
    if (is_paused(writer) || !kf_object_check_disk(object))
        return 0;
    if (!kf_space_admit(&writer->store->space, bytes)) {
        pause_until(writer, kf_deadline_ns(FULL_PAUSE_NS));
        return 0;
    }
    allocate_ahead(writer, object, kf_object_chunk_offset(object, puts[0]->chunk));
    for (unsigned first = 0, run; first < count; first += run) {
        run = run_length(puts, first, count);
        if (write_run(object, puts + first, run))
            written += run;
        else
            report_failure(writer, object, errno);
    }
    charge(writer, object);
    return written;
}

static unsigned sort_window(struct kf_object_put *window, struct kf_object_put **ret)
{
    struct kf_object_put *slots[WINDOW_CHUNKS] = {NULL};
    unsigned count = 0;

    for (struct kf_object_put *put = window; put; put = put->peer)
        slots[slot_of(put)] = put;
    for (unsigned slot = 0; slot < WINDOW_CHUNKS; slot++)
        if (slots[slot])
            ret[count++] = slots[slot];
    return count;
}

/* The window is no longer in the list. */
static void flush(struct kf_writer *writer, struct kf_object_put *window, bool keep)
{
    struct kf_object *object = kf_object_ref(window->object);
    struct kf_object_put *puts[WINDOW_CHUNKS];
    unsigned count = sort_window(window, puts);
    unsigned written = keep ? write_window(writer, object, puts, count) : 0;

    kf_stats_add(object->stats, KF_STAT_CACHE_SKIPPED, count - written);
    if (written > 0)
        kf_syncer_submit(&object->store->syncer, object);
    for (unsigned i = 0; i < count; i++)
        finish(writer, puts[i]);
    kf_object_unref(object);
}

static void flush_link(struct kf_writer *writer, struct kf_object_put **link, bool keep)
{
    struct kf_object_put *window = *link;

    *link = window->next;
    flush(writer, window, keep);
}

/* Nothing of the window is still to come. */
static bool is_full(const struct kf_object_put *window)
{
    const struct kf_object *object = window->object;
    uint64_t per_window = chunks_per_window(object);
    uint64_t first = window_of(window) * per_window;

    for (unsigned slot = 0; slot < per_window && first + slot < object->shape.chunk_count;
         slot++)
        if (!(window->gathered >> slot & 1) && !kf_object_has(object, first + slot))
            return false;
    return true;
}

/* Where the window of `put` hangs in the list; the list's end when it has none yet. */
static struct kf_object_put **find_window(struct kf_writer *writer,
                                          const struct kf_object_put *put)
{
    struct kf_object_put **link = &writer->windows;

    while (*link &&
           ((*link)->object != put->object || window_of(*link) != window_of(put)))
        link = &(*link)->next;
    return link;
}

/* A window is its first put: the others hang on it as peers. */
static void gather(struct kf_writer *writer, struct kf_object_put *put)
{
    struct kf_object_put **link = find_window(writer, put);
    uint32_t bit = UINT32_C(1) << slot_of(put);

    if (*link && ((*link)->gathered & bit)) {
        flush_link(writer, link, true); /* the same chunk twice: the first goes now */
        link = find_window(writer, put);
    }
    if (kf_object_has(put->object, put->chunk)) {
        finish(writer, put);
        return;
    }
    if (*link) {
        put->peer = (*link)->peer;
        (*link)->peer = put;
        (*link)->gathered |= bit;
    } else {
        put->next = put->peer = NULL;
        put->gathered = bit;
        put->deadline_ns = kf_deadline_ns(GATHER_NS);
        *link = put;
    }
    if (is_full(*link))
        flush_link(writer, link, true);
}

struct work {
    struct kf_object_put *puts; /* new ones, oldest first */
    bool stopping;
    bool hurry;
    int64_t stop_deadline_ns;
};

static struct work wait_for_work(struct kf_writer *writer)
{
    int64_t deadline_ns = writer->windows ? writer->windows->deadline_ns : KF_NO_DEADLINE;

    pthread_mutex_lock(&writer->lock);
    while (!writer->inbox && !writer->stopping && !writer->hurry &&
           kf_now_ns() < deadline_ns)
        (void)kf_cond_wait_until(&writer->wake, &writer->lock, deadline_ns);
    struct work work = {writer->inbox, writer->stopping, writer->hurry,
                        writer->stop_deadline_ns};

    writer->hurry = false;
    writer->inbox = NULL;
    writer->inbox_end = &writer->inbox;
    pthread_mutex_unlock(&writer->lock);
    return work;
}

static bool is_crowded(struct kf_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    bool crowded = writer->queued_bytes > writer->limit_bytes / 2;
    pthread_mutex_unlock(&writer->lock);
    return crowded;
}

static void *run(void *arg)
{
    struct kf_writer *writer = arg;
    struct work work;
    sigset_t all;

    (void)sigfillset(&all); /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "kf-cache-write"); /* for people only */
    do {
        work = wait_for_work(writer);
        while (work.puts) {
            struct kf_object_put *put = work.puts;

            work.puts = put->next;
            gather(writer, put);
        }
        while (writer->windows && (work.stopping || work.hurry || is_crowded(writer) ||
                                   writer->windows->deadline_ns <= kf_now_ns()))
            flush_link(writer, &writer->windows,
                       !work.stopping || kf_now_ns() < work.stop_deadline_ns);
    } while (!work.stopping);
    return NULL;
}

int kf_writer_start(struct kf_writer *writer, struct kf_store *store,
                    uint64_t limit_bytes, struct kf_err *err)
{
    writer->store = store;
    writer->limit_bytes = limit_bytes;
    writer->paused_until_ns = INT64_MIN;
    writer->inbox_end = &writer->inbox;
    (void)pthread_mutex_init(&writer->lock, NULL); /* cannot fail without attributes */
    errno = kf_cond_init(&writer->wake);
    if (errno == 0)
        errno = pthread_create(&writer->thread, NULL, run, writer);
    if (errno != 0)
        return kf_fail_errno(err, "cannot start the cache's writer thread");
    return 0;
}

void kf_writer_stop(struct kf_writer *writer, int64_t deadline_ns)
{
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    writer->stop_deadline_ns = deadline_ns;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    (void)pthread_join(writer->thread, NULL); /* ours, and joinable */
    (void)pthread_cond_destroy(&writer->wake);
    (void)pthread_mutex_destroy(&writer->lock); /* nobody holds it */
}

void kf_writer_hurry(struct kf_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->hurry = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
}

bool kf_writer_is_busy(struct kf_writer *writer)
{
    bool busy;

    pthread_mutex_lock(&writer->lock);
    busy = writer->queued_bytes > writer->limit_bytes / 4;
    pthread_mutex_unlock(&writer->lock);
    return busy;
}

bool kf_writer_submit(struct kf_writer *writer, struct kf_object_put *put)
{
    bool accepted;

    if (is_paused(writer))
        return false;
    put->next = NULL;
    pthread_mutex_lock(&writer->lock);
    accepted = put->block->length <= writer->limit_bytes - writer->queued_bytes;
    if (accepted) {
        writer->queued_bytes += put->block->length;
        *writer->inbox_end = put;
        writer->inbox_end = &put->next;
        pthread_cond_signal(&writer->wake);
    }
    pthread_mutex_unlock(&writer->lock);
    return accepted;
}
