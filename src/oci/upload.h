/*
 * One blob on its way into a repository of a registry (OCI distribution spec 1.1,
 * "Pushing blobs"). Up to 8 MiB are held in memory: a blob that ends within them is sent
 * as one PUT, which is tried again as often as it makes sense. A longer one is streamed
 * as docker pushes: POST, one PATCH with a chunked body, PUT with the digest; every
 * registry that docker pushes to takes that, while pieces with Content-Range are refused
 * by some. One whose digest and size are known is streamed as POST and one PUT that
 * announces its length, which every registry takes. A stream that broke cannot be
 * continued: the failure is of a kind that is worth retrying (KF_E_UNREACHABLE), from the
 * blob's first byte.
 *
 * The functions are those of kf_dest_ops.
 */
#ifndef KF_OCI_UPLOAD_H
#define KF_OCI_UPLOAD_H

#include <stddef.h>
#include <stdint.h>

struct kf_dest_blob;
struct kf_digest;
struct kf_err;
struct kf_registry;

#define KF_UPLOAD_HELD_BYTES (8u << 20)

struct kf_dest_blob *kf_upload_begin(struct kf_registry *registry, struct kf_err *err);
int kf_upload_write(struct kf_dest_blob *blob, const void *data, size_t length,
                    struct kf_err *err);
int kf_upload_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                     struct kf_err *err);
/* Cancels the session at the registry, too, when that takes no longer than 5 s. */
void kf_upload_abandon(struct kf_dest_blob *blob);

#endif
