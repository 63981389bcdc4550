/*
 * A source that a test plays by hand: it keeps a journal of its requests, and sends and
 * ends each when told, or all by itself. Its bytes follow from their offsets.
 */
#ifndef KF_TEST_HELD_SOURCE_H
#define KF_TEST_HELD_SOURCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/source.h"

#define HELD_REQUESTS 4096

struct held_request {
    struct kf_source_req *req; /* NULL once ended */
    uint64_t offset, length;
    enum kf_urgency urgency;
    bool fresh;
    int64_t deadline_ns;
    uint64_t sent;
};

struct held_source {
    struct kf_source source;
    struct kf_workq *workq;
    pthread_mutex_t lock;
    pthread_cond_t submitted;
    unsigned count;
    struct held_request requests[HELD_REQUESTS];
    bool automatic; /* answers in full as it is asked */
    bool deaf;      /* ignores being cancelled */
    /* Request number, from 1; 0 is none: fails with this kind after so many bytes. */
    unsigned fail_at;
    enum kf_err_kind fail_kind;
    uint64_t fail_after;
    unsigned damage_first, damage_last; /* these requests' first byte is wrong */
    bool destroyed;                     /* atomic */
};

uint8_t held_byte(uint64_t offset);
/* The memory stays until held_free, so that `destroyed` can be seen. */
struct held_source *held_new(struct kf_workq *workq, uint64_t size);
void held_free(struct held_source *held);

/* Until the n-th request, counted from 1, is there; false when it does not come. */
bool held_wait(struct held_source *held, unsigned count);
unsigned held_count(struct held_source *held);
/* The next bytes of request n, from 1. */
void held_send(struct held_source *held, unsigned number, uint64_t length);
/* Ends request n: all the rest sent, or with an error of that kind. */
void held_finish(struct held_source *held, unsigned number);
void held_fail(struct held_source *held, unsigned number, enum kf_err_kind kind);

#endif
