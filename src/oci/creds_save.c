/*
 * What login and logout do to a file of credentials.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/creds_file.h"
#include "oci/creds_helper.h"
#include "oci/creds_load.h"
#include "oci/creds_local.h"

#define LOCK_NS (5 * KF_NS_PER_S)
#define LOCK_STEP_MS 20

struct file {
    char *path; /* where it is, behind all links */
    int lock;   /* its folder */
    char *text; /* NULL: it is not there */
    size_t length;
};

static void close_file(struct file *file)
{
    free(file->path);
    kf_close_fd(&file->lock); /* and unlocks */
    kf_creds_unload(file->text, file->length);
}

static int lock_folder(struct file *file, struct kf_err *err)
{
    int64_t deadline_ns = kf_deadline_ns(LOCK_NS);
    const char *slash = strrchr(file->path, '/'); /* the path is absolute */
    kf_auto(kf_free) char *folder =
        strndup(file->path, slash > file->path ? (size_t)(slash - file->path) : 1);

    if (!folder)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (kf_make_dirs(AT_FDCWD, folder, 0700, err) != 0)
        return -1;
    file->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file->lock < 0)
        return kf_fail_errno(err, "cannot open '%s'", folder);
    while (flock(file->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return kf_fail_errno(err, "cannot lock '%s'", folder);
        if (kf_now_ns() >= deadline_ns)
            return kf_fail(err, KF_E_TIMEOUT, "cannot lock '%s': another login has it",
                           folder);
        (void)poll(NULL, 0, LOCK_STEP_MS);
    }
    return 0;
}

static int open_file(struct file *file, const struct kf_creds_local *local,
                     struct kf_err *err)
{
    const char *path = local->named ? local->named : local->files[0];
    struct kf_err failure = {0};

    *file = (struct file){.lock = -1};
    if (!path)
        return kf_fail(err, KF_E_ARG, "no place for credentials: set KITOPS_HOME");
    file->path = realpath(path, NULL);
    if (!file->path)
        file->path = strdup(path);
    if (!file->path)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    if (lock_folder(file, err) != 0)
        return -1;
    if (kf_creds_load(&file->text, &file->length, file->path, &failure) == 0 ||
        failure.kind == KF_E_NOTFOUND)
        return 0;
    if (err)
        *err = failure;
    return -1;
}

/* NULL: the file itself keeps what belongs to the host. */
static int find_helper(char **ret, const struct file *file, const char *host,
                       struct kf_err *err)
{
    struct kf_creds_file parsed;

    if (kf_creds_file_parse(&parsed, file->text, file->length, host, NULL, err) != 0)
        return kf_fail_wrap(err, "'%s'", file->path);
    *ret =
        parsed.host_helper ? kf_steal(parsed.host_helper) : kf_steal(parsed.store_helper);
    kf_creds_file_fini(&parsed);
    return 0;
}

static int edit(const struct file *file, const char *host, const char *username,
                const char *password, bool *ret_found, struct kf_err *err)
{
    char *text;
    int rc = 0;

    if (kf_creds_file_edit(&text, ret_found, file->text, file->length, host, username,
                           password, err) != 0)
        return kf_fail_wrap(err, "'%s'", file->path);
    if (username || *ret_found)
        rc = kf_save_file(AT_FDCWD, file->path, text, strlen(text), 0600, err);
    kf_creds_unload(text, strlen(text));
    return rc;
}

static int name_place(char **ret, const char *path, const char *suffix,
                      struct kf_err *err)
{
    if (suffix ? asprintf(ret, "docker-credential-%s", suffix) >= 0
               : (*ret = strdup(path)) != NULL)
        return 0;
    *ret = NULL;
    return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
}

/* `ret_suffix`: of the helper, NULL where it is the file. */
static int begin(struct file *file, char **ret_host, char **ret_suffix,
                 const struct kf_creds_local *local, const char *host, struct kf_err *err)
{
    if (open_file(file, local, err) != 0)
        return -1;
    *ret_host = kf_creds_host(host);
    if (!*ret_host)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    return find_helper(ret_suffix, file, *ret_host, err);
}

int kf_creds_local_save(struct kf_creds_local *local, const char *host,
                        const char *username, const char *password, char **ret_where,
                        struct kf_err *err)
{
    kf_auto(kf_free) char *plain = NULL;
    kf_auto(kf_free) char *suffix = NULL;
    kf_auto(kf_free) char *where = NULL;
    kf_auto(close_file) struct file file = {.lock = -1};
    bool found;

    if (begin(&file, &plain, &suffix, local, host, err) != 0 ||
        name_place(&where, file.path, suffix, err) != 0)
        return -1;
    if (suffix ? kf_creds_helper_store(
                     &(struct kf_creds_helper){suffix, local->home, local->helper_ns},
                     kf_creds_server(plain), username, password, err) != 0
               : edit(&file, plain, username, password, &found, err) != 0)
        return -1;
    *ret_where = kf_steal(where);
    return 0;
}

/* From both: find looks into both. */
int kf_creds_local_remove(struct kf_creds_local *local, const char *host,
                          char **ret_where, struct kf_err *err)
{
    kf_auto(kf_free) char *plain = NULL;
    kf_auto(kf_free) char *suffix = NULL;
    kf_auto(close_file) struct file file = {.lock = -1};
    bool in_file;
    int rc = 1;

    if (begin(&file, &plain, &suffix, local, host, err) != 0)
        return -1;
    if (suffix)
        rc = kf_creds_helper_erase(
            &(struct kf_creds_helper){suffix, local->home, local->helper_ns},
            kf_creds_server(plain), err);
    if (rc < 0 || edit(&file, plain, NULL, NULL, &in_file, err) != 0 ||
        name_place(ret_where, file.path, in_file ? NULL : suffix, err) != 0)
        return -1;
    return rc == 0 || in_file ? 0 : 1;
}
