/*
 * Where a host was found last, for the time when its name cannot be looked up. TLS goes
 * on checking the name. Data and decisions, with the time passed in; one owner, no lock.
 *
 * When a lookup fails, that address is used for 60 s; then the name is looked up again.
 * When no connection to it can be made, it is looked up at once.
 */
#ifndef KF_NET_ADDRESS_H
#define KF_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define KF_ADDRESS_SIZE 46u /* of an IPv6 address as text */
#define KF_ADDRESS_USE_NS INT64_C(60000000000)

/* Of a host; zeroed at first. */
struct kf_address {
    char text[KF_ADDRESS_SIZE]; /* "": nowhere yet */
    int64_t use_until_ns;
    bool told; /* to curl, whose own cache has it now; the owner's to keep */
};

/* It answered, at `text`. */
void kf_address_found(struct kf_address *address, const char *text);
/* Its name could not be looked up. True: there is an address to be used, which was not so
 * before. */
bool kf_address_lost(struct kf_address *address, int64_t now_ns);
/* No connection to it could be made. */
void kf_address_dead(struct kf_address *address);
/* NULL: look it up. */
const char *kf_address_to_use(const struct kf_address *address, int64_t now_ns);

/* Whether the origin's host is an address already, which is never looked up. */
bool kf_address_is_literal(const char *origin);

/* What curl is told of it (CURLOPT_RESOLVE): `text` is the address of the origin's host,
 * or, NULL, is not any more. Yours to free; NULL: no memory, or an origin of no name. */
char *kf_address_line(const char *origin, const char *text);

#endif
