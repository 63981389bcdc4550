#include "kit_file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

void load_kit_file(struct kf_buf *ret, const char *folder, const char *name)
{
    char path[512];
    struct kf_err err;

    kf_buf_init(ret, 1 << 20);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    cr_assert_eq(kf_load_file(AT_FDCWD, path, ret, &err), 0, "%s", err.message);
}
