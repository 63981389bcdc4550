/*
 * The insides of a blob's source: remote.c, which asks for ranges, and carry.c, which
 * gives what one transfer of the whole blob brings to all requests.
 */
#ifndef KF_OCI_REMOTE_H
#define KF_OCI_REMOTE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/err.h"
#include "base/source.h"
#include "net/http.h"
#include "oci/auth.h"
#include "oci/hops.h"
#include "oci/registry.h"
#include "oci/way.h"

struct kf_transfer;

TAILQ_HEAD(kf_transfer_list, kf_transfer);

struct kf_remote {
    struct kf_source source;
    struct kf_registry *registry;
    struct kf_route_blob route;
    int served; /* atomic; number of the host that gave bytes last */
    pthread_mutex_t lock;
    /* Under the lock: */
    char *targets[KF_ROUTE_LIMIT];   /* where each redirected, or NULL */
    struct kf_transfer *carrier;     /* carries the blob for all that wait; or NULL */
    struct kf_transfer_list waiting; /* none for what the carrier has passed */
    uint64_t carried;                /* bytes of the blob that it has passed */
    size_t again;                    /* of these, such as it was given and held */
    uint64_t beside;                 /* bytes asked for beside, of what it has passed */
    bool gives_way;                  /* the carrier is to stop */
    int64_t gap_ends_ns;             /* 0: what it comes to is wanted */
    unsigned ending;                 /* carriers that are not gone yet */
    pthread_cond_t gone;
};

struct kf_transfer {
    struct kf_exchange exchange;
    struct kf_source_req *req;
    struct kf_remote *remote;
    struct kf_way way;
    struct kf_auth_use auth;
    struct kf_hops hops;
    uint64_t reached;   /* bytes that the sink has */
    uint64_t progress;  /* of them, since failures are counted */
    unsigned replaced;  /* connections that were slow */
    unsigned failures;  /* without much progress in between */
    struct kf_err last; /* the failure that was tried again, or clear */
    int refs;           /* atomic; of its request, and of carrying */
    /* Under the remote's lock: */
    bool waits, cancelled;
    TAILQ_ENTRY(kf_transfer) link;
    /* The network thread's: */
    bool joins; /* stopped, as another one carries the blob */
};

static inline uint64_t kf_transfer_next(const struct kf_transfer *transfer)
{
    return transfer->req->offset + transfer->reached;
}

/* remote.c */
void kf_transfer_release(struct kf_transfer *transfer);
/* So much new came: failures before may be over. */
void kf_transfer_progress(struct kf_transfer *transfer, uint64_t bytes);
/* `done` is queued. */
void kf_remote_finish(struct kf_remote *remote, struct kf_source_req *req);

/* carry.c */
/* For `write`, of the whole blob in answer to a range: begins to carry it, goes on, or
 * stops the exchange, as another one does: `joins`. The network thread. */
int kf_carry_bytes(struct kf_transfer *transfer, const uint8_t *data, size_t length);
bool kf_carry_is_by(const struct kf_transfer *transfer);
/* Whether the transfer is to bring its range alone, beside the carrier, which has passed
 * it. Not where such ranges would have cost as much as the carrier has brought: then it
 * is stopped, and the blob carried anew. */
bool kf_carry_goes_beside(const struct kf_transfer *transfer);
/* Waits for its bytes, or is ended at once; false: nothing carries them, it is to ask. */
bool kf_carry_wait(struct kf_transfer *transfer);
/* One that waits is ended. */
void kf_carry_drop_locked(struct kf_transfer *transfer, enum kf_err_kind kind,
                          const char *why);
/* The carrier's exchange has ended: those that waited, who do not any more. */
void kf_carry_end(struct kf_remote *remote, struct kf_transfer_list *ret_waited);
/* The carrier is gone; the remote may be, too, behind this. */
void kf_carry_gone(struct kf_remote *remote);
/* Nobody asks any more: ends it. Not on the network thread. */
void kf_carry_stop(struct kf_remote *remote);

#endif
