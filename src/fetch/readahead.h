/*
 * Pure: offsets that were read of one file -> bytes to want next. Watches the file, not the
 * descriptor: many threads on one descriptor are many streams. A stream begins at any read
 * that continues none; its second read in sequence opens a window of 4 MiB, which doubles
 * while reading goes on and the reader has to wait, up to `max_window`. A jump fetches
 * nothing ahead. Plain data; the caller's lock.
 */
#ifndef KF_FETCH_READAHEAD_H
#define KF_FETCH_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#define KF_READAHEAD_STREAMS 32
#define KF_READAHEAD_MIN_WINDOW (UINT64_C(4) << 20)

struct kf_stream {
    uint64_t next;    /* where a sequential reader would go on */
    uint64_t wanted;  /* everything before this was asked for */
    uint64_t window;  /* bytes to keep ahead; 0: not yet sequential */
    uint64_t run;     /* bytes read in sequence */
    uint64_t stamp;   /* for replacing the stalest */
};

struct kf_readahead {
    struct kf_stream streams[KF_READAHEAD_STREAMS];
    uint64_t stamp;
    uint64_t read_bytes;   /* of the whole file, for prefetch */
    uint64_t lowest, highest; /* bounds of what was read */
};

struct kf_readahead_want {
    uint64_t offset;
    uint64_t length; /* 0: nothing */
};

void kf_readahead_init(struct kf_readahead *state);
/* `waited`: the bytes of this read were not there yet. Result lies inside the file. */
struct kf_readahead_want kf_readahead_see(struct kf_readahead *state, uint64_t offset,
                                          uint64_t length, bool waited, uint64_t file_size,
                                          uint64_t max_window);

#endif
