/*
 * One layer unpacked into files of a flat folder, named by their numbers in its table.
 *
 * A plain layer without a table of contents is read as one stream, each byte of its blob
 * once, and its digest is compared before the layer counts as done; what lies between its
 * files is kept beside them meanwhile, so that a later run can compute the digest from
 * what is on disk and go on where this one ended. Of other layers only the wanted files
 * are read, by their chunks, each checked; a later run goes on in the file where this one
 * ended. Which bytes are there is told by the lengths of the files alone, since they are
 * written in order. Chunks that the cache has are taken from there.
 *
 * One thread, which blocks; different layers are independent.
 */
#ifndef KF_KIT_UNPACK_LAYER_H
#define KF_KIT_UNPACK_LAYER_H

#include <stdbool.h>
#include <stdint.h>

struct kf_err;
struct kf_kit_layer;
struct kf_unpack_layer;

struct kf_unpack_layer_opts {
    const struct kf_kit_layer *info;
    const bool *wanted; /* by entry of its table; borrowed */
    int folder_fd;      /* that of all layers: kit/unpack_folder */
    int64_t timeout_ns;
    bool (*stopped)(void *arg);
    void (*progress)(void *arg, uint64_t bytes); /* written since the last call */
    void *arg;
};

/* What a layer's folder is called: by its digest and its table, so that equal names mean
 * equal files. */
#define KF_UNPACK_LAYER_NAME_SIZE 65
int kf_unpack_layer_name(const struct kf_kit_layer *info,
                         char out[KF_UNPACK_LAYER_NAME_SIZE], struct kf_err *err);

/* Looks at what is there of it. *ret_total is what has to be there in the end, *ret_have
 * what is. */
int kf_unpack_layer_open(struct kf_unpack_layer **ret,
                         const struct kf_unpack_layer_opts *opts, uint64_t *ret_total,
                         uint64_t *ret_have, struct kf_err *err);
/* All of it. When the digest is another one than the manifest says, its folder is removed
 * (KF_E_CORRUPT); after other failures what is there stays, for the next run. */
int kf_unpack_layer_run(struct kf_unpack_layer *layer, struct kf_err *err);
void kf_unpack_layer_close(struct kf_unpack_layer *layer); /* NULL is fine */

#endif
