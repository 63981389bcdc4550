#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "fs/aside.h"
#include "fs/proc.h"

TestSuite(proc, .timeout = 30);

Test(proc, pending_kill_is_seen)
{
    cr_expect(kf_proc_status_killed("Name:\tx\nSigPnd:\t0000000000000100\nShdPnd:\t0\n"));
    cr_expect(kf_proc_status_killed("Name:\tx\nSigPnd:\tffffffffffffffff\n"));
}

Test(proc, other_signals_do_not_count)
{
    cr_expect_not(kf_proc_status_killed("Name:\tx\nSigPnd:\t0000000000002000\n"));
    cr_expect_not(kf_proc_status_killed("Name:\tx\nSigPnd:\t0000000000000000\n"));
    cr_expect_not(kf_proc_status_killed("Name:\tx\nShdPnd:\t0000000000000100\n"),
                  "not taken by this thread yet, if it ever is");
    cr_expect_not(kf_proc_status_killed(""));
    cr_expect_not(kf_proc_status_killed("SigPnd"));
    cr_expect_not(kf_proc_status_killed("Name:\tSigPnd:\t0100\n"), "a name of that kind");
    cr_expect_not(kf_proc_being_killed(getpid()));
    cr_expect_not(kf_proc_being_killed(0), "of another pid namespace");
    cr_expect_not(kf_proc_being_killed(-1));
    cr_expect_not(kf_proc_being_killed(0x7ffffffe), "nobody");
}

Test(proc, names)
{
    char name[16] = "";

    cr_expect(kf_proc_name(getpid(), name));
    cr_expect_str_not_empty(name);
    cr_expect_not(strchr(name, '\n'));
    cr_expect_not(kf_proc_name(0x7ffffffe, name));
}

/* A child that uses the folder in one way, until it is killed. */
static pid_t start_user(const char *dir, void (*use)(const char *dir))
{
    int ready[2];
    char byte;
    pid_t child;

    cr_assert_eq(pipe(ready), 0);
    child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        use(dir);
        (void)!write(ready[1], "x", 1);
        for (;;)
            pause();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void use_as_cwd(const char *dir)
{
    if (chdir(dir) != 0)
        _exit(1);
}

static void use_a_file(const char *dir)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/file", dir);
    if (open(path, O_RDWR | O_CREAT, 0600) < 0)
        _exit(1);
}

static void check_user(void (*use)(const char *dir), const char *name)
{
    char dir[] = "/tmp/kf-test-proc-XXXXXX", path[64], expected[64];
    struct kf_buf users;
    pid_t child;

    cr_assert(mkdtemp(dir));
    child = start_user(dir, use);
    kf_buf_init(&users, 512);
    cr_assert_eq(kf_proc_users(dir, &users, NULL), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    (void)snprintf(expected, sizeof(expected), "(%d)", (int)child);
    cr_expect(users.length > 0 && strstr((const char *)users.data, expected), "%s: '%s'",
              name, users.length > 0 ? (const char *)users.data : "");
    kf_buf_clear(&users);
    cr_assert_eq(kf_proc_users(dir, &users, NULL), 0);
    cr_expect_eq(users.length, 0, "nobody any more");
    kf_buf_fini(&users);
    (void)snprintf(path, sizeof(path), "%s/file", dir);
    unlink(path);
    rmdir(dir);
}

Test(proc, users_of_a_folder_are_named)
{
    check_user(use_as_cwd, "working folder");
    check_user(use_a_file, "open file");
}

static void say_and_hang(const void *arg, int out)
{
    (void)!write(out, arg, strlen(arg));
    for (;;)
        pause();
}

static void say_much(const void *arg, int out)
{
    char block[4096];

    memset(block, 'x', sizeof(block));
    while (write(out, block, sizeof(block)) > 0)
        ;
}

Test(proc, aside_ends_in_time)
{
    struct kf_buf text;

    kf_buf_init(&text, 100);
    cr_assert_eq(kf_aside(say_and_hang, "so far", 50 * KF_NS_PER_MS, &text, NULL), 0);
    cr_expect_str_eq((const char *)text.data, "so far");
    cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
    kf_buf_fini(&text);
}

Test(proc, aside_stops_at_the_limit)
{
    struct kf_buf text;

    kf_buf_init(&text, 10000);
    cr_assert_eq(kf_aside(say_much, NULL, 5 * KF_NS_PER_S, &text, NULL), 0);
    cr_expect_leq(text.length, 10000);
    cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
    kf_buf_fini(&text);
}
