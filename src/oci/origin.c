#include "oci/origin.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/kitstore.h"

static int open_registry(struct kf_origin **ret, const struct kf_ref *ref,
                         const struct kf_origin_opts *opts, struct kf_err *err)
{
    if (kf_ref_is_local(ref))
        return kf_fail(err, KF_E_ARG,
                       "'%s' names no registry, so it can only be in kit's store",
                       ref->repository);
    if (!opts->offline)
        return kf_registry_open(ret, ref, opts, err);
    *ret = NULL;
    return 0;
}

/* Without a prefix. */
static int open_any(struct kf_origin **ret, const struct kf_ref *ref,
                    const struct kf_origin_opts *opts, struct kf_err *err)
{
    struct kf_err why = {0};

    if (opts->pull == KF_PULL_ALWAYS)
        return open_registry(ret, ref, opts, err);
    if (opts->pull == KF_PULL_NEVER || kf_ref_is_local(ref)) {
        if (kf_kitstore_open(ret, ref, opts, &why) == 0)
            return 0;
        return kf_fail(err, why.kind, "%s%s", why.message,
                       why.kind != KF_E_NOTFOUND ? ""
                       : kf_ref_is_local(ref)
                           ? "; it names no registry, so it is looked for nowhere else"
                           : "; --pull never looks nowhere else");
    }
    if (!ref->tag && !ref->has_digest)
        return open_registry(ret, ref, opts, err);
    if (kf_kitstore_open(ret, ref, opts, &why) == 0)
        return 0;
    if (why.kind == KF_E_NOTFOUND)
        return open_registry(ret, ref, opts, err);
    return kf_fail(err, why.kind, "%s (--pull always asks the registry instead)",
                   why.message);
}

int kf_origin_open(struct kf_origin **ret, const struct kf_ref *ref,
                   const struct kf_origin_opts *opts, struct kf_err *err)
{
    switch (ref->where) {
    case KF_REF_LAYOUT:
        return kf_layout_open(ret, ref, opts, err);
    case KF_REF_STORE:
        return kf_kitstore_open(ret, ref, opts, err);
    case KF_REF_REGISTRY:
        return open_registry(ret, ref, opts, err);
    case KF_REF_ANY:
    default:
        return open_any(ret, ref, opts, err);
    }
}

void kf_origin_close(struct kf_origin *origin)
{
    if (origin)
        origin->ops->close(origin);
}

int kf_origin_manifest(struct kf_origin *origin, const char *tag_or_digest,
                       const struct kf_digest *known, struct kf_buf *ret_bytes,
                       struct kf_digest *ret_digest, struct kf_err *err)
{
    return origin->ops->manifest(origin, tag_or_digest, known, ret_bytes, ret_digest,
                                 err);
}

struct kf_source *kf_origin_blob(struct kf_origin *origin, const struct kf_desc *desc,
                                 struct kf_err *err)
{
    return origin->ops->blob(origin, desc, err);
}

static int check_blob(const struct kf_desc *desc, const void *data, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;

    if (kf_digest_of(&digest, data, desc->size, err) != 0)
        return -1;
    return kf_digest_equal(&digest, &desc->digest)
               ? 0
               : kf_fail(err, KF_E_CORRUPT,
                         "blob '%s' has other content than its digest says",
                         kf_digest_format(&desc->digest, text));
}

/* A blob of length 0 has nothing to ask for. What a mirror has damaged is asked for once
 * more. */
static int read_blob(struct kf_origin *origin, const struct kf_desc *desc,
                     int64_t timeout_ns, void *data, struct kf_err *err)
{
    int64_t deadline_ns = kf_deadline_ns(timeout_ns);
    struct kf_source *source;
    int rc;

    if (desc->size == 0)
        return check_blob(desc, data, err);
    source = kf_origin_blob(origin, desc, err);
    if (!source)
        return -1;
    rc = kf_source_read(source, data, 0, desc->size, deadline_ns, err);
    if (rc == 0 && check_blob(desc, data, NULL) != 0) {
        rc = kf_source_read_anew(source, data, 0, desc->size, deadline_ns, err);
        if (rc == 0)
            rc = check_blob(desc, data, err);
    }
    kf_source_close(source);
    return rc;
}

int kf_origin_blob_bytes(struct kf_origin *origin, const struct kf_desc *desc,
                         int64_t timeout_ns, struct kf_buf *ret, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    kf_auto(kf_free) uint8_t *data = NULL;

    (void)kf_digest_format(&desc->digest, text);
    if (desc->size > ret->limit - ret->length)
        return kf_fail(err, KF_E_LIMIT,
                       "blob '%s' of %llu bytes is over the limit of %zu", text,
                       (unsigned long long)desc->size, ret->limit);
    data = malloc(desc->size + 1);
    if (!data)
        return kf_fail(err, KF_E_NOMEM, "no memory for blob '%s'", text);
    if (read_blob(origin, desc, timeout_ns, data, err) != 0)
        return -1;
    return kf_buf_append(ret, data, desc->size, err);
}

bool kf_origin_host(struct kf_origin *origin, size_t index, struct kf_origin_host *ret)
{
    return origin->ops->host && origin->ops->host(origin, index, ret);
}

int kf_origin_tags(struct kf_origin *origin, struct kf_strings *ret, struct kf_err *err)
{
    if (origin->ops->tags(origin, ret, err) != 0)
        return -1;
    kf_strings_sort(ret);
    return 0;
}
