#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "oci/creds_file.h"
#include "oci/creds_local.h"
#include "oci/login.h"
#include "oci/origin.h"
#include "opened.h"
#include "options.h"
#include "prompt.h"
#include "verbs.h"

#define USERNAME_SIZE 1024u

struct typed {
    char username[USERNAME_SIZE];
    char password[KF_CRED_TEXT_LIMIT + 2]; /* NUL, and a line end until it is cut off */
};

static int ask(struct typed *typed, const struct kf_options *options, struct kf_err *err)
{
    int rc = 0;

    if (options->password_stdin && !options->username)
        return kf_fail(err, KF_E_ARG, "--password-stdin needs -u USER");
    if (options->username)
        (void)snprintf(typed->username, sizeof(typed->username), "%s", options->username);
    else
        rc = kf_prompt("Username", false, typed->username, sizeof(typed->username), err);
    if (rc == 0)
        rc = options->password_stdin
                 ? kf_read_stdin(typed->password, sizeof(typed->password), err)
                 : kf_prompt("Password", true, typed->password, sizeof(typed->password),
                             err);
    if (rc != 0)
        return -1;
    if (!*typed->username || strchr(typed->username, ':') ||
        (options->username && strlen(options->username) >= USERNAME_SIZE))
        return kf_fail(err, KF_E_ARG, "the user name is empty, too long, or has a colon");
    if (!*typed->password || strlen(typed->password) > KF_CRED_TEXT_LIMIT)
        return kf_fail(err, KF_E_ARG, "the password is empty or over %u bytes",
                       KF_CRED_TEXT_LIMIT);
    return 0;
}

/* What is no host would become a strange key. */
static char *host_of(const struct kf_options *options, struct kf_err *err)
{
    char *host = kf_creds_host(options->args[0]);

    if (host && *host &&
        strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789._-:[]") == strlen(host))
        return host;
    (void)(host ? kf_fail(err, KF_E_ARG, "no host of a registry") /* NULL says it */
                : kf_fail(err, KF_E_NOMEM, "no memory for a name"));
    free(host);
    return NULL;
}

static int log_in(const char *host, const struct kf_options *options, char **ret_where,
                  struct kf_err *err)
{
    struct typed *typed = calloc(1, sizeof(*typed));
    struct kf_creds_local local;
    struct kf_net_opts net;
    int rc;

    if (!typed)
        return kf_fail(err, KF_E_NOMEM, "no memory for credentials");
    kf_net_from_options(&net, options);
    rc = kf_creds_local_init(&local, options->authfile, err);
    if (rc == 0) {
        rc = ask(typed, options, err);
        if (rc == 0)
            rc = kf_login_check(host, typed->username, typed->password, &net, err);
        if (rc == 0)
            rc = kf_creds_local_save(&local, host, typed->username, typed->password,
                                     ret_where, err);
        kf_creds_local_fini(&local);
    }
    explicit_bzero(typed, sizeof(*typed));
    free(typed);
    return rc;
}

int kf_verb_login(const struct kf_options *options)
{
    struct kf_err err = {0};
    kf_auto(kf_free) char *host = host_of(options, &err);
    kf_auto(kf_free) char *where = NULL;

    if (!host || log_in(host, options, &where, &err) != 0)
        return kf_report("log in to", options->args[0], &err);
    if (!options->quiet)
        fprintf(stderr, "Logged in to %s; kept in %s\n", host, where);
    return 0;
}

int kf_verb_logout(const struct kf_options *options)
{
    struct kf_err err = {0};
    kf_auto(kf_free) char *host = host_of(options, &err);
    kf_auto(kf_free) char *where = NULL;
    struct kf_creds_local local;
    int rc;

    if (!host || kf_creds_local_init(&local, options->authfile, &err) != 0)
        return kf_report("log out of", options->args[0], &err);
    rc = kf_creds_local_remove(&local, host, &where, &err);
    kf_creds_local_fini(&local);
    if (rc < 0)
        return kf_report("log out of", options->args[0], &err);
    if (!options->quiet)
        fprintf(stderr,
                rc == 0 ? "Removed the login to %s from %s\n"
                        : "There was no login to %s in %s\n",
                host, where);
    return 0;
}
