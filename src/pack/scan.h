/*
 * The source files of one entry of a Kitfile, as they will stand in its layer: in the
 * order of the format, with every folder above them, without what .kitignore names and
 * without what belongs to other entries, of this kit or of its parents. Blocking; the
 * result is immutable.
 *
 * Only regular files and folders are packed. Below a folder anything else is left out
 * with a warning; where the Kitfile itself names a symbolic link or leads through one, or
 * names anything else that is odd, it is an error, and so is a name that kit could not
 * unpack (it contains "..", or is too long). An ignored folder is there when a '!'
 * pattern takes something below it back. No content at all is a warning, as in kit.
 *
 * Limits: 256 folders deep, names and entries as in layer/table.h.
 */
#ifndef KF_PACK_SCAN_H
#define KF_PACK_SCAN_H

#include <stdint.h>

#include "kitfile/kitfile_pack.h"
#include "kitfile/kitignore.h"
#include "layer/pack_stream.h"

struct kf_err;
struct kf_parents;
struct stat;

#define KF_SCAN_DEPTH 256u

struct kf_scan_file; /* what a reader needs to find and recognise a file */

struct kf_scan {
    struct kf_pack_entry *entries; /* their `source` is owned here */
    uint32_t count, capacity;
    uint64_t bytes; /* of file content */
};

struct kf_scan_opts {
    int context_fd; /* the folder with the Kitfile */
    const struct kf_kitfile_plan *plan;
    const struct kf_ignore *ignore;
    const struct kf_parents *parents; /* whose paths are left out, too; may be NULL */
    const struct stat *output;        /* a folder that is left out; may be NULL */
    void (*warn)(void *arg, const char *line); /* may be NULL */
    void *arg;
};

/* Scans what `entry` of the plan names, and looks for tensors in its large files. */
int kf_scan_entry(struct kf_scan *ret, const struct kf_scan_opts *opts, size_t entry,
                  struct kf_err *err);
void kf_scan_fini(struct kf_scan *scan);

/* For struct kf_pack_reader; `arg` is a pointer to the context's descriptor. A file that
 * is not as it was when it was scanned, before or after its bytes were read, is
 * KF_E_CORRUPT. Any thread. */
int kf_scan_read(void *arg, const void *source, void *data, size_t length,
                 uint64_t offset, struct kf_err *err);

#endif
