#include "pack/mcpb.h"

#include <fcntl.h>
#include <zip.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"

#define MANIFEST "manifest.json"

static int no_zip(struct kf_err *err, const char *name, int code)
{
    zip_error_t error;

    zip_error_init_with_code(&error, code);
    (void)kf_fail(err, KF_E_ARG, "MCP bundle '%s' is no zip archive: %s", name,
                  zip_error_strerror(&error));
    zip_error_fini(&error);
    return -1;
}

int kf_mcpb_check(int context_fd, const char *name, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd =
        openat(context_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    zip_int64_t found;
    zip_t *zip;
    int code;

    if (fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", name);
    zip = zip_fdopen(fd, 0, &code);
    if (!zip)
        return no_zip(err, name, code);
    fd = -1; /* is the archive's */
    found = zip_name_locate(zip, MANIFEST, 0);
    zip_discard(zip);
    return found >= 0 ? 0
                      : kf_fail(err, KF_E_ARG,
                                "MCP bundle '%s' has no " MANIFEST " at its root", name);
}
