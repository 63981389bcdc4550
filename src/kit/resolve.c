#include "kit/resolve.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/containers.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rfc3339.h"
#include "cache/store.h"
#include "kit/choose.h"
#include "kitfile/kitfile_emit.h"
#include "layer/table.h"
#include "oci/origin.h"
#include "oci/ref.h"

#define INDEX_NESTING 2

#define KITFILE_ANNOTATION "ml.kitops.modelkit.kitfile"
#define CREATED_ANNOTATION "org.opencontainers.image.created"
#define OLD_CREATED_ANNOTATION "org.cnai.model.created"

/* ---- small files of the cache ---- */

static int load_blob(struct kf_store *store, const struct kf_digest *digest,
                     struct kf_buf *ret)
{
    struct kf_err why; /* absent or damaged: fetched again */

    return store ? kf_store_load(store, KF_SMALL_BLOB, digest, ret, &why) : -1;
}

static void save(struct kf_store *store, enum kf_small kind, const struct kf_digest *key,
                 const void *data, size_t length)
{
    struct kf_err why;

    if (store && kf_store_save(store, kind, key, data, length, &why) != 0)
        kf_log(KF_LOG_WARN, "kit", "event=not_saved why=\"%s\"", why.message);
}

/* The key of what the registry named last when asked for `which`, a tag or a digest. */
static int name_key(const struct kf_ref *ref, const char *which, struct kf_digest *ret,
                    struct kf_err *err)
{
    struct kf_buf text;
    int rc;

    kf_buf_init(&text, 4096);
    rc = kf_buf_printf(&text, err, "%s/%s%c%s", ref->registry, ref->repository,
                       strchr(which, ':') ? '@' : ':', which);
    if (rc == 0)
        rc = kf_digest_of(ret, text.data, text.length, err);
    kf_buf_fini(&text);
    return rc;
}

static bool recall(const struct kf_resolve_from *from, const char *which,
                   struct kf_digest *ret)
{
    struct kf_digest key;
    struct kf_buf text;
    struct kf_err why; /* not known: asked for */
    bool found;

    if (!from->store || name_key(from->ref, which, &key, &why) != 0)
        return false;
    kf_buf_init(&text, KF_DIGEST_TEXT_SIZE);
    found = kf_store_load(from->store, KF_SMALL_TAG, &key, &text, &why) == 0 &&
            kf_digest_parse(ret, (const char *)text.data, text.length, &why) == 0;
    kf_buf_fini(&text);
    return found;
}

static void remember(const struct kf_resolve_from *from, const char *which,
                     const struct kf_digest *named)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest key, before;

    if (from->origin->is_local ||
        (recall(from, which, &before) && kf_digest_equal(&before, named)) ||
        name_key(from->ref, which, &key, NULL) != 0)
        return;
    (void)kf_digest_format(named, text);
    save(from->store, KF_SMALL_TAG, &key, text, strlen(text));
}

/* ---- the manifest ---- */

/* Nobody said no, unless to credentials that may have ended since the registry named
 * `known` under this name. */
static bool can_do_without(const struct kf_resolve_from *from, const char *which,
                           const struct kf_digest *known, const struct kf_err *why)
{
    struct kf_digest named;

    return (why->kind == KF_E_UNREACHABLE || why->kind == KF_E_TIMEOUT ||
            why->kind == KF_E_CREDENTIALS) &&
           recall(from, which, &named) && kf_digest_equal(&named, known);
}

static void note_outage(struct kf_resolved *resolved, const struct kf_digest *known,
                        const struct kf_err *why)
{
    char text[KF_DIGEST_TEXT_SIZE];

    kf_log(KF_LOG_WARN, "kit", "event=not_asked using=%s why=\"%s\"",
           kf_digest_format(known, text), why->message);
    resolved->outage = *why;
    resolved->digest = *known;
}

/* Manifest or index by tag or digest into `ret`, its digest and an outage into
 * `resolved`; `known` is the digest that it has as far as we know, or NULL. */
static int get_manifest(const struct kf_resolve_from *from, const char *which,
                        const struct kf_digest *known, struct kf_buf *ret,
                        struct kf_resolved *resolved, struct kf_err *err)
{
    bool cached = known && load_blob(from->store, known, ret) == 0;
    enum kf_manifest_kind kind;
    struct kf_buf fresh;
    struct kf_err why = {0};
    int rc;

    if (!from->origin && !cached)
        return kf_fail(err, KF_E_NOTFOUND,
                       "manifest '%s' is not in the cache, and this is offline", which);
    if (!from->origin ||
        (cached && can_do_without(from, which, known, &resolved->outage))) {
        resolved->digest = *known;
        return 0;
    }
    kf_buf_init(&fresh, KF_MANIFEST_LIMIT);
    rc = kf_origin_manifest(from->origin, which, cached ? known : NULL, &fresh,
                            &resolved->digest, &why);
    if (rc == 0 && kf_manifest_kind(fresh.data, fresh.length, &kind, &why) != 0)
        rc = -1; /* nothing is kept of what is no manifest */
    if (rc >= 0)
        remember(from, which, &resolved->digest);
    if (rc == 0) {
        save(from->store, KF_SMALL_BLOB, &resolved->digest, fresh.data, fresh.length);
        kf_buf_fini(ret);
        *ret = fresh;
        return 0;
    }
    kf_buf_fini(&fresh);
    if (rc < 0 && cached && can_do_without(from, which, known, &why)) {
        note_outage(resolved, known, &why);
        return 0;
    }
    if (rc < 0 && err)
        *err = why;
    return rc < 0 ? -1 : 0;
}

/* What the reference names: by digest, or by tag with the digest remembered for it. */
static int get_first(const struct kf_resolve_from *from, struct kf_buf *ret,
                     struct kf_resolved *resolved, struct kf_err *err)
{
    const struct kf_ref *ref = from->ref;
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest known;
    bool is_known;

    if (ref->has_digest)
        return get_manifest(from, kf_digest_format(&ref->digest, text), &ref->digest, ret,
                            resolved, err);
    /* A layout of one manifest needs no tag; its tags are read as quickly as ours. */
    if (from->origin && from->origin->is_local)
        return get_manifest(from, ref->tag ? ref->tag : "", NULL, ret, resolved, err);
    if (!ref->tag)
        return kf_fail(err, KF_E_ARG, "the reference has neither tag nor digest");
    is_known = recall(from, ref->tag, &known);
    return get_manifest(from, ref->tag, is_known ? &known : NULL, ret, resolved, err);
}

static int choose_from(const struct kf_buf *bytes, const struct kf_strings *labels,
                       struct kf_digest *ret, struct kf_err *err)
{
    struct kf_index index;
    int rc;

    if (kf_index_parse(&index, bytes->data, bytes->length, err) != 0)
        return -1;
    rc = kf_choose_entry(ret, &index, labels, err);
    kf_index_fini(&index);
    return rc;
}

/* Bytes and digest of the manifest, through indexes. */
static int find_manifest(const struct kf_resolve_from *from, struct kf_buf *bytes,
                         struct kf_resolved *resolved, struct kf_err *err)
{
    if (get_first(from, bytes, resolved, err) != 0)
        return -1;
    for (unsigned depth = 0;; depth++) {
        enum kf_manifest_kind kind;
        char text[KF_DIGEST_TEXT_SIZE];
        struct kf_digest next;

        if (kf_manifest_kind(bytes->data, bytes->length, &kind, err) != 0)
            return -1;
        if (kind == KF_KIND_MANIFEST) {
            if (depth == 0 && from->labels && from->labels->count > 0)
                kf_log(KF_LOG_WARN, "kit", "event=labels_ignored why=\"no index\"");
            return 0;
        }
        if (depth == INDEX_NESTING)
            return kf_fail(err, KF_E_LIMIT, "indexes nested more than %u deep",
                           INDEX_NESTING);
        if (choose_from(bytes, from->labels, &next, err) != 0)
            return -1;
        kf_buf_clear(bytes);
        if (get_manifest(from, kf_digest_format(&next, text), &next, bytes, resolved,
                         err) != 0)
            return -1;
    }
}

/* ---- the Kitfile ---- */

/* The KitOps pair is asked first, as kit does. */
static enum kf_family family_of(const struct kf_manifest *manifest)
{
    enum kf_family artifact = manifest->artifact_type
                                  ? kf_media_artifact_family(manifest->artifact_type)
                                  : KF_FAMILY_UNKNOWN;
    enum kf_family config = kf_media_config_family(manifest->config.media_type);

    if (artifact == KF_FAMILY_MODELKIT || config == KF_FAMILY_MODELKIT)
        return KF_FAMILY_MODELKIT;
    return artifact != KF_FAMILY_UNKNOWN ? artifact : config;
}

static int get_config(const struct kf_resolve_from *from, const struct kf_desc *config,
                      struct kf_buf *ret, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];

    if (load_blob(from->store, &config->digest, ret) == 0)
        return 0;
    if (!from->origin)
        return kf_fail(err, KF_E_NOTFOUND,
                       "config '%s' is not in the cache, and this is offline",
                       kf_digest_format(&config->digest, text));
    if (kf_origin_blob_bytes(from->origin, config, from->timeout_ns, ret, err) != 0)
        return -1;
    save(from->store, KF_SMALL_BLOB, &config->digest, ret->data, ret->length);
    return 0;
}

static int take_kitfile(struct kf_resolved *resolved, const void *json, size_t length,
                        struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf text;

    kf_buf_init(&text, KF_KITFILE_TEXT_LIMIT);
    if (kf_kitfile_from_json(&resolved->kitfile, json, length, err) != 0)
        return -1;
    resolved->has_kitfile = true;
    if (kf_kitfile_emit(&text, json, length, err) != 0)
        return -1;
    resolved->kitfile_text = (char *)kf_buf_take(&text, &length);
    return 0;
}

struct config_job {
    const struct kf_resolve_from *from;
    const struct kf_desc *config;
    struct kf_buf *ret;
    struct kf_err *err;
    int rc;
};

static void *config_main(void *arg)
{
    struct config_job *job = arg;

    job->rc = get_config(job->from, job->config, job->ret, job->err);
    return NULL;
}

static int get_config_meanwhile(const struct kf_resolve_from *from,
                                const struct kf_manifest *manifest, struct kf_buf *ret,
                                struct kf_err *err)
{
    struct config_job job = {from, &manifest->config, ret, err, -1};
    pthread_t thread;

    if (!from->meanwhile || pthread_create(&thread, NULL, config_main, &job) != 0)
        return get_config(from, &manifest->config, ret, err);
    from->meanwhile(from->arg, manifest);
    (void)pthread_join(thread, NULL); /* cannot fail: ours, joined once */
    return job.rc;
}

static int read_kitfile(struct kf_resolved *resolved, const struct kf_resolve_from *from,
                        struct kf_err *err)
{
    const struct kf_manifest *manifest = &resolved->manifest;
    kf_auto(kf_buf_fini) struct kf_buf bytes;
    const char *text;

    kf_buf_init(&bytes, KF_KITFILE_LIMIT);
    if (resolved->family == KF_FAMILY_MODELPACK) {
        text = kf_annotation_get(manifest->annotations, manifest->annotation_count,
                                 KITFILE_ANNOTATION);
        return text ? take_kitfile(resolved, text, strlen(text), err) : 0;
    }
    if (get_config_meanwhile(from, manifest, &bytes, err) != 0)
        return -1;
    return take_kitfile(resolved, bytes.data, bytes.length, err);
}

/* `ret` is zeroed; what it holds on failure is the caller's to release. */
static int resolve(struct kf_resolved *ret, const struct kf_resolve_from *from,
                   struct kf_buf *bytes, struct kf_err *err)
{
    struct kf_manifest *manifest = &ret->manifest;
    char text[KF_NAME_TEXT_SIZE];
    const char *created;

    if (find_manifest(from, bytes, ret, err) != 0 ||
        kf_manifest_parse(manifest, bytes->data, bytes->length, err) != 0)
        return -1;
    ret->family = family_of(manifest);
    if (ret->family == KF_FAMILY_UNKNOWN)
        return kf_fail(err, KF_E_UNSUPPORTED, "it is not a ModelKit (config type '%s')",
                       kf_name_text(text, manifest->config.media_type,
                                    strlen(manifest->config.media_type)));
    created = kf_annotation_get(manifest->annotations, manifest->annotation_count,
                                CREATED_ANNOTATION);
    if (!created)
        created = kf_annotation_get(manifest->annotations, manifest->annotation_count,
                                    OLD_CREATED_ANNOTATION);
    if (!created || !kf_parse_time(created, &ret->created))
        ret->created = 0;
    return read_kitfile(ret, from, err);
}

int kf_resolve(struct kf_resolved *ret, const struct kf_resolve_from *from,
               struct kf_err *err)
{
    struct kf_resolved resolved = {0};
    struct kf_buf bytes;
    int rc;

    kf_buf_init(&bytes, KF_MANIFEST_LIMIT);
    rc = resolve(&resolved, from, &bytes, err);
    kf_buf_fini(&bytes);
    if (rc == 0)
        *ret = resolved;
    else
        kf_resolved_fini(&resolved);
    return rc;
}

void kf_resolved_fini(struct kf_resolved *resolved)
{
    if (!resolved)
        return;
    kf_manifest_fini(&resolved->manifest);
    if (resolved->has_kitfile)
        kf_kitfile_fini(&resolved->kitfile);
    free(resolved->kitfile_text);
    memset(resolved, 0, sizeof(*resolved));
}

/* ---- times ---- */
