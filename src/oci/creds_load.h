/*
 * Reading a file of credentials, for creds_local and creds_save.
 */
#ifndef KF_OCI_CREDS_LOAD_H
#define KF_OCI_CREDS_LOAD_H

#include <stddef.h>

struct kf_err;

/* The whole of a regular file of at most KF_CREDS_FILE_LIMIT bytes: a secret, to be freed
 * by kf_creds_unload. KF_E_NOTFOUND when it is not there. */
int kf_creds_load(char **ret, size_t *ret_length, const char *path, struct kf_err *err);
void kf_creds_unload(char *text, size_t length);

#endif
