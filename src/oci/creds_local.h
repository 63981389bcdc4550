/*
 * Credentials that are on this machine: files, and the programs that they name. The first
 * file that has something for a host counts:
 *
 *   --authfile, else $REGISTRY_AUTH_FILE: that one alone, and it must be there and sound
 *   $KITOPS_HOME/credentials.json ($XDG_DATA_HOME/kitops, ~/.local/share/kitops)
 *   $XDG_RUNTIME_DIR/containers/auth.json (/run/containers/UID)
 *   $XDG_CONFIG_HOME/containers/auth.json (~/.config)
 *   $DOCKER_CONFIG/config.json (~/.docker)
 *
 * In a file: the helper for the host, the helper for all, the entries. A file that is not
 * there is passed over; so is one that cannot be used, with a warning. A helper that
 * fails is an error: it may have been the one that knows. Without HOME the user's entry
 * in passwd counts.
 */
#ifndef KF_OCI_CREDS_LOCAL_H
#define KF_OCI_CREDS_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/creds.h"

#define KF_CREDS_LOCAL_FILES 4u

struct kf_creds_local {
    struct kf_creds creds;

    /* Private. */
    char *named; /* absolute; NULL: the usual ones */
    char *home;
    char *files[KF_CREDS_LOCAL_FILES];
    int warned[KF_CREDS_LOCAL_FILES]; /* atomic */
    int64_t helper_ns;                /* 0: KF_CREDS_HELPER_NS; tests change it */
};

/* Looks at the environment now, at files when asked. `authfile` may be NULL. */
int kf_creds_local_init(struct kf_creds_local *local, const char *authfile,
                        struct kf_err *err);
void kf_creds_local_fini(struct kf_creds_local *local);

/* For login: keeps them for a host, checked by nobody, in the file that was named or
 * else kit's, or where that file says (a helper). *ret_where is a file or program, for
 * people, and yours to free. Other entries of the file stay; it is replaced as a whole,
 * mode 0600, under a lock of its folder. */
int kf_creds_local_save(struct kf_creds_local *local, const char *host,
                        const char *username, const char *password, char **ret_where,
                        struct kf_err *err);
/* Removes them there. 1: there was nothing. */
int kf_creds_local_remove(struct kf_creds_local *local, const char *host,
                          char **ret_where, struct kf_err *err);

#endif
