/*
 * Scopes of tokens ("repository:acme/llama3:pull,push", several separated by blanks;
 * distribution's spec, auth/scope.md). Pure; any thread; input may be a stranger's.
 */
#ifndef KF_OCI_SCOPE_H
#define KF_OCI_SCOPE_H

struct kf_err;

#define KF_SCOPE_LIMIT 4096u        /* bytes of a merged text */
#define KF_SCOPE_ACTIONS_LIMIT 256u /* in all of its entries */

/* Both together, yours to free: one entry a type and name, entries and actions sorted,
 * nothing twice; the action '*' stands for all others. What is not of this form stays as
 * it is. Either may be NULL or "". A byte that no scope has (RFC 6749) is KF_E_MALFORMED,
 * too much is KF_E_LIMIT. */
int kf_scope_merge(char **ret, const char *one, const char *other, struct kf_err *err);

#endif
