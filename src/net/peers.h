/*
 * What is known of each host that was asked lately, by its origin (net/url.h). At most
 * KF_PEERS_LIMIT of them: for a new one the one that was not asked for longest is
 * forgotten. One owner, no lock.
 */
#ifndef KF_NET_PEERS_H
#define KF_NET_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"
#include "net/health.h"
#include "net/pace.h"

#define KF_PEERS_LIMIT 64u

struct kf_peer {
    char *origin;
    uint64_t used; /* the higher, the later */
    struct kf_health health;
    struct kf_address address;
    struct kf_pace pace;
};

struct kf_peers {
    size_t count;
    uint64_t uses;
    bool by_proxy; /* the owner's: then the addresses would be those of the proxy */
    struct kf_peer peers[KF_PEERS_LIMIT];
};

/* Zeroed at first. */
void kf_peers_fini(struct kf_peers *peers);

/* Good until the next call; NULL: no memory, and then nothing is known of it. */
struct kf_peer *kf_peers_get(struct kf_peers *peers, const char *origin);

#endif
