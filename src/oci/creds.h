/*
 * Who we are to a registry, and where that is looked up: the contract between those who
 * need it (oci/) and those who read files and run helper programs.
 */
#ifndef KF_OCI_CREDS_H
#define KF_OCI_CREDS_H

struct kf_err;

#define KF_CRED_TEXT_LIMIT (64u << 10) /* of each text; tokens are long */
#define KF_CRED_TOKEN_USER "<token>"   /* one whose password is an identity token */

/* All NULL but `from`: anonymous. Secrets: never logged, wiped when freed. */
struct kf_cred {
    char *username, *password; /* both or neither */
    char *identity_token;      /* for the token service: an OAuth2 refresh token */
    char *registry_token;      /* for the registry itself: a bearer token */
    char *from; /* for people: "/root/.docker/config.json", "docker-credential-x"; NULL
                   when anonymous */
};

void kf_cred_fini(struct kf_cred *cred);

struct kf_creds {
    /* What there is now for host[:port] (as in the reference: "docker.io") and the
     * repository; nothing is 0 and anonymous. Sources are read anew on each call. Blocks
     * (files; helper programs, 10 s), so never on a FUSE or network thread; any other
     * thread. */
    int (*find)(struct kf_creds *creds, const char *host, const char *repository,
                struct kf_cred *ret, struct kf_err *err);
};

#endif
