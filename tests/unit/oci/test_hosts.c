#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/hosts.h"

static struct kf_err err;

static int parse(struct kf_hosts *hosts, const char *text)
{
    kf_err_clear(&err);
    return kf_hosts_parse(hosts, text, strlen(text), "/d", &err);
}

static void must_parse(struct kf_hosts *hosts, const char *text)
{
    cr_assert_eq(parse(hosts, text), 0, "%s: %s", text, err.message);
}

/* ---- what a file says ---- */

Test(hosts, nothing_said)
{
    struct kf_hosts hosts;

    must_parse(&hosts, "");
    cr_expect_eq(hosts.mirror_count, 0);
    cr_expect_null(hosts.server.base);
    cr_expect_eq(hosts.server.can, KF_HOST_ALL);
    kf_hosts_fini(&hosts);
}

Test(hosts, mirrors_come_in_the_order_of_the_file)
{
    struct kf_hosts hosts;

    must_parse(&hosts, "server = \"https://up.example\"\n"
                       "[host.\"https://z.example\"]\n"
                       "[host.\"http://a.example:5000\"]\n"
                       "[host.\"https://m.example\".header]\n"
                       "x-a = \"1\"\n"
                       "[host.\"https://m.example\"]\n"
                       "skip_verify = true\n");
    cr_assert_eq(hosts.mirror_count, 3);
    cr_expect_str_eq(hosts.mirrors[0].base, "https://z.example/v2");
    cr_expect_str_eq(hosts.mirrors[1].base, "http://a.example:5000/v2");
    cr_expect_str_eq(hosts.mirrors[2].base, "https://m.example/v2");
    cr_expect(hosts.mirrors[2].skip_verify);
    cr_expect_str_eq(hosts.server.base, "https://up.example/v2");
    kf_hosts_fini(&hosts);
}

/* As containerd's config/hosts.go makes them. */
Test(hosts, where_the_api_is)
{
    static const struct {
        const char *name;
        bool override_path;
        const char *base;
    } rows[] = {
        {"m.example", false, "https://m.example/v2"},
        {"m.example:5000", false, "https://m.example:5000/v2"},
        {"http://m.example/", false, "http://m.example/v2"},
        {"https://m.example/v2", false, "https://m.example/v2"},
        {"https://m.example/v2/", false, "https://m.example/v2"},
        {"https://m.example/x", false, "https://m.example/x/v2"},
        {"https://m.example/v2/x", false, "https://m.example/v2/x/v2"},
        {"https://m.example/v2/x", true, "https://m.example/v2/x"},
        {"https://m.example/v2/x/", true, "https://m.example/v2/x"},
        {"https://m.example", true, "https://m.example"},
        {"https://M.Example:443/X", false, "https://m.example/X/v2"},
        {"http://[::1]:5000", false, "http://[::1]:5000/v2"},
    };
    struct kf_hosts hosts;
    char text[256];

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        const char *override = rows[i].override_path ? "true" : "false";

        (void)snprintf(text, sizeof(text), "[host.\"%s\"]\noverride_path = %s\n",
                       rows[i].name, override);
        must_parse(&hosts, text);
        cr_expect_str_eq(hosts.mirrors[0].base, rows[i].base, "%s", rows[i].name);
        kf_hosts_fini(&hosts);
        (void)snprintf(text, sizeof(text), "override_path = %s\nserver = \"%s\"\n",
                       override, rows[i].name);
        must_parse(&hosts, text);
        cr_expect_str_eq(hosts.server.base, rows[i].base, "server %s", rows[i].name);
        kf_hosts_fini(&hosts);
    }
}

Test(hosts, capabilities)
{
    static const struct {
        const char *text;
        unsigned can;
    } rows[] = {
        {"", KF_HOST_ALL},
        {"capabilities = []", KF_HOST_ALL},
        {"capabilities = [\"pull\"]", KF_HOST_PULL},
        {"capabilities = [\"pull\", \"resolve\"]", KF_HOST_PULL | KF_HOST_RESOLVE},
        {"capabilities = [\"Push\", \"referrers\"]", KF_HOST_PUSH | KF_HOST_REFERRERS},
    };
    struct kf_hosts hosts;
    char text[256];

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        (void)snprintf(text, sizeof(text), "[host.\"https://m\"]\n%s\n", rows[i].text);
        must_parse(&hosts, text);
        cr_expect_eq(hosts.mirrors[0].can, rows[i].can, "%s", rows[i].text);
        kf_hosts_fini(&hosts);
    }
    /* Without a server they say nothing: the registry itself can do everything. */
    must_parse(&hosts, "capabilities = [\"pull\"]");
    cr_expect_eq(hosts.server.can, KF_HOST_ALL);
    kf_hosts_fini(&hosts);
    must_parse(&hosts, "capabilities = [\"pull\"]\nserver = \"https://s\"");
    cr_expect_eq(hosts.server.can, KF_HOST_PULL);
    kf_hosts_fini(&hosts);
}

Test(hosts, tls)
{
    struct kf_hosts hosts;
    const struct kf_host *mirror = &hosts.mirrors[0];

    must_parse(&hosts, "[host.\"https://m\"]\nca = \"a.pem\"\nclient = \"/k/both.pem\"\n"
                       "skip_verify = false\ndial_timeout = \"1m30s\"\n");
    cr_assert_eq(mirror->ca_files.count, 1);
    cr_expect_str_eq(mirror->ca_files.items[0], "/d/a.pem");
    cr_expect_str_eq(mirror->client_cert, "/k/both.pem");
    cr_expect_null(mirror->client_key);
    cr_expect(mirror->has_skip_verify && !mirror->skip_verify);
    cr_expect_eq(mirror->dial_ns, INT64_C(90000000000));
    kf_hosts_fini(&hosts);
    must_parse(&hosts, "[host.\"https://m\"]\nca = [\"a\", \"/b\"]\n"
                       "client = [[\"c\", \"d\"]]\n");
    cr_assert_eq(mirror->ca_files.count, 2);
    cr_expect_str_eq(mirror->ca_files.items[1], "/b");
    cr_expect_str_eq(mirror->client_cert, "/d/c");
    cr_expect_str_eq(mirror->client_key, "/d/d");
    cr_expect_not(mirror->has_skip_verify);
    kf_hosts_fini(&hosts);
    must_parse(&hosts, "[host.\"https://m\"]\nclient = [\"both\"]\n");
    cr_expect_str_eq(mirror->client_cert, "/d/both");
    kf_hosts_fini(&hosts);
}

Test(hosts, headers)
{
    struct kf_hosts hosts;
    const struct kf_strings *lines = &hosts.mirrors[0].headers;

    must_parse(&hosts, "[host.\"https://m\"]\n[host.\"https://m\".header]\n"
                       "x-one = \"a b\"\nX-Many = [\"1\", \"2\"]\nx-none = \"\"\n");
    cr_assert_eq(lines->count, 4);
    cr_expect_str_eq(lines->items[0], "x-one: a b");
    cr_expect_str_eq(lines->items[1], "X-Many: 1");
    cr_expect_str_eq(lines->items[2], "X-Many: 2");
    cr_expect_str_eq(lines->items[3], "x-none;");
    kf_hosts_fini(&hosts);
}

Test(hosts, what_is_refused)
{
#define M "[host.\"https://m\"]\n"
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"serve = \"x\"", "line 1: 'serve' is no key that is known here"},
        {M "capabilties = []", "line 2: 'capabilties' is no key that is known here"},
        {M "server = \"x\"", "line 2: 'server' is no key"},
        {"[hosts.\"https://m\"]", "line 1: 'hosts' is no key"},
        {"host = 1", "line 1: 'host' must be a table"},
        {"[host]\nx = 1", "line 2: 'x' must be a table"},
        {"server = 1", "line 1: 'server' must be a string"},
        {"server = \"ftp://x\"", "line 1: 'ftp://x' is no host"},
        {"server = \"https://u:p@x\"", "line 1: 'https://u:p@x' is no host"},
        {"[host.\"https://m?x=1\"]", "line 1: 'https://m?x=1' is no host"},
        {"[host.\"https://m#x\"]", "line 1: 'https://m#x' is no host"},
        {"[host.\"https://m/a b\"]", "line 1: 'https://m/a b' is no host"},
        {"[host.\"\"]", "line 1: '' is no host"},
        {"[host.\"https:///x\"]", "line 1: 'https:///x' is no host"},
        {M "capabilities = \"pull\"", "line 2: 'capabilities' must be an array"},
        {M "capabilities = [\"pul\"]", "line 2: no capability is called 'pul'"},
        {M "capabilities = [1]", "line 2: 'a value' must be a string"},
        {M "ca = true", "line 2: 'ca' must be a string"},
        {M "ca = [[\"a\"]]", "line 2: 'a value' must be a string"},
        {M "ca = \"\"", "line 2: 'ca' names no file"},
        {M "client = [[\"a\"]]", "line 2: 'a value' must be a pair"},
        {M "client = [[\"a\", \"b\", \"c\"]]", "line 2: 'a value' must be a pair"},
        {M "client = [\n\"a\",\n\"b\"]", "line 4: 'a value' names several client"},
        {M "skip_verify = \"true\"", "line 2: 'skip_verify' must be true or false"},
        {M "override_path = 1", "line 2: 'override_path' must be true or false"},
        {M "dial_timeout = 5", "line 2: 'dial_timeout' must be a string"},
        {M "dial_timeout = \"5\"", "line 2: 'dial_timeout' is no time"},
        {M "header = \"x\"", "line 2: 'header' must be a table"},
        {M "header.x = 1", "line 2: 'x' must be a string"},
        {M "header.\"a b\" = \"1\"", "line 2: 'a b' is no name of a header"},
        {M "header.\"\" = \"1\"", "line 2: '' is no name of a header"},
        {M "header.x = \"a\\nb: c\"", "line 2: 'x' has a control character"},
        {M "header.range = \"bytes=0-\"", "line 2: 'range' is a header that cannot"},
        {M "header.Host = \"x\"", "line 2: 'Host' is a header that cannot be set"},
    };
#undef M

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        struct kf_hosts hosts;

        cr_expect_eq(parse(&hosts, rows[i].text), -1, "%s", rows[i].text);
        cr_expect_eq(err.kind, KF_E_MALFORMED);
        cr_expect(strncmp(err.message, rows[i].said, strlen(rows[i].said)) == 0, "%s: %s",
                  rows[i].text, err.message);
        kf_hosts_fini(&hosts);
    }
}

Test(hosts, durations)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"1ns", 1},
        {"200ms", 200000000},
        {"1s", 1000000000},
        {"1.5s", 1500000000},
        {".5s", 500000000},
        {"2us", 2000},
        {"2\xc2\xb5s", 2000},
        {"1h", INT64_C(3600000000000)},
        {"1m0.5s", INT64_C(60500000000)},
        {"1h1ns", -1},
        {"", -1},
        {"1", -1},
        {"s", -1},
        {".s", -1},
        {"0s", -1},
        {"-1s", -1},
        {"1s ", -1},
        {"1d", -1},
        {"1000000000000000000s", -1},
    };

    for (size_t i = 0; i < KF_ARRAY_LEN(rows); i++) {
        int64_t ns = -1;

        cr_expect_eq(kf_hosts_duration(&ns, rows[i].text), rows[i].ns < 0 ? -1 : 0, "%s",
                     rows[i].text);
        cr_expect_eq(ns, rows[i].ns, "%s: %lld", rows[i].text, (long long)ns);
    }
}

/* ---- limits, and one above ---- */

static void expect_limit(const char *text, bool fits)
{
    struct kf_hosts hosts;

    cr_expect_eq(parse(&hosts, text), fits ? 0 : -1, "%s", err.message);
    if (!fits)
        cr_expect_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    kf_hosts_fini(&hosts);
}

Test(hosts, so_many_mirrors)
{
    char text[1024];

    for (unsigned count = KF_HOSTS_LIMIT; count <= KF_HOSTS_LIMIT + 1; count++) {
        size_t used = 0;

        for (unsigned i = 0; i < count; i++)
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     "[host.\"https://m%u\"]\n", i);
        expect_limit(text, count <= KF_HOSTS_LIMIT);
    }
}

Test(hosts, so_many_header_lines)
{
    char text[2048];

    for (unsigned count = KF_HOSTS_LINES_LIMIT; count <= KF_HOSTS_LINES_LIMIT + 1;
         count++) {
        size_t used = 0;

        used += (size_t)snprintf(text, sizeof(text), "[header]\n");
        for (unsigned i = 0; i < count; i++)
            used +=
                (size_t)snprintf(text + used, sizeof(text) - used, "x-%u = \"v\"\n", i);
        expect_limit(text, count <= KF_HOSTS_LINES_LIMIT);
    }
}

/* ---- folders ---- */

static char dir[] = "/tmp/kf_hosts_XXXXXX";

static void make_dir(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

static void remove_dir(void)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
}

TestSuite(hosts_folder, .init = make_dir, .fini = remove_dir);

static void put(const char *name, const char *text)
{
    char path[128], *slash;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    slash = strrchr(path, '/');
    *slash = '\0';
    cr_assert_eq(kf_make_dirs(AT_FDCWD, path, 0755, &err), 0, "%s", err.message);
    *slash = '/';
    cr_assert_eq(kf_save_file(AT_FDCWD, path, text, strlen(text), 0644, &err), 0, "%s",
                 err.message);
}

static int load(struct kf_hosts *hosts, const char *host)
{
    kf_err_clear(&err);
    return kf_hosts_load(hosts, dir, host, &err);
}

static void expect_mirror(const char *host, const char *base)
{
    struct kf_hosts hosts;

    cr_assert_eq(load(&hosts, host), 0, "%s", err.message);
    cr_expect_eq(hosts.mirror_count, base ? 1 : 0, "%s", host);
    cr_expect_eq(hosts.server.can, KF_HOST_ALL);
    if (base && hosts.mirror_count == 1)
        cr_expect_str_eq(hosts.mirrors[0].base, base, "%s", host);
    kf_hosts_fini(&hosts);
}

Test(hosts_folder, the_first_folder_that_is_there)
{
    expect_mirror("r.example:5000", NULL);
    put("_default/hosts.toml", "[host.\"https://d\"]");
    expect_mirror("r.example:5000", "https://d/v2");
    expect_mirror("r.example", "https://d/v2");
    put("r.example/hosts.toml", "[host.\"https://n\"]");
    expect_mirror("r.example", "https://n/v2");
    expect_mirror("r.example:5000", "https://d/v2");
    put("r.example:5000/hosts.toml", "[host.\"https://c\"]");
    expect_mirror("r.example:5000", "https://c/v2");
    put("r.example_5000_/hosts.toml", "[host.\"https://u\"]");
    expect_mirror("r.example:5000", "https://u/v2");
    expect_mirror("..", "https://d/v2"); /* not a folder's parent */
}

Test(hosts_folder, none_is_wanted)
{
    struct kf_hosts hosts;

    put("_default/hosts.toml", "[host.\"https://d\"]");
    cr_assert_eq(kf_hosts_load(&hosts, "", "r.example", &err), 0);
    cr_expect_eq(hosts.mirror_count, 0);
    kf_hosts_fini(&hosts);
}

Test(hosts_folder, certificates_without_a_file)
{
    struct kf_hosts hosts;

    put("r/hosts.toml", "");
    put("r/b.crt", "-----BEGIN CERTIFICATE-----\nB");
    put("r/a.crt", "-----BEGIN CERTIFICATE-----\nA");
    put("r/me.cert", "x");
    put("r/me.key", "x");
    put("r/readme.txt", "x");
    cr_assert_eq(load(&hosts, "r"), 0, "%s", err.message);
    cr_expect_eq(hosts.mirror_count, 0);
    cr_expect_str_eq((const char *)hosts.server.ca.data,
                     "-----BEGIN CERTIFICATE-----\nA\n-----BEGIN CERTIFICATE-----\nB\n");
    cr_expect_str_eq(strrchr(hosts.server.client_cert, '/'), "/me.cert");
    cr_expect_str_eq(strrchr(hosts.server.client_key, '/'), "/me.key");
    kf_hosts_fini(&hosts);
    put("r/you.cert", "x");
    cr_expect_eq(load(&hosts, "r"), -1);
    cr_expect(strstr(err.message, "several client certificates"), "%s", err.message);
    kf_hosts_fini(&hosts);
}

Test(hosts_folder, a_certificate_with_its_key)
{
    struct kf_hosts hosts;

    put("r/me.cert", "x");
    cr_assert_eq(load(&hosts, "r"), 0, "%s", err.message);
    cr_expect_str_eq(strrchr(hosts.server.client_cert, '/'), "/me.cert");
    cr_expect_null(hosts.server.client_key);
    kf_hosts_fini(&hosts);
}

static void expect_failure(const char *said)
{
    struct kf_hosts hosts;

    cr_expect_eq(load(&hosts, "r"), -1);
    cr_expect(strstr(err.message, said), "%s", err.message);
    kf_hosts_fini(&hosts);
}

Test(hosts_folder, what_is_wrong_names_file_and_line)
{
    put("r/hosts.toml", "server = \"https://x\"\n\nsevrer = 1\n");
    expect_failure("/r/hosts.toml': line 3: 'sevrer' is no key that is known here");
    put("r/hosts.toml", "ca = \"missing.pem\"");
    expect_failure("/r/missing.pem'");
    put("r/hosts.toml", "ca = \"empty.pem\"");
    put("r/empty.pem", "");
    expect_failure("/r/empty.pem' holds no certificate");
    put("r/hosts.toml", "client = \"none.pem\"");
    expect_failure("cannot read '");
}

Test(hosts_folder, so_many_certificates)
{
    struct kf_hosts hosts;
    char *text = malloc(KF_HOSTS_PEM_LIMIT + 1);

    cr_assert_not_null(text);
    memset(text, 'x', KF_HOSTS_PEM_LIMIT);
    memcpy(text, "-----BEGIN ", 11);
    text[KF_HOSTS_PEM_LIMIT] = '\0';
    put("r/hosts.toml", "ca = \"a.pem\"");
    put("r/a.pem", text);
    expect_failure("");
    cr_expect_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    text[KF_HOSTS_PEM_LIMIT - 1] = '\0'; /* a newline is put behind */
    put("r/a.pem", text);
    cr_expect_eq(load(&hosts, "r"), 0, "%s", err.message);
    kf_hosts_fini(&hosts);
    free(text);
}
