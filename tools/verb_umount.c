#include "base/err.h"
#include "fs/mount.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

int kf_verb_umount(const struct kf_options *options)
{
    struct kf_err err = {0};

    if (kf_umount(options->args[0], options->lazy, options->abort_connection, &err) == 0)
        return 0;
    return kf_report("unmount", options->args[0], &err);
}
