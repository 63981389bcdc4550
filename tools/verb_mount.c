#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/mount.h"
#include "kit/choose.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

int kf_verb_mount(const struct kf_options *options)
{
    struct kf_mount_opts mount = {.dir = options->args[1],
                                  .foreground = options->foreground,
                                  .allow_other = options->allow_other,
                                  .quiet = options->quiet,
                                  .uid = (uid_t)options->uid,
                                  .gid = (gid_t)options->gid,
                                  .umask = options->umask,
                                  .started_ns = kf_now_ns()};
    struct kf_err err = {0};
    kf_auto(kf_filter_fini) struct kf_filter filter = {0};
    kf_auto(kf_free) char *ref = NULL;

    if (options->readahead_bytes > UINT32_MAX)
        (void)kf_fail(&err, KF_E_ARG, "--readahead is at most 4G"); /* reported below */
    else
        ref = kf_ref_with_tag(options->args[0], options->quiet, &err);
    if (!ref || kf_log_parse_level(options->log_level, &mount.log_level, &err) != 0 ||
        kf_labels_check(&options->labels, &err) != 0 ||
        kf_filter_from_options(&filter, options, &err) != 0)
        return kf_report_ref("mount", options, &err);
    if (options->verbose && mount.log_level < KF_LOG_INFO)
        mount.log_level = KF_LOG_INFO;
    mount.log_format =
        strcmp(options->log_format, "json") == 0 ? KF_LOG_JSON : KF_LOG_TEXT;
    mount.check = strcmp(options->prefetch, "none") != 0;
    mount.readahead_bytes = (uint32_t)options->readahead_bytes;
    kf_kit_from_options(&mount.kit, &filter, options);
    mount.kit.ref = ref;
    mount.kit.require_lazy = options->require_lazy;
    mount.progress = !options->quiet && strcmp(options->progress, "none") != 0;
    kf_cache_from_options(&mount.cache, options);
    return kf_mount(&mount, &err) == 0 ? 0 : kf_report_ref("mount", options, &err);
}
