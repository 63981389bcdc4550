#include "kit/copy.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/layer.h"

#define PIECE (UINT64_C(1) << 20)

struct copy;

struct slot {
    struct kf_read read;
    struct copy *copy;
    uint8_t *data;
    size_t length; /* of the piece; 0: the slot is free */
    bool done;     /* copy->lock */
    bool failed;   /* copy->lock */
    struct kf_err error;
};

struct copy {
    struct kf_file *file;
    uint64_t next; /* what to ask for */
    uint64_t left;
    int64_t timeout_ns;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct slot slots[KF_COPY_READS];
};

static void read_done(struct kf_read *read, const void *data, const struct kf_err *err)
{
    struct slot *slot = kf_container_of(read, struct slot, read);
    struct copy *copy = slot->copy;

    if (data)
        memcpy(slot->data, data, slot->length);
    else
        slot->error = *err;
    (void)pthread_mutex_lock(&copy->lock);
    slot->failed = !data;
    slot->done = true;
    (void)pthread_cond_signal(&copy->cond);
    (void)pthread_mutex_unlock(&copy->lock);
}

/* Asks for the next piece: up to the next MiB of the file, so that a piece of a large
 * file is one chunk. */
static int start(struct copy *copy, struct slot *slot, struct kf_err *err)
{
    size_t length = (size_t)kf_min_u64(copy->left, PIECE - copy->next % PIECE);

    if (!slot->data)
        slot->data = malloc(PIECE);
    if (!slot->data)
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    slot->copy = copy;
    slot->length = length;
    slot->done = false;
    slot->read = (struct kf_read){
        .offset = copy->next,
        .length = length,
        .deadline_ns = kf_deadline_ns(copy->timeout_ns),
        .done = read_done,
    };
    copy->next += length;
    copy->left -= length;
    kf_file_read(copy->file, &slot->read);
    return 0;
}

static void wait_for(struct copy *copy, struct slot *slot)
{
    (void)pthread_mutex_lock(&copy->lock);
    while (!slot->done) /* the read has a deadline */
        (void)pthread_cond_wait(&copy->cond, &copy->lock);
    (void)pthread_mutex_unlock(&copy->lock);
}

static int pump(struct copy *copy, kf_copy_write *write, void *arg, struct kf_err *err)
{
    for (unsigned i = 0; i < KF_COPY_READS && copy->left > 0; i++) {
        if (start(copy, &copy->slots[i], err) != 0)
            return -1;
    }
    for (unsigned i = 0; copy->slots[i].length > 0; i = (i + 1) % KF_COPY_READS) {
        struct slot *slot = &copy->slots[i];
        size_t length = slot->length;

        wait_for(copy, slot);
        slot->length = 0;
        if (slot->failed) {
            if (err)
                *err = slot->error;
            return -1;
        }
        if (write(arg, slot->data, length, err) != 0)
            return -1;
        if (copy->left > 0 && start(copy, slot, err) != 0)
            return -1;
    }
    return 0;
}

/* After a failure reads may still be under way. */
static void stop(struct copy *copy)
{
    for (unsigned i = 0; i < KF_COPY_READS; i++) {
        struct slot *slot = &copy->slots[i];
        bool running;

        (void)pthread_mutex_lock(&copy->lock);
        running = slot->length > 0 && !slot->done;
        (void)pthread_mutex_unlock(&copy->lock);
        if (running)
            kf_file_cancel(copy->file, &slot->read);
    }
    for (unsigned i = 0; i < KF_COPY_READS; i++) {
        if (copy->slots[i].length > 0)
            wait_for(copy, &copy->slots[i]);
        free(copy->slots[i].data);
    }
}

int kf_copy_range(struct kf_file *file, uint64_t offset, uint64_t length,
                  int64_t timeout_ns, kf_copy_write *write, void *arg, struct kf_err *err)
{
    struct copy copy = {
        .file = file, .next = offset, .left = length, .timeout_ns = timeout_ns};
    int rc;

    if (pthread_mutex_init(&copy.lock, NULL) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    if (pthread_cond_init(&copy.cond, NULL) != 0) {
        (void)pthread_mutex_destroy(&copy.lock); /* never used */
        return kf_fail(err, KF_E_NOMEM, "no memory for a lock");
    }
    rc = pump(&copy, write, arg, err);
    stop(&copy);
    (void)pthread_cond_destroy(&copy.cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&copy.lock); /* nobody holds it */
    return rc;
}
