/*
 * WWW-Authenticate (RFC 9110 section 11.6.1; several lines are one list): which way to
 * log in a host offers. Pure; any thread; input is a stranger's.
 */
#ifndef KF_OCI_CHALLENGE_H
#define KF_OCI_CHALLENGE_H

struct kf_err;

#define KF_CHALLENGE_LIMIT 16u         /* challenges that are looked at */
#define KF_CHALLENGE_VALUE_LIMIT 4096u /* bytes of a value that we use */

enum kf_challenge_scheme {
    KF_CHALLENGE_NONE, /* no challenge, or none that we know or can use */
    KF_CHALLENGE_BASIC,
    KF_CHALLENGE_BEARER,
};

/* Texts are NULL where they are not said; a Bearer has a realm. */
struct kf_challenge {
    enum kf_challenge_scheme scheme;
    char *realm, *service, *scope, *error;
};

/* The first usable Bearer, else the first Basic. What breaks the grammar ends the list:
 * what stands before it counts. Of a parameter given twice the first counts. A challenge
 * that needs a value over the limit is not usable. Fails only for want of memory. */
int kf_challenge_parse(struct kf_challenge *ret, const char *value, struct kf_err *err);
void kf_challenge_fini(struct kf_challenge *challenge);

#endif
