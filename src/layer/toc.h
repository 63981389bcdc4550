/*
 * The table of contents of a seekable layer: root and slices, both ways. Format:
 * docs/formats/layer.md sections 4 to 7 (normative). Pure; a decoded TOC is immutable.
 *
 * The decoder takes bytes and a size and believes nothing: every count, offset and sum is
 * checked before it is used, and nothing is allocated from a count that the length of its
 * section has not confirmed: a decoded root takes at most about twice its bytes. Checks
 * take n log n of the number of files. Its limits (section 6) are an argument, so that
 * tests reach those that are too large to reach otherwise; names have those of table.h.
 */
#ifndef KF_LAYER_TOC_H
#define KF_LAYER_TOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kf_buf;
struct kf_err;

#define KF_TOC_NO_FILE UINT32_MAX
#define KF_TOC_ROW_SIZE 40u
#define KF_TOC_SMALL_FILE (UINT64_C(64) << 10) /* chunk borders matter from here on */
#define KF_TOC_LARGE_FILE (UINT64_C(16) << 20) /* a slice and an object of its own */
#define KF_TOC_SLICE_CHUNKS 8192u              /* of a run between large files */
#define KF_TOC_INLINE_CHUNKS 64u
#define KF_TOC_ANNOTATION "org.kitfs.toc"
#define KF_TOC_MAGIC "KITFSTOC"

enum kf_toc_carrier { KF_CARRIER_TAR_ZSTD = 1, KF_CARRIER_TAR = 2, KF_CARRIER_RAW = 3 };

struct kf_toc_limits {
    uint64_t root_stored_bytes, root_raw_bytes, area_bytes;
    uint64_t chunks, files, slices, chunk_bytes;
};
extern const struct kf_toc_limits kf_toc_limits; /* section 6 */

struct kf_toc_file {
    uint64_t offset; /* of the data in the stream */
    uint64_t size;
    int64_t mtime;
    uint32_t name_offset, name_length;
    uint16_t mode; /* 0777 */
    uint8_t type;  /* 0 file, 5 folder */
};

struct kf_toc_slice {
    uint32_t file; /* index in files, or KF_TOC_NO_FILE */
    uint32_t first_chunk, chunk_count;
    bool is_inline;
    uint64_t stream_offset, stored_offset; /* of its first chunk */
    uint64_t where;          /* inline: in ROWS; else from the end of the stored root */
    struct kf_digest digest; /* of a slice that is not inline */
    struct kf_digest content_id; /* of its file; zero where there is none */
};

struct kf_toc_run {
    uint32_t first_chunk, count;
};

struct kf_toc {
    enum kf_toc_carrier carrier;
    uint64_t stream_length, stored_length, slices_length;
    uint32_t chunk_count, file_count, slice_count, prefetch_count;
    uint32_t chunk_size, largest_chunk;
    struct kf_toc_file *files; /* sorted by name bytes */
    struct kf_toc_slice *slices;
    struct kf_toc_run *prefetch;
    uint64_t *borders; /* of files of 64 KiB or more, ascending: a chunk begins there */
    uint32_t border_count;
    uint8_t *rows; /* of inline slices */
    size_t rows_length;
    char *names;
    size_t names_length;
    char *meta; /* JSON text, or NULL */
};

/* What the layer's descriptor says about where the TOC lies (section 5). */
struct kf_toc_link {
    struct kf_digest root_digest; /* of the root's stored bytes */
    bool embedded;                /* in the layer's own blob */
    struct kf_digest blob;        /* of the TOC layer, when not embedded */
    uint64_t area_offset, root_stored, root_raw, area_length;
};

struct kf_chunk_row {
    uint32_t stored_length, length;
    struct kf_digest digest; /* of the uncompressed bytes */
};

/* Returns 0; 1 when the version is not 1 (no TOC for us, rule 7); -1 when malformed
 * (KF_E_MALFORMED) or over a limit (KF_E_LIMIT). What it returns is safe to fetch by: the
 * sizes are within the limits, and no sum of them overflows. */
int kf_toc_link_parse(struct kf_toc_link *ret, const char *text, struct kf_err *err);
/* Appends. */
int kf_toc_link_format(const struct kf_toc_link *link, struct kf_buf *ret,
                       struct kf_err *err);

/* The decompressed root. `blob_size` is the layer's; the stored length is checked against
 * it (tar, raw) or against the link's area offset (embedded). Returns 0; 1 for a higher
 * major or an unknown must-understand section (rule 7); -1 when it breaks a rule
 * (KF_E_MALFORMED) or a limit (KF_E_LIMIT). `ret` is untouched unless it returns 0. */
int kf_toc_decode(struct kf_toc *ret, const void *raw, size_t length,
                  const struct kf_toc_link *link, uint64_t blob_size,
                  const struct kf_toc_limits *limits, struct kf_err *err);
void kf_toc_fini(struct kf_toc *toc);

const char *kf_toc_name(const struct kf_toc *toc, uint32_t file, size_t *ret_length);
uint64_t kf_toc_slice_stream_end(const struct kf_toc *toc, uint32_t slice);
uint64_t kf_toc_slice_stored_end(const struct kf_toc *toc, uint32_t slice);
/* The slice that holds a byte of the stream; offset < stream_length. */
uint32_t kf_toc_slice_at(const struct kf_toc *toc, uint64_t stream_offset);

/* Rows of a slice from bytes (the slice itself, or its part of ROWS), checked: digest,
 * sums, lengths, borders of files of 64 KiB or more, content id. `rows` has chunk_count
 * places; undefined after a failure. KF_E_CORRUPT: these are not the bytes that the root
 * names (fetching again may help); KF_E_MALFORMED: they are, and break a rule. */
int kf_toc_slice_decode(const struct kf_toc *toc, uint32_t slice, const void *data,
                        size_t length, struct kf_chunk_row *rows, struct kf_err *err);
/* The bytes of an inline slice; borrowed. */
const uint8_t *kf_toc_inline_rows(const struct kf_toc *toc, uint32_t slice,
                                  size_t *ret_length);

int kf_toc_content_id(const struct kf_chunk_row *rows, uint32_t count,
                      struct kf_digest *ret, struct kf_err *err);

/* From files and chunks to a root (decompressed form) and its slices; both empty before.
 * `toc` gives carrier, chunk_size, files (sorted), names, prefetch, meta; `rows` are all
 * chunks in order. Derived are slices, offsets, digests, content ids, lengths. Checked
 * are the limits on counts (KF_E_LIMIT), and that large files begin and end with chunks
 * (KF_E_ARG); the rest is as good as what is given. */
int kf_toc_encode(const struct kf_toc *toc, const struct kf_chunk_row *rows,
                  uint32_t count, struct kf_buf *ret_root, struct kf_buf *ret_slices,
                  struct kf_err *err);

#endif
