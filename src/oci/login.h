/*
 * Whether a registry takes credentials. Blocks; not for a network thread.
 */
#ifndef KF_OCI_LOGIN_H
#define KF_OCI_LOGIN_H

struct kf_err;
struct kf_net_opts;

/* GET /v2/ with them and no others. KF_E_REFUSED: they are not taken. One that asks for
 * nothing takes all. `host` as kf_creds_host gives it. */
int kf_login_check(const char *host, const char *username, const char *password,
                   const struct kf_net_opts *net, struct kf_err *err);

#endif
