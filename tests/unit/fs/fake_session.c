#include "fake_session.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fs/inode.h"
#include "kit/open.h"

struct kf_file {
    unsigned refs;
};

struct kf_kit {
    struct kf_tree tree;
};

#define WAITING_MAX 4096u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kf_kit the_kit = {.tree.count = FAKE_NODES};
static struct kf_file files[FAKE_NODES];
static struct kf_workq *the_queue;
static struct kf_read *waiting[WAITING_MAX];
static unsigned waiting_count;
static bool ignore_cancel;

void fake_setup(struct kf_workq *queue)
{
    (void)pthread_mutex_lock(&lock);
    the_queue = queue;
    ignore_cancel = false;
    (void)pthread_mutex_unlock(&lock);
}

struct kf_kit *fake_kit(void)
{
    return &the_kit;
}

unsigned fake_open_files(void)
{
    unsigned open = 0;

    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < FAKE_NODES; i++)
        open += files[i].refs;
    (void)pthread_mutex_unlock(&lock);
    return open;
}

unsigned fake_waiting(void)
{
    unsigned count;

    (void)pthread_mutex_lock(&lock);
    count = waiting_count;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

void fake_ignore_cancel(bool ignore)
{
    (void)pthread_mutex_lock(&lock);
    ignore_cancel = ignore;
    (void)pthread_mutex_unlock(&lock);
}

/* ---- the kit ---- */

const struct kf_tree *kf_kit_tree(const struct kf_kit *kit)
{
    return &kit->tree;
}

char *kf_tree_path(const struct kf_tree *tree, uint32_t node)
{
    return strdup("some/file");
}

struct kf_file *kf_kit_file(struct kf_kit *kit, uint32_t node, struct kf_err *err)
{
    (void)pthread_mutex_lock(&lock);
    files[node].refs++;
    (void)pthread_mutex_unlock(&lock);
    return &files[node];
}

void kf_file_put(struct kf_file *file)
{
    (void)pthread_mutex_lock(&lock);
    file->refs--;
    (void)pthread_mutex_unlock(&lock);
}

void kf_file_read(struct kf_file *file, struct kf_read *read)
{
    static const struct kf_err full = {.kind = KF_E_LIMIT, .message = "fake is full"};
    bool taken;

    (void)pthread_mutex_lock(&lock);
    taken = waiting_count < WAITING_MAX;
    if (taken)
        waiting[waiting_count++] = read;
    (void)pthread_mutex_unlock(&lock);
    if (!taken)
        read->done(read, NULL, &full);
}

static void end_cancelled(struct kf_job *job)
{
    struct kf_read *read = kf_container_of(job, struct kf_read, job);
    static const struct kf_err cancelled = {.kind = KF_E_CANCELLED,
                                            .message = "cancelled"};

    read->done(read, NULL, &cancelled);
}

void kf_file_cancel(struct kf_file *file, struct kf_read *read)
{
    bool found = false;

    (void)pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < waiting_count && !found && !ignore_cancel; i++) {
        found = waiting[i] == read;
        if (found)
            waiting[i] = waiting[--waiting_count];
    }
    (void)pthread_mutex_unlock(&lock);
    if (found) {
        read->job.run = end_cancelled;
        kf_workq_submit(the_queue, &read->job, KF_DEMAND);
    }
}

bool fake_end_one(const struct kf_err *failure)
{
    static uint8_t data[1 << 20];
    struct kf_read *read = NULL;

    (void)pthread_mutex_lock(&lock);
    if (waiting_count > 0)
        read = waiting[--waiting_count];
    (void)pthread_mutex_unlock(&lock);
    if (!read)
        return false;
    if (failure)
        read->done(read, NULL, failure);
    else
        read->done(read, data, NULL);
    return true;
}

/* ---- libfuse ---- */

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
    (void)pthread_mutex_lock(&lock);
    req->interrupt = func;
    req->data = data;
    (void)pthread_mutex_unlock(&lock);
}

void fake_interrupt(struct fuse_req *req)
{
    fuse_interrupt_func_t func;
    void *data;

    (void)pthread_mutex_lock(&lock);
    func = req->interrupt;
    data = req->data;
    (void)pthread_mutex_unlock(&lock);
    if (func)
        func(req, data);
}

static int answer(fuse_req_t req, int error, size_t length, uint8_t first)
{
    (void)pthread_mutex_lock(&lock);
    req->answers++;
    req->error = error;
    req->length = length;
    req->first = first;
    req->interrupt = NULL;
    (void)pthread_mutex_unlock(&lock);
    return 0;
}

int fuse_reply_err(fuse_req_t req, int error)
{
    return answer(req, error, 0, 0);
}

int fuse_reply_buf(fuse_req_t req, const char *data, size_t length)
{
    return answer(req, 0, length, length > 0 ? (uint8_t)data[0] : 0);
}

unsigned fake_answers(struct fuse_req *req)
{
    unsigned answers;

    (void)pthread_mutex_lock(&lock);
    answers = req->answers;
    (void)pthread_mutex_unlock(&lock);
    return answers;
}
