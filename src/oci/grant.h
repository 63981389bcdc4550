/*
 * Getting what lets a request pass at a registry: by the credentials that there are, or a
 * token for them. Asynchronous: credentials are looked up on a thread of its own, which
 * is begun when it is first needed; a token is asked for on the network thread. One run
 * at a time.
 *
 * - `registry_token`: as a bearer token. Basic: the user's name and password.
 * - Bearer: POST with an identity token (or the password, where the name is "<token>");
 *   GET with name and password, and where that is 404 or 405, POST; GET with nothing.
 *   A refresh token that the service gave before is tried first.
 *
 * Credentials go to the realm alone: a redirection that leads to another host is refused
 * then. Secrets are wiped.
 */
#ifndef KF_OCI_GRANT_H
#define KF_OCI_GRANT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/beside.h"
#include "base/err.h"
#include "net/http.h"
#include "oci/challenge.h"
#include "oci/creds.h"
#include "oci/hops.h"

struct kf_loop;

#define KF_GRANT_WHO_SIZE 256
#define KF_GRANT_USER_SIZE 81
#define KF_GRANT_FROM_SIZE 256
#define KF_GRANT_TIMEOUT_NS INT64_C(30000000000) /* of one question */

/* How a run failed, as an exchange would have. */
struct kf_grant_failure {
    enum kf_http_end end; /* OPEN: it did not */
    int status, curl_code;
    int64_t retry_after_ns;
    bool lasting;      /* asking again at once is useless */
    struct kf_err why; /* in words, with the remedy */
};

struct kf_grant {
    /* The owner's; set once. */
    struct kf_loop *loop;
    struct kf_creds *creds; /* NULL: anonymous */
    const char *host, *repository;
    /* Network thread, or the one for credentials; no lock held. May start a new run. */
    void (*done)(struct kf_grant *grant);

    /* The owner's; unchanged during a run. */
    enum kf_challenge_scheme scheme; /* BASIC or BEARER */
    char *realm, *service;           /* of Bearer; service may be NULL */
    char *scope;                     /* merged */
    char *refresh;                   /* of an earlier run; NULL: none */
    int64_t not_before_ns;           /* of what is asked of a token service */

    /* The outcome, for `done`. */
    struct kf_grant_failure failure;
    char *line;                  /* a value of Authorization; the owner takes it */
    int64_t lifetime_ns;         /* KF_NO_DEADLINE: for ever */
    char who[KF_GRANT_WHO_SIZE]; /* " for \"ci\" (from /root/...)", or "" */
    char user[KF_GRANT_USER_SIZE], from[KF_GRANT_FROM_SIZE]; /* of them; "": none */

    /* Private. */
    struct kf_beside beside;
    pthread_mutex_t lock; /* guards the next two */
    bool has_beside;
    bool stopping;
    int step;
    struct kf_cred cred;
    struct kf_exchange exchange;
    struct kf_hops hops;
    char *basic, *form;
    char *answer;
    size_t answer_length;
};

/* Zeroes it; the owner then sets his part. */
void kf_grant_init(struct kf_grant *grant);
/* Network thread. */
void kf_grant_start(struct kf_grant *grant);
/* Nothing is submitted any more afterwards but by callbacks of the loop, which is to be
 * freed next. Waits for a look-up of credentials. */
void kf_grant_stop(struct kf_grant *grant);
void kf_grant_fini(struct kf_grant *grant); /* when the loop is no more */

/* "'HOST' answers 401 for "ci" (from FILE). Run: kitfs login HOST": KF_E_CREDENTIALS, or
 * KF_E_REFUSED where nobody was named. */
int kf_grant_refused(struct kf_err *err, const char *by, int status, const char *who,
                     const char *host);

#endif
