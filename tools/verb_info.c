#include <stdio.h>

#include "base/err.h"
#include "kit/resolve.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

static int show(const struct kf_options *options, struct kf_err *err)
{
    struct kf_resolved resolved;
    int rc = 0;

    if (kf_opened_resolve(&resolved, options, err) != 0)
        return -1;
    if (resolved.kitfile_text)
        (void)fputs(resolved.kitfile_text, stdout); /* seen when stdout is flushed */
    else
        rc = kf_fail(err, KF_E_NOTFOUND,
                     "the artifact does not contain a Kitfile (a ModelPack that kit did "
                     "not make); kitfs ls and inspect show what is in it");
    kf_resolved_fini(&resolved);
    return rc;
}

int kf_verb_info(const struct kf_options *options)
{
    struct kf_err err = {0};

    return show(options, &err) == 0 ? 0 : kf_report_ref("show", options, &err);
}
