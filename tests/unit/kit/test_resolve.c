/*
 * What is asked of an origin, and what the cache answers instead.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/workq.h"
#include "cache/store.h"
#include "fake_source.h"
#include "kit/resolve.h"
#include "layout_maker.h"
#include "oci/origin.h"
#include "oci/ref.h"

static const char config[] =
    "{\"manifestVersion\":\"1.0.0\",\"package\":{\"name\":\"n\"}}";

/* An origin of one manifest. */
struct fake_origin {
    struct kf_origin origin;
    struct kf_workq *workq;
    char manifest[1024];
    struct kf_digest digest;
    char asked[KF_DIGEST_TEXT_SIZE]; /* for what, last */
    bool was_known;                  /* and whether a known digest came with it */
    unsigned manifests, blobs;       /* how many bodies were sent */
};

static int origin_manifest(struct kf_origin *origin, const char *tag_or_digest,
                           const struct kf_digest *known, struct kf_buf *ret_bytes,
                           struct kf_digest *ret_digest, struct kf_err *err)
{
    struct fake_origin *fake = (struct fake_origin *)origin;

    (void)strncpy(fake->asked, tag_or_digest, sizeof(fake->asked) - 1);
    fake->was_known = known != NULL;
    *ret_digest = fake->digest;
    if (known && kf_digest_equal(known, &fake->digest))
        return 1;
    fake->manifests++;
    return kf_buf_append(ret_bytes, fake->manifest, strlen(fake->manifest), err);
}

static struct kf_source *origin_blob(struct kf_origin *origin, const struct kf_desc *desc,
                                     struct kf_err *err)
{
    struct fake_origin *fake = (struct fake_origin *)origin;

    fake->blobs++;
    return &kf_fake_source_new(fake->workq, config, sizeof(config) - 1)->source;
}

static const struct kf_origin_ops origin_ops = {.manifest = origin_manifest,
                                                .blob = origin_blob};

struct world {
    struct fake_origin fake;
    char folder[64];
    struct kf_store *store;
    struct kf_ref ref;
    struct kf_resolved resolved;
    struct kf_err err;
};

/* `name` goes into the manifest, so that another one has another digest. */
static void set_manifest(struct world *world, const char *name)
{
    struct fake_origin *fake = &world->fake;
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;

    cr_assert_eq(kf_digest_of(&digest, config, sizeof(config) - 1, NULL), 0);
    (void)snprintf(
        fake->manifest, sizeof(fake->manifest),
        "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"%s\",\"digest\":\"%s\","
        "\"size\":%zu},\"layers\":[],\"annotations\":{\"name\":\"%s\"}}",
        KF_MEDIA_MODELKIT_CONFIG, kf_digest_format(&digest, text), sizeof(config) - 1,
        name);
    cr_assert_eq(
        kf_digest_of(&fake->digest, fake->manifest, strlen(fake->manifest), NULL), 0);
}

static void begin(struct world *world, const char *ref)
{
    struct kf_store_opts opts = {.path = world->folder};

    memset(world, 0, sizeof(*world));
    (void)snprintf(world->folder, sizeof(world->folder), "/tmp/kf-resolve-XXXXXX");
    cr_assert_not_null(mkdtemp(world->folder));
    cr_assert_eq(kf_store_open(&world->store, &opts, NULL), 0);
    world->fake.origin.ops = &origin_ops;
    world->fake.workq = kf_workq_new(1, NULL);
    set_manifest(world, "one");
    cr_assert_eq(kf_ref_parse(&world->ref, ref, NULL), 0);
}

static void end(struct world *world)
{
    kf_ref_fini(&world->ref);
    kf_workq_free(world->fake.workq);
    kf_store_close(world->store, kf_deadline_ns(10 * KF_NS_PER_S));
    remove_folder(world->folder);
}

static void expect_resolved(struct world *world, struct kf_store *store, bool online)
{
    const struct kf_resolve_from from = {
        .ref = &world->ref,
        .origin = online ? &world->fake.origin : NULL,
        .store = store,
        .timeout_ns = 10 * KF_NS_PER_S,
    };

    cr_assert_eq(kf_resolve(&world->resolved, &from, &world->err), 0, "%s",
                 world->err.message);
    cr_assert(kf_digest_equal(&world->resolved.digest, &world->fake.digest));
    cr_assert_eq(world->resolved.family, KF_FAMILY_MODELKIT);
    cr_assert(world->resolved.has_kitfile);
    cr_assert_str_eq(world->resolved.kitfile.package_name, "n");
    kf_resolved_fini(&world->resolved);
}

static void expect_sent(const struct world *world, unsigned manifests, unsigned blobs,
                        bool was_known)
{
    cr_assert_eq(world->fake.manifests, manifests);
    cr_assert_eq(world->fake.blobs, blobs);
    cr_assert_eq(world->fake.was_known, was_known);
}

Test(resolve, tag_is_confirmed_and_nothing_is_sent_twice)
{
    struct world world;

    begin(&world, "registry.example.com/team/kit:v1");
    expect_resolved(&world, world.store, true);
    cr_assert_str_eq(world.fake.asked, "v1");
    expect_sent(&world, 1, 1, false);
    expect_resolved(&world, world.store, true);
    expect_sent(&world, 1, 1, true);
    expect_resolved(&world, world.store, false); /* and offline */
    end(&world);
}

Test(resolve, moved_tag)
{
    struct world world;

    begin(&world, "registry.example.com/team/kit:v1");
    expect_resolved(&world, world.store, true);
    set_manifest(&world, "two");
    expect_resolved(&world, world.store, true);
    expect_sent(&world, 2, 1, true); /* the config is the same */
    expect_resolved(&world, world.store, true);
    expect_sent(&world, 2, 1, true);
    expect_resolved(&world, world.store, false); /* offline it is the new one */
    end(&world);
}

/* What is cached under a digest is only used when the origin has it too. */
Test(resolve, digest_is_confirmed)
{
    struct world world;
    char ref[256], text[KF_DIGEST_TEXT_SIZE];

    begin(&world, "registry.example.com/team/kit:v1");
    expect_resolved(&world, world.store, true);
    kf_ref_fini(&world.ref);
    (void)snprintf(ref, sizeof(ref), "registry.example.com/other/kit@%s",
                   kf_digest_format(&world.fake.digest, text));
    cr_assert_eq(kf_ref_parse(&world.ref, ref, NULL), 0);
    expect_resolved(&world, world.store, true);
    cr_assert_str_eq(world.fake.asked, text);
    expect_sent(&world, 1, 1, true);
    end(&world);
}

Test(resolve, without_a_store_everything_is_asked_for)
{
    struct world world;

    begin(&world, "registry.example.com/team/kit:v1");
    expect_resolved(&world, NULL, true);
    expect_resolved(&world, NULL, true);
    expect_sent(&world, 2, 2, false);
    end(&world);
}
