#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "pack/mcpb.h"

static char folder[] = "/tmp/kf-mcpb-XXXXXX";
static int folder_fd;
static struct kf_err err;

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(folder_fd, 0);
}

static void teardown(void)
{
    (void)unlinkat(folder_fd, "x.mcpb", 0);
    close(folder_fd);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(mcpb, .init = setup, .fini = teardown);

static void make_zip(const char *name)
{
    kf_auto(kf_free) char *path = NULL;
    zip_source_t *source;
    zip_t *zip;

    cr_assert_geq(asprintf(&path, "%s/x.mcpb", folder), 0);
    zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    cr_assert_not_null(zip);
    source = zip_source_buffer(zip, "{}", 2, 0);
    cr_assert_geq(zip_file_add(zip, name, source, 0), 0);
    cr_assert_eq(zip_close(zip), 0);
}

static void write_file(const void *data, size_t length)
{
    kf_auto(kf_close_fd) int fd =
        openat(folder_fd, "x.mcpb", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert_eq(kf_write_all(fd, data, length, &err), 0);
}

static void expect_error(enum kf_err_kind kind, const char *message)
{
    cr_assert_eq(kf_mcpb_check(folder_fd, "x.mcpb", &err), -1);
    cr_assert_eq(err.kind, kind, "%s", err.message);
    cr_assert_not_null(strstr(err.message, message), "%s", err.message);
}

Test(mcpb, a_zip_with_a_manifest)
{
    make_zip("manifest.json");
    cr_assert_eq(kf_mcpb_check(folder_fd, "x.mcpb", &err), 0, "%s", err.message);
}

Test(mcpb, the_manifest_is_at_the_root)
{
    static const char *const others[] = {"server/manifest.json", "./manifest.json",
                                         "Manifest.json", "manifest.json/x",
                                         "manifest.jso"};

    for (size_t i = 0; i < KF_ARRAY_LEN(others); i++) {
        make_zip(others[i]);
        expect_error(KF_E_ARG, "'x.mcpb' has no manifest.json at its root");
    }
}

Test(mcpb, what_is_no_zip)
{
    char bytes[4096] = "PK\3\4";
    struct stat info;

    write_file("hello", 5);
    expect_error(KF_E_ARG, "'x.mcpb' is no zip archive: ");
    write_file(bytes, sizeof(bytes));
    expect_error(KF_E_ARG, "'x.mcpb' is no zip archive: ");
    make_zip("manifest.json");
    cr_assert_eq(fstatat(folder_fd, "x.mcpb", &info, 0), 0);
    for (off_t length = info.st_size - 1; length > 0; length--) {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/x.mcpb", folder);
        cr_assert_eq(truncate(path, length), 0);
        expect_error(KF_E_ARG, "'x.mcpb' is no zip archive: ");
    }
}

Test(mcpb, what_cannot_be_opened)
{
    expect_error(KF_E_NOTFOUND, "cannot open 'x.mcpb'");
    cr_assert_eq(symlinkat("/etc/passwd", folder_fd, "x.mcpb"), 0);
    expect_error(KF_E_IO, "cannot open 'x.mcpb'");
    cr_assert_eq(unlinkat(folder_fd, "x.mcpb", 0), 0);
    cr_assert_eq(mkfifoat(folder_fd, "x.mcpb", 0600), 0);
    expect_error(KF_E_ARG, "'x.mcpb' is no zip archive: ");
}
