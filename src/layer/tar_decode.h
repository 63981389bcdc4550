/*
 * Tar headers from bytes: POSIX ustar and pax (IEEE Std 1003.1-2017, pax, "ustar
 * Interchange Format"), GNU long names, old V7. Pure: the caller gives windows of the
 * stream, the decoder says which bytes it wants next and skips file data unseen.
 *
 * Refused (KF_E_MALFORMED, KF_E_UNSUPPORTED): links, devices, sparse entries, pax global
 * headers, wrong checksums, negative sizes, sizes beyond the stream, a pax record that
 * does not parse, two extension headers for one entry (readers disagree about which
 * counts). Limits: 1 MiB of pax or long-name data an entry.
 */
#ifndef KF_LAYER_TAR_DECODE_H
#define KF_LAYER_TAR_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layer/table.h"

struct kf_err;

#define KF_TAR_BLOCK 512u
#define KF_TAR_EXTENSION_LIMIT (1u << 20)

/* What an extension header said about the entry that follows it. */
struct kf_tar_extension {
    bool seen;
    bool has_size, has_mtime;
    uint64_t size;
    int64_t mtime;
    char *path; /* NULL: none */
    size_t path_length;
};

struct kf_tar_decoder {
    uint64_t position;               /* stream offset of the next header */
    uint64_t stream_size;            /* UINT64_MAX when not known (a compressed stream) */
    struct kf_tar_extension next;    /* for the next header */
    struct kf_tar_extension current; /* of the entry returned last: owns its name */
    char ustar_name[258];            /* prefix, slash, name */
    bool at_end;
};

enum kf_tar_event {
    KF_TAR_ERROR = -1, /* what kf_fail returns; the decoder is of no use any more */
    KF_TAR_NEED,       /* give a window that covers need_offset, need_length */
    KF_TAR_ENTRY,      /* *entry and *name are set */
    KF_TAR_END,        /* two zero blocks, or the end of the stream at a header's place */
};

struct kf_tar_result {
    uint64_t need_offset;
    uint64_t need_length;        /* a multiple of 512, inside the stream */
    struct kf_table_entry entry; /* offset, size, mtime, mode, type */
    const char *name; /* borrowed until the next call; as stored, not checked */
    size_t name_length;
};

void kf_tar_decoder_init(struct kf_tar_decoder *decoder, uint64_t stream_size);
void kf_tar_decoder_fini(struct kf_tar_decoder *decoder);

/* One step. `window` holds `length` bytes of the stream from `offset`. */
enum kf_tar_event kf_tar_next(struct kf_tar_decoder *decoder, const uint8_t *window,
                              uint64_t offset, size_t length, struct kf_tar_result *ret,
                              struct kf_err *err);

/* -1 ends the work. */
typedef int kf_tar_on_entry(void *arg, const struct kf_tar_result *found,
                            struct kf_err *err);

/* All that a window shows: 1 when another one is needed, as `ret` says; 0 at the
 * archive's end; -1 when nothing can be read there. */
int kf_tar_entries(struct kf_tar_decoder *decoder, const uint8_t *window, uint64_t offset,
                   size_t length, kf_tar_on_entry *on_entry, void *arg,
                   struct kf_tar_result *ret, struct kf_err *err);

#endif
