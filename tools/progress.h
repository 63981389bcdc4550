/*
 * How far long work has come, on standard error: a bar that is drawn again and again on a
 * terminal, else a plain line every few seconds. One thread at a time.
 */
#ifndef KF_TOOLS_PROGRESS_H
#define KF_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct kf_options;

struct kf_progress {
    bool shown, terminal;
    int64_t started_ns, next_ns;
    bool drawn; /* a bar stands on the last line */
};

void kf_progress_init(struct kf_progress *progress, const struct kf_options *options);
/* Name, done of total bytes, rate, time left. */
void kf_progress_show(struct kf_progress *progress, const char *name, uint64_t done,
                      uint64_t total);
/* Takes the bar away, for a line of text or for good. */
void kf_progress_clear(struct kf_progress *progress);
/* Bytes in the time from init to `until_ns`, as "1.2 GiB/s"; `out` is returned. */
char *kf_progress_rate(const struct kf_progress *progress, int64_t until_ns,
                       uint64_t bytes, char out[40]);

#endif
