#include "oci/dest.h"

#include "base/err.h"

int kf_dest_open(struct kf_dest **ret, const struct kf_ref *ref,
                 const struct kf_origin_opts *opts, struct kf_err *err)
{
    if (ref->has_digest)
        return kf_fail(err, KF_E_ARG, "a kit is put under a tag, not under a digest");
    if (ref->where == KF_REF_LAYOUT)
        return kf_layout_create(ret, ref, err);
    if (ref->where == KF_REF_REGISTRY)
        return kf_repository_create(ret, ref, opts, err);
    return kf_store_create(ret, ref, err);
}

void kf_dest_stop_when(struct kf_dest *dest, bool (*stopped)(void *arg), void *arg)
{
    dest->stopped = stopped;
    dest->stopped_arg = arg;
}

void kf_dest_close(struct kf_dest *dest)
{
    if (dest)
        dest->ops->close(dest);
}

int kf_dest_has(struct kf_dest *dest, const struct kf_digest *digest, uint64_t size,
                struct kf_err *err)
{
    return dest->ops->has(dest, digest, size, err);
}

struct kf_dest_blob *kf_dest_begin(struct kf_dest *dest, struct kf_err *err)
{
    struct kf_dest_blob *blob = dest->ops->begin(dest, err);

    if (blob)
        blob->dest = dest;
    return blob;
}

int kf_dest_begin_known(struct kf_dest_blob **ret, struct kf_dest *dest,
                        const struct kf_digest *digest, uint64_t size, struct kf_err *err)
{
    int has = kf_dest_has(dest, digest, size, err);
    struct kf_dest_blob *blob;

    if (has != 0)
        return has;
    blob = kf_dest_begin(dest, err);
    if (!blob)
        return -1;
    blob->is_known = true;
    blob->known = *digest;
    blob->known_size = size;
    *ret = blob;
    return 0;
}

bool kf_dest_wants_size(const struct kf_dest *dest)
{
    return __atomic_load_n(&dest->wants_size, __ATOMIC_RELAXED) != 0;
}

void kf_dest_set_wants_size(struct kf_dest *dest)
{
    __atomic_store_n(&dest->wants_size, 1, __ATOMIC_RELAXED);
}

static int is_another(const struct kf_dest_blob *blob, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];

    return kf_fail(err, KF_E_CORRUPT, "the content is no longer '%s' of %llu bytes",
                   kf_digest_format(&blob->known, text),
                   (unsigned long long)blob->known_size);
}

int kf_dest_write(struct kf_dest_blob *blob, const void *data, size_t length,
                  struct kf_err *err)
{
    if (blob->is_known && length > blob->known_size - blob->size)
        return is_another(blob, err);
    if (blob->dest->ops->write(blob, data, length, err) != 0)
        return -1;
    blob->size += length;
    return 0;
}

int kf_dest_commit(struct kf_dest_blob *blob, const struct kf_digest *digest,
                   struct kf_err *err)
{
    if (blob->is_known &&
        (blob->size != blob->known_size || !kf_digest_equal(&blob->known, digest))) {
        (void)is_another(blob, err);
        kf_dest_abandon(blob);
        return -1;
    }
    return blob->dest->ops->commit(blob, digest, err);
}

void kf_dest_abandon(struct kf_dest_blob *blob)
{
    if (blob)
        blob->dest->ops->abandon(blob);
}

int kf_dest_put(struct kf_dest *dest, const void *data, size_t length,
                const struct kf_digest *digest, struct kf_err *err)
{
    struct kf_dest_blob *blob = kf_dest_begin(dest, err);

    if (!blob)
        return -1;
    if (kf_dest_write(blob, data, length, err) != 0) {
        kf_dest_abandon(blob);
        return -1;
    }
    return kf_dest_commit(blob, digest, err);
}

int kf_dest_manifest(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                     struct kf_err *err)
{
    return dest->ops->manifest(dest, manifest, err);
}
