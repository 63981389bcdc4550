/*
 * Manifests and tags of a repository (OCI distribution spec 1.1, "Pulling manifests" and
 * "Content Discovery"). Each call waits for its exchanges; between them it follows
 * redirections and tries again as net/retry decides.
 */
#include "oci/registry.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/stats.h"
#include "net/header.h"
#include "net/http.h"
#include "net/loop.h"
#include "net/retry.h"
#include "net/url.h"
#include "oci/hops.h"
#include "oci/media.h"

#define CALL_TRIES 4u
#define CALL_TIMEOUT_NS (30 * KF_NS_PER_S)
#define TAG_PAGE_LIMIT 1000u
#define TAG_LIMIT 100000u
#define ACCEPT                                                              \
    KF_MEDIA_OCI_INDEX ", " KF_MEDIA_OCI_MANIFEST ", " KF_MEDIA_DOCKER_LIST \
                       ", " KF_MEDIA_DOCKER_MANIFEST

struct kf_registry *kf_registry_ref(struct kf_registry *registry)
{
    (void)__atomic_add_fetch(&registry->refs, 1, __ATOMIC_RELAXED); /* caller holds one */
    return registry;
}

void kf_registry_unref(struct kf_registry *registry)
{
    if (__atomic_sub_fetch(&registry->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    kf_loop_free(registry->loop);
    free(registry->base);
    free(registry->host);
    free(registry->repository);
    free(registry);
}

/* ---- one call ---------------------------------------------------------------------- */

struct call {
    struct kf_exchange exchange;
    struct kf_registry *registry;
    struct kf_hops hops;
    struct kf_buf *body;
    struct kf_err write_err;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ended;
};

static int on_write(struct kf_exchange *exchange, const uint8_t *data, size_t length)
{
    struct call *call = kf_container_of(exchange, struct call, exchange);

    return kf_buf_append(call->body, data, length, &call->write_err);
}

static void on_ended(struct kf_exchange *exchange)
{
    struct call *call = kf_container_of(exchange, struct call, exchange);

    (void)pthread_mutex_lock(&call->lock);
    call->ended = true;
    (void)pthread_cond_signal(&call->cond);
    (void)pthread_mutex_unlock(&call->lock);
}

/* The loop bounds it by the exchange's deadline. */
static void run_once(struct call *call)
{
    kf_buf_clear(call->body);
    call->exchange.url = call->hops.url;
    call->exchange.origin = call->hops.origin;
    call->ended = false;
    kf_loop_submit(call->registry->loop, &call->exchange);
    (void)pthread_mutex_lock(&call->lock);
    while (!call->ended)
        (void)kf_cond_wait_until(&call->cond, &call->lock, KF_NO_DEADLINE);
    (void)pthread_mutex_unlock(&call->lock);
    kf_stats_add(call->registry->opts.stats, KF_STAT_FETCH_REQUESTS, 1);
    kf_stats_add(call->registry->opts.stats, KF_STAT_FETCHED_BYTES,
                 call->exchange.received);
}

/* 1: run again; 0: this answer is the last; -1: failed. */
static int after(struct call *call, unsigned *failures, struct kf_err *err)
{
    struct kf_exchange *exchange = &call->exchange;
    struct kf_retry_verdict verdict;
    struct kf_retry_case failure;

    exchange->not_before_ns = 0;
    if (exchange->end == KF_HTTP_COMPLETE ||
        (exchange->end == KF_HTTP_STATUS && exchange->status == 304))
        return 0;
    if (kf_hops_is_redirect(exchange))
        return kf_hops_follow(&call->hops, exchange, err) == 0 ? 1 : -1;
    if (exchange->end == KF_HTTP_STOPPED) {
        if (err)
            *err = call->write_err;
        return -1;
    }
    kf_registry_case(&failure, exchange, &call->hops, (*failures)++);
    failure.max_tries = CALL_TRIES;
    verdict = kf_retry_decide(&failure);
    if (verdict.action == KF_RETRY_GIVE_UP)
        return kf_registry_fail(err, verdict.kind, exchange, call->hops.origin);
    kf_stats_add(call->registry->opts.stats, KF_STAT_RETRIES, 1);
    exchange->not_before_ns = kf_deadline_ns(verdict.delay_ns);
    exchange->fresh_connection = verdict.fresh_connection;
    if (verdict.action == KF_RETRY_RESOLVE)
        return kf_hops_restart(&call->hops, err) == 0 ? 1 : -1;
    return 1;
}

static int call_init(struct call *call, struct kf_registry *registry, char *url,
                     struct kf_buf *body, struct kf_err *err)
{
    int64_t timeout_ns =
        registry->opts.timeout_ns ? registry->opts.timeout_ns : CALL_TIMEOUT_NS;

    *call = (struct call){.registry = registry, .body = body};
    kf_http_init(&call->exchange);
    call->exchange.body_limit = body->limit;
    call->exchange.urgency = KF_DEMAND;
    call->exchange.deadline_ns = kf_deadline_ns(timeout_ns);
    call->exchange.write = on_write;
    call->exchange.ended = on_ended;
    (void)pthread_mutex_init(&call->lock, NULL); /* a plain mutex cannot fail */
    if (kf_hops_init(&call->hops, url, err) != 0)
        return -1;
    return kf_cond_init(&call->cond) == 0
               ? 0
               : kf_fail(err, KF_E_NOMEM, "no memory for a call");
}

static void call_fini(struct call *call)
{
    kf_hops_fini(&call->hops);
    kf_http_fini(&call->exchange);
    (void)pthread_cond_destroy(&call->cond);
    (void)pthread_mutex_destroy(&call->lock);
}

static int call_run(struct call *call, struct kf_err *err)
{
    unsigned failures = 0;
    int rc;

    do {
        run_once(call);
        rc = after(call, &failures, err);
    } while (rc == 1);
    return rc;
}

/* ---- manifests --------------------------------------------------------------------- */

static bool is_digest(const char *text)
{
    return strncmp(text, "sha256:", 7) == 0;
}

/* A 404 in the words of who asked. */
static int manifest_failed(const struct kf_registry *registry, const struct call *call,
                           const char *wanted, struct kf_err *err)
{
    const struct kf_exchange *exchange = &call->exchange;
    bool status = exchange->end == KF_HTTP_STATUS;
    const char *body = (const char *)exchange->error_body.data;

    if (status && exchange->status == 404 && body && strstr(body, "NAME_UNKNOWN"))
        return kf_fail(err, KF_E_NOTFOUND, "no such repository '%s' in '%s'",
                       registry->repository, registry->host);
    if (status && exchange->status == 404)
        return kf_fail(err, KF_E_NOTFOUND, "no such %s '%s' in '%s/%s'",
                       is_digest(wanted) ? "manifest" : "tag", wanted, registry->host,
                       registry->repository);
    if (status && exchange->status == 401)
        return kf_fail(err, KF_E_REFUSED,
                       "'%s' answers 401: it wants a login, which is not supported yet",
                       registry->host);
    return -1;
}

static int check_manifest(const struct kf_registry *registry, const struct call *call,
                          const char *wanted, struct kf_digest *ret, struct kf_err *err)
{
    const char *named = call->exchange.fields[KF_HTTP_DIGEST];
    struct kf_digest expected;
    char text[KF_DIGEST_TEXT_SIZE];

    if (kf_digest_of(ret, call->body->data ? call->body->data : (const uint8_t *)"",
                     call->body->length, err) != 0)
        return -1;
    if (is_digest(wanted))
        named = wanted;
    if (!named || kf_digest_parse(&expected, named, strlen(named), NULL) != 0)
        return 0; /* a hint of another algorithm, or none */
    if (!kf_digest_equal(&expected, ret))
        return kf_fail(err, KF_E_CORRUPT,
                       "'%s' sent a manifest with another digest than '%s'",
                       registry->host, kf_digest_format(&expected, text));
    return 0;
}

static int registry_manifest(struct kf_origin *origin, const char *tag_or_digest,
                             const struct kf_digest *known, struct kf_buf *ret_bytes,
                             struct kf_digest *ret_digest, struct kf_err *err)
{
    struct kf_registry *registry = kf_container_of(origin, struct kf_registry, origin);
    char digest[KF_DIGEST_TEXT_SIZE], etag[KF_DIGEST_TEXT_SIZE + 2], *url = NULL;
    struct call call;
    int rc;

    if (asprintf(&url, "%s/manifests/%s", registry->base, tag_or_digest) < 0)
        url = NULL;
    rc = call_init(&call, registry, url, ret_bytes, err);
    call.exchange.accept = ACCEPT;
    if (known) {
        (void)snprintf(etag, sizeof(etag), "\"%s\"", kf_digest_format(known, digest));
        call.exchange.if_none_match = etag;
    }
    if (rc == 0 && call_run(&call, err) != 0)
        rc = manifest_failed(registry, &call, tag_or_digest, err);
    else if (rc == 0 && call.exchange.end == KF_HTTP_STATUS)
        rc = known ? 1
                   : kf_fail(err, KF_E_MALFORMED, "'%s' answers 304 to a plain request",
                             registry->host);
    else if (rc == 0)
        rc = check_manifest(registry, &call, tag_or_digest, ret_digest, err);
    if (rc == 1)
        *ret_digest = *known;
    call_fini(&call);
    return rc;
}

/* ---- tags -------------------------------------------------------------------------- */

static int take_tags(const struct kf_buf *page, struct kf_strings *ret,
                     struct kf_err *err)
{
    json_t *root =
        json_loadb(page->data ? (const char *)page->data : "", page->length, 0, NULL);
    const json_t *tags = json_object_get(root, "tags");
    int rc =
        json_is_object(root) ? 0 : kf_fail(err, KF_E_MALFORMED, "malformed list of tags");

    for (size_t i = 0; rc == 0 && i < json_array_size(tags); i++) {
        const char *tag = json_string_value(json_array_get(tags, i));

        if (!tag)
            rc = kf_fail(err, KF_E_MALFORMED, "malformed list of tags");
        else if (ret->count == TAG_LIMIT)
            rc = kf_fail(err, KF_E_LIMIT, "more than %u tags", TAG_LIMIT);
        else
            rc = kf_strings_add(ret, tag, err);
    }
    json_decref(root);
    return rc;
}

/* One page, and where the next one is (NULL: it was the last). Takes ownership of `url`.
 */
static int get_page(struct kf_registry *registry, char *url, struct kf_strings *ret,
                    char **ret_next, struct kf_err *err)
{
    kf_auto(kf_free) char *link = NULL;
    struct kf_buf page;
    struct call call;
    int rc;

    *ret_next = NULL;
    kf_buf_init(&page, KF_MANIFEST_LIMIT);
    rc = call_init(&call, registry, url, &page, err);
    if (rc == 0)
        rc = call_run(&call, err);
    if (rc == 0 && call.exchange.end != KF_HTTP_COMPLETE)
        rc = kf_registry_fail(err, KF_E_MALFORMED, &call.exchange, call.hops.origin);
    if (rc == 0)
        rc = take_tags(&page, ret, err);
    if (rc == 0 && call.exchange.fields[KF_HTTP_LINK])
        rc = kf_header_link_next(&link, call.exchange.fields[KF_HTTP_LINK], err);
    if (rc == 0 && link)
        rc = kf_url_resolve(ret_next, call.hops.url, link, err);
    if (rc != 0 && call.exchange.end == KF_HTTP_STATUS && call.exchange.status == 404)
        rc = kf_fail(err, KF_E_NOTFOUND, "no such repository '%s' in '%s'",
                     registry->repository, registry->host);
    call_fini(&call);
    kf_buf_fini(&page);
    return rc;
}

static int registry_tags(struct kf_origin *origin, struct kf_strings *ret,
                         struct kf_err *err)
{
    struct kf_registry *registry = kf_container_of(origin, struct kf_registry, origin);
    char *url = NULL, *next;

    if (asprintf(&url, "%s/tags/list?n=1000", registry->base) < 0)
        url = NULL;
    for (unsigned page = 0; page < TAG_PAGE_LIMIT; page++) {
        if (get_page(registry, url, ret, &next, err) != 0)
            return -1;
        if (!next)
            return 0;
        url = next;
    }
    free(url);
    return kf_fail(err, KF_E_LIMIT, "a list of tags of more than %u pages",
                   TAG_PAGE_LIMIT);
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

static const struct kf_origin_ops registry_ops = {registry_manifest, registry_blob,
                                                  registry_tags, registry_close};

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
    const char *scheme = opts->net.plain_http ? "http" : "https";

    if (!registry)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    registry->origin.ops = &registry_ops;
    registry->origin.kind = "the registry";
    registry->opts = *opts;
    registry->refs = 1;
    registry->host = strdup(ref->registry);
    registry->repository = strdup(ref->repository);
    if (asprintf(&registry->base, "%s://%s/v2/%s", scheme, kf_ref_api_host(ref),
                 ref->repository) < 0)
        registry->base = NULL;
    if (!registry->host || !registry->repository || !registry->base) {
        kf_registry_unref(registry);
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    }
    if (start_loop(registry, err) != 0) {
        kf_registry_unref(registry);
        return -1;
    }
    *ret = &registry->origin;
    return 0;
}
