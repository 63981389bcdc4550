#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"

static char folder[] = "/tmp/kf-io-XXXXXX";
static int dirfd_of_test;

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    dirfd_of_test = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dirfd_of_test, 0);
}

static void empty(int fd)
{
    DIR *dir = fdopendir(fd);
    struct dirent *entry;

    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) != 0) {
            int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            empty(below);
            unlinkat(fd, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(dir);
}

static void remove_folder(void)
{
    empty(dirfd_of_test);
    rmdir(folder);
}

static int count_entries(void)
{
    DIR *dir = opendir(folder);
    int count = -2; /* . and .. */

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void expect_file(const char *path, const char *content)
{
    struct kf_buf buf;

    kf_buf_init(&buf, 1000);
    cr_assert_eq(kf_load_file(dirfd_of_test, path, &buf, NULL), 0);
    cr_assert_eq(buf.length, strlen(content));
    cr_assert(buf.length == 0 || strcmp((char *)buf.data, content) == 0);
    kf_buf_fini(&buf);
}

TestSuite(io, .init = make_folder, .fini = remove_folder);

Test(io, reads_and_writes_at_an_offset)
{
    int fd = memfd_create("io", MFD_CLOEXEC);
    uint64_t far = UINT64_C(5) << 32;
    char data[4] = "";

    cr_assert_eq(kf_pwrite_all(fd, "abcd", 4, far, "f", NULL), 0);
    cr_assert_eq(kf_pread_all(fd, data, 3, far + 1, "f", NULL), 0);
    cr_assert_str_eq(data, "bcd");
    cr_assert_eq(kf_pread_all(fd, data, 0, far + 100, "f", NULL), 0);
    close(fd);
}

Test(io, an_early_end_is_damage)
{
    int fd = memfd_create("io", MFD_CLOEXEC);
    struct kf_err err;
    char data[8];

    kf_pwrite_all(fd, "abcd", 4, 0, "f", NULL);
    cr_assert_eq(kf_pread_all(fd, data, 5, 0, "thing", &err), -1);
    cr_assert_eq(err.kind, KF_E_CORRUPT);
    cr_assert_not_null(strstr(err.message, "'thing'"));
    cr_assert_eq(kf_pread_all(fd, data, 1, 4, "thing", &err), -1);
    cr_assert_eq(err.kind, KF_E_CORRUPT);
    close(fd);
}

Test(io, failures_carry_their_errno)
{
    struct kf_err err;
    char data[1] = "x";

    cr_assert_eq(kf_pread_all(-1, data, 1, 0, "f", &err), -1);
    cr_assert_eq(err.os_errno, EBADF);
    cr_assert_eq(kf_pwrite_all(-1, data, 1, 0, "f", &err), -1);
    cr_assert_eq(err.os_errno, EBADF);
    cr_assert_eq(kf_write_all(-1, data, 1, &err), -1);
    cr_assert_eq(err.os_errno, EBADF);
    cr_assert_eq(kf_pread_all(dirfd_of_test, data, 1, UINT64_MAX, "f", &err), -1);
}

Test(io, a_full_disk_is_told)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct kf_err err;

    cr_assert_eq(kf_write_all(fd, "x", 1, &err), -1);
    cr_assert_eq(err.kind, KF_E_IO);
    cr_assert_eq(err.os_errno, ENOSPC);
    close(fd);
}

Test(io, partial_writes_are_continued)
{
    enum { SIZE = 300000 };
    uint8_t *sent = malloc(SIZE), *got = malloc(SIZE);
    int fds[2], status;
    pid_t child;

    for (int i = 0; i < SIZE; i++)
        sent[i] = (uint8_t)(i * 7);
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        close(fds[0]);
        _exit(kf_write_all(fds[1], sent, SIZE, NULL) == 0 ? 0 : 1);
    }
    close(fds[1]);
    for (size_t at = 0; at < SIZE;) {
        ssize_t part = read(fds[0], got + at, SIZE - at);

        cr_assert_gt(part, 0);
        at += (size_t)part;
    }
    cr_assert_eq(memcmp(sent, got, SIZE), 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    close(fds[0]);
    free(sent);
    free(got);
}

Test(io, load_appends_within_the_limit)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_save_file(dirfd_of_test, "f", "12345", 5, 0600, NULL);
    kf_buf_init(&buf, 8);
    kf_buf_append_text(&buf, "abc", NULL);
    cr_assert_eq(kf_load_file(dirfd_of_test, "f", &buf, &err), 0);
    cr_assert_str_eq((char *)buf.data, "abc12345");
    kf_buf_fini(&buf);

    kf_buf_init(&buf, 7);
    kf_buf_append_text(&buf, "abc", NULL);
    cr_assert_eq(kf_load_file(dirfd_of_test, "f", &buf, &err), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    cr_assert_str_eq((char *)buf.data, "abc");
    cr_assert_eq(buf.length, 3);
    kf_buf_fini(&buf);
}

Test(io, load_takes_back_what_it_appended_before_the_limit)
{
    enum { SIZE = 100000 };
    char *data = calloc(1, SIZE);
    struct kf_buf buf;

    kf_save_file(dirfd_of_test, "big", data, SIZE, 0600, NULL);
    free(data);
    kf_buf_init(&buf, SIZE - 1);
    cr_assert_eq(kf_load_file(dirfd_of_test, "big", &buf, NULL), -1);
    cr_assert_eq(buf.length, 0);
    kf_buf_fini(&buf);
    kf_buf_init(&buf, SIZE);
    cr_assert_eq(kf_load_file(dirfd_of_test, "big", &buf, NULL), 0);
    cr_assert_eq(buf.length, SIZE);
    kf_buf_fini(&buf);
}

Test(io, load_names_what_is_missing)
{
    struct kf_buf buf;
    struct kf_err err;

    kf_buf_init(&buf, 10);
    cr_assert_eq(kf_load_file(dirfd_of_test, "absent", &buf, &err), -1);
    cr_assert_eq(err.kind, KF_E_NOTFOUND);
    cr_assert_not_null(strstr(err.message, "'absent'"));
    cr_assert_eq(kf_load_file(dirfd_of_test, ".", &buf, &err), -1);
    cr_assert_eq(err.os_errno, EISDIR);
}

Test(io, save_replaces_and_leaves_nothing_else)
{
    struct stat info;

    umask(0077);
    cr_assert_eq(kf_save_file(dirfd_of_test, "f", "old", 3, 0644, NULL), 0);
    expect_file("f", "old");
    cr_assert_eq(kf_save_file(dirfd_of_test, "f", "", 0, 0644, NULL), 0);
    expect_file("f", "");
    cr_assert_eq(kf_save_file(dirfd_of_test, "f", "new", 3, 0644, NULL), 0);
    expect_file("f", "new");
    cr_assert_eq(fstatat(dirfd_of_test, "f", &info, 0), 0);
    cr_assert_eq(info.st_mode & 07777, 0644);
    cr_assert_eq(count_entries(), 1);
}

Test(io, save_reaches_below_and_absolute_paths)
{
    char path[128];

    cr_assert_eq(kf_make_dirs(dirfd_of_test, "a/b", 0700, NULL), 0);
    cr_assert_eq(kf_save_file(dirfd_of_test, "a/b/f", "1", 1, 0600, NULL), 0);
    expect_file("a/b/f", "1");
    snprintf(path, sizeof(path), "%s/a/g", folder);
    cr_assert_eq(kf_save_file(AT_FDCWD, path, "2", 1, 0600, NULL), 0);
    expect_file("a/g", "2");
}

Test(io, save_steps_over_names_that_a_crash_left)
{
    char name[64];

    for (unsigned serial = 1; serial <= 3; serial++) {
        snprintf(name, sizeof(name), "f.%ld.%u.tmp", (long)getpid(), serial);
        close(openat(dirfd_of_test, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
    cr_assert_eq(kf_save_file(dirfd_of_test, "f", "x", 1, 0600, NULL), 0);
    expect_file("f", "x");
    cr_assert_eq(count_entries(), 4);
}

Test(io, save_that_fails_leaves_nothing)
{
    struct kf_err err;

    cr_assert_eq(kf_save_file(dirfd_of_test, "no/f", "x", 1, 0600, &err), -1);
    cr_assert_eq(err.kind, KF_E_NOTFOUND);
    kf_make_dirs(dirfd_of_test, "d/full", 0700, NULL);
    cr_assert_eq(kf_save_file(dirfd_of_test, "d", "x", 1, 0600, &err), -1);
    cr_assert_eq(err.os_errno, EISDIR);
    cr_assert_eq(count_entries(), 1);
}

Test(io, too_long_paths_are_refused)
{
    char path[5000];
    struct kf_err err;

    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    cr_assert_eq(kf_save_file(dirfd_of_test, path, "x", 1, 0600, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, path, 0700, &err), -1);
    cr_assert_eq(err.kind, KF_E_ARG);
}

Test(io, folders_are_made_once_and_kept)
{
    struct stat info;

    cr_assert_eq(kf_make_dirs(dirfd_of_test, "a//b/c/", 0750, NULL), 0);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, "a/b/c", 0700, NULL), 0);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, "", 0700, NULL), 0);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, folder, 0700, NULL), 0);
    cr_assert_eq(fstatat(dirfd_of_test, "a/b/c", &info, 0), 0);
    cr_assert(S_ISDIR(info.st_mode));
    cr_assert_eq(info.st_mode & 07777, 0750);
}

Test(io, a_file_in_place_of_a_folder_is_told)
{
    struct kf_err err;

    kf_save_file(dirfd_of_test, "f", "x", 1, 0600, NULL);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, "f", 0700, &err), -1);
    cr_assert_eq(err.kind, KF_E_IO);
    cr_assert_eq(kf_make_dirs(dirfd_of_test, "f/g", 0700, &err), -1);
    cr_assert_eq(err.os_errno, ENOTDIR);
}
