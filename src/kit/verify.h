/*
 * Everything about a kit that can be checked (layer/verify.h): all of its layers, and the
 * blobs that hold their tables of contents. Blocking.
 */
#ifndef KF_KIT_VERIFY_H
#define KF_KIT_VERIFY_H

#include <stdint.h>

struct kf_kit;

struct kf_kit_verify_opts {
    int64_t timeout_ns;   /* of one request */
    uint64_t layer_limit; /* larger layers are passed over; 0: none */
    /* A line for each thing that is wrong, with the blob it is in. */
    void (*problem)(void *arg, const char *blob, const char *line);
    void (*progress)(void *arg, const char *blob, uint64_t done, uint64_t total);
    void *arg;
};

/* How many things are wrong; what cannot be read is one of them. */
uint64_t kf_kit_verify(struct kf_kit *kit, const struct kf_kit_verify_opts *opts);

#endif
