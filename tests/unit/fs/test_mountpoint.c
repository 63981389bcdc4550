#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "fs/mount.h"
#include "fs/mountpoint.h"

static char top[] = "/tmp/kf-test-point-XXXXXX";

static void init(void)
{
    cr_assert(mkdtemp(top));
    cr_assert_eq(chdir(top), 0);
    cr_assert_eq(mkdir("real", 0700), 0);
    cr_assert_eq(symlink("real", "link"), 0);
}

static void fini(void)
{
    static const char *const folders[] = {"real", "new", "full/x", "full"};

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        (void)rmdir(folders[i]); /* those that this test made */
    (void)unlink("link");
    (void)unlink("file");
    cr_assert_eq(rmdir(top), 0);
}

TestSuite(mountpoint, .init = init, .fini = fini, .timeout = 20);

static void expect_resolved(const char *dir, const char *expected)
{
    struct kf_err err = {0};
    char *path = kf_mountpoint_resolve(dir, &err);
    char whole[PATH_MAX];

    (void)snprintf(whole, sizeof(whole), "%s%s", expected[0] == '/' ? "" : top, expected);
    if (expected[0] != '/')
        (void)snprintf(whole, sizeof(whole), "%s%s%s", top, expected[0] ? "/" : "",
                       expected);
    cr_expect(path, "%s: %s", dir, err.message);
    if (path)
        cr_expect_str_eq(path, whole);
    free(path);
}

Test(mountpoint, paths_are_made_true_but_for_the_last_part)
{
    expect_resolved("real", "real");
    expect_resolved("./real//", "real");
    expect_resolved("link/x", "real/x");
    expect_resolved("link/x///", "real/x");
    expect_resolved("link", "link");
    expect_resolved("real/../real/.././new", "new");
    expect_resolved(".", "");
    expect_resolved("real/..", "");
    expect_resolved("link/.", "real");
    expect_resolved("/", "/");
    expect_resolved("//", "/");
    expect_resolved("/nowhere", "/nowhere");
    expect_resolved("//nowhere/", "/nowhere");
}

Test(mountpoint, a_path_without_parents_is_refused)
{
    struct kf_err err = {0};

    cr_expect_null(kf_mountpoint_resolve("no/such", &err));
    cr_expect_eq(err.kind, KF_E_NOTFOUND);
    cr_expect_null(kf_mountpoint_resolve("", &err));
}

Test(mountpoint, length_at_the_limit)
{
    char path[PATH_MAX + 1];
    struct kf_err err = {0};

    memset(path, '/', sizeof(path));
    path[PATH_MAX - 1] = '\0';
    expect_resolved(path, "/");
    path[PATH_MAX - 1] = '/';
    path[PATH_MAX] = '\0';
    cr_expect_null(kf_mountpoint_resolve(path, &err));
    cr_expect_eq(err.kind, KF_E_ARG);
}

static int prepare(const char *dir, struct kf_err *err)
{
    bool cleared = false;
    char *path = NULL;
    int rc = kf_mountpoint_prepare(dir, &path, &cleared, err);

    cr_expect_not(cleared);
    cr_expect_eq(path != NULL, rc == 0);
    free(path);
    return rc;
}

Test(mountpoint, made_when_missing)
{
    struct kf_err err = {0};
    struct stat info;

    cr_assert_eq(prepare("new", &err), 0, "%s", err.message);
    cr_expect(stat("new", &info) == 0 && S_ISDIR(info.st_mode));
    cr_expect_eq(prepare("new", &err), 0, "an empty one is fine");
    cr_expect_eq(prepare("none/deeper", &err), -1, "parents are not made");
    cr_expect_eq(access("none", F_OK), -1);
}

Test(mountpoint, what_cannot_be_mounted_on)
{
    struct kf_err err = {0};

    cr_assert_eq(mkdir("full", 0700), 0);
    cr_assert_eq(mkdir("full/x", 0700), 0);
    cr_assert_geq(open("file", O_WRONLY | O_CREAT, 0600), 0);
    cr_expect_eq(prepare("full", &err), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect(strstr(err.message, "not empty"));
    cr_expect_eq(prepare("file", &err), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect_eq(prepare("file/x", &err), -1);
}

Test(mountpoint, only_our_mounts_are_unmounted)
{
    struct kf_err err = {0};

    cr_expect_eq(kf_umount("real", false, false, &err), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect_eq(kf_umount("/proc", false, true, &err), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect_eq(access("/proc/self", F_OK), 0);
    cr_expect_eq(kf_umount("none/x", true, false, &err), -1);
    cr_expect_eq(err.kind, KF_E_NOTFOUND);
}
