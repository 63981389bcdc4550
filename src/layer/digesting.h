/*
 * A running digest that is brought on beside other work. One owner.
 */
#ifndef KF_LAYER_DIGESTING_H
#define KF_LAYER_DIGESTING_H

#include <stddef.h>
#include <stdint.h>

#include "base/beside.h"
#include "base/err.h"

struct kf_digest;
struct kf_hasher;

struct kf_digesting {
    struct kf_hasher *hasher; /* NULL: none */
    struct kf_beside beside;
    const uint8_t *data;
    size_t length;
    int rc; /* of all updates */
    struct kf_err error;
};

/* One that is all zero is none, and may be ended. */
int kf_digesting_init(struct kf_digesting *digesting, struct kf_err *err);
void kf_digesting_fini(struct kf_digesting *digesting);

/* Until it is waited for, the data must stay. */
void kf_digesting_start(struct kf_digesting *digesting, const uint8_t *data,
                        size_t length);
int kf_digesting_wait(struct kf_digesting *digesting, struct kf_err *err);
/* Waits, and gives the digest of all. */
int kf_digesting_finish(struct kf_digesting *digesting, struct kf_digest *ret,
                        struct kf_err *err);

#endif
