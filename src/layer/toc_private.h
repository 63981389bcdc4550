/*
 * What the files of the toc module share: sizes of records (docs/formats/layer.md section
 * 4), and the checks of section 7, rule 3, on a root whose records were read.
 */
#ifndef KF_LAYER_TOC_PRIVATE_H
#define KF_LAYER_TOC_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

struct kf_err;
struct kf_toc;
struct kf_toc_limits;
struct kf_toc_link;

#define KF_TOC_HEADER_SIZE 64u
#define KF_TOC_DIRECTORY_ENTRY 24u
#define KF_TOC_SECTION_LIMIT 32u
#define KF_TOC_FILE_RECORD 48u
#define KF_TOC_SLICE_RECORD 104u
#define KF_TOC_RUN_RECORD 8u
#define KF_TOC_FRAME_HEADER 8u /* of the skippable frame around an embedded area */
#define KF_TOC_MAJOR 1u
#define KF_TOC_SHA256 1u
#define KF_TOC_MUST_UNDERSTAND 1u /* flag of a section */
#define KF_TOC_INLINE 1u          /* flag of a slice */

struct kf_toc_extent {
    uint64_t offset, end;
};

/* By offset, then by end. */
void kf_toc_sort_extents(struct kf_toc_extent *extents, size_t count);

/* The most that a chunk of `length` bytes may take in the blob (section 6). */
uint64_t kf_toc_stored_limit(uint32_t length);

/* "broken table of contents: WHAT", KF_E_MALFORMED; returns -1. */
int kf_toc_broken(struct kf_err *err, const char *what);

/* Names, ranges, and the borders that slices are checked against: fills toc->borders. */
int kf_toc_check_files(struct kf_toc *toc, struct kf_err *err);
/* Slices are complete, in order, and one with the large files. */
int kf_toc_check_slices(const struct kf_toc *toc, struct kf_err *err);
/* What the layer's descriptor promised about the blob and the area. */
int kf_toc_check_blob(const struct kf_toc *toc, const struct kf_toc_link *link,
                      uint64_t blob_size, struct kf_err *err);
/* The numbers of a link by themselves. */
int kf_toc_check_link(const struct kf_toc_link *link, const struct kf_toc_limits *limits,
                      struct kf_err *err);

#endif
