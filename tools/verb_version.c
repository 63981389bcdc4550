#include <stdio.h>
#include <sys/utsname.h>

#include "options.h"
#include "verbs.h"

int kf_verb_version(const struct kf_options *options)
{
    struct utsname system = {0};

    (void)options;
    (void)uname(&system); /* only fails on a bad pointer */
    printf(KF_PROGRAM " %s\nbuilt with %s\n%s %s\n", KF_VERSION, KF_LIBRARIES,
           system.sysname, system.release);
    return 0;
}
