/*
 * A layer opened for reading: its file table, and its files' bytes by way of the cache
 * and the fetch queue. Locks itself; its table is immutable.
 *
 * A layer with a table of contents (docs/formats/layer.md) is read by its chunks, each
 * checked; a plain tar or raw layer without one by ranges: the blob is the stream; a
 * zstd layer that others made, if it has a seek table, by its frames. One that is packed
 * and cannot be entered in the middle (gzip, other zstd) is streamed into the cache once,
 * when it is opened first (layer/pass), and again for what the cache does not hold
 * (layer/sequential).
 *
 * Files of 16 MiB or more are objects of their own; all else of the layer (headers,
 * smaller files) is one object, the remainder.
 */
#ifndef KF_LAYER_LAYER_H
#define KF_LAYER_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "fetch/feed.h"
#include "layer/table.h"

struct kf_chunk_map;
struct kf_err;
struct kf_fetch;
struct kf_file;
struct kf_layer;
struct kf_scan;
struct kf_source;
struct kf_store;
struct kf_toc;
struct kf_toc_link;

#define KF_LARGE_FILE (UINT64_C(16) << 20)
#define KF_PLAIN_CHUNK (UINT32_C(1) << 20)

/* How a layer without a table of contents is checked: docs/formats/layer.md section 7,
 * rule 6. */
enum kf_layer_check { KF_CHECK_DEFERRED, KF_CHECK_FULL, KF_CHECK_REQUIRE_TOC };

enum kf_layer_packing { KF_LAYER_PLAIN, KF_LAYER_GZIP, KF_LAYER_ZSTD };

struct kf_layer_spec {
    struct kf_digest digest;  /* of the blob */
    struct kf_source *source; /* the blob; a reference is taken */
    bool is_tar;              /* else raw: one file */
    enum kf_layer_packing packing;
    const char *raw_path; /* raw only: its name ... */
    uint16_t raw_mode;    /* ... and attributes */
    int64_t raw_mtime;
    bool has_raw_size;
    uint64_t raw_size;               /* what its file must have, when that is known */
    const struct kf_toc_link *toc;   /* NULL: none */
    struct kf_source *toc_source;    /* the blob with the TOC, when it is another one */
    struct kf_store *store;          /* borrowed; may be NULL */
    struct kf_fetch *fetch;          /* borrowed; outlives */
    int64_t timeout_ns;              /* of one request while the headers are walked */
    const struct kf_digest *diff_id; /* of the unpacked content; NULL: not known */
    enum kf_layer_check check;
    bool defer; /* one that must be streamed stays deferred: an empty table, no files */
    /* While it is streamed: told now and then, on this thread, how much of the blob has
     * passed; nonzero ends it. May be NULL. */
    int (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* Blocking: the root of the TOC, or else the table from the store, or else a walk over
 * the tar headers in windows of 64 to 256 KiB, which is saved. A table that is damaged or
 * that cannot be saved costs a walk. A TOC of a future version, or whose blob is nowhere
 * to be found, counts as none, which is logged. In a zstd layer of several frames a TOC
 * is looked for also without a link to it. A layer without random access whose table is
 * not in the store is streamed, by one process for all that use the store. */
int kf_layer_open(struct kf_layer **ret, const struct kf_layer_spec *spec,
                  struct kf_err *err);
void kf_layer_close(struct kf_layer *layer); /* files must be put; NULL is fine */

/* Whether it is one of those that cannot be entered in the middle; and whether it still
 * waits to be streamed. */
bool kf_layer_is_streamed(const struct kf_layer *layer);
bool kf_layer_is_deferred(const struct kf_layer *layer);
/* Blocking: looks for a file of a deferred layer (layer/pass). */
int kf_layer_scan(struct kf_layer *layer, struct kf_scan *scan, struct kf_err *err);

const struct kf_table *kf_layer_table(const struct kf_layer *layer);
const struct kf_digest *kf_layer_digest(const struct kf_layer *layer);

/* Reads the headers of an archive with a TOC at the lowest urgency and compares them with
 * the TOC (docs/formats/layer.md section 7, rule 5). When they disagree every read of the
 * layer fails from then on. What cannot be read now is left unchecked. Does not wait; it
 * has ended when the fetch queue has stopped. At most once a layer. */
void kf_layer_check(struct kf_layer *layer);

/* The blob of a plain layer without a TOC: the unpacked stream, byte for byte. Borrowed;
 * NULL for other layers. */
struct kf_source *kf_layer_plain_blob(const struct kf_layer *layer);

/* How its bytes are found and checked. */
enum kf_layer_access {
    KF_ACCESS_TOC,
    KF_ACCESS_FOUND_TOC, /* no annotation leads to it: trusted as what has no TOC */
    KF_ACCESS_FRAMES,    /* by a seek table */
    KF_ACCESS_RANGES,
    KF_ACCESS_STREAM, /* from the first byte on, once into the cache */
};
enum kf_layer_access kf_layer_access(const struct kf_layer *layer);

/* From now on a layer without a TOC is checked as soon as all of it is in the cache
 * (section 7, rule 6). `fetch`: what lies between its files, which no reader asks for, is
 * fetched when nothing else is lacking. Does not wait. */
void kf_layer_watch(struct kf_layer *layer, bool fetch);

/* Whether its bytes are known to be what its digest says: always with a TOC, whose chunks
 * are checked as they come; never when no annotation led to the TOC. Without one this
 * looks again, in the background, whether all of it is here. FAILED: every read fails,
 * and `ret_failure` says why. */
enum kf_trust { KF_TRUST_UNVERIFIED, KF_TRUST_VERIFIED, KF_TRUST_FAILED };
enum kf_trust kf_layer_trust(struct kf_layer *layer, struct kf_err *ret_failure);

/* Only whether it has failed; quick. */
bool kf_layer_has_failed(struct kf_layer *layer, struct kf_err *ret_failure);

/* The TOC, or NULL; borrowed. */
const struct kf_toc *kf_layer_toc(const struct kf_layer *layer);
/* Blocking, for tools: all chunks of a layer with a TOC, in order; yours to fini. */
int kf_layer_chunks(struct kf_layer *layer, struct kf_chunk_map *ret, struct kf_err *err);

/* A file being read: one for all its readers, so that they share streams. Counted: each
 * call gives a reference to be put. Opens the cache's object, so it may wait for the
 * disk. KF_E_ARG for a folder. The layer must outlive it. */
struct kf_file *kf_layer_file(struct kf_layer *layer, uint32_t entry, struct kf_err *err);
/* The same for all of the blob of a plain layer without a TOC, by way of the remainder:
 * its headers and smaller files lie in the cache under it. KF_E_ARG for other layers. */
struct kf_file *kf_layer_whole(struct kf_layer *layer, struct kf_err *err);
void kf_file_keep(struct kf_file *file); /* one reference more */
void kf_file_put(struct kf_file *file);  /* NULL is fine */
uint64_t kf_file_size(const struct kf_file *file);

/* As kf_feed_read and friends, with offsets of the file; both reads drive readahead, so
 * that a stream is seen however it is answered. The range must lie inside the file.
 * `read->offset` is changed to the object's on the way: `done` finds that there. `read`
 * is a reader's own, and the caller's reference to the file lasts until `done` returned.
 */
void kf_file_read(struct kf_file *file, struct kf_read *read);
void kf_file_cancel(struct kf_file *file, struct kf_read *read);
ssize_t kf_file_read_now(struct kf_file *file, void *data, size_t length,
                         uint64_t offset);

/* About how much of the file is local, what earlier mounts left included: for status. */
uint64_t kf_layer_local_bytes(struct kf_layer *layer, uint32_t entry);

#endif
