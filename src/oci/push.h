/*
 * What requests that write to a registry share: whether a blob is there, what a refusal
 * means, and which registries take no stream of unknown size.
 */
#ifndef KF_OCI_PUSH_H
#define KF_OCI_PUSH_H

#include <stdbool.h>
#include <stdint.h>

struct kf_digest;
struct kf_err;
struct kf_exchange;
struct kf_registry;

/* 1: the registry has this blob; 0: it does not, or has one of another size. Blocking, on
 * any thread but the network's. */
int kf_push_has(struct kf_registry *registry, const struct kf_digest *digest,
                uint64_t size, struct kf_err *err);

/* Puts what can be done about a refusal behind the message of a request that writes; -1.
 */
int kf_push_refused(struct kf_err *err, const struct kf_exchange *exchange);

/* Whether the answer to a stream may mean that the registry must know a blob's size
 * before. */
bool kf_push_is_about_size(const struct kf_exchange *exchange);
/* Whether that is known of a "host" or "host:port": the hosts of which kit knows it
 * (kitops pkg/lib/repo/remote/upload-format.go). */
bool kf_push_wants_size(const char *host);

#endif
