/*
 * Everything about a layer that can be checked: the whole blob is read, its digest, each
 * chunk, what follows the chunks, the archive inside against the table of contents, and
 * the digest of the unpacked stream (docs/formats/layer.md). A layer that is streamed may
 * be a deferred one. Blocking.
 */
#ifndef KF_LAYER_VERIFY_H
#define KF_LAYER_VERIFY_H

#include <stdint.h>

struct kf_digest;
struct kf_err;
struct kf_layer;
struct kf_source;

struct kf_verify_opts {
    const struct kf_digest *diff_id; /* what the Kitfile says; NULL: nothing */
    /* The same of a ModelPack's config. kit 1.10 and 1.11 wrote the digest of the
     * digest's text there, which is passed over. */
    const struct kf_digest *config_diff_id;
    int64_t timeout_ns; /* of one request */
    /* A line for each thing that is wrong; the work goes on. */
    void (*problem)(void *arg, const char *line);
    void (*progress)(void *arg, uint64_t bytes); /* read since the last call; or NULL */
    void *arg;
};

/* 0 when all of it could be looked at, whatever was found; -1 when it could not. */
int kf_layer_verify(struct kf_layer *layer, const struct kf_verify_opts *opts,
                    struct kf_err *err);

/* Of a blob about which nothing but its digest is known. */
int kf_blob_verify(struct kf_source *source, const struct kf_digest *digest,
                   const struct kf_verify_opts *opts, struct kf_err *err);

#endif
