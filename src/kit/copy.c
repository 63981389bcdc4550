#include "kit/copy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "layer/layer.h"

#define LOOK_NS (100 * KF_NS_PER_MS) /* at whether to stop */

struct copy;

struct slot {
    struct kf_read read;
    struct copy *copy;
    struct kf_file *file; /* a reference; NULL: the slot is free */
    uint8_t *data;
    size_t length;
    bool done;   /* copy->lock */
    bool failed; /* copy->lock */
    struct kf_err error;
};

/* A ring: `count` slots from `first` on are in use. */
struct copy {
    const struct kf_copy_opts *opts;
    struct slot *slots;
    unsigned first, count;
    size_t bytes; /* of these */
    /* A piece that had no room yet. */
    bool held;
    struct kf_copy_piece piece;
    pthread_mutex_t lock;
    pthread_cond_t cond;
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

static int start(struct copy *copy, struct kf_err *err)
{
    struct slot *slot = &copy->slots[(copy->first + copy->count) % copy->opts->reads];
    const struct kf_copy_piece *piece = &copy->piece;

    slot->data = malloc(piece->length);
    if (!slot->data)
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    slot->copy = copy;
    slot->file = piece->file;
    slot->length = piece->length;
    slot->done = false;
    slot->read = (struct kf_read){
        .offset = piece->offset,
        .length = piece->length,
        .deadline_ns = kf_deadline_ns(copy->opts->timeout_ns),
        .done = read_done,
    };
    copy->held = false;
    copy->count++;
    copy->bytes += slot->length;
    kf_file_read(slot->file, &slot->read);
    return 0;
}

static bool has_room(const struct copy *copy)
{
    return copy->count == 0 ||
           (copy->count < copy->opts->reads &&
            copy->bytes + copy->piece.length <= copy->opts->window_bytes);
}

/* Asks for as much as may be on its way. */
static int fill(struct copy *copy, struct kf_err *err)
{
    for (;;) {
        if (!copy->held) {
            int rc = copy->opts->next(copy->opts->arg, &copy->piece, err);

            if (rc <= 0)
                return rc;
            copy->held = true;
        }
        if (!has_room(copy))
            return 0;
        if (start(copy, err) != 0)
            return -1;
    }
}

static bool is_stopped(const struct copy *copy)
{
    return copy->opts->stopped && copy->opts->stopped(copy->opts->arg);
}

static bool wait_a_while(struct copy *copy, const struct slot *slot)
{
    bool done;

    (void)pthread_mutex_lock(&copy->lock);
    if (!slot->done) /* the read has a deadline */
        (void)kf_cond_wait_until(&copy->cond, &copy->lock, kf_deadline_ns(LOOK_NS));
    done = slot->done;
    (void)pthread_mutex_unlock(&copy->lock);
    return done;
}

static void free_slot(struct slot *slot)
{
    free(kf_steal(slot->data));
    kf_file_put(kf_steal(slot->file));
}

static int take_first(struct copy *copy, struct kf_err *err)
{
    struct slot *slot = &copy->slots[copy->first];
    int rc = 0;

    do {
        if (is_stopped(copy))
            return kf_fail(err, KF_E_CANCELLED, "interrupted");
    } while (!wait_a_while(copy, slot));
    if (slot->failed) {
        if (err)
            *err = slot->error;
        rc = -1;
    } else {
        rc = copy->opts->write(copy->opts->arg, slot->data, slot->length, err);
    }
    copy->first = (copy->first + 1) % copy->opts->reads;
    copy->count--;
    copy->bytes -= slot->length;
    free_slot(slot);
    return rc;
}

static int pump(struct copy *copy, struct kf_err *err)
{
    if (fill(copy, err) != 0)
        return -1;
    while (copy->count > 0)
        if (take_first(copy, err) != 0 || fill(copy, err) != 0)
            return -1;
    return 0;
}

/* After a failure reads may still be under way. */
static void stop(struct copy *copy)
{
    for (unsigned i = 0; i < copy->count; i++) {
        struct slot *slot = &copy->slots[(copy->first + i) % copy->opts->reads];
        bool running;

        (void)pthread_mutex_lock(&copy->lock);
        running = !slot->done;
        (void)pthread_mutex_unlock(&copy->lock);
        if (running)
            kf_file_cancel(slot->file, &slot->read);
    }
    for (unsigned i = 0; i < copy->count; i++) {
        struct slot *slot = &copy->slots[(copy->first + i) % copy->opts->reads];

        while (!wait_a_while(copy, slot))
            continue;
        free_slot(slot);
    }
    if (copy->held)
        kf_file_put(copy->piece.file);
}

int kf_copy_pieces(const struct kf_copy_opts *opts, struct kf_err *err)
{
    struct copy copy = {.opts = opts, .slots = calloc(opts->reads, sizeof(struct slot))};
    int rc;

    if (!copy.slots || pthread_mutex_init(&copy.lock, NULL) != 0) {
        free(copy.slots);
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    }
    if (kf_cond_init(&copy.cond) != 0) {
        (void)pthread_mutex_destroy(&copy.lock); /* never used */
        free(copy.slots);
        return kf_fail(err, KF_E_NOMEM, "no memory for reading");
    }
    rc = pump(&copy, err);
    stop(&copy);
    (void)pthread_cond_destroy(&copy.cond);  /* nobody waits */
    (void)pthread_mutex_destroy(&copy.lock); /* nobody holds it */
    free(copy.slots);
    return rc;
}

/* ---- one range ---- */

struct range {
    struct kf_file *file;
    uint64_t next, left;
    kf_copy_write *write;
    void *arg;
};

/* Up to the next MiB of the file, so that a piece of a large file is one chunk. */
static int next_of_range(void *arg, struct kf_copy_piece *ret, struct kf_err *err)
{
    struct range *range = arg;

    (void)err;
    if (range->left == 0)
        return 0;
    kf_file_keep(range->file);
    *ret = (struct kf_copy_piece){
        .file = range->file,
        .offset = range->next,
        .length =
            (size_t)kf_min_u64(range->left, KF_COPY_PIECE - range->next % KF_COPY_PIECE),
    };
    range->next += ret->length;
    range->left -= ret->length;
    return 1;
}

static int write_of_range(void *arg, const void *data, size_t length, struct kf_err *err)
{
    struct range *range = arg;

    return range->write(range->arg, data, length, err);
}

int kf_copy_range(struct kf_file *file, uint64_t offset, uint64_t length,
                  int64_t timeout_ns, kf_copy_write *write, void *arg, struct kf_err *err)
{
    struct range range = {
        .file = file, .next = offset, .left = length, .write = write, .arg = arg};
    const struct kf_copy_opts opts = {.reads = KF_COPY_READS,
                                      .window_bytes = KF_COPY_READS * KF_COPY_PIECE,
                                      .timeout_ns = timeout_ns,
                                      .next = next_of_range,
                                      .write = write_of_range,
                                      .arg = &range};

    return kf_copy_pieces(&opts, err);
}
