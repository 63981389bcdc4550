#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "opened.h"
#include "options.h"

#define BAR_NS (KF_NS_PER_S / 10)
#define LINE_NS (5 * KF_NS_PER_S)
#define NAME_WIDTH 24

void kf_progress_init(struct kf_progress *progress, const struct kf_options *options)
{
    *progress = (struct kf_progress){.shown = !options->quiet &&
                                              strcmp(options->progress, "none") != 0,
                                     .terminal = isatty(STDERR_FILENO) == 1,
                                     .started_ns = kf_now_ns()};
    progress->next_ns = progress->started_ns + (progress->terminal ? BAR_NS : LINE_NS);
}

static double seconds_until(const struct kf_progress *progress, int64_t until_ns)
{
    double seconds = (double)(until_ns - progress->started_ns) / (double)KF_NS_PER_S;

    return seconds > 0.001 ? seconds : 0.001;
}

char *kf_progress_rate(const struct kf_progress *progress, int64_t until_ns,
                       uint64_t bytes, char out[40])
{
    char size[32];

    (void)snprintf(
        out, 40, "%s/s",
        kf_format_size((uint64_t)((double)bytes / seconds_until(progress, until_ns)),
                       size)); /* fits */
    return out;
}

static void format_left(const struct kf_progress *progress, uint64_t done, uint64_t total,
                        char out[32])
{
    double left = done ? seconds_until(progress, kf_now_ns()) / (double)done *
                             (double)(total - done)
                       : 0;
    unsigned seconds = left < 359999 ? (unsigned)left : 359999;

    (void)snprintf(out, 32, "%u:%02u:%02u", seconds / 3600, seconds / 60 % 60,
                   seconds % 60); /* fits */
}

void kf_progress_show(struct kf_progress *progress, const char *name, uint64_t done,
                      uint64_t total)
{
    char size_done[32], size_total[32], rate[40], left[32], plain[NAME_WIDTH + 1];
    int64_t now = kf_now_ns();

    if (!progress->shown || now < progress->next_ns)
        return;
    progress->next_ns = now + (progress->terminal ? BAR_NS : LINE_NS);
    (void)snprintf(plain, sizeof(plain), "%s", name); /* cut is fine */
    kf_make_plain(plain);
    format_left(progress, done, total, left);
    fprintf(stderr, "%s%-*s %3u%%  %s of %s, %s, %s left%s",
            progress->terminal ? "\r" : "", NAME_WIDTH, plain,
            total ? (unsigned)((double)done / (double)total * 100) : 100,
            kf_format_size(done, size_done), kf_format_size(total, size_total),
            kf_progress_rate(progress, now, done, rate), left,
            progress->terminal ? "\033[K" : "\n");
    progress->drawn = progress->terminal;
}

void kf_progress_clear(struct kf_progress *progress)
{
    if (progress->drawn)
        fprintf(stderr, "\r\033[K");
    progress->drawn = false;
}
