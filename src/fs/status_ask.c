#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/io.h"
#include "fs/aside.h"
#include "fs/status.h"

static void copy_status(const void *arg, int out)
{
    char path[PATH_MAX + sizeof("/" KF_HIDDEN_NAME "/" KF_STATUS_NAME)];
    struct kf_buf text;

    (void)snprintf(path, sizeof(path), "%s/%s/%s", (const char *)arg, KF_HIDDEN_NAME,
                   KF_STATUS_NAME); /* fits */
    kf_buf_init(&text, KF_STATUS_LIMIT);
    if (kf_load_file(AT_FDCWD, path, &text, NULL) == 0)
        (void)kf_write_all(out, text.data, text.length, NULL); /* then less arrives */
    kf_buf_fini(&text);
}

int kf_status_ask(const char *dir, int64_t limit_ns, struct kf_buf *ret,
                  struct kf_err *err)
{
    return kf_aside(copy_status, dir, limit_ns, ret, err);
}
