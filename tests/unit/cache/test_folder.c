#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "cache/folder.h"
#include "common.h"

TestSuite(folder, .init = cache_setup, .fini = cache_teardown);

static enum kf_err_kind refused(const char *expected_remedy)
{
    struct kf_store_opts opts = {.path = cache_path};
    struct kf_store *store = NULL;
    struct kf_err err;

    if (kf_store_open(&store, &opts, &err) == 0) {
        kf_store_close(store, KF_NO_DEADLINE);
        return KF_E_NONE;
    }
    cr_assert_not_null(strstr(err.message, expected_remedy), "%s", err.message);
    return err.kind;
}

Test(folder, is_made_with_parents_for_the_owner_alone)
{
    struct kf_store_opts opts = {0};
    struct kf_store *store;
    char path[128];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/a/b", cache_path);
    opts.path = path;
    cr_assert_eq(kf_store_open(&store, &opts, NULL), 0);
    cr_assert_str_eq(kf_store_path(store), path);
    kf_store_close(store, KF_NO_DEADLINE);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(folder, that_others_can_read_or_write_is_refused)
{
    cr_assert_eq(chmod(cache_path, 0750), 0);
    cr_assert_eq(refused("chmod 0700"), KF_E_REFUSED);
    cr_assert_eq(chmod(cache_path, 0702), 0);
    cr_assert_eq(refused("chmod 0700"), KF_E_REFUSED);
    cr_assert_eq(chmod(cache_path, 0700), 0);
    cr_assert_eq(refused(""), KF_E_NONE);
}

Test(folder, of_another_user_is_refused)
{
    if (geteuid() != 0)
        cr_skip_test("only root can give a folder away");
    cr_assert_eq(chown(cache_path, 12345, 0), 0);
    cr_assert_eq(refused("uid 12345"), KF_E_REFUSED);
}

Test(folder, that_is_a_file_is_refused)
{
    cr_assert_eq(rmdir(cache_path), 0);
    fclose(fopen(cache_path, "w"));
    cr_assert_neq(refused("cache folder"), KF_E_NONE);
    cr_assert_eq(unlink(cache_path), 0);
}

Test(folder, knows_remote_file_systems)
{
    cr_assert_str_eq(kf_folder_remote_type(0x6969), "NFS");
    cr_assert_str_eq(kf_folder_remote_type(0xff534d42), "CIFS");
    cr_assert_str_eq(kf_folder_remote_type(0x65735546), "FUSE");
    cr_assert_null(kf_folder_remote_type(0xef53));     /* ext4 */
    cr_assert_null(kf_folder_remote_type(0x58465342)); /* XFS */
    cr_assert_null(kf_folder_remote_type(0x9123683e)); /* Btrfs */
}

Test(folder, default_path_follows_the_environment)
{
    char *path;

    setenv("KITFS_CACHE_DIR", "/named", 1);
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    setenv("HOME", "/home/x", 1);
    path = kf_store_default_path();
    cr_assert_str_eq(path, "/named");
    free(path);

    unsetenv("KITFS_CACHE_DIR");
    path = kf_store_default_path();
    cr_assert_str_eq(path, geteuid() == 0 ? "/var/cache/kitfs" : "/xdg/kitfs");
    free(path);

    bool root = geteuid() == 0;

    if (root)
        cr_assert_eq(seteuid(12345), 0);
    setenv("XDG_CACHE_HOME", "relative", 1);
    path = kf_store_default_path();
    cr_assert_str_eq(path, "/home/x/.cache/kitfs");
    free(path);
    unsetenv("HOME");
    cr_assert_null(kf_store_default_path());
    if (root) /* the leak sanitizer needs it */
        cr_assert_eq(seteuid(0), 0);
}
