/*
 * Pure: offsets that were read of one file -> bytes to want next. Watches the file, not
 * the descriptor: many threads on one descriptor are many streams. Tell it every read,
 * also one that was answered from memory, or a stream stalls when it catches up with what
 * was wanted.
 *
 * A stream begins at any read that continues none. The kernel answers one pread of 1 MiB
 * with a READ of it and one more ahead of its own, so two adjoining READs prove nothing:
 * the window of 8 MiB opens with the read that continues more than 1 MiB read in
 * sequence. Thus readers of a header, and random reads up to 1 MiB, cause nothing ahead.
 * The window doubles as long as the reader has to wait for the source, up to `max_window`
 * shared by the streams that are being read, and up to a sixteenth of what was read in
 * sequence: whoever reads a part of a file causes at most so much for nothing. What is
 * wanted comes in batches of a quarter of the window, so that several requests are on
 * their way, and of 2 MiB or more, so that they are worth their round trip.
 *
 * READs of one reader arrive slightly out of order: one up to 2 MiB behind a stream's end
 * belongs to it, and so does one ahead of it, by its own length before the window opens
 * and by the window afterwards.
 *
 * Plain data; the caller's lock.
 */
#ifndef KF_FETCH_READAHEAD_H
#define KF_FETCH_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define KF_READAHEAD_STREAMS 32
#define KF_READAHEAD_MIN_WINDOW (UINT64_C(8) << 20)
#define KF_READAHEAD_PROPORTION 16u
#define KF_READAHEAD_BATCHES 4u /* a window */
#define KF_READAHEAD_MIN_BATCH (UINT64_C(2) << 20)
#define KF_READAHEAD_TRUST                                                              \
    (UINT64_C(1) << 20)                         /* more than this in sequence: a stream \
                                                 */
#define KF_READAHEAD_BEHIND (UINT64_C(2) << 20) /* a late read of a stream, at most */

struct kf_stream {
    uint64_t next;    /* where a sequential reader would go on */
    uint64_t wanted;  /* everything from `next` to here was asked for */
    uint64_t window;  /* bytes to keep ahead; 0: not yet sequential */
    uint64_t run;     /* bytes in sequence up to `next` */
    uint64_t stamp;   /* when it was last read; 0: unused */
    uint64_t grow_at; /* a reader that waits from here on makes the window grow */
};

struct kf_readahead {
    struct kf_stream streams[KF_READAHEAD_STREAMS];
    uint64_t stamp;
    uint64_t read_bytes;      /* of the whole file, for prefetch */
    uint64_t lowest, highest; /* bounds of what was read */
};

struct kf_readahead_want {
    uint64_t offset;
    uint64_t length; /* 0: nothing */
};

void kf_readahead_init(struct kf_readahead *state);
/* `waited`: the bytes of this read were not there yet. Result lies inside the file. */
struct kf_readahead_want kf_readahead_see(struct kf_readahead *state, uint64_t offset,
                                          uint64_t length, bool waited,
                                          uint64_t file_size, uint64_t max_window);

#endif
