#include "oci/creds_local.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/mem.h"
#include "oci/creds_file.h"
#include "oci/creds_helper.h"
#include "oci/creds_load.h"

/* ---- where files are --------------------------------------------------------------- */

/* A variable that is set to nothing counts as not set. */
static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static char *find_home(void)
{
    const char *home = variable("HOME");
    struct passwd entry, *found = NULL;
    char text[4096];

    if (home)
        return strdup(home);
    if (getpwuid_r(getuid(), &entry, text, sizeof(text), &found) != 0 || !found)
        return NULL;
    return strdup(found->pw_dir);
}

/* The folder that a variable names, or one below HOME, and a name in it. NULL: neither is
 * known, or no memory, which is the same to us. */
static char *place(const char *name, const char *home, const char *below,
                   const char *file)
{
    const char *folder = variable(name);
    char *path = NULL;

    if (folder ? asprintf(&path, "%s/%s", folder, file) < 0
               : !home || asprintf(&path, "%s/%s/%s", home, below, file) < 0)
        return NULL;
    return path;
}

static char *kit_file(const char *home)
{
    return variable("KITOPS_HOME")
               ? place("KITOPS_HOME", home, "", "credentials.json")
               : place("XDG_DATA_HOME", home, ".local/share", "kitops/credentials.json");
}

static char *runtime_file(void)
{
    char *path = NULL;

    if (variable("XDG_RUNTIME_DIR"))
        return place("XDG_RUNTIME_DIR", NULL, "", "containers/auth.json");
    return asprintf(&path, "/run/containers/%u/auth.json", (unsigned)getuid()) < 0 ? NULL
                                                                                   : path;
}

/* The folder may change until it is read; links are followed only then, since secrets of
 * Kubernetes are changed by a link. */
static char *absolute(const char *path)
{
    kf_auto(kf_free) char *folder = NULL;
    char *whole;

    if (*path == '/')
        return strdup(path);
    folder = getcwd(NULL, 0);
    return folder && asprintf(&whole, "%s/%s", folder, path) >= 0 ? whole : NULL;
}

static int find(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err);

int kf_creds_local_init(struct kf_creds_local *local, const char *authfile,
                        struct kf_err *err)
{
    const char *named = authfile && *authfile ? authfile : variable("REGISTRY_AUTH_FILE");

    *local = (struct kf_creds_local){.creds.find = find, .home = find_home()};
    local->files[0] = kit_file(local->home);
    local->files[1] = runtime_file();
    local->files[2] =
        place("XDG_CONFIG_HOME", local->home, ".config", "containers/auth.json");
    local->files[3] = place("DOCKER_CONFIG", local->home, ".docker", "config.json");
    if (!named)
        return 0;
    local->named = absolute(named);
    if (local->named)
        return 0;
    kf_creds_local_fini(local);
    return kf_fail(err, KF_E_NOMEM, "cannot tell where '%s' is", named);
}

void kf_creds_local_fini(struct kf_creds_local *local)
{
    free(local->named);
    free(local->home);
    for (size_t i = 0; i < KF_CREDS_LOCAL_FILES; i++)
        free(local->files[i]);
    *local = (struct kf_creds_local){0};
}

/* ---- reading ----------------------------------------------------------------------- */

/* Not a pipe, which could block, and is empty the next time. */
static int load(int fd, char **ret, size_t *ret_length, const char *path,
                struct kf_err *err)
{
    struct stat info;
    char *text;

    if (fstat(fd, &info) != 0)
        return kf_fail_errno(err, "cannot read '%s'", path);
    if (!S_ISREG(info.st_mode))
        return kf_fail(err, KF_E_ARG, "'%s' is no regular file", path);
    if (info.st_size > (off_t)KF_CREDS_FILE_LIMIT)
        return kf_fail(err, KF_E_LIMIT, "'%s' is over %u bytes", path,
                       KF_CREDS_FILE_LIMIT);
    text = malloc((size_t)info.st_size + 1);
    if (!text)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (kf_pread_all(fd, text, (size_t)info.st_size, 0, path, err) != 0) {
        kf_creds_unload(text, (size_t)info.st_size);
        return -1;
    }
    *ret = text;
    *ret_length = (size_t)info.st_size;
    return 0;
}

int kf_creds_load(char **ret, size_t *ret_length, const char *path, struct kf_err *err)
{
    kf_auto(kf_close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", path);
    return load(fd, ret, ret_length, path, err);
}

void kf_creds_unload(char *text, size_t length)
{
    if (text)
        explicit_bzero(text, length);
    free(text);
}

static int read_file(struct kf_creds_file *ret, const char *path, const char *host,
                     const char *repository, struct kf_err *err)
{
    char *text = NULL;
    size_t length = 0;
    int rc;

    if (kf_creds_load(&text, &length, path, err) != 0)
        return -1;
    rc = kf_creds_file_parse(ret, text, length, host, repository, err);
    kf_creds_unload(text, length);
    return rc == 0 ? 0 : kf_fail_wrap(err, "'%s'", path);
}

/* 1: found; 0: the file has nothing. */
static int take(struct kf_creds_local *local, struct kf_creds_file *file,
                const char *path, const char *host, struct kf_cred *ret,
                struct kf_err *err)
{
    const char *const suffixes[] = {file->host_helper, file->store_helper};

    for (size_t i = 0; i < KF_ARRAY_LEN(suffixes); i++) {
        struct kf_creds_helper helper = {suffixes[i], local->home, local->helper_ns};

        if (!suffixes[i])
            continue;
        if (kf_creds_helper_get(&helper, kf_creds_server(host), ret, err) != 0)
            return kf_fail_wrap(err, "'%s'", path);
        if (ret->from)
            return 1;
    }
    if (!file->cred.username && !file->cred.identity_token && !file->cred.registry_token)
        return 0;
    file->cred.from = strdup(path);
    if (!file->cred.from)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    *ret = file->cred;
    file->cred = (struct kf_cred){0};
    return 1;
}

static int look_into(struct kf_creds_local *local, const char *path, const char *host,
                     const char *repository, struct kf_cred *ret, bool *ret_broken,
                     struct kf_err *err)
{
    struct kf_creds_file file;
    int rc;

    *ret_broken = read_file(&file, path, host, repository, err) != 0;
    if (*ret_broken)
        return -1;
    rc = take(local, &file, path, host, ret, err);
    kf_creds_file_fini(&file);
    return rc;
}

static void warn(struct kf_creds_local *local, size_t i, const struct kf_err *why)
{
    if (why->kind != KF_E_NOTFOUND &&
        !__atomic_exchange_n(&local->warned[i], 1, __ATOMIC_RELAXED))
        kf_log(KF_LOG_WARN, "oci", "event=credentials-passed-over error=%s",
               why->message);
}

static int find(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err)
{
    struct kf_creds_local *local = kf_container_of(creds, struct kf_creds_local, creds);
    kf_auto(kf_free) char *plain = kf_creds_host(host);
    struct kf_err failure = {0};
    bool broken;
    int rc = 0;

    if (!plain)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (local->named) {
        rc = look_into(local, local->named, plain, repository, ret, &broken, &failure);
        if (rc < 0 && failure.kind == KF_E_NOTFOUND) /* not a kit that is not found */
            failure.kind = KF_E_ARG;
    }
    for (size_t i = 0; !local->named && rc == 0 && i < KF_CREDS_LOCAL_FILES; i++) {
        if (!local->files[i])
            continue;
        rc = look_into(local, local->files[i], plain, repository, ret, &broken, &failure);
        if (rc < 0 && broken && failure.kind != KF_E_NOMEM) {
            warn(local, i, &failure);
            rc = 0;
        }
    }
    if (rc == 0)
        *ret = (struct kf_cred){0};
    if (rc < 0 && err)
        *err = failure;
    return rc < 0 ? -1 : 0;
}
