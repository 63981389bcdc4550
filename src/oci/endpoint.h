/*
 * A host that is asked for a repository: the registry that the reference names. Fixed
 * once its registry is open, but for what is atomic; any thread.
 */
#ifndef KF_OCI_ENDPOINT_H
#define KF_OCI_ENDPOINT_H

struct kf_auth;

struct kf_endpoint {
    char *base;           /* "https://host:port/v2/repository" */
    char *host;           /* host[:port]: for messages, and whose credentials are used */
    struct kf_auth *auth; /* owned; NULL: nothing is authorized there */
    int ignores_range;    /* atomic; said once */
};

/* Both texts are taken over, also on failure, where they may be NULL (no memory): -1. */
int kf_endpoint_init(struct kf_endpoint *endpoint, char *base, char *host);
void kf_endpoint_fini(struct kf_endpoint *endpoint);

/* "BASE/" and what the format says: the URL of something of the repository. Yours to
 * free; NULL: no memory. */
char *kf_endpoint_url(const struct kf_endpoint *endpoint, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
