/*
 * The hosts of a registry: the mirrors that hosts.toml names, and the last one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/url.h"
#include "oci/auth.h"
#include "oci/ref.h"
#include "oci/registry.h"

struct world {
    const struct kf_ref *ref;
    const struct kf_origin_opts *opts;
    char *origin; /* whom the reference means */
};

/* `base` is where the API is there. */
static int add(const struct world *world, struct kf_registry *registry,
               struct kf_endpoint *endpoint, const char *base, const char *host,
               struct kf_host *settings, struct kf_err *err)
{
    unsigned can = settings->can;
    char *url;

    if (asprintf(&url, "%s/%s", base, world->ref->repository) < 0)
        url = NULL;
    if (kf_endpoint_init(endpoint, url, strdup(host)) != 0)
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    if (kf_endpoint_configure(endpoint, settings, world->ref->registry, world->origin,
                              &world->opts->net, err) != 0)
        return -1;
    kf_route_add(&registry->route, can);
    return 0;
}

/* host[:port] of a base; yours to free. */
static char *host_of(const char *base, struct kf_err *err)
{
    kf_auto(kf_free) char *origin = NULL;
    char *host;

    if (kf_url_origin(&origin, base, err) != 0)
        return NULL;
    host = strdup(kf_url_origin_host(origin));
    if (!host)
        (void)kf_fail(err, KF_E_NOMEM, "no memory for a registry"); /* NULL says it */
    return host;
}

static int add_named(const struct world *world, struct kf_registry *registry,
                     struct kf_endpoint *endpoint, struct kf_host *settings,
                     struct kf_err *err)
{
    kf_auto(kf_free) char *base = kf_steal(settings->base);
    kf_auto(kf_free) char *host = host_of(base, err);

    return host ? add(world, registry, endpoint, base, host, settings, err) : -1;
}

static int add_own(const struct world *world, struct kf_registry *registry,
                   struct kf_host *settings, struct kf_err *err)
{
    kf_auto(kf_free) char *base = NULL;

    if (asprintf(&base, "%s/v2", world->origin) < 0) {
        base = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    }
    return add(world, registry, &registry->upstream, base, world->ref->registry, settings,
               err);
}

static int add_all(const struct world *world, struct kf_registry *registry,
                   struct kf_hosts *hosts, struct kf_err *err)
{
    if (hosts->mirror_count > 0) {
        registry->mirrors = calloc(hosts->mirror_count, sizeof(*registry->mirrors));
        if (!registry->mirrors)
            return kf_fail(err, KF_E_NOMEM, "no memory for mirrors");
    }
    for (size_t i = 0; i < hosts->mirror_count; i++)
        if (add_named(world, registry, &registry->mirrors[registry->mirror_count++],
                      &hosts->mirrors[i], err) != 0)
            return -1;
    return hosts->server.base
               ? add_named(world, registry, &registry->upstream, &hosts->server, err)
               : add_own(world, registry, &hosts->server, err);
}

int kf_registry_add_hosts(struct kf_registry *registry, const struct kf_ref *ref,
                          struct kf_err *err)
{
    const struct kf_origin_opts *opts = &registry->opts;
    kf_auto(kf_hosts_fini) struct kf_hosts hosts;
    kf_auto(kf_free) char *address = NULL;
    kf_auto(kf_free) char *origin = NULL;
    struct world world = {.ref = ref, .opts = opts};

    if (kf_hosts_load(&hosts, opts->net.hosts_dir, ref->registry, err) != 0)
        return kf_fail_wrap(err, "hosts of '%s'", ref->registry);
    if (asprintf(&address, "%s://%s", opts->net.plain_http ? "http" : "https",
                 kf_ref_api_host(ref)) < 0) {
        address = NULL;
        return kf_fail(err, KF_E_NOMEM, "no memory for a registry");
    }
    if (kf_url_origin(&origin, address, err) != 0)
        return -1;
    world.origin = origin;
    return add_all(&world, registry, &hosts, err);
}

static int add_auth(struct kf_registry *registry, struct kf_endpoint *endpoint,
                    struct kf_err *err)
{
    const struct kf_auth_opts opts = {.loop = registry->loop,
                                      .creds = registry->opts.net.creds,
                                      .base = endpoint->base,
                                      .host = endpoint->host,
                                      .repository = registry->repository};

    return kf_auth_new(&endpoint->auth, &opts, err);
}

int kf_registry_add_auth(struct kf_registry *registry, struct kf_err *err)
{
    for (size_t i = 0; i < registry->mirror_count; i++)
        if (add_auth(registry, &registry->mirrors[i], err) != 0)
            return -1;
    return add_auth(registry, &registry->upstream, err);
}

void kf_registry_stop_auth(struct kf_registry *registry)
{
    for (size_t i = 0; i < registry->mirror_count; i++)
        kf_auth_stop(registry->mirrors[i].auth);
    kf_auth_stop(registry->upstream.auth);
}

void kf_registry_drop_hosts(struct kf_registry *registry)
{
    for (size_t i = 0; i < registry->mirror_count; i++)
        kf_endpoint_fini(&registry->mirrors[i]);
    free(registry->mirrors);
    kf_endpoint_fini(&registry->upstream);
    kf_route_fini(&registry->route);
}

bool kf_registry_host(struct kf_origin *origin, size_t index, struct kf_origin_host *ret)
{
    struct kf_registry *registry = kf_container_of(origin, struct kf_registry, origin);
    const struct kf_endpoint *endpoint =
        index < registry->mirror_count ? &registry->mirrors[index] : &registry->upstream;
    struct kf_route_host state;
    int64_t now = kf_now_ns();

    if (index > registry->mirror_count)
        return false;
    kf_route_look(&registry->route, index, &state);
    *ret = (struct kf_origin_host){
        .answers = state.answers,
        .failures = state.failures,
        .rest_ns = state.rest_until_ns > now ? state.rest_until_ns - now : 0};
    (void)snprintf(ret->name, sizeof(ret->name), "%s", endpoint->host); /* cut is fine */
    (void)snprintf(ret->why, sizeof(ret->why), "%s", state.why);        /* as long */
    return true;
}
