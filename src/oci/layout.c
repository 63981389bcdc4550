/*
 * An OCI image layout folder (image spec 1.1, image-layout.md) as an origin. Blobs are
 * read on the work queue. Paths are made from parsed digests only, so that no index can
 * name a file outside of the folder.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/stats.h"
#include "oci/origin.h"

#define TAG_ANNOTATION "org.opencontainers.image.ref.name"
#define MARKER_LIMIT 4096u
#define PIECE ((size_t)256 << 10)

struct layout {
    struct kf_origin origin;
    struct kf_origin_opts opts;
    struct kf_index index;
    int fd;
    char *dir;
};

struct blob {
    struct kf_source source;
    struct kf_workq *workq;
    struct kf_stats *stats;
    int fd;
};

/* --- a blob as a source --- */

static int copy_piece(struct blob *blob, struct kf_source_req *req, uint8_t *piece,
                      size_t length, uint64_t offset)
{
    const char *name = blob->source.name;
    struct kf_err *err = &req->result;

    if (__atomic_load_n(&req->priv, __ATOMIC_ACQUIRE))
        return kf_fail(err, KF_E_CANCELLED, "cannot read '%s': cancelled", name);
    if (kf_now_ns() > req->deadline_ns)
        return kf_fail(err, KF_E_TIMEOUT, "cannot read '%s': timed out", name);
    if (kf_pread_all(blob->fd, piece, length, offset, name, err) != 0)
        return -1;
    kf_stats_add(blob->stats, KF_STAT_FETCHED_BYTES, length);
    if (req->sink->write(req->sink, piece, length, err) == 0)
        return 0;
    return err->kind != KF_E_NONE
               ? -1
               : kf_fail(err, KF_E_CANCELLED, "cannot read '%s': stopped", name);
}

static void copy_range(struct blob *blob, struct kf_source_req *req)
{
    kf_auto(kf_free) uint8_t *piece = malloc(PIECE);
    uint64_t at = req->offset, end = req->offset + req->length;

    if (!piece) {
        (void)kf_fail(&req->result, KF_E_NOMEM, "no memory to read '%s'",
                      blob->source.name); /* told to `done` */
        return;
    }
    for (size_t length; at < end; at += length) {
        length = (size_t)kf_min_u64(PIECE, end - at);
        if (copy_piece(blob, req, piece, length, at) != 0)
            return;
    }
}

static void run_request(struct kf_job *job)
{
    struct kf_source_req *req = kf_container_of(job, struct kf_source_req, job);
    struct blob *blob = kf_container_of(req->source, struct blob, source);

    kf_stats_add(blob->stats, KF_STAT_FETCH_REQUESTS, 1);
    copy_range(blob, req);
    req->done(req, req->result.kind == KF_E_NONE ? NULL : &req->result);
    kf_source_close(&blob->source); /* the request's reference */
}

static void submit(struct kf_source *source, struct kf_source_req *req)
{
    struct blob *blob = kf_container_of(source, struct blob, source);

    (void)kf_source_ref(source);         /* until done has run */
    if (req->result.kind != KF_E_NONE) { /* refused by kf_source_submit */
        kf_source_finish(req, blob->workq);
        return;
    }
    req->job.run = run_request;
    kf_workq_submit(blob->workq, &req->job, req->urgency);
}

/* The mark is in the request: looked at between two pieces. */
static void cancel(struct kf_source *source, struct kf_source_req *req)
{
    __atomic_store_n(&req->priv, source, __ATOMIC_RELEASE);
}

static void destroy(struct kf_source *source)
{
    struct blob *blob = kf_container_of(source, struct blob, source);

    kf_close_fd(&blob->fd);
    free(blob);
}

static const struct kf_source_ops blob_ops = {submit, cancel, destroy};

static int blob_path(const struct kf_digest *digest, char *out, size_t size)
{
    char hex[65];

    return snprintf(out, size, "blobs/sha256/%s", kf_digest_hex(digest, hex));
}

static int open_blob(struct layout *layout, const struct kf_desc *desc, int *ret_fd,
                     struct kf_err *err)
{
    char path[96];
    struct stat info;
    int fd;

    (void)blob_path(&desc->digest, path, sizeof(path)); /* always fits */
    /* Without O_NONBLOCK a FIFO in the place of a blob would hold us up for ever. */
    fd = openat(layout->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kf_fail_errno(err, "cannot open blob '%s/%s'", layout->dir, path);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        kf_close_fd(&fd);
        return kf_fail(err, KF_E_CORRUPT, "blob '%s/%s' is not a file", layout->dir,
                       path);
    }
    if ((uint64_t)info.st_size != desc->size) {
        kf_close_fd(&fd);
        return kf_fail(
            err, KF_E_CORRUPT, "blob '%s/%s' has %lld bytes, its descriptor says %llu",
            layout->dir, path, (long long)info.st_size, (unsigned long long)desc->size);
    }
    *ret_fd = fd;
    return 0;
}

static struct kf_source *layout_blob(struct kf_origin *origin, const struct kf_desc *desc,
                                     struct kf_err *err)
{
    struct layout *layout = kf_container_of(origin, struct layout, origin);
    struct blob *blob = calloc(1, sizeof(*blob));

    if (!blob) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a blob"); /* NULL says it */
        return NULL;
    }
    if (open_blob(layout, desc, &blob->fd, err) != 0) {
        free(blob);
        return NULL;
    }
    blob->workq = layout->opts.workq;
    blob->stats = layout->opts.stats;
    blob->source.ops = &blob_ops;
    blob->source.size = desc->size;
    blob->source.refs = 1;
    (void)kf_digest_format(&desc->digest, blob->source.name); /* shorter than name */
    return &blob->source;
}

/* --- manifests and tags --- */

static const char *entry_tag(const struct kf_desc *entry)
{
    return kf_annotation_get(entry->annotations, entry->annotation_count, TAG_ANNOTATION);
}

/* "a, b, c" for messages, cut when there are many; 0 when there is none. */
static size_t list_tags(const struct layout *layout, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < layout->index.entry_count && used < size; i++) {
        const char *tag = entry_tag(&layout->index.entries[i]);
        int length =
            tag ? snprintf(out + used, size - used, "%s%s", used ? ", " : "", tag) : 0;

        used += length > 0 ? (size_t)length : 0;
    }
    return used;
}

static int not_found(const struct layout *layout, const char *wanted, struct kf_err *err)
{
    char tags[256];
    bool some = list_tags(layout, tags, sizeof(tags)) > 0;

    if (layout->index.entry_count == 0)
        return kf_fail(err, KF_E_NOTFOUND, "'%s' is empty", layout->dir);
    if (!some)
        return kf_fail(err, KF_E_NOTFOUND, "nothing has a tag in '%s': name a @digest",
                       layout->dir);
    if (!*wanted)
        return kf_fail(err, KF_E_ARG, "several kits in '%s': name a tag (%s)",
                       layout->dir, tags);
    return kf_fail(err, KF_E_NOTFOUND, "no such tag '%s' in '%s' (there are: %s)", wanted,
                   layout->dir, tags);
}

/* The digest of a tag, of a digest in text, or (nothing wanted) of the only manifest. */
static int find(const struct layout *layout, const char *wanted, struct kf_digest *ret,
                struct kf_err *err)
{
    const struct kf_index *index = &layout->index;

    if (strncmp(wanted, "sha256:", 7) == 0)
        return kf_digest_parse(ret, wanted, strlen(wanted), err);
    if (!*wanted && index->entry_count == 1) {
        *ret = index->entries[0].digest;
        return 0;
    }
    for (size_t i = 0; *wanted && i < index->entry_count; i++) {
        const char *tag = entry_tag(&index->entries[i]);

        if (tag && strcmp(tag, wanted) == 0) {
            *ret = index->entries[i].digest;
            return 0;
        }
    }
    return not_found(layout, wanted, err);
}

static int layout_manifest(struct kf_origin *origin, const char *tag_or_digest,
                           const struct kf_digest *known, struct kf_buf *ret_bytes,
                           struct kf_digest *ret_digest, struct kf_err *err)
{
    struct layout *layout = kf_container_of(origin, struct layout, origin);
    struct kf_digest digest, actual;
    char path[96], text[KF_DIGEST_TEXT_SIZE];

    if (find(layout, tag_or_digest, &digest, err) != 0)
        return -1;
    if (known && kf_digest_equal(known, &digest)) {
        *ret_digest = digest;
        return 1;
    }
    (void)blob_path(&digest, path, sizeof(path)); /* always fits */
    if (kf_load_file(layout->fd, path, ret_bytes, err) != 0)
        return kf_fail_wrap(err, "in '%s'", layout->dir);
    if (kf_digest_of(&actual, ret_bytes->data, ret_bytes->length, err) != 0)
        return -1;
    if (!kf_digest_equal(&actual, &digest))
        return kf_fail(err, KF_E_CORRUPT, "manifest '%s' in '%s' has another digest",
                       kf_digest_format(&digest, text), layout->dir);
    *ret_digest = digest;
    return 0;
}

static int layout_tags(struct kf_origin *origin, struct kf_strings *ret,
                       struct kf_err *err)
{
    struct layout *layout = kf_container_of(origin, struct layout, origin);

    for (size_t i = 0; i < layout->index.entry_count; i++) {
        const char *tag = entry_tag(&layout->index.entries[i]);

        if (tag && kf_strings_add(ret, tag, err) != 0)
            return -1;
    }
    return 0;
}

/* --- opening --- */

static void layout_close(struct kf_origin *origin)
{
    struct layout *layout = kf_container_of(origin, struct layout, origin);

    kf_index_fini(&layout->index);
    kf_close_fd(&layout->fd);
    free(layout->dir);
    free(layout);
}

static const struct kf_origin_ops layout_ops = {layout_manifest, layout_blob, layout_tags,
                                                layout_close};

static int load_index(struct layout *layout, struct kf_err *err)
{
    struct kf_buf bytes;
    int rc;

    kf_buf_init(&bytes, MARKER_LIMIT);
    rc = kf_load_file(layout->fd, "oci-layout", &bytes, err);
    if (rc == 0 && (bytes.length == 0 ||
                    !memmem(bytes.data, bytes.length, "imageLayoutVersion", 18)))
        rc = kf_fail(err, KF_E_MALFORMED, "its file 'oci-layout' is not one");
    kf_buf_fini(&bytes);
    if (rc != 0)
        return -1;
    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    rc = kf_load_file(layout->fd, "index.json", &bytes, err);
    if (rc == 0)
        rc = kf_index_parse(&layout->index, bytes.data, bytes.length, err);
    kf_buf_fini(&bytes);
    return rc;
}

int kf_layout_open(struct kf_origin **ret, const struct kf_ref *ref,
                   const struct kf_origin_opts *opts, struct kf_err *err)
{
    struct layout *layout = calloc(1, sizeof(*layout));

    if (!layout)
        return kf_fail(err, KF_E_NOMEM, "no memory for a layout");
    layout->origin.ops = &layout_ops;
    layout->origin.kind = "the layout";
    layout->opts = *opts;
    layout->dir = strdup(ref->dir);
    layout->fd = open(ref->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->fd < 0 || !layout->dir) {
        (void)kf_fail_errno(err, "cannot open layout '%s'", ref->dir);
    } else if (load_index(layout, err) == 0) {
        *ret = &layout->origin;
        return 0;
    } else {
        (void)kf_fail_wrap(err, "'%s' is not an OCI layout", ref->dir);
    }
    layout_close(&layout->origin);
    return -1;
}
