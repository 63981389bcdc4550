#include "fs/reads.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "base/workq.h"
#include "fs/fuse.h"
#include "fs/inode.h"
#include "fs/proc.h"
#include "kit/tree.h"
#include "layer/layer.h"

#define SWEEP_NS (KF_NS_PER_S / 4)
#define DRAIN_NS KF_NS_PER_S
#define BATCH 64u
#define LOG_BURST 10u
#define LOG_PERIOD_NS (10 * KF_NS_PER_S)

/* Two references: the submitter's until it returns, and the read's until it is answered;
 * more while somebody cancels it. Its use of the file lasts as long as it does itself. */
struct pending {
    struct kf_read read;
    struct kf_reads *reads;
    struct fuse_req *req;
    struct kf_file *file;
    pid_t pid; /* of the reader's thread; 0: of another pid namespace */
    uint32_t node;
    uint64_t offset; /* in the file; that of `read` becomes another on the way */
    int64_t started_ns;

    /* guarded by reads->lock */
    struct pending *next, **link; /* link: NULL once answered */
    unsigned refs;
    bool submitted;
    bool interrupted; /* a signal came; perhaps not a deadly one */
    bool cancelled;
    bool killed; /* cancelled because the reader is being killed */
};

struct kf_reads {
    struct kf_reads_opts opts;
    pthread_mutex_t lock; /* guards what follows; nothing is called with it held */
    pthread_cond_t none_left;
    struct pending *first;
    uint64_t alive;   /* structs, a little longer than the list */
    bool gave_up;     /* the last read that ended was drained: its like need not wait */
    int64_t drain_ns; /* since when the mount is detached; 0: it is not */
    bool stopping;
    bool sweep_armed;
    struct kf_job sweep;
};

/* An answer held back. */
struct held {
    struct kf_job job;
    struct fuse_req *req;
    int error;
};

static void sweep(struct kf_job *job);

int kf_reads_new(struct kf_reads **ret, const struct kf_reads_opts *opts,
                 struct kf_err *err)
{
    kf_auto(kf_free) struct kf_reads *reads = calloc(1, sizeof(*reads));

    if (!reads || kf_cond_init(&reads->none_left) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for reads");
    (void)pthread_mutex_init(&reads->lock, NULL); /* default attributes: cannot fail */
    reads->opts = *opts;
    reads->sweep.run = sweep;
    *ret = kf_steal(reads);
    return 0;
}

void kf_reads_free(struct kf_reads *reads)
{
    if (!reads)
        return;
    (void)pthread_mutex_destroy(&reads->lock);
    (void)pthread_cond_destroy(&reads->none_left);
    free(reads);
}

static void answer_held(struct kf_job *job)
{
    struct held *held = kf_container_of(job, struct held, job);

    (void)fuse_reply_err(held->req, held->error); /* the reader may be gone */
    free(held);
}

static void answer_failure(struct kf_reads *reads, struct fuse_req *req, int error,
                           int64_t when_ns)
{
    struct held *held = when_ns > kf_now_ns() ? malloc(sizeof(*held)) : NULL;

    if (!held) {
        (void)fuse_reply_err(req, error); /* the reader may be gone */
        return;
    }
    *held = (struct held){.job.run = answer_held, .req = req, .error = error};
    kf_workq_submit_at(reads->opts.workq, &held->job, when_ns);
}

static void log_failure(const char *path, uint64_t offset, const struct kf_err *failure)
{
    static struct kf_log_rate rate;
    uint32_t dropped;

    if (kf_log_allowed(&rate, LOG_BURST, LOG_PERIOD_NS, &dropped))
        kf_log(KF_LOG_WARN, "fs",
               "event=read-failed path=%s offset=%" PRIu64 " dropped=%u error=%s", path,
               offset, dropped, failure->message);
}

/* read(2) of an open file: what a registry calls "not found" is no ENOENT there. */
static int errno_of_read(const struct kf_err *failure)
{
    static const int meaningful[] = {EACCES, ETIMEDOUT, ENOMEM};
    int error = kf_err_reader_errno(failure);

    for (size_t i = 0; i < KF_ARRAY_LEN(meaningful); i++)
        if (error == meaningful[i])
            return error;
    return EIO;
}

void kf_reads_fail(struct kf_reads *reads, struct fuse_req *req, uint32_t node,
                   uint64_t offset, const struct kf_err *failure)
{
    kf_auto(kf_free) char *path = kf_tree_path(reads->opts.tree, node);

    kf_stats_add(reads->opts.stats, KF_STAT_READ_ERRORS, 1);
    log_failure(path ? path : "?", offset, failure);
    kf_trouble_record(reads->opts.trouble, path ? path : "?", failure);
    answer_failure(reads, req, errno_of_read(failure),
                   kf_trouble_answer_at(reads->opts.trouble, node, offset, kf_now_ns()));
}

static void unref(struct pending *pending)
{
    struct kf_reads *reads = pending->reads;
    bool last;

    (void)pthread_mutex_lock(&reads->lock);
    last = --pending->refs == 0;
    (void)pthread_mutex_unlock(&reads->lock);
    if (!last)
        return;
    kf_inodes_put(reads->opts.inodes, pending->node);
    free(pending);
    (void)pthread_mutex_lock(&reads->lock);
    if (--reads->alive == 0)
        (void)pthread_cond_broadcast(&reads->none_left);
    (void)pthread_mutex_unlock(&reads->lock);
}

/* Takes it off the list; from now on nobody cancels it any more. Gives whether its reader
 * is being killed. */
static bool finish(struct pending *pending, bool answered)
{
    struct kf_reads *reads = pending->reads;
    bool killed;

    (void)pthread_mutex_lock(&reads->lock);
    *pending->link = pending->next;
    if (pending->next)
        pending->next->link = pending->link;
    pending->link = NULL;
    killed = pending->killed;
    reads->gave_up &= !answered;
    (void)pthread_mutex_unlock(&reads->lock);
    return killed;
}

static void done(struct kf_read *read, const void *data, const struct kf_err *failure)
{
    struct pending *pending = kf_container_of(read, struct pending, read);
    struct kf_reads *reads = pending->reads;
    bool killed = finish(pending, data != NULL);

    if (data) {
        kf_stats_add(reads->opts.stats, KF_STAT_READ_BYTES, read->length);
        (void)fuse_reply_buf(pending->req, data, read->length); /* reader may be gone */
    } else if (failure->kind == KF_E_CANCELLED) {
        /* Only who is being killed may see EINTR: others would try again for ever. */
        (void)fuse_reply_err(pending->req, killed ? EINTR : EIO);
    } else {
        kf_reads_fail(reads, pending->req, pending->node, pending->offset, failure);
    }
    unref(pending);
}

static void cancel(struct pending *pending, bool killed)
{
    struct kf_reads *reads = pending->reads;
    bool now;

    (void)pthread_mutex_lock(&reads->lock);
    now = pending->link && pending->submitted && !pending->cancelled;
    pending->cancelled = true;
    pending->killed |= killed;
    (void)pthread_mutex_unlock(&reads->lock);
    if (now)
        kf_file_cancel(pending->file, &pending->read);
}

static void arm_sweep_locked(struct kf_reads *reads)
{
    if (reads->sweep_armed || reads->stopping)
        return;
    reads->sweep_armed = true;
    kf_workq_submit_at(reads->opts.workq, &reads->sweep, kf_deadline_ns(SWEEP_NS));
}

/* From libfuse, on a FUSE thread, when the kernel says that a signal came. */
static void on_interrupt(struct fuse_req *req, void *data)
{
    struct kf_reads *reads = data;
    struct pending *pending;

    (void)pthread_mutex_lock(&reads->lock);
    for (pending = reads->first; pending && pending->req != req; pending = pending->next)
        ;
    if (pending) {
        pending->refs++;
        pending->interrupted = true;
        arm_sweep_locked(reads);
    }
    (void)pthread_mutex_unlock(&reads->lock);
    if (!pending)
        return;
    if (kf_proc_being_killed(pending->pid))
        cancel(pending, true);
    unref(pending);
}

/* References to reads that somebody should look at, at most BATCH. */
static size_t pick_locked(struct kf_reads *reads, bool (*wanted)(const struct pending *),
                          struct pending *ret[BATCH])
{
    size_t count = 0;

    for (struct pending *at = reads->first; at && count < BATCH; at = at->next) {
        if (!at->cancelled && wanted(at)) {
            at->refs++;
            ret[count++] = at;
        }
    }
    return count;
}

/* Only when the mount is detached. */
static bool overdue_locked(const struct pending *pending)
{
    const struct kf_reads *reads = pending->reads;
    int64_t since_ns = reads->drain_ns;

    if (since_ns == 0)
        return false;
    if (pending->started_ns > since_ns)
        since_ns = pending->started_ns;
    return reads->gave_up || kf_now_ns() - since_ns >= DRAIN_NS;
}

static bool worth_a_look(const struct pending *pending)
{
    return pending->interrupted || overdue_locked(pending);
}

static bool any(const struct pending *pending)
{
    return true;
}

static void look_at(struct pending *pending)
{
    struct kf_reads *reads = pending->reads;
    bool interrupted, late, killed;

    (void)pthread_mutex_lock(&reads->lock);
    interrupted = pending->interrupted;
    late = overdue_locked(pending);
    reads->gave_up |= late;
    (void)pthread_mutex_unlock(&reads->lock);
    killed = interrupted && kf_proc_being_killed(pending->pid);
    if (killed || late)
        cancel(pending, killed);
}

/* Every quarter of a second while there is an interrupted read or the mount is detached.
 */
static void sweep(struct kf_job *job)
{
    struct kf_reads *reads = kf_container_of(job, struct kf_reads, sweep);
    struct pending *batch[BATCH];
    size_t count;

    (void)pthread_mutex_lock(&reads->lock);
    reads->sweep_armed = false;
    count = pick_locked(reads, worth_a_look, batch);
    if (count > 0 || reads->drain_ns != 0)
        arm_sweep_locked(reads);
    (void)pthread_mutex_unlock(&reads->lock);
    for (size_t i = 0; i < count; i++) {
        look_at(batch[i]);
        unref(batch[i]);
    }
}

static struct pending *new_pending(struct kf_reads *reads, struct fuse_req *req,
                                   uint32_t node, struct kf_err *err)
{
    kf_auto(kf_free) struct pending *pending = calloc(1, sizeof(*pending));

    if (!pending) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a read"); /* NULL says it */
        return NULL;
    }
    if (kf_inodes_get(reads->opts.inodes, node, err) != 0)
        return NULL;
    pending->reads = reads;
    pending->req = req;
    pending->file = kf_inodes_file(reads->opts.inodes, node);
    pending->pid = fuse_req_ctx(req)->pid;
    pending->node = node;
    pending->started_ns = kf_now_ns();
    pending->refs = 2;
    return kf_steal(pending);
}

static void enlist(struct pending *pending)
{
    struct kf_reads *reads = pending->reads;

    (void)pthread_mutex_lock(&reads->lock);
    pending->next = reads->first;
    if (pending->next)
        pending->next->link = &pending->next;
    pending->link = &reads->first;
    reads->first = pending;
    reads->alive++;
    if (reads->drain_ns != 0)
        arm_sweep_locked(reads);
    (void)pthread_mutex_unlock(&reads->lock);
}

/* A cancel that came before the read was on its way is made up for. */
static void mark_submitted(struct pending *pending)
{
    struct kf_reads *reads = pending->reads;
    bool cancel_now;

    (void)pthread_mutex_lock(&reads->lock);
    pending->submitted = true;
    cancel_now = pending->link && pending->cancelled;
    (void)pthread_mutex_unlock(&reads->lock);
    if (cancel_now)
        kf_file_cancel(pending->file, &pending->read);
}

void kf_reads_submit(struct kf_reads *reads, struct fuse_req *req, uint32_t node,
                     uint64_t offset, size_t length)
{
    struct kf_err err;
    struct pending *pending = new_pending(reads, req, node, &err);

    if (!pending) {
        kf_reads_fail(reads, req, node, offset, &err);
        return;
    }
    pending->offset = offset;
    pending->read.offset = offset;
    pending->read.length = length;
    pending->read.deadline_ns = kf_deadline_ns(reads->opts.timeout_ns);
    pending->read.done = done;
    enlist(pending);
    /* Before it is submitted: afterwards the request may be answered and gone. */
    fuse_req_interrupt_func(req, on_interrupt, reads);
    kf_file_read(pending->file, &pending->read);
    mark_submitted(pending);
    unref(pending);
}

void kf_reads_drain(struct kf_reads *reads)
{
    (void)pthread_mutex_lock(&reads->lock);
    if (reads->drain_ns == 0)
        reads->drain_ns = kf_now_ns();
    arm_sweep_locked(reads);
    (void)pthread_mutex_unlock(&reads->lock);
}

int kf_reads_stop(struct kf_reads *reads, int64_t deadline_ns)
{
    struct pending *batch[BATCH];
    size_t count;
    bool left;

    do {
        (void)pthread_mutex_lock(&reads->lock);
        reads->stopping = true;
        count = pick_locked(reads, any, batch);
        (void)pthread_mutex_unlock(&reads->lock);
        for (size_t i = 0; i < count; i++) {
            cancel(batch[i], false);
            unref(batch[i]);
        }
    } while (count > 0);
    (void)pthread_mutex_lock(&reads->lock);
    while (reads->alive > 0 &&
           kf_cond_wait_until(&reads->none_left, &reads->lock, deadline_ns) == 0)
        ;
    left = reads->alive > 0;
    (void)pthread_mutex_unlock(&reads->lock);
    return left ? -1 : 0;
}
