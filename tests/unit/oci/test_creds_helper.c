#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/creds.h"
#include "oci/creds_helper.h"

static struct kf_err err;
static struct kf_cred cred;
static char folder[] = "/tmp/kitfs-helper.XXXXXX";
static struct kf_creds_helper helper = {.suffix = "x", .timeout_ns = 5 * KF_NS_PER_S};

static void init(void)
{
    char path[4096];

    (void)signal(SIGPIPE, SIG_IGN);
    cr_assert(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s:/usr/bin:/bin", folder);
    cr_assert_eq(setenv("PATH", path, 1), 0);
    cr_assert_eq(setenv("FOLDER", folder, 1), 0);
}

static void fini(void)
{
    char command[128];
    pid_t child = fork();

    (void)snprintf(command, sizeof(command), "%s", folder);
    if (child == 0)
        execlp("rm", "rm", "-r", command, (char *)NULL);
    kf_cred_fini(&cred);
}

TestSuite(creds_helper, .init = init, .fini = fini, .timeout = 20);

static void write_script(const char *text)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/docker-credential-x", folder);
    file = fopen(path, "w");
    cr_assert(file && fprintf(file, "#!/bin/sh\n%s\n", text) > 0 && fclose(file) == 0);
    cr_assert_eq(chmod(path, 0755), 0);
}

static int get(const char *script)
{
    write_script(script);
    return kf_creds_helper_get(&helper, "h.io:5000", &cred, &err);
}

static void expect_failure(const char *script, enum kf_err_kind kind, const char *message)
{
    cr_expect_eq(get(script), -1, "%s", script);
    cr_expect_eq(err.kind, kind, "%s: %s", script, err.message);
    cr_expect(strstr(err.message, message), "%s: %s", script, err.message);
    cr_expect(strstr(err.message, "docker-credential-x"), "%s", err.message);
}

Test(creds_helper, gives_a_name_and_a_secret)
{
    cr_assert_eq(
        get("read server; [ \"$1/$server/$#\" = get/h.io:5000/1 ] || exit 3\n"
            "echo noise >&2\n"
            "echo '{\"ServerURL\":\"s\",\"Username\":\"ci\",\"Secret\":\"a:b\"}'"),
        0, "%s", err.message);
    cr_expect_str_eq(cred.username, "ci");
    cr_expect_str_eq(cred.password, "a:b");
    cr_expect_null(cred.identity_token);
    cr_expect_str_eq(cred.from, "docker-credential-x");
}

Test(creds_helper, gives_an_identity_token)
{
    cr_assert_eq(get("echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'"), 0);
    cr_expect_str_eq(cred.identity_token, "t");
    cr_expect_null(cred.username);
    cr_expect_null(cred.password);
}

Test(creds_helper, has_nothing)
{
    cr_expect_eq(get("echo 'credentials not found in native keychain'; exit 1"), 0);
    cr_expect_null(cred.from);
    cr_expect_eq(get("echo '{\"Username\":\"\",\"Secret\":\"\"}'"), 0);
    cr_expect_null(cred.from);
}

Test(creds_helper, fails)
{
    expect_failure("echo 'no keyring'; exit 1", KF_E_IO, "failed: no keyring");
    expect_failure("exit 4", KF_E_IO, "exit code 4");
    expect_failure("echo '{\"Username\":\"u\",\"Secret\":\"hidden\"}'; exit 1", KF_E_IO,
                   "exit code 1");
    cr_expect_null(strstr(err.message, "hidden"));
    expect_failure("kill -9 $$", KF_E_IO, "signal 9");
    expect_failure("echo hidden", KF_E_MALFORMED, "no Username and Secret");
    cr_expect_null(strstr(err.message, "hidden"));
    expect_failure("echo '{\"Username\":\"a:b\",\"Secret\":\"s\"}'", KF_E_MALFORMED,
                   "colon");
}

Test(creds_helper, is_not_there)
{
    cr_expect_eq(kf_creds_helper_get(&helper, "h.io", &cred, &err), -1);
    cr_expect_eq(err.kind, KF_E_IO);
    cr_expect_str_eq(err.message,
                     "cannot run 'docker-credential-x': it is not installed");
}

Test(creds_helper, may_not_be_run)
{
    char path[128];

    write_script("exit 0");
    (void)snprintf(path, sizeof(path), "%s/docker-credential-x", folder);
    cr_assert_eq(chmod(path, 0600), 0);
    cr_expect_eq(kf_creds_helper_get(&helper, "h.io", &cred, &err), -1);
    cr_expect(strstr(err.message, "may not be run"), "%s", err.message);
}

/* With all that it started. */
Test(creds_helper, takes_too_long)
{
    char path[128], text[32];
    FILE *file;
    long child;

    helper.timeout_ns = KF_NS_PER_S / 2;
    expect_failure("sleep 60 & echo $! >$FOLDER/pid; wait", KF_E_TIMEOUT, "too long");
    (void)snprintf(path, sizeof(path), "%s/pid", folder);
    file = fopen(path, "r");
    cr_assert(file && fgets(text, sizeof(text), file));
    (void)fclose(file);
    child = strtol(text, NULL, 10);
    for (int i = 0; i < 200 && kill((pid_t)child, 0) == 0; i++) {
        char line[256] = "";

        (void)snprintf(path, sizeof(path), "/proc/%ld/stat", child);
        file = fopen(path, "r");
        if (!file || !fgets(line, sizeof(line), file) || strstr(line, ") Z ")) {
            if (file)
                (void)fclose(file);
            return; /* a zombie: whoever adopted it is late */
        }
        (void)fclose(file);
        (void)usleep(10000);
    }
    cr_expect_eq(kill((pid_t)child, 0), -1, "%ld lives", child);
}

Test(creds_helper, closes_its_output_and_goes_on)
{
    helper.timeout_ns = KF_NS_PER_S / 2;
    expect_failure("exec >&-; sleep 60", KF_E_TIMEOUT, "too long");
}

Test(creds_helper, says_too_much)
{
    static const char form[] = "printf '{\"Username\":\"u\",\"Secret\":\"s\",\"x\":\"'\n"
                               "head -c %u /dev/zero | tr '\\0' a; printf '\"}'";
    const unsigned around = 36; /* bytes of it that are not a */
    char script[256];

    (void)snprintf(script, sizeof(script), form, KF_CREDS_HELPER_LIMIT - around);
    cr_expect_eq(get(script), 0, "%s", err.message);
    kf_cred_fini(&cred);
    (void)snprintf(script, sizeof(script), form, KF_CREDS_HELPER_LIMIT - around + 1);
    expect_failure(script, KF_E_LIMIT, "says more than");
    expect_failure("yes", KF_E_LIMIT, "says more than");
}

Test(creds_helper, gives_a_long_secret)
{
    static const char form[] = "printf '{\"Username\":\"u\",\"Secret\":\"'\n"
                               "head -c %u /dev/zero | tr '\\0' a; printf '\"}'";
    char script[256];

    (void)snprintf(script, sizeof(script), form, KF_CRED_TEXT_LIMIT);
    cr_expect_eq(get(script), 0, "%s", err.message);
    kf_cred_fini(&cred);
    (void)snprintf(script, sizeof(script), form, KF_CRED_TEXT_LIMIT + 1);
    expect_failure(script, KF_E_LIMIT, "over 65536 bytes");
}

Test(creds_helper, stores_and_erases)
{
    char path[128], line[256] = "";
    FILE *file;

    write_script("echo \"$1 $(cat)\" >$FOLDER/said; [ $1 = store ]");
    cr_assert_eq(kf_creds_helper_store(&helper, "h.io", "u", "p\"", &err), 0, "%s",
                 err.message);
    (void)snprintf(path, sizeof(path), "%s/said", folder);
    file = fopen(path, "r");
    cr_assert(file && fgets(line, sizeof(line), file));
    cr_expect_str_eq(
        line, "store {\"ServerURL\":\"h.io\",\"Username\":\"u\",\"Secret\":\"p\\\"\"}\n");
    (void)fclose(file);
    cr_expect_eq(kf_creds_helper_erase(&helper, "h.io", &err), -1);
    cr_expect(strstr(err.message, "exit code 1"), "%s", err.message);
    write_script("echo 'credentials not found in native keychain'; exit 1");
    cr_expect_eq(kf_creds_helper_erase(&helper, "h.io", &err), 1);
    cr_expect_eq(kf_creds_helper_store(&helper, "h.io", "u", "p", &err), -1);
    write_script("exit 0");
    cr_expect_eq(kf_creds_helper_erase(&helper, "h.io", &err), 0);
    cr_expect_eq(kf_creds_helper_store(&helper, "h.io", "\xff", "p", &err), -1);
}

/* What is sent is long, and nobody reads it. */
Test(creds_helper, does_not_listen)
{
    kf_auto(kf_free) char *secret = calloc(1, 300000);

    memset(secret, 's', 299999);
    write_script("exit 0");
    cr_expect_eq(kf_creds_helper_store(&helper, "h.io", "u", secret, &err), 0, "%s",
                 err.message);
}

Test(creds_helper, home_is_set_where_there_is_none)
{
    const char *script =
        "echo \"{\\\"Username\\\":\\\"u\\\",\\\"Secret\\\":\\\"$HOME\\\"}\"";

    helper.home = "/home/of/passwd";
    cr_assert_eq(setenv("HOME", "/home/own", 1), 0);
    cr_assert_eq(get(script), 0);
    cr_expect_str_eq(cred.password, "/home/own");
    kf_cred_fini(&cred);
    cr_assert_eq(unsetenv("HOME"), 0);
    cr_assert_eq(get(script), 0);
    cr_expect_str_eq(cred.password, "/home/of/passwd");
}
