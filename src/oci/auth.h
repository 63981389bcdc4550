/*
 * Authorization at one host of a registry, for one repository: what the host asks for,
 * what was got for it (oci/grant.h), and for how long that is good. Locks itself.
 *
 * Nothing is sent before a host has asked for it. Then each request carries what the host
 * took last; a token lasts from when it came, by the monotonic clock, and is renewed when
 * 80 % are over, beside requests that go on with the old one. However many requests need
 * a token, it is asked for once; they wait in the network thread's queue, with their
 * deadlines. A refusal (401; 403 where it is about the token) means new credentials and a
 * new token, once; when a new one is refused, that is remembered for 30 s. Authorization
 * goes to the registry's own host alone, and credentials to a token service only by
 * https, unless the registry itself is asked by http.
 *
 * A request embeds a kf_auth_use:
 *
 *     kf_auth_prepare(&use, auth, &exchange);    before each time that it is submitted
 *     if (kf_auth_again(&use, &exchange))        when it has ended: prepare and submit it
 *     kf_auth_explain(&use, &exchange, err);     when its failure was written to err
 *     kf_auth_use_fini(&use);
 */
#ifndef KF_OCI_AUTH_H
#define KF_OCI_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/http.h"
#include "oci/challenge.h"

struct kf_auth;
struct kf_creds;
struct kf_loop;

#define KF_AUTH_FAILURE_NS INT64_C(30000000000) /* a refusal is remembered */

struct kf_auth_opts {
    struct kf_loop *loop;   /* outlives it but for kf_auth_free */
    struct kf_creds *creds; /* outlives it; NULL: anonymous */
    const char *base;       /* "https://host:port/..."; copied, as are the others */
    const char *host;       /* whose credentials are used, and for messages */
    const char *repository;
};

/* Asks for "pull". */
int kf_auth_new(struct kf_auth **ret, const struct kf_auth_opts *opts,
                struct kf_err *err);
/* From now on for "pull,push"; before the first request. */
int kf_auth_want_push(struct kf_auth *auth, struct kf_err *err);
/* First stop, then free the loop, then this. NULL is fine for both. Stopping waits for a
 * look-up of credentials. */
void kf_auth_stop(struct kf_auth *auth);
void kf_auth_free(struct kf_auth *auth);

/* What is known of logging in there, for people; never a secret. */
struct kf_auth_state {
    enum kf_challenge_scheme asks; /* NONE: for nothing, so far */
    bool granted;                  /* there is something to send */
    char tokens_by[256];           /* host[:port] of the token service; "": none */
    char user[81];                 /* "": none, or a token's */
    char from[256];                /* where credentials came from; "": there are none */
};
void kf_auth_look(struct kf_auth *auth, struct kf_auth_state *ret);

/* Of one request; zeroed at first. One thread, but that it is the network thread's from
 * submit until the exchange ends. */
struct kf_auth_use {
    /* Private. */
    struct kf_http_gate gate;
    struct kf_auth *auth;
    char *line;          /* the Authorization that was sent; a secret */
    uint64_t generation; /* of it; 0: none was */
    uint64_t fetch;      /* the one it waits for; 0: none */
    unsigned refusals;   /* in a row */
    bool home;           /* the exchange goes to the host itself */
    bool bare;           /* it is to go without, to see the true challenge */
    bool widened;        /* a larger scope was asked for */
    struct kf_err why;   /* what to say of a failure, or clear */
};

/* `auth` may change from time to time (another host); NULL: nothing is sent. */
void kf_auth_prepare(struct kf_auth_use *use, struct kf_auth *auth,
                     struct kf_exchange *exchange);
/* To be told of each end. True: it was refused, and may pass when it is sent again. */
bool kf_auth_again(struct kf_auth_use *use, const struct kf_exchange *exchange);
/* Where the failure is about a login: says so in `err`, with the remedy. */
void kf_auth_explain(const struct kf_auth_use *use, const struct kf_exchange *exchange,
                     struct kf_err *err);
void kf_auth_use_fini(struct kf_auth_use *use);

#endif
