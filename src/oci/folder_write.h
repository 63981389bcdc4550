/*
 * A folder with blobs/sha256 below it, for those that write one (layout_write.c,
 * store_write.c): the blob functions of kf_dest_ops, and the lock under which index files
 * are replaced.
 *
 * A blob is written as blobs/sha256/.kitfs-PID-NUMBER.tmp, locked while its writer lives,
 * synced, and renamed to its digest; opening a folder removes those that nobody writes
 * any more.
 */
#ifndef KF_OCI_FOLDER_WRITE_H
#define KF_OCI_FOLDER_WRITE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/dest.h"

struct kf_dest_folder {
    struct kf_dest dest;
    char *path; /* for messages */
    int fd, blobs_fd;
    mode_t blob_mode; /* umask applies */
    unsigned serial;  /* atomic; of temporary names */
};

/* Makes what is missing: the folder, blobs/sha256, oci-layout. `folder` is zeroed before;
 * kf_dest_folder_fini is due also after a failure. */
int kf_dest_folder_open(struct kf_dest_folder *folder, const char *path, mode_t blob_mode,
                        struct kf_err *err);
void kf_dest_folder_fini(struct kf_dest_folder *folder);

/* Exclusive among those who write index files here by these means; a descriptor to close,
 * or -1. Waits at most 30 s for others. Removes what writers of index files left. */
int kf_dest_folder_lock(struct kf_dest_folder *folder, struct kf_err *err);

/* For kf_dest_ops of a struct that begins with a kf_dest_folder's dest. */
int kf_dest_folder_has(struct kf_dest *dest, const struct kf_digest *digest,
                       uint64_t size, struct kf_err *err);
struct kf_dest_blob *kf_dest_folder_begin(struct kf_dest *dest, struct kf_err *err);
int kf_dest_folder_write(struct kf_dest_blob *blob, const void *data, size_t length,
                         struct kf_err *err);
int kf_dest_folder_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                          struct kf_err *err);
void kf_dest_folder_abandon(struct kf_dest_blob *blob);

#endif
