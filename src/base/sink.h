/*
 * A ready-made sink: a slice of memory.
 * Embedded in the caller's struct; one request at a time.
 */
#ifndef KF_BASE_SINK_H
#define KF_BASE_SINK_H

#include "base/source.h"

struct kf_sink_memory {
    struct kf_sink sink;
    uint8_t *data;
    size_t capacity;
    size_t length; /* bytes received */
};

/* More than `capacity` bytes end the request with KF_E_LIMIT. */
void kf_sink_memory_init(struct kf_sink_memory *sink, void *data, size_t capacity);

#endif
