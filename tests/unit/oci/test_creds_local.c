#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/creds_file.h"
#include "oci/creds_local.h"

#define KIT "data/kitops/credentials.json"
#define RUNTIME "runtime/containers/auth.json"
#define CONFIG "config/containers/auth.json"
#define DOCKER "docker/config.json"

static struct kf_err err;
static struct kf_cred cred;
static struct kf_creds_local local;
static char folder[] = "/tmp/kitfs-creds.XXXXXX";

static void init(void)
{
    static const char *const unset[] = {"REGISTRY_AUTH_FILE", "KITOPS_HOME"};
    static const char *const set[][2] = {{"XDG_DATA_HOME", "data"},
                                         {"XDG_RUNTIME_DIR", "runtime"},
                                         {"XDG_CONFIG_HOME", "config"},
                                         {"DOCKER_CONFIG", "docker"},
                                         {"HOME", "home"}};
    char path[128];

    (void)signal(SIGPIPE, SIG_IGN);
    kf_log_setup(KF_LOG_ERROR, KF_LOG_TEXT, 2);
    cr_assert(mkdtemp(folder) && chdir(folder) == 0);
    for (size_t i = 0; i < KF_ARRAY_LEN(unset); i++)
        cr_assert_eq(unsetenv(unset[i]), 0);
    for (size_t i = 0; i < KF_ARRAY_LEN(set); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, set[i][1]);
        cr_assert_eq(setenv(set[i][0], path, 1), 0);
    }
}

static void fini(void)
{
    kf_cred_fini(&cred);
    kf_creds_local_fini(&local);
    if (fork() == 0)
        execlp("rm", "rm", "-rf", folder, (char *)NULL);
}

TestSuite(creds_local, .init = init, .fini = fini, .timeout = 20);

static void put(const char *path, const char *text)
{
    char parent[128];

    (void)snprintf(parent, sizeof(parent), "%s", path);
    if (strrchr(parent, '/')) {
        *strrchr(parent, '/') = '\0';
        cr_assert_eq(kf_make_dirs(AT_FDCWD, parent, 0700, NULL), 0);
    }
    cr_assert_eq(kf_save_file(AT_FDCWD, path, text, strlen(text), 0600, &err), 0, "%s",
                 err.message);
}

static void put_user(const char *path, const char *user)
{
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "{\"auths\":{\"h.io\":{\"username\":\"%s\",\"password\":\"p\"}}}",
                   user);
    put(path, text);
}

static void open_chain(const char *authfile)
{
    kf_creds_local_fini(&local);
    cr_assert_eq(kf_creds_local_init(&local, authfile, &err), 0);
}

static int look_up(const char *host)
{
    kf_cred_fini(&cred);
    return local.creds.find(&local.creds, host, "a/b", &cred, &err);
}

static void expect_user(const char *user)
{
    cr_assert_eq(look_up("h.io"), 0, "%s", err.message);
    cr_expect_str_eq(cred.username ? cred.username : "(nobody)", user);
}

Test(creds_local, nothing_is_anonymous)
{
    open_chain(NULL);
    cr_expect_eq(look_up("h.io"), 0);
    cr_expect_null(cred.username);
    cr_expect_null(cred.from);
}

Test(creds_local, the_first_file_that_knows)
{
    static const char *const files[] = {DOCKER, CONFIG, RUNTIME, KIT};

    open_chain(NULL);
    for (size_t i = 0; i < KF_ARRAY_LEN(files); i++) {
        char path[256];

        put_user(files[i], files[i]);
        expect_user(files[i]);
        (void)snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        cr_expect_str_eq(cred.from, path);
    }
    put(KIT, "{\"auths\":{\"other.io\":{\"username\":\"o\"}}}");
    expect_user(RUNTIME);
    put_user("named", "named");
    cr_assert_eq(setenv("REGISTRY_AUTH_FILE", "named", 1), 0);
    open_chain(NULL);
    expect_user("named");
    put_user("option", "option");
    open_chain("option");
    expect_user("option");
}

Test(creds_local, below_home)
{
    static const char *const variables[] = {"XDG_DATA_HOME", "XDG_RUNTIME_DIR",
                                            "XDG_CONFIG_HOME", "DOCKER_CONFIG"};
    static const char *const files[] = {"home/.docker/config.json",
                                        "home/.config/containers/auth.json",
                                        "home/.local/share/kitops/credentials.json"};

    for (size_t i = 0; i < KF_ARRAY_LEN(variables); i++)
        cr_assert_eq(unsetenv(variables[i]), 0);
    open_chain(NULL);
    for (size_t i = 0; i < KF_ARRAY_LEN(files); i++) {
        put_user(files[i], files[i]);
        expect_user(files[i]);
    }
    cr_assert_eq(setenv("KITOPS_HOME", "kit", 1), 0);
    put_user("kit/credentials.json", "kit");
    open_chain(NULL);
    expect_user("kit");
    cr_assert_eq(unsetenv("HOME"), 0);
    open_chain(NULL);
    cr_expect(local.home && *local.home == '/'); /* of passwd */
}

Test(creds_local, a_named_file_ends_the_chain)
{
    put_user(DOCKER, "docker");
    put("named", "{\"auths\":{\"other.io\":{\"username\":\"o\"}}}");
    open_chain("named");
    cr_expect_eq(look_up("h.io"), 0);
    cr_expect_null(cred.username);
}

Test(creds_local, a_named_file_must_be_sound)
{
    put_user(DOCKER, "docker");
    open_chain("named");
    cr_expect_eq(look_up("h.io"), -1);
    cr_expect_eq(err.kind, KF_E_ARG, "%s", err.message);
    cr_expect(strstr(err.message, "/named'"), "%s", err.message);
    put("named", "{");
    cr_expect_eq(look_up("h.io"), -1);
    cr_expect_eq(err.kind, KF_E_MALFORMED);
    cr_expect(strstr(err.message, "/named'"), "%s", err.message);
    open_chain("/dev/null");
    cr_expect_eq(look_up("h.io"), -1);
    cr_expect(strstr(err.message, "no regular file"), "%s", err.message);
    cr_assert_eq(mkfifo("pipe", 0600), 0);
    open_chain("pipe");
    cr_expect_eq(look_up("h.io"), -1);
}

static size_t warnings(const char *path)
{
    char text[4096] = "";
    FILE *file = fopen(path, "r");
    size_t count = 0;

    cr_assert(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    for (const char *at = text; (at = strstr(at, "passed-over")); at++)
        count++;
    return count;
}

Test(creds_local, another_that_is_broken_is_passed_over)
{
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    kf_log_setup(KF_LOG_WARN, KF_LOG_TEXT, log);
    put(KIT, "{\"auths\":");
    put(RUNTIME, "{\"auths\":{\"h.io\":{\"auth\":\"hidden!\"}}}");
    put_user(DOCKER, "docker");
    open_chain(NULL);
    expect_user("docker");
    expect_user("docker");
    cr_expect_eq(warnings("log"), 2); /* once a file */
    (void)close(log);
}

Test(creds_local, one_that_may_not_be_read_is_passed_over)
{
    put_user(KIT, "kit");
    put_user(DOCKER, "docker");
    cr_assert_eq(chmod(KIT, 0), 0);
    open_chain(NULL);
    if (geteuid() == 0)
        cr_assert_eq(chmod(folder, 0755) | chmod("docker", 0755) | chmod(DOCKER, 0644) |
                         seteuid(65534),
                     0);
    expect_user("docker");
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

Test(creds_local, files_are_read_anew)
{
    put_user("one/..a/config.json", "first");
    put_user("one/..b/config.json", "second");
    cr_assert_eq(symlink("..a", "one/..data") | symlink("..data/config.json", "one/c"),
                 0);
    open_chain("one/c");
    expect_user("first");
    cr_assert_eq(chdir("/"), 0); /* and it is the same file all the same */
    cr_assert_eq(setenv("F", folder, 1) | chdir(folder) | unlink("one/..data") |
                     symlink("..b", "one/..data") | chdir("/"),
                 0); /* as Kubernetes does */
    expect_user("second");
}

Test(creds_local, too_large)
{
    for (size_t over = 0; over < 2; over++) {
        kf_auto(kf_free) char *text = malloc(KF_CREDS_FILE_LIMIT + 2);

        memset(text, ' ', KF_CREDS_FILE_LIMIT + 1);
        memcpy(text, "{}", 2);
        text[KF_CREDS_FILE_LIMIT + over] = '\0';
        put("named", text);
        open_chain("named");
        cr_expect_eq(look_up("h.io"), over ? -1 : 0);
    }
    cr_expect_eq(err.kind, KF_E_LIMIT);
}

/* ---- helpers ---- */

static void write_helper(const char *suffix, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/bin:/usr/bin:/bin", folder);
    cr_assert_eq(setenv("PATH", path, 1), 0);
    (void)snprintf(path, sizeof(path), "bin/docker-credential-%s", suffix);
    put(path, text);
    cr_assert_eq(chmod(path, 0700), 0);
}

#define SAYS(user) "#!/bin/sh\necho '{\"Username\":\"" user "\",\"Secret\":\"s\"}'\n"
#define NOTHING "#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n"

Test(creds_local, helpers_come_before_entries)
{
    put(DOCKER, "{\"credHelpers\":{\"h.io\":\"own\"},\"credsStore\":\"all\","
                "\"auths\":{\"h.io\":{\"username\":\"entry\"}}}");
    open_chain(NULL);
    write_helper("own", SAYS("own"));
    write_helper("all", SAYS("all"));
    expect_user("own");
    cr_expect_str_eq(cred.from, "docker-credential-own");
    write_helper("own", NOTHING);
    expect_user("all");
    write_helper("all", NOTHING);
    expect_user("entry");
}

Test(creds_local, a_helper_that_fails_is_an_error)
{
    put(KIT, "{\"credsStore\":\"gone\"}");
    put_user(DOCKER, "docker");
    open_chain(NULL);
    cr_expect_eq(look_up("h.io"), -1);
    cr_expect(strstr(err.message, KIT) && strstr(err.message, "docker-credential-gone") &&
                  strstr(err.message, "not installed"),
              "%s", err.message);
}

Test(creds_local, helpers_are_asked_as_docker_asks_them)
{
    put(DOCKER, "{\"credsStore\":\"all\"}");
    write_helper("all",
                 "#!/bin/sh\nread server\n"
                 "echo \"{\\\"Username\\\":\\\"$server\\\",\\\"Secret\\\":\\\"s\\\"}\"");
    open_chain(NULL);
    local.helper_ns = 5 * KF_NS_PER_S;
    cr_expect_eq(look_up("registry-1.docker.io"), -1); /* a name with a colon */
    cr_expect(strstr(err.message, "colon"), "%s", err.message);
    expect_user("h.io");
}

/* ---- login and logout ---- */

static char *where;

static int save(const char *host, const char *user)
{
    free(where);
    where = NULL;
    return kf_creds_local_save(&local, host, user, "p", &where, &err);
}

static int drop(const char *host)
{
    free(where);
    where = NULL;
    return kf_creds_local_remove(&local, host, &where, &err);
}

Test(creds_local, kept_in_kits_file)
{
    struct stat info;

    open_chain(NULL);
    cr_assert_eq(save("https://h.io/", "ci"), 0, "%s", err.message);
    cr_expect(strstr(where, KIT), "%s", where);
    cr_assert_eq(stat(KIT, &info), 0);
    cr_expect_eq(info.st_mode & 07777, 0600);
    expect_user("ci");
    cr_assert_eq(chmod(KIT, 0644), 0);
    cr_assert_eq(save("h.io", "ci2"), 0);
    cr_assert_eq(stat(KIT, &info), 0);
    cr_expect_eq(info.st_mode & 07777, 0600);
    expect_user("ci2");
    cr_expect_eq(drop("h.io"), 0);
    expect_user("(nobody)");
    cr_expect_eq(drop("h.io"), 1);
    free(where);
}

Test(creds_local, a_link_stays_one)
{
    struct stat info;

    put("real/file", "{\"auths\":{\"o.io\":{\"username\":\"o\"}}}");
    cr_assert_eq(symlink("real/file", "link"), 0);
    open_chain("link");
    cr_assert_eq(save("h.io", "ci"), 0, "%s", err.message);
    cr_expect(lstat("link", &info) == 0 && S_ISLNK(info.st_mode));
    expect_user("ci");
    cr_assert_eq(look_up("o.io"), 0);
    cr_expect_str_eq(cred.username, "o");
    free(where);
}

Test(creds_local, what_is_broken_is_left_alone)
{
    put(KIT, "not ours");
    open_chain(NULL);
    cr_expect_eq(save("h.io", "ci"), -1);
    cr_expect(strstr(err.message, KIT), "%s", err.message);
    cr_expect_null(where);
    cr_expect_eq(drop("h.io"), -1);
}

Test(creds_local, kept_by_a_helper)
{
    put(KIT, "{\"credsStore\":\"all\",\"auths\":{\"h.io\":{\"username\":\"old\"}}}");
    write_helper("all", "#!/bin/sh\ncat >said; echo $1 >>said\n");
    open_chain(NULL);
    cr_assert_eq(save("h.io", "ci"), 0, "%s", err.message);
    cr_expect_str_eq(where, "docker-credential-all");
    cr_expect_eq(access("said", F_OK), 0);
    cr_expect_eq(drop("h.io"), 0);
    cr_expect(strstr(where, KIT), "%s", where); /* the entry is gone, too */
    cr_expect_eq(drop("h.io"), 0);
    cr_expect_str_eq(where, "docker-credential-all");
    write_helper("all", NOTHING);
    cr_expect_eq(drop("h.io"), 1);
    free(where);
}

static void *save_many(void *arg)
{
    struct kf_creds_local own;
    char host[32], *place = NULL;

    cr_assert_eq(kf_creds_local_init(&own, NULL, NULL), 0);
    for (int i = 0; i < 8; i++) {
        (void)snprintf(host, sizeof(host), "%s%d.io", (const char *)arg, i);
        cr_expect_eq(kf_creds_local_save(&own, host, "u", "p", &place, NULL), 0);
        free(place);
        place = NULL;
    }
    kf_creds_local_fini(&own);
    return NULL;
}

Test(creds_local, logins_at_the_same_time)
{
    static char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    char host[32];

    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, save_many, names[i]), 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    open_chain(NULL);
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(host, sizeof(host), "%s%zu.io", names[i / 8], i % 8);
        cr_assert_eq(look_up(host), 0);
        cr_expect(cred.username, "%s is lost", host);
    }
}
