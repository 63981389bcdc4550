#include <stdio.h>

#include "base/clock.h"
#include "base/containers.h"
#include "base/err.h"
#include "base/workq.h"
#include "oci/origin.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

#define LIST_TIMEOUT (30 * KF_NS_PER_S)

static int list(const struct kf_options *options, struct kf_workq *workq,
                struct kf_strings *tags, struct kf_err *err)
{
    struct kf_origin_opts opts = {.workq = workq, .timeout_ns = LIST_TIMEOUT};
    struct kf_origin *origin = NULL;
    struct kf_ref ref;
    int rc;

    if (kf_ref_parse(&ref, options->args[0], err) != 0)
        return -1;
    kf_net_from_options(&opts.net, options);
    rc = kf_origin_open(&origin, &ref, &opts, err);
    if (rc == 0)
        rc = kf_origin_tags(origin, tags, err);
    kf_origin_close(origin);
    kf_ref_fini(&ref);
    return rc;
}

int kf_verb_list(const struct kf_options *options)
{
    struct kf_strings tags = {0};
    struct kf_err err = {0};
    struct kf_workq *workq = kf_workq_new(1, &err);
    int rc = workq ? list(options, workq, &tags, &err) : -1;

    for (size_t i = 0; rc == 0 && i < tags.count; i++)
        printf("%s\n", tags.items[i]);
    kf_strings_fini(&tags);
    kf_workq_free(workq);
    return rc == 0 ? 0 : kf_report_ref("list", options, &err);
}
