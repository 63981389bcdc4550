/*
 * Windows on a stream that is pushed in order: for those who say which bytes of an
 * archive they want next (layer/tar_decode), and cannot have them at any time. One
 * thread.
 */
#ifndef KF_LAYER_TAR_PUSH_H
#define KF_LAYER_TAR_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;

/* Looks at a window: 1 when it needs another one, which it names, not before the last
 * one's begin; 0 at the archive's end; -1 when it fails. */
typedef int kf_tar_look(void *arg, const uint8_t *window, uint64_t offset, size_t length,
                        uint64_t *ret_offset, uint64_t *ret_length, struct kf_err *err);

struct kf_tar_push {
    kf_tar_look *look;
    void *arg;
    bool at_end;       /* nothing more is looked at */
    uint64_t position; /* of the next byte that is pushed */
    /* What is wanted, and as much of it as is here. */
    uint64_t need_offset, need_length;
    uint8_t *window;
    size_t have, capacity;
};

void kf_tar_push_init(struct kf_tar_push *push, kf_tar_look *look, void *arg);
void kf_tar_push_fini(struct kf_tar_push *push);

/* After a failure only fini is left. */
int kf_tar_push(struct kf_tar_push *push, const uint8_t *data, size_t length,
                struct kf_err *err);

#endif
