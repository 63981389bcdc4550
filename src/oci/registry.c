/*
 * Manifests and tags of a repository (OCI distribution spec 1.1, "Pulling manifests" and
 * "Content Discovery").
 */
#include "oci/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/header.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/url.h"
#include "oci/call.h"
#include "oci/media.h"
#include "oci/reply.h"
#include "oci/way.h"

#define ACCEPT                                                              \
    KF_MEDIA_OCI_INDEX ", " KF_MEDIA_OCI_MANIFEST ", " KF_MEDIA_DOCKER_LIST \
                       ", " KF_MEDIA_DOCKER_MANIFEST

/* For a manifest that the caller has already. */
#define KNOWN_NS (10 * KF_NS_PER_S)

struct kf_registry *kf_registry_ref(struct kf_registry *registry)
{
    (void)__atomic_add_fetch(&registry->refs, 1, __ATOMIC_RELAXED); /* caller holds one */
    return registry;
}

void kf_registry_unref(struct kf_registry *registry)
{
    if (!registry || __atomic_sub_fetch(&registry->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kf_registry_stop_auth(registry);
    kf_loop_free(registry->loop);
    kf_registry_drop_hosts(registry);
    free(registry->repository);
    free(registry);
}

/* ---- manifests --------------------------------------------------------------------- */

#define NEXT_HOST (-2)

struct manifest_wish {
    const char *name; /* tag or digest */
    const char *etag; /* NULL: none is known */
    int64_t deadline_ns;
};

/* A tag has no colon (oci/ref.h). */
static bool is_digest(const char *text)
{
    return strchr(text, ':') != NULL;
}

/* What all hosts of a question have until then. */
static int64_t deadline_at(const struct kf_way *way, int64_t deadline_ns)
{
    int64_t now = kf_now_ns();

    /* A mirror that is slow must leave time for the next. */
    return way->is_last || deadline_ns <= now ? deadline_ns
                                              : now + (deadline_ns - now) / 2;
}

/* A mirror is asked once. */
static int begin_call(struct kf_call *call, struct kf_registry *registry,
                      const struct kf_way *way, char *url, int64_t deadline_ns,
                      struct kf_buf *body, struct kf_err *err)
{
    if (kf_call_init(call, registry, url, deadline_at(way, deadline_ns), body, err) != 0)
        return -1;
    call->endpoint = way->endpoint;
    if (!way->is_last)
        call->max_tries = 1;
    return 0;
}

/* A 404 in the words of who asked. */
static int manifest_failed(const struct kf_registry *registry, const struct kf_call *call,
                           const char *wanted, struct kf_err *err)
{
    const struct kf_exchange *exchange = &call->exchange;
    bool status = exchange->end == KF_HTTP_STATUS;
    const char *body = (const char *)exchange->error_body.data;

    if (status && exchange->status == 404 && body && strstr(body, "NAME_UNKNOWN"))
        return kf_fail(err, KF_E_NOTFOUND, "no such repository '%s' in '%s'",
                       registry->repository, call->endpoint->host);
    if (status && exchange->status == 404)
        return kf_fail(err, KF_E_NOTFOUND, "no such %s '%s' in '%s/%s'",
                       is_digest(wanted) ? "manifest" : "tag", wanted,
                       call->endpoint->host, registry->repository);
    return -1;
}

/* Compares the content to the digest asked for, else to the one that the registry names;
 * one of another algorithm is no help. */
static int check_manifest(const struct kf_call *call, const char *wanted,
                          struct kf_digest *ret, struct kf_err *err)
{
    const char *named =
        is_digest(wanted) ? wanted : call->exchange.fields[KF_HTTP_DIGEST];
    struct kf_digest expected, found;
    char text[KF_DIGEST_TEXT_SIZE];

    if (kf_digest_of(&found, call->body->data, call->body->length, err) != 0)
        return -1;
    if (named && kf_digest_parse(&expected, named, strlen(named), NULL) == 0 &&
        !kf_digest_equal(&expected, &found))
        return kf_fail(err, KF_E_CORRUPT, "'%s' sent a manifest that is not '%s'",
                       call->endpoint->host, kf_digest_format(&expected, text));
    *ret = found;
    return 0;
}

/* 0 with body and digest, 1 when the registry says that it is the one of `etag`; -1, and
 * whether the next host is to be asked. */
static int ask_manifest(struct kf_registry *registry, struct kf_way *way,
                        const struct manifest_wish *wish, struct kf_buf *body,
                        struct kf_digest *ret_digest, struct kf_err *err)
{
    kf_auto(kf_call_fini) struct kf_call call;
    int rc;

    if (begin_call(&call, registry, way,
                   kf_endpoint_url(way->endpoint, "manifests/%s", wish->name),
                   wish->deadline_ns, body, err) != 0)
        return -1;
    call.accept = ACCEPT;
    call.if_none_match = wish->etag;
    rc = kf_call_run(&call, err);
    if (rc != 0)
        (void)manifest_failed(registry, &call, wish->name, err);
    else if (call.exchange.status == 304)
        rc = 1;
    else
        rc = check_manifest(&call, wish->name, ret_digest, err);
    if (rc < 0)
        return kf_way_leave(way, &call.exchange, NULL, err) ? NEXT_HOST : -1;
    kf_way_worked(way);
    return rc;
}

/* The same, of the first host that has it. */
static int get_manifest(struct kf_registry *registry, const struct manifest_wish *wish,
                        struct kf_buf *body, struct kf_digest *ret_digest,
                        struct kf_err *err)
{
    struct kf_err failure = {0};
    struct kf_way way;
    int rc;

    if (kf_way_begin(&way, registry, NULL,
                     is_digest(wish->name) ? KF_HOST_PULL : KF_HOST_RESOLVE, err) != 0)
        return -1;
    do {
        rc = ask_manifest(registry, &way, wish, body, ret_digest, &failure);
    } while (rc == NEXT_HOST);
    if (rc >= 0)
        return rc;
    kf_way_explain(&way, &failure);
    if (err)
        *err = failure;
    return -1;
}

static int registry_manifest(struct kf_origin *origin, const char *tag_or_digest,
                             const struct kf_digest *known, struct kf_buf *ret_bytes,
                             struct kf_digest *ret_digest, struct kf_err *err)
{
    struct kf_registry *registry = kf_container_of(origin, struct kf_registry, origin);
    char text[KF_DIGEST_TEXT_SIZE], etag[KF_DIGEST_TEXT_SIZE + 2];
    kf_auto(kf_buf_fini) struct kf_buf body;
    struct manifest_wish wish = {.name = tag_or_digest,
                                 .deadline_ns = kf_call_deadline(registry)};
    struct kf_digest digest;
    int rc;

    kf_buf_init(&body, KF_MANIFEST_LIMIT);
    if (!is_digest(tag_or_digest) && !kf_reply_is_tag(tag_or_digest))
        return kf_fail(err, KF_E_ARG, "'%s' is neither a tag nor a digest",
                       tag_or_digest);
    if (is_digest(tag_or_digest) &&
        kf_digest_parse(&digest, tag_or_digest, strlen(tag_or_digest), err) != 0)
        return -1;
    if (known)
        (void)snprintf(etag, sizeof(etag), "\"%s\"", kf_digest_format(known, text));
    wish.etag = known ? etag : NULL;
    if (known && wish.deadline_ns > kf_deadline_ns(KNOWN_NS))
        wish.deadline_ns = kf_deadline_ns(KNOWN_NS);
    rc = get_manifest(registry, &wish, &body, &digest, err);
    if (rc < 0)
        return -1;
    if (known && (rc == 1 || kf_digest_equal(&digest, known))) {
        *ret_digest = *known;
        return 1;
    }
    kf_buf_clear(ret_bytes);
    if (kf_buf_append(ret_bytes, body.data, body.length, err) != 0)
        return -1;
    *ret_digest = digest;
    return 0;
}

/* ---- tags -------------------------------------------------------------------------- */

/* The next page, or NULL behind the last one. It must be of the same registry. */
static int next_page(const struct kf_call *call, char **ret, struct kf_err *err)
{
    const char *link = call->exchange.fields[KF_HTTP_LINK];
    kf_auto(kf_free) char *reference = NULL;
    kf_auto(kf_free) char *origin = NULL;
    kf_auto(kf_free) char *url = NULL;

    *ret = NULL;
    if (!link)
        return 0;
    if (kf_header_link_next(&reference, link, err) != 0)
        return -1;
    if (!reference)
        return 0;
    if (kf_url_resolve(&url, call->hops.url, reference, err) != 0 ||
        kf_url_origin(&origin, url, err) != 0)
        return -1;
    if (strcmp(origin, call->hops.origin) != 0)
        return kf_fail(err, KF_E_REFUSED, "'%s' continues its list of tags elsewhere",
                       kf_url_origin_host(call->hops.origin));
    *ret = kf_endpoint_complete(call->endpoint, kf_steal(url));
    return *ret ? 0 : kf_fail(err, KF_E_NOMEM, "no memory for a request");
}

static int take_page(struct kf_registry *registry, struct kf_call *call,
                     struct kf_strings *tags, char **ret_next, struct kf_err *err)
{
    if (kf_call_run(call, err) != 0) {
        if (call->exchange.end == KF_HTTP_STATUS && call->exchange.status == 404)
            return kf_fail(err, KF_E_NOTFOUND, "no such repository '%s' in '%s'",
                           registry->repository, call->endpoint->host);
        return -1;
    }
    if (kf_reply_tags(tags, call->body->data, call->body->length, err) != 0)
        return -1;
    return next_page(call, ret_next, err);
}

/* One page, and where the next one is. Takes ownership of `url`. */
static int get_page(struct kf_registry *registry, struct kf_way *way, char *url,
                    int64_t deadline_ns, struct kf_strings *tags, char **ret_next,
                    struct kf_err *err)
{
    kf_auto(kf_buf_fini) struct kf_buf page;
    kf_auto(kf_call_fini) struct kf_call call;

    kf_buf_init(&page, KF_REGISTRY_PAGE_LIMIT);
    if (begin_call(&call, registry, way, url, deadline_ns, &page, err) != 0)
        return -1;
    if (take_page(registry, &call, tags, ret_next, err) == 0)
        return 0;
    return kf_way_leave(way, &call.exchange, NULL, err) ? NEXT_HOST : -1;
}

/* All pages of one host. */
static int get_pages(struct kf_registry *registry, struct kf_way *way,
                     int64_t deadline_ns, struct kf_strings *tags, struct kf_err *err)
{
    char *url = kf_endpoint_url(way->endpoint, "tags/list?n=1000");

    if (!url)
        return kf_fail(err, KF_E_NOMEM, "no memory for a request");
    for (unsigned page = 0; url; page++) {
        char *next = NULL;
        int rc;

        if (page == KF_REGISTRY_PAGES_LIMIT) {
            free(url);
            return kf_fail(err, KF_E_LIMIT, "a list of tags of more than %u pages",
                           KF_REGISTRY_PAGES_LIMIT);
        }
        rc = get_page(registry, way, url, deadline_ns, tags, &next, err);
        if (rc != 0)
            return rc;
        url = next;
    }
    kf_way_worked(way);
    return 0;
}

static int registry_tags(struct kf_origin *origin, struct kf_strings *ret,
                         struct kf_err *err)
{
    struct kf_registry *registry = kf_container_of(origin, struct kf_registry, origin);
    kf_auto(kf_strings_fini) struct kf_strings tags = {0};
    int64_t deadline_ns = kf_call_deadline(registry);
    struct kf_err failure = {0};
    struct kf_way way;
    int rc;

    if (kf_way_begin(&way, registry, NULL, KF_HOST_RESOLVE, err) != 0)
        return -1;
    do {
        kf_strings_fini(&tags);
        rc = get_pages(registry, &way, deadline_ns, &tags, &failure);
    } while (rc == NEXT_HOST);
    if (rc != 0) {
        kf_way_explain(&way, &failure);
        if (err)
            *err = failure;
        return -1;
    }
    *ret = tags;
    tags = (struct kf_strings){0};
    return 0;
}

/* ---- opening ----------------------------------------------------------------------- */

static struct kf_source *registry_blob(struct kf_origin *origin,
                                       const struct kf_desc *desc, struct kf_err *err)
{
    return kf_remote_new(kf_container_of(origin, struct kf_registry, origin), desc, err);
}

static void registry_close(struct kf_origin *origin)
{
    kf_registry_unref(kf_container_of(origin, struct kf_registry, origin));
}

static const struct kf_origin_ops registry_ops = {
    .manifest = registry_manifest,
    .blob = registry_blob,
    .tags = registry_tags,
    .close = registry_close,
    .host = kf_registry_host,
};

struct kf_registry *kf_registry_of(struct kf_origin *origin)
{
    return origin->ops == &registry_ops
               ? kf_container_of(origin, struct kf_registry, origin)
               : NULL;
}

static int start_loop(struct kf_registry *registry, struct kf_err *err)
{
    const struct kf_net_opts *net = &registry->opts.net;
    struct kf_loop_opts opts = {.connections = net->connections,
                                .tls_no_verify = net->tls_no_verify,
                                .ca_file = net->ca_file,
                                .client_cert = net->client_cert,
                                .client_key = net->client_key,
                                .proxy = net->proxy};

    return kf_loop_new(&registry->loop, &opts, err);
}

int kf_registry_open(struct kf_origin **ret, const struct kf_ref *ref,
                     const struct kf_origin_opts *opts, struct kf_err *err)
{
    struct kf_registry *registry = calloc(1, sizeof(*registry));

    if (!registry)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    registry->origin.ops = &registry_ops;
    registry->origin.kind = "the registry";
    registry->opts = *opts;
    registry->refs = 1;
    kf_route_init(&registry->route);
    registry->repository = strdup(ref->repository);
    if (!registry->repository) {
        kf_registry_unref(registry);
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    }
    if (kf_registry_add_hosts(registry, ref, err) != 0 ||
        start_loop(registry, err) != 0 || kf_registry_add_auth(registry, err) != 0) {
        kf_registry_unref(registry);
        return -1;
    }
    *ret = &registry->origin;
    return 0;
}
