/*
 * A file of credentials as docker, podman, kit and Kubernetes write it:
 *
 *   {"auths": {KEY: {"auth": base64 of USER:PASSWORD, or "username" and "password",
 *                    "identitytoken", "registrytoken"}},
 *    "credHelpers": {KEY: SUFFIX}, "credsStore": SUFFIX}
 *
 * A key is HOST[:PORT][/NAMESPACE...], the longest that fits wins; what has a scheme ends
 * with its host ("https://index.docker.io/v1/"). All names of Docker Hub are one. In a
 * host '*' and '?' stand for what one of its labels has ("*.example.com"); a host that is
 * spelled out wins over them. The port must be the same, or absent in both. Entries
 * without any credentials are passed over.
 *
 * Pure; any thread. What is read is the user's own, and yet bounded.
 */
#ifndef KF_OCI_CREDS_FILE_H
#define KF_OCI_CREDS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/creds.h"

struct kf_err;

#define KF_CREDS_FILE_LIMIT (1u << 20)     /* bytes of a file */
#define KF_CREDS_FILE_VALUE_LIMIT (16384u) /* of JSON, in it */
#define KF_CREDS_SUFFIX_LIMIT 64u          /* of docker-credential-SUFFIX */

/* What a file says about a host. The helpers come first, in this order. */
struct kf_creds_file {
    char *host_helper;   /* a suffix; NULL: none for this host */
    char *store_helper;  /* a suffix; NULL: none */
    struct kf_cred cred; /* of `auths`; all NULL: nothing */
};

/* `repository` may be NULL: only what is said about the whole host. */
int kf_creds_file_parse(struct kf_creds_file *ret, const char *json, size_t length,
                        const char *host, const char *repository, struct kf_err *err);
void kf_creds_file_fini(struct kf_creds_file *file);

/* The file's text with an entry for the host put in, or (`username` NULL) taken out; all
 * else stays, also what we do not know. Taken out is every key that means this host and
 * nothing more; *ret_found says whether there was one. `json` of length 0 is a new file.
 * Yours to free, and a secret. */
int kf_creds_file_edit(char **ret, bool *ret_found, const char *json, size_t length,
                       const char *host, const char *username, const char *password,
                       struct kf_err *err);

/* The host of what a user types or a key holds, lower case: without scheme and path, and
 * "docker.io" for all names of Docker Hub. Yours to free; NULL: no memory. */
char *kf_creds_host(const char *text);
/* How docker calls a host in keys and to helper programs. Borrowed. */
const char *kf_creds_server(const char *host);

#endif
