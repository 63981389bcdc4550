/*
 * Pieces of files given to a function in order, blocking: for tools. Several reads are on
 * their way at once, so that the link stays busy while the caller writes.
 */
#ifndef KF_KIT_COPY_H
#define KF_KIT_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_file;

#define KF_COPY_PIECE ((size_t)1 << 20)
#define KF_COPY_READS 8u

typedef int kf_copy_write(void *arg, const void *data, size_t length, struct kf_err *err);

struct kf_copy_piece {
    struct kf_file *file; /* a reference, which goes with the piece */
    uint64_t offset;      /* inside the file */
    size_t length;        /* 1 to KF_COPY_PIECE */
};

struct kf_copy_opts {
    unsigned reads;      /* on their way at most */
    size_t window_bytes; /* and that many bytes, but one piece in any case */
    int64_t timeout_ns;  /* of one read */
    /* What is read next: 1, 0 when there is nothing more, or -1. Called ahead of
     * `write`, on the same thread. */
    int (*next)(void *arg, struct kf_copy_piece *ret, struct kf_err *err);
    kf_copy_write *write; /* gets the pieces in order */
    /* Whether to give up, with KF_E_CANCELLED; asked a few times a second, also while
     * nothing comes. May be NULL. */
    bool (*stopped)(void *arg);
    void *arg;
};

/* Stops at the first failure, of a read or of the caller's functions, and returns when no
 * read is left under way. */
int kf_copy_pieces(const struct kf_copy_opts *opts, struct kf_err *err);

/* A range, which lies inside the file. */
int kf_copy_range(struct kf_file *file, uint64_t offset, uint64_t length,
                  int64_t timeout_ns, kf_copy_write *write, void *arg,
                  struct kf_err *err);

#endif
