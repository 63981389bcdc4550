/*
 * A kit opened: reference -> manifest -> config -> the kits it refers to -> layers paired
 * with Kitfile entries -> tree. Name, digest, origin and Kitfile are those of the kit
 * that was asked for; the layers of kits that it refers to come before its own. Opening
 * blocks; what is opened is immutable and its files are read asynchronously.
 */
#ifndef KF_KIT_OPEN_H
#define KF_KIT_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "kit/tree.h"
#include "layer/layer.h"
#include "oci/origin.h"

struct kf_err;
struct kf_filter;
struct kf_kit;
struct kf_resolved;
struct kf_store;
struct kf_strings;

/* How far layers have come that must be streamed. */
struct kf_kit_streaming {
    const char *kind;     /* "model" ..., or "layers" when they are of several kinds */
    uint64_t done, total; /* bytes of their blobs */
};

struct kf_kit_opts {
    const char *ref;
    struct kf_net_opts net;
    enum kf_pull pull;
    struct kf_workq *workq;  /* borrowed; outlives the kit */
    struct kf_store *store;  /* borrowed; outlives the kit; NULL: nothing is kept */
    struct kf_stats *stats;  /* borrowed; may be NULL */
    uint64_t memory_bytes;   /* 0: 160 MiB */
    int64_t read_timeout_ns; /* 0: 5 minutes */
    bool offline;            /* from the cache, or a folder or store that is here */
    bool include_remote;     /* datasets that are in other kits, too (kit/chain.h) */
    bool alone;              /* nothing of other kits at all */
    /* What is taken of it, and where it is seen; borrowed while it is opened. */
    const struct kf_filter *filter;  /* NULL: everything */
    const struct kf_strings *labels; /* of an index (kit/choose.h); NULL: none */
    const char *subdir;              /* the folder that becomes the root; NULL: all */
    bool require_lazy;               /* refuse a kit with layers that must be streamed */
    /* Layers that must be streamed, and have not been, are left out of the tree:
     * kit/scan looks into them. */
    bool defer;
    /* Told now and then while layers are streamed, on one thread after the other, with a
     * lock held: it must not wait. May be NULL. */
    void (*streaming)(void *arg, const struct kf_kit_streaming *now);
    void *arg;
    enum kf_layer_check check;
};

/* The manifest and the Kitfile alone; blocking. */
int kf_kit_resolve(struct kf_resolved *ret, const struct kf_kit_opts *opts,
                   struct kf_err *err);

int kf_kit_open(struct kf_kit **ret, const struct kf_kit_opts *opts, struct kf_err *err);
/* Stops fetching and closes; reads still waiting end with KF_E_CANCELLED. Files must be
 * put. Free the work queue after it, and close the store last: jobs and writes on their
 * way use both. -1 when requests outlast the deadline: then nothing is freed, and work
 * queue and store must be left as they are too, for the process to end with. NULL is
 * fine. */
int kf_kit_close(struct kf_kit *kit, int64_t deadline_ns);

const struct kf_tree *kf_kit_tree(const struct kf_kit *kit);
const struct kf_digest *kf_kit_digest(const struct kf_kit *kit); /* of the manifest */
const char *kf_kit_name(const struct kf_kit *kit); /* the reference as given, canonical */
const char *
kf_kit_origin(const struct kf_kit *kit); /* "the registry", "the layout" ... */
/* Why the registry was not asked what the references name now: it cannot be reached, and
 * the cache knew what they named before. NULL: it was, or nobody wanted to (offline). */
const struct kf_err *kf_kit_outage(const struct kf_kit *kit);
/* The same until a host of what was not asked has answered; it may do so by now. */
const struct kf_err *kf_kit_cut_off(const struct kf_kit *kit);
/* The index-th host that is asked for it (oci/origin.h); false behind the last one. */
bool kf_kit_host(const struct kf_kit *kit, size_t index, struct kf_origin_host *ret);
/* A kit that it refers to, itself or through another: its reference, borrowed, and
 * digest; NULL beyond the last. */
const char *kf_kit_other(const struct kf_kit *kit, size_t index, struct kf_digest *ret);
struct kf_fetch *kf_kit_fetch(struct kf_kit *kit);

struct kf_kit_layer {
    const char *kind; /* "model", "dataset" ... */
    const char *form; /* "tar" ... */
    uint64_t size;
    struct kf_digest digest;
    bool has_diff_id;
    struct kf_digest diff_id; /* of the unpacked content, as the Kitfile says */
    char *path;               /* of its files, as the Kitfile says; NULL: not said */
    size_t position;          /* in the manifest of the kit asked for; else SIZE_MAX */
    char *prefix;    /* the folder that its names are relative to; "": the root */
    const char *kit; /* the reference of the kit that it is of, canonical; borrowed */
    struct kf_layer *layer; /* borrowed */
};
size_t kf_kit_layer_count(const struct kf_kit *kit);
const struct kf_kit_layer *kf_kit_layer(const struct kf_kit *kit, size_t index);

/* Nothing of it is there, not even the Kitfile: no filter matches, if one was given. */
bool kf_kit_is_empty(const struct kf_kit *kit);

/* Blocking: the digests of unpacked layers in a ModelPack's config, by position, which
 * nothing else needs; yours to free. None of a ModelKit. KF_E_MALFORMED when there are
 * some, and not one for each layer. */
int kf_kit_config_diff_ids(struct kf_kit *kit, struct kf_digest **ret, size_t *ret_count,
                           struct kf_err *err);

/* Begins what is checked in the background, for all layers: kf_layer_watch and, when
 * something may be fetched for it, kf_layer_check. */
void kf_kit_check(struct kf_kit *kit, bool fetch);

/* Blobs that hold tables of contents of other layers: a source over each, borrowed; NULL
 * beyond the last. */
struct kf_source *kf_kit_toc_blob(const struct kf_kit *kit, size_t index,
                                  struct kf_digest *ret);

/* The bytes of a file that is in no layer: the file Kitfile, if the kit has one. Borrowed
 * from the kit; NULL for any other node. */
const char *kf_kit_bytes(const struct kf_kit *kit, uint32_t node);
/* The file of a layer behind a node; put it back with kf_file_put. KF_E_ARG for anything
 * else. */
struct kf_file *kf_kit_file(struct kf_kit *kit, uint32_t node, struct kf_err *err);

/* Blocking read of a range of a file, for tools; gives bytes in order to `write`. */
int kf_kit_copy(struct kf_kit *kit, uint32_t node, uint64_t offset, uint64_t length,
                int (*write)(void *arg, const void *data, size_t length,
                             struct kf_err *err),
                void *arg, struct kf_err *err);

#endif
