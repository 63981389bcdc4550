/*
 * What token services are asked, and what they answer (distribution's spec, auth/token.md
 * and auth/oauth.md), and the values of Authorization. Pure; any thread; answers are a
 * stranger's. All texts that are returned are secrets and yours: kf_token_wipe. NULL: no
 * memory.
 */
#ifndef KF_OCI_TOKEN_H
#define KF_OCI_TOKEN_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;

#define KF_TOKEN_ANSWER_LIMIT (128u << 10)
#define KF_TOKEN_LIFETIME_NS INT64_C(60000000000) /* when the answer says none */
#define KF_TOKEN_LIFETIME_LIMIT_NS (86400 * INT64_C(1000000000))

struct kf_token {
    char *value;
    char *refresh;       /* NULL: none */
    int64_t lifetime_ns; /* from when it came */
};

/* `token`, else `access_token`; KF_E_MALFORMED when there is none, or one that no header
 * can carry. */
int kf_token_parse(struct kf_token *ret, const char *json, size_t length,
                   struct kf_err *err);
void kf_token_fini(struct kf_token *token);

/* The realm, with service (may be NULL) and one `scope` an entry in its query. */
char *kf_token_url(const char *realm, const char *service, const char *scope);
/* The body of a POST, application/x-www-form-urlencoded. Password, or refresh token. */
char *kf_token_password_form(const char *username, const char *password,
                             const char *service, const char *scope);
char *kf_token_refresh_form(const char *refresh, const char *service, const char *scope);

/* "Basic ..." and "Bearer ..."; a token is taken as it is. */
char *kf_token_basic(const char *username, const char *password);
char *kf_token_bearer(const char *token);

void kf_token_wipe(char *text); /* and frees; NULL is fine */

#endif
