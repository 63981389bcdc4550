#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "kit/unpack.h"
#include "kit/unpack_folder.h"
#include "opened.h"
#include "options.h"
#include "progress.h"
#include "verbs.h"

#define INTERRUPTED 130

static int interrupted; /* atomic */

static void on_signal(int number)
{
    (void)number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

/* What was begun is left for the next run; a second signal ends us at once. A file that
 * may not grow is an error like others. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    (void)sigaction(SIGINT, &action, NULL); /* these cannot fail */
    (void)sigaction(SIGTERM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
}

static bool is_stopped(void *arg)
{
    (void)arg;
    return __atomic_load_n(&interrupted, __ATOMIC_RELAXED) != 0;
}

static void show(void *arg, size_t layers, size_t layer_total, uint64_t done,
                 uint64_t total)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "layer %zu of %zu",
                   layers + (layers < layer_total), layer_total); /* fits */
    kf_progress_show(arg, name, done, total);
}

static mode_t current_umask(void)
{
    mode_t mask = umask(0);

    (void)umask(mask); /* cannot fail */
    return mask;
}

static void print_summary(const struct kf_options *options, struct kf_opened *opened,
                          const struct kf_unpacked *unpacked, int64_t began_ns)
{
    double seconds = (double)(kf_now_ns() - began_ns) / (double)KF_NS_PER_S;
    char bytes[32], fetched[32], resumed[32];

    if (options->quiet)
        return;
    fprintf(stderr, "Unpacked %llu file%s, %s, from %s in %.1f s: %s fetched",
            (unsigned long long)unpacked->files, unpacked->files == 1 ? "" : "s",
            kf_format_size(unpacked->bytes, bytes), kf_kit_origin(opened->kit), seconds,
            kf_format_size(kf_stats_get(&opened->stats, KF_STAT_FETCHED_BYTES), fetched));
    if (unpacked->resumed_bytes > 0)
        fprintf(stderr, ", %s from an earlier run",
                kf_format_size(unpacked->resumed_bytes, resumed));
    if (unpacked->kept > 0)
        fprintf(stderr, ", %llu that %s there kept", (unsigned long long)unpacked->kept,
                unpacked->kept == 1 ? "was" : "were");
    fprintf(stderr, ".\n");
}

/* Whether a later run has something to go on from. */
static bool is_left(const char *dir)
{
    kf_auto(kf_free) char *path = NULL;
    struct stat info;

    if (asprintf(&path, "%s/" KF_UNPACK_FOLDER, dir) < 0) {
        path = NULL;
        return false;
    }
    return lstat(path, &info) == 0;
}

static void print_left(const struct kf_options *options, const struct kf_err *err)
{
    if (err->kind != KF_E_REFUSED && is_left(options->dir))
        fprintf(stderr,
                "What was unpacked stays in %s/" KF_UNPACK_FOLDER
                ": the same command goes on from there.\n",
                options->dir);
}

int kf_verb_unpack(const struct kf_options *options)
{
    int64_t began_ns = kf_now_ns();
    struct kf_progress progress;
    struct kf_unpack_opts opts = {.dir = options->dir,
                                  .overwrite = options->overwrite,
                                  .keep = options->ignore_existing,
                                  .umask = current_umask(),
                                  .timeout_ns = options->read_timeout_ns,
                                  .progress = show,
                                  .stopped = is_stopped,
                                  .arg = &progress};
    struct kf_unpacked unpacked;
    struct kf_opened opened;
    struct kf_err err = {0};
    int rc;

    if (kf_opened_open_looking(&opened, options, &err) != 0)
        return kf_report_ref("unpack", options, &err);
    catch_signals();
    kf_progress_init(&progress, options);
    rc = kf_kit_unpack(&unpacked, opened.kit, &opts, &err);
    kf_progress_clear(&progress);
    if (rc == 0)
        print_summary(options, &opened, &unpacked, began_ns);
    kf_opened_close(&opened);
    if (rc == 0)
        return 0;
    (void)kf_report("unpack", options->args[0], &err);
    print_left(options, &err);
    return is_stopped(NULL) ? INTERRUPTED : kf_err_exit_code(&err);
}
