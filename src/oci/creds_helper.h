/*
 * Programs that keep credentials for docker: docker-credential-SUFFIX, found in PATH, run
 * without a shell with one of the words get, store and erase. Secrets pass through pipes
 * alone, never by arguments or environment. One that takes longer than 10 s is killed
 * with all that it started. What it writes to stderr is dropped.
 *
 * The calls block. Any thread; SIGPIPE must be ignored, SIGCHLD must not be.
 */
#ifndef KF_OCI_CREDS_HELPER_H
#define KF_OCI_CREDS_HELPER_H

#include <stdint.h>

struct kf_cred;
struct kf_err;

#define KF_CREDS_HELPER_NS INT64_C(10000000000)
#define KF_CREDS_HELPER_LIMIT (256u << 10) /* bytes that it may answer */

struct kf_creds_helper {
    const char *suffix;
    const char *home;   /* for a program whose environment has no HOME; NULL: none */
    int64_t timeout_ns; /* 0: KF_CREDS_HELPER_NS */
};

/* What it has for a server (kf_creds_server); nothing is 0 and all NULL. */
int kf_creds_helper_get(const struct kf_creds_helper *helper, const char *server,
                        struct kf_cred *ret, struct kf_err *err);
int kf_creds_helper_store(const struct kf_creds_helper *helper, const char *server,
                          const char *username, const char *secret, struct kf_err *err);
/* 1: it had nothing for the server. */
int kf_creds_helper_erase(const struct kf_creds_helper *helper, const char *server,
                          struct kf_err *err);

#endif
