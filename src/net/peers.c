#include "net/peers.h"

#include <stdlib.h>
#include <string.h>

void kf_peers_fini(struct kf_peers *peers)
{
    while (peers->count > 0)
        free(peers->peers[--peers->count].origin);
}

static struct kf_peer *longest_unused(struct kf_peers *peers)
{
    struct kf_peer *oldest = &peers->peers[0];

    for (size_t i = 1; i < peers->count; i++)
        if (peers->peers[i].used < oldest->used)
            oldest = &peers->peers[i];
    return oldest;
}

static struct kf_peer *add(struct kf_peers *peers, const char *origin)
{
    char *copy = strdup(origin);
    struct kf_peer *peer;

    if (!copy)
        return NULL;
    if (peers->count < KF_PEERS_LIMIT) {
        peer = &peers->peers[peers->count++];
    } else {
        peer = longest_unused(peers);
        free(peer->origin);
    }
    *peer = (struct kf_peer){.origin = copy};
    return peer;
}

struct kf_peer *kf_peers_get(struct kf_peers *peers, const char *origin)
{
    struct kf_peer *peer = NULL;

    for (size_t i = 0; i < peers->count && !peer; i++)
        if (strcmp(peers->peers[i].origin, origin) == 0)
            peer = &peers->peers[i];
    if (!peer)
        peer = add(peers, origin);
    if (peer)
        peer->used = ++peers->uses;
    return peer;
}
