/*
 * The writer thread of a store: takes verified chunks, gathers them into windows of 2 MiB
 * and writes each by one call, since the size and alignment of writes decide how large
 * the kernel's pages are and with it how fast the file is mapped later. A window is
 * written when it is full, one second after its first chunk, or when the queue is over
 * half full.
 *
 * Chunks are neither copied nor lost track of: each handed-over put ends on the writer
 * thread, with its bytes on disk and its state set, or dropped.
 */
#ifndef KF_CACHE_WRITER_H
#define KF_CACHE_WRITER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_object_put;
struct kf_store;

#define KF_WRITE_WINDOW (UINT32_C(2) << 20)

struct kf_writer {
    struct kf_store *store;
    uint64_t limit_bytes;    /* of the queue */
    int64_t paused_until_ns; /* atomic: nothing is kept until then */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under the lock */
    struct kf_object_put *inbox;
    struct kf_object_put **inbox_end;
    uint64_t queued_bytes; /* inbox and windows */
    bool stopping;
    bool hurry; /* windows that are not full are written, too */
    int64_t stop_deadline_ns;
    /* the thread's own: windows being gathered, oldest first */
    struct kf_object_put *windows;
};

int kf_writer_start(struct kf_writer *writer, struct kf_store *store,
                    uint64_t limit_bytes, struct kf_err *err);
/* Writes what is queued until the deadline, drops the rest, joins the thread. */
void kf_writer_stop(struct kf_writer *writer, int64_t deadline_ns);
/* Any thread, never waits. The put's object and block are referenced already; false
 * leaves them the caller's. */
bool kf_writer_submit(struct kf_writer *writer, struct kf_object_put *put);
/* Whether so much is queued that it may soon accept no more. Any thread. */
bool kf_writer_is_busy(struct kf_writer *writer);
/* What was submitted is written without waiting for more. Any thread, never waits. */
void kf_writer_hurry(struct kf_writer *writer);

#endif
