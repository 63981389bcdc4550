/*
 * A repository of a registry as a destination (OCI distribution spec 1.1, "Push"): blobs
 * by upload.c, manifests by PUT.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/auth.h"
#include "oci/call.h"
#include "oci/dest.h"
#include "oci/media.h"
#include "oci/push.h"
#include "oci/registry.h"
#include "oci/upload.h"

#define ANSWER_LIMIT (64u << 10)
#define STALL_NS (60 * KF_NS_PER_S) /* some check every blob before they answer */

struct repository {
    struct kf_dest dest;
    struct kf_registry *registry;
    char *tag; /* NULL: manifests go by their digest alone */
};

static struct repository *repository_of(struct kf_dest *dest)
{
    return kf_container_of(dest, struct repository, dest);
}

static int has(struct kf_dest *dest, const struct kf_digest *digest, uint64_t size,
               struct kf_err *err)
{
    return kf_push_has(repository_of(dest)->registry, digest, size, err);
}

static struct kf_dest_blob *begin(struct kf_dest *dest, struct kf_err *err)
{
    return kf_upload_begin(repository_of(dest)->registry, err);
}

static bool is_stopped(void *arg)
{
    const struct kf_dest *dest = arg;

    return dest->stopped && dest->stopped(dest->stopped_arg);
}

/* The digest that the registry computed, where it names one of our kind. */
static int check_answer(const struct kf_exchange *exchange,
                        const struct kf_digest *digest, const char *host,
                        struct kf_err *err)
{
    const char *named = exchange->fields[KF_HTTP_DIGEST];
    struct kf_digest theirs;
    char text[KF_DIGEST_TEXT_SIZE];

    if (!named || kf_digest_parse(&theirs, named, strlen(named), NULL) != 0 ||
        kf_digest_equal(&theirs, digest))
        return 0;
    return kf_fail(err, KF_E_CORRUPT, "'%s' stored the manifest as '%s'", host,
                   kf_digest_format(&theirs, text));
}

static int put_manifest(struct kf_dest *dest, const struct kf_dest_manifest *manifest,
                        struct kf_err *err)
{
    const struct repository *repository = repository_of(dest);
    struct kf_registry *registry = repository->registry;
    kf_auto(kf_call_fini) struct kf_call call;
    kf_auto(kf_buf_fini) struct kf_buf answer;
    char text[KF_DIGEST_TEXT_SIZE];

    (void)kf_digest_format(manifest->digest, text);
    kf_buf_init(&answer, ANSWER_LIMIT);
    if (kf_call_init(&call, registry,
                     kf_endpoint_url(&registry->upstream, "manifests/%s",
                                     repository->tag ? repository->tag : text),
                     KF_NO_DEADLINE, &answer, err) != 0)
        return -1;
    call.exchange.method = KF_HTTP_PUT;
    call.exchange.content_type =
        manifest->media_type ? manifest->media_type : KF_MEDIA_OCI_MANIFEST;
    call.exchange.send = manifest->json;
    call.exchange.send_length = manifest->length;
    call.exchange.stall_ns = STALL_NS;
    if (kf_call_run(&call, err) != 0) {
        (void)kf_push_refused(err, &call.exchange);
        return kf_fail_wrap(err, "cannot put manifest '%s'", text);
    }
    return check_answer(&call.exchange, manifest->digest, registry->upstream.host, err);
}

static void close_repository(struct kf_dest *dest)
{
    struct repository *repository = repository_of(dest);

    kf_registry_unref(repository->registry);
    free(repository->tag);
    free(repository);
}

static const struct kf_dest_ops repository_ops = {
    has,          begin,           kf_upload_write, kf_upload_commit, kf_upload_abandon,
    put_manifest, close_repository};

int kf_repository_create(struct kf_dest **ret, const struct kf_ref *ref,
                         const struct kf_origin_opts *opts, struct kf_err *err)
{
    struct repository *repository = calloc(1, sizeof(*repository));
    struct kf_origin *origin;

    if (!repository || (ref->tag && !(repository->tag = strdup(ref->tag)))) {
        free(repository);
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    }
    repository->dest.ops = &repository_ops;
    repository->dest.kind = "the registry";
    repository->dest.gains_by_many = true;
    repository->dest.wants_size = kf_push_wants_size(ref->registry);
    if (kf_registry_open(&origin, ref, opts, err) != 0) {
        close_repository(&repository->dest);
        return -1;
    }
    repository->registry = kf_container_of(origin, struct kf_registry, origin);
    if (kf_auth_want_push(repository->registry->upstream.auth, err) != 0) {
        close_repository(&repository->dest);
        return -1;
    }
    repository->registry->stopped = is_stopped;
    repository->registry->stopped_arg = &repository->dest;
    *ret = &repository->dest;
    return 0;
}
