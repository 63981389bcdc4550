/*
 * The layers of a manifest and the Kitfile entries they belong to. Pure.
 *
 * Each entry with a digest has one layer, and kit writes both in one order; they are
 * paired in that order and by digest (two entries of equal bytes have equal digests). An
 * entry without digest has no layer: a model without path, or what is another kit's
 * (kit/chain.h). Entries that `part` leaves out have no pair. A layer that no entry has
 * is left out, as kit >= 1.15 does. Without a Kitfile (a ModelPack that kit did not make)
 * every layer of a known type counts.
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
struct kf_kitfile;
struct kf_manifest;

struct kf_pair {
    const struct kf_desc *desc; /* borrowed from the manifest */
    struct kf_media media;
    const char *kind;     /* "model", "prompt" ...; static */
    const char *raw_path; /* of a raw layer; borrowed from the manifest */
    bool has_diff_id;
    struct kf_digest diff_id; /* of the unpacked content, as the Kitfile says */
    bool has_toc;
    struct kf_toc_link toc;
    const struct kf_desc *toc_desc; /* the TOC's blob, when it is not the layer's */
};

/* The pairs, yours to free. KF_E_UNSUPPORTED for what cannot be mounted so far, named:
 * kits of before kit 0.5 (no digests), compressed layers without a TOC. KF_E_MALFORMED
 * for an entry whose layer is not there, and for a TOC annotation that is none. A TOC
 * layer that is not there, or a later version of the annotation, counts as no TOC, which
 * is logged. `kitfile` may be NULL. */
int kf_pair_layers(struct kf_pair **ret, size_t *ret_count,
                   const struct kf_manifest *manifest, const struct kf_kitfile *kitfile,
                   enum kf_part part, struct kf_err *err);

#endif
