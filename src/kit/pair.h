/*
 * The layers of a manifest and the Kitfile entries they belong to. Pure.
 *
 * Each entry with a digest has one layer, and kit writes both in one order; they are
 * paired by digest, and where several layers have it (files of equal bytes) by path, then
 * in that order. Where no entry has one (kit before 0.5) the layers of a kind belong to
 * its entries in their order. A model without path and what is another kit's (kit/
 * chain.h) have no layer. A layer that no entry has is left out, as kit >= 1.15 does.
 * Without a Kitfile (a ModelPack that kit did not make) every layer of a known type
 * counts: the first weights are the model, further ones its parts.
 */
#ifndef KF_KIT_PAIR_H
#define KF_KIT_PAIR_H

#include <stdbool.h>
#include <stddef.h>

#include "kit/chain.h"
#include "layer/toc.h"
#include "oci/media.h"

struct kf_desc;
struct kf_err;
struct kf_filter;
struct kf_kitfile;
struct kf_manifest;

struct kf_pair {
    const struct kf_desc *desc; /* borrowed from the manifest */
    struct kf_media media;
    const char *kind;     /* "model", "prompt" ...; static */
    const char *raw_path; /* of a raw layer; borrowed from the manifest */
    const char *path;     /* of the Kitfile's entry, borrowed; NULL: none */
    /* The entry's path, borrowed from the Kitfile, where names in the layer are relative
     * to the parent of it (kit before 0.5); else NULL. */
    const char *parent_of;
    bool has_diff_id;
    struct kf_digest diff_id; /* of the unpacked content, as the Kitfile says */
    bool has_toc;
    struct kf_toc_link toc;
    const struct kf_desc *toc_desc; /* the TOC's blob, when it is not the layer's */
};

struct kf_pair_from {
    const struct kf_manifest *manifest;
    const struct kf_kitfile *kitfile; /* NULL: there is none */
    enum kf_part part;                /* what of it counts */
    const struct kf_filter *filter;   /* NULL: everything is wanted */
    /* The Kitfile is still to come, so `kitfile` is NULL: the layers that will be wanted
     * for certain; nothing is logged. */
    bool is_early;
};

/* The pairs that are wanted, yours to free; what of others is odd does not matter.
 * KF_E_UNSUPPORTED for a wanted layer of an unknown type. KF_E_MALFORMED for an entry
 * whose layer is not there, a Kitfile of which some entries have digests, layers that are
 * more than their entries, and a TOC annotation that is none. A TOC layer that is not
 * there, or a later version of the annotation, counts as no TOC, which is logged; so are
 * layers left out, in one line.
 */
int kf_pair_layers(struct kf_pair **ret, size_t *ret_count,
                   const struct kf_pair_from *from, struct kf_err *err);

/* The folder that the names in the layer are relative to, "" for the root, of a kit whose
 * files are below `folder`; yours to free. KF_E_MALFORMED when it is outside of that. */
int kf_pair_prefix(char **ret, const char *folder, const struct kf_pair *pair,
                   struct kf_err *err);

#endif
