/*
 * What kit >= 1.15 asks of an MCP bundle: a zip archive with a manifest.json at its root.
 * Blocking.
 */
#ifndef KF_PACK_MCPB_H
#define KF_PACK_MCPB_H

struct kf_err;

/* `name` below the folder `context_fd`. KF_E_ARG when it is no such bundle. */
int kf_mcpb_check(int context_fd, const char *name, struct kf_err *err);

#endif
