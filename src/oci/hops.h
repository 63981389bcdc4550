/*
 * Where a request really goes: from the registry's URL along redirections, which are
 * followed by us (net/loop.h follows none). Relative targets are resolved, https never
 * leads to http, ten hops are the limit. Nothing but the URL travels to another host. One
 * thread.
 */
#ifndef KF_OCI_HOPS_H
#define KF_OCI_HOPS_H

#include <stdbool.h>

#include "net/http.h"
#include "net/retry.h"

struct kf_err;

#define KF_HOPS_LIMIT 10u

struct kf_hops {
    char *first;  /* where it begins */
    char *home;   /* the origin of first */
    char *url;    /* where it is now */
    char *origin; /* of url */
    unsigned count;
    bool redirected;
    bool resolved_anew; /* begun again because a redirected host refused */
};

/* Takes ownership of `first`, also on failure. */
int kf_hops_init(struct kf_hops *hops, char *first, struct kf_err *err);
void kf_hops_fini(struct kf_hops *hops);
/* Straight to where an earlier redirection led. */
int kf_hops_jump(struct kf_hops *hops, const char *url, struct kf_err *err);
/* Back to the first URL. */
int kf_hops_restart(struct kf_hops *hops, struct kf_err *err);
/* Whether it is at the host that it began with: others get no headers of ours. */
bool kf_hops_is_home(const struct kf_hops *hops);
/* Whether an answer is a redirection. */
bool kf_hops_is_redirect(const struct kf_exchange *exchange);
/* Follows it. */
int kf_hops_follow(struct kf_hops *hops, const struct kf_exchange *exchange,
                   struct kf_err *err);

#endif
