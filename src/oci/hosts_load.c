/*
 * Where hosts.toml is, and the files it names.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/hosts.h"
#include "oci/toml.h"

static const char *const default_dirs[] = {"/etc/kitfs/hosts.d",
                                           "/etc/containerd/certs.d"};

static int no_memory(struct kf_err *err)
{
    return kf_fail(err, KF_E_NOMEM, "no memory for hosts");
}

/* ---- which folder ------------------------------------------------------------------ */

/* 1 and the path when it is there, else 0. */
static int find_in(char **ret, const char *dir, const char *name, struct kf_err *err)
{
    kf_auto(kf_free) char *path = NULL;
    struct stat st;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return no_memory(err);
    }
    if (stat(path, &st) != 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : kf_fail_errno(err, "cannot look at '%s'", path);
    *ret = kf_steal(path);
    return 1;
}

static int find_folder(char **ret, const char *dir, const char *host, struct kf_err *err)
{
    kf_auto(kf_free) char *with_port = NULL;
    const char *colon = strrchr(host, ':');
    const char *names[3];
    int rc = 0;

    if (asprintf(&with_port, "%.*s%s%s%s",
                 colon ? (int)(colon - host) : (int)strlen(host), host, colon ? "_" : "",
                 colon ? colon + 1 : "", colon ? "_" : "") < 0) {
        with_port = NULL;
        return no_memory(err);
    }
    names[0] = with_port;
    names[1] = host;
    names[2] = "_default";
    for (size_t i = 0; i < KF_ARRAY_LEN(names) && rc == 0; i++)
        rc = find_in(ret, dir, names[i], err);
    return rc;
}

/* ---- folders without hosts.toml ---------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), end_length = strlen(end);

    return length > end_length && strcmp(name + length - end_length, end) == 0;
}

static int set_client(struct kf_host *host, const char *dir, const char *cert,
                      struct kf_err *err)
{
    if (host->client_cert)
        return kf_fail(err, KF_E_UNSUPPORTED,
                       "'%s' has several client certificates; one is supported", dir);
    if (asprintf(&host->client_cert, "%s/%s", dir, cert) < 0) {
        host->client_cert = NULL;
        return no_memory(err);
    }
    if (asprintf(&host->client_key, "%.*s.key",
                 (int)(strlen(host->client_cert) - strlen(".cert")),
                 host->client_cert) < 0) {
        host->client_key = NULL;
        return no_memory(err);
    }
    if (access(host->client_key, F_OK) != 0) { /* then it is in the same file */
        free(host->client_key);
        host->client_key = NULL;
    }
    return 0;
}

static int take_file(struct kf_host *host, const char *dir, const char *name,
                     struct kf_err *err)
{
    kf_auto(kf_free) char *path = NULL;

    if (ends_with(name, ".cert"))
        return set_client(host, dir, name, err);
    if (!ends_with(name, ".crt"))
        return 0;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return no_memory(err);
    }
    return kf_strings_add(&host->ca_files, path, err);
}

static int take_certificates(struct kf_host *host, const char *dir, struct kf_err *err)
{
    DIR *stream = opendir(dir);
    const struct dirent *entry;
    int rc = 0;

    if (!stream)
        return errno == ENOTDIR ? 0 : kf_fail_errno(err, "cannot list '%s'", dir);
    while (rc == 0 && (entry = readdir(stream)))
        rc = take_file(host, dir, entry->d_name, err);
    (void)closedir(stream); /* only read */
    kf_strings_sort(&host->ca_files);
    return rc;
}

/* ---- contents ---------------------------------------------------------------------- */

static int read_authorities(struct kf_host *host, struct kf_err *err)
{
    for (size_t i = 0; i < host->ca_files.count; i++) {
        size_t before = host->ca.length;

        if (kf_load_file(AT_FDCWD, host->ca_files.items[i], &host->ca, err) != 0)
            return -1;
        /* curl takes a text without any for no authority at all. */
        if (!host->ca.data ||
            !strstr((const char *)host->ca.data + before, "-----BEGIN "))
            return kf_fail(err, KF_E_MALFORMED, "'%s' holds no certificate (PEM)",
                           host->ca_files.items[i]);
        if (kf_buf_append_text(&host->ca, "\n", err) != 0)
            return -1;
    }
    return 0;
}

static int check_readable(const char *path, struct kf_err *err)
{
    return !path || access(path, R_OK) == 0
               ? 0
               : kf_fail_errno(err, "cannot read '%s'", path);
}

static int read_files(struct kf_host *host, struct kf_err *err)
{
    return read_authorities(host, err) == 0 && check_readable(host->client_cert, err) == 0
               ? check_readable(host->client_key, err)
               : -1;
}

static int read_folder(struct kf_hosts *hosts, const char *dir, struct kf_err *err)
{
    kf_auto(kf_free) char *path = NULL;
    kf_auto(kf_buf_fini) struct kf_buf text;
    struct kf_err failure = {0};
    int rc;

    kf_buf_init(&text, KF_TOML_SIZE_LIMIT);
    if (asprintf(&path, "%s/hosts.toml", dir) < 0) {
        path = NULL;
        return no_memory(err);
    }
    if (kf_load_file(AT_FDCWD, path, &text, &failure) != 0 &&
        failure.kind != KF_E_NOTFOUND) {
        if (err)
            *err = failure;
        return -1;
    }
    if (text.length == 0)
        return take_certificates(&hosts->server, dir, err);
    kf_hosts_fini(hosts);
    rc = kf_hosts_parse(hosts, (const char *)text.data, text.length, dir, err);
    explicit_bzero(text.data, text.length); /* headers may be secrets */
    return rc == 0 ? 0 : kf_fail_wrap(err, "'%s'", path);
}

int kf_hosts_load(struct kf_hosts *ret, const char *dir, const char *host,
                  struct kf_err *err)
{
    kf_auto(kf_free) char *folder = NULL;
    int found = 0;

    *ret = (struct kf_hosts){.server.can = KF_HOST_ALL};
    kf_buf_init(&ret->server.ca, KF_HOSTS_PEM_LIMIT);
    if (dir && *dir)
        found = find_folder(&folder, dir, host, err);
    for (size_t i = 0; !dir && found == 0 && i < KF_ARRAY_LEN(default_dirs); i++)
        found = find_folder(&folder, default_dirs[i], host, err);
    if (found <= 0)
        return found;
    if (read_folder(ret, folder, err) != 0 || read_files(&ret->server, err) != 0)
        return -1;
    for (size_t i = 0; i < ret->mirror_count; i++)
        if (read_files(&ret->mirrors[i], err) != 0)
            return -1;
    return 0;
}
