/*
 * One request to a registry that the caller waits for: exchanges on the network thread
 * until one succeeds or trying is given up. Between them it follows redirections and
 * tries again as net/retry decides. Not for the network thread; one thread a call.
 */
#ifndef KF_OCI_CALL_H
#define KF_OCI_CALL_H

#include <pthread.h>

#include "base/err.h"
#include "net/http.h"
#include "oci/auth.h"
#include "oci/hops.h"

struct kf_registry;

struct kf_call {
    /* The owner may set method, body and stall_ns before the run, and looks at the
     * answer after it. */
    struct kf_exchange exchange;
    unsigned max_tries;                 /* 4; the owner may change it */
    const char *accept, *if_none_match; /* for the registry's own host; NULL: none */
    bool stoppable;      /* true; the owner may change it: by the registry's `stopped` */
    struct kf_hops hops; /* where the answer came from */
    const struct kf_endpoint *endpoint; /* the last one; the owner may change it */

    /* Private. */
    struct kf_registry *registry;
    struct kf_auth_use auth;
    struct kf_buf *body;
    struct kf_err write_err;
    struct kf_err last; /* the failure that was tried again, or clear */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ended;
};

/* Takes ownership of `url` (NULL: no memory), also on failure; kf_call_fini is due
 * anyway. The answer's body goes to `body`, within its limit. */
int kf_call_init(struct kf_call *call, struct kf_registry *registry, char *url,
                 int64_t deadline_ns, struct kf_buf *body, struct kf_err *err);
void kf_call_fini(struct kf_call *call);
/* A 304 to `if_none_match` is a success, too. */
int kf_call_run(struct kf_call *call, struct kf_err *err);
/* The deadline of a call that asks for something small and begins now. */
int64_t kf_call_deadline(const struct kf_registry *registry);

#endif
