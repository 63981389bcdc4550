#include "oci/folder_read.h"

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

#define PIECE ((size_t)256 << 10)

struct blob {
    struct kf_source source;
    struct kf_workq *workq;
    struct kf_stats *stats;
    int fd;
};

static struct kf_origin_folder *folder_of(struct kf_origin *origin)
{
    return kf_container_of(origin, struct kf_origin_folder, origin);
}

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

static int open_blob(const struct kf_origin_folder *folder, const struct kf_desc *desc,
                     int *ret_fd, struct kf_err *err)
{
    char path[96];
    struct stat info;
    int fd;

    (void)blob_path(&desc->digest, path, sizeof(path)); /* always fits */
    /* Without O_NONBLOCK a FIFO in the place of a blob would hold us up for ever. */
    fd = openat(folder->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kf_fail_errno(err, "cannot open blob '%s/%s'", folder->path, path);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        kf_close_fd(&fd);
        return kf_fail(err, KF_E_CORRUPT, "blob '%s/%s' is not a file", folder->path,
                       path);
    }
    if ((uint64_t)info.st_size != desc->size) {
        kf_close_fd(&fd);
        return kf_fail(
            err, KF_E_CORRUPT, "blob '%s/%s' has %lld bytes, its descriptor says %llu",
            folder->path, path, (long long)info.st_size, (unsigned long long)desc->size);
    }
    *ret_fd = fd;
    return 0;
}

struct kf_source *kf_origin_folder_blob(struct kf_origin *origin,
                                        const struct kf_desc *desc, struct kf_err *err)
{
    const struct kf_origin_folder *folder = folder_of(origin);
    struct blob *blob = calloc(1, sizeof(*blob));

    if (!blob) {
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a blob"); /* NULL says it */
        return NULL;
    }
    if (open_blob(folder, desc, &blob->fd, err) != 0) {
        free(blob);
        return NULL;
    }
    blob->workq = folder->opts.workq;
    blob->stats = folder->opts.stats;
    blob->source.ops = &blob_ops;
    blob->source.size = desc->size;
    blob->source.refs = 1;
    (void)kf_digest_format(&desc->digest, blob->source.name); /* shorter than name */
    return &blob->source;
}

/* --- manifests and tags --- */

int kf_origin_folder_manifest(const struct kf_origin_folder *folder,
                              const struct kf_digest *digest,
                              const struct kf_digest *known, struct kf_buf *ret_bytes,
                              struct kf_digest *ret_digest, struct kf_err *err)
{
    char path[96], text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest actual;

    if (known && kf_digest_equal(known, digest)) {
        *ret_digest = *digest;
        return 1;
    }
    (void)blob_path(digest, path, sizeof(path)); /* always fits */
    if (kf_load_file(folder->fd, path, ret_bytes, err) != 0)
        return kf_fail_wrap(err, "in '%s'", folder->path);
    if (kf_digest_of(&actual, ret_bytes->data, ret_bytes->length, err) != 0)
        return -1;
    if (!kf_digest_equal(&actual, digest))
        return kf_fail(err, KF_E_CORRUPT, "manifest '%s' in '%s' has another digest",
                       kf_digest_format(digest, text), folder->path);
    *ret_digest = *digest;
    return 0;
}

const struct kf_desc *kf_origin_folder_find_tag(const struct kf_origin_folder *folder,
                                                const char *tag)
{
    for (size_t i = 0; i < folder->index.entry_count; i++) {
        const char *found = kf_desc_tag(&folder->index.entries[i]);

        if (found && strcmp(found, tag) == 0)
            return &folder->index.entries[i];
    }
    return NULL;
}

bool kf_origin_folder_list_tags(const struct kf_origin_folder *folder, char *out,
                                size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < folder->index.entry_count && used < size; i++) {
        const char *tag = kf_desc_tag(&folder->index.entries[i]);
        int length =
            tag ? snprintf(out + used, size - used, "%s%s", used ? ", " : "", tag) : 0;

        used += length > 0 ? (size_t)length : 0;
    }
    return used > 0;
}

int kf_origin_folder_tags(struct kf_origin *origin, struct kf_strings *ret,
                          struct kf_err *err)
{
    const struct kf_origin_folder *folder = folder_of(origin);

    for (size_t i = 0; i < folder->index.entry_count; i++) {
        const char *tag = kf_desc_tag(&folder->index.entries[i]);

        if (tag && kf_strings_add(ret, tag, err) != 0)
            return -1;
    }
    return 0;
}

/* --- the folder --- */

int kf_origin_folder_open(struct kf_origin_folder *folder, const char *path,
                          const struct kf_origin_opts *opts, struct kf_err *err)
{
    folder->origin.is_local = true;
    folder->opts = *opts;
    folder->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder->fd < 0)
        return kf_fail_errno(err, "cannot open '%s'", path);
    folder->path = strdup(path);
    return folder->path ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for '%s'", path);
}

void kf_origin_folder_fini(struct kf_origin_folder *folder)
{
    kf_index_fini(&folder->index);
    kf_close_fd(&folder->fd);
    free(folder->path);
}
