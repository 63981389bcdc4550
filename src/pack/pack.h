/*
 * From a folder with a Kitfile to a kit at a destination: Kitfile -> scan -> one writer a
 * layer -> config -> manifest, put last. Nothing comes from the clock or from mtimes
 * (docs/formats/layer.md section 9), so the same tree gives the same kit. Blocking.
 */
#ifndef KF_PACK_PACK_H
#define KF_PACK_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_dest;
struct kf_err;
struct kf_origin_opts;
struct kf_packing;

struct kf_pack_opts {
    const char *context; /* the folder */
    const char *output;  /* a folder that is never packed: the kit goes there; or NULL */
    const char *kitfile; /* NULL: Kitfile, kitfile or .kitfile in it; "-": stdin */
    bool compress;       /* zstd; never of raw layers */
    bool raw;            /* a file of its own is a layer as it is */
    bool model_pack;
    /* For a Kitfile whose model is another kit: how that one is reached, and what the new
     * kit is called, which it may not refer to. NULL: such a Kitfile is refused. */
    const struct kf_origin_opts *parents;
    const char *name;
    bool no_toc, no_seek_table;
    int level;                      /* of what is not weights; 0: 3 */
    uint32_t chunk_size;            /* 0: 1 MiB */
    unsigned threads;               /* 0: one a processor */
    const char *const *annotations; /* KEY=VALUE */
    size_t annotation_count;
    const char *version; /* of the packer, for the manifest */
    /* May be NULL. A line for people; the content bytes done, of those to do, with the
     * layer that is written. One thread at a time. */
    void (*warn)(void *arg, const char *line);
    void (*progress)(void *arg, const char *path, uint64_t done, uint64_t total);
    /* Asked between chunks, on any thread: true ends the packing with KF_E_CANCELLED. */
    bool (*stopped)(void *arg);
    void *arg;
};

struct kf_packed_layer {
    const char *kind;                      /* static */
    char *path;                            /* cleaned */
    uint64_t files, chunks, stored_chunks; /* stored: not compressed */
    uint64_t bytes, size;                  /* of content; of the blob */
    struct kf_digest digest;
};

struct kf_packed {
    struct kf_digest digest; /* of the manifest */
    uint64_t size;           /* of manifest, config and blobs, each blob once */
    struct kf_packed_layer *layers;
    size_t layer_count;
};

/* Reads the Kitfile and looks for the files; `opts` must outlive it. NULL: `err` is set.
 */
struct kf_packing *kf_pack_prepare(const struct kf_pack_opts *opts, struct kf_err *err);
void kf_packing_free(struct kf_packing *packing); /* NULL is fine */

/* Blobs that are there already are not written again where that can be known before:
 * small ones, and all where a registry wants to know digest and size of a large one, so
 * that a layer is packed twice, first into nothing. A layer whose destination failed in a
 * way that may pass is written again, three times in all. A registry gets up to three
 * layers at once; the first failure ends all. */
int kf_pack(struct kf_packed *ret, struct kf_packing *packing, struct kf_dest *dest,
            struct kf_err *err);
void kf_packed_fini(struct kf_packed *packed);

#endif
