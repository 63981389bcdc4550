/*
 * Chains of kits that refer to one another, in registries that are made up.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "fake_source.h"
#include "kit/chain.h"
#include "oci/media.h"
#include "oci/origin.h"

#define KITS 80u

/* A kit of the world, and at the same time the origin that has it and nothing else. */
struct fake_kit {
    struct kf_origin origin;
    char name[128];     /* as the chain calls it */
    char kitfile[8192]; /* the config */
    char manifest[1024];
    struct kf_digest digest;
};

static struct fake_kit kits[KITS];
static size_t kit_count, opened, closed, met; /* origins; manifests told of meanwhile */
static struct kf_workq *workq;
static struct kf_chain chain;
static struct kf_err err;
static bool include_remote;

static int origin_manifest(struct kf_origin *origin, const char *tag_or_digest,
                           const struct kf_digest *known, struct kf_buf *ret_bytes,
                           struct kf_digest *ret_digest, struct kf_err *error)
{
    const struct fake_kit *kit = (struct fake_kit *)origin;

    *ret_digest = kit->digest;
    return kf_buf_append(ret_bytes, kit->manifest, strlen(kit->manifest), error);
}

static struct kf_source *origin_blob(struct kf_origin *origin, const struct kf_desc *desc,
                                     struct kf_err *error)
{
    const struct fake_kit *kit = (struct fake_kit *)origin;

    return &kf_fake_source_new(workq, kit->kitfile, strlen(kit->kitfile))->source;
}

static void origin_close(struct kf_origin *origin)
{
    closed++;
}

static const struct kf_origin_ops origin_ops = {
    .manifest = origin_manifest, .blob = origin_blob, .close = origin_close};

static int open_origin(void *arg, struct kf_origin **ret, const struct kf_ref *ref,
                       struct kf_err *error)
{
    kf_auto(kf_free) char *name = kf_ref_format(ref);

    for (size_t i = 0; i < kit_count; i++) {
        if (strcmp(kits[i].name, name) == 0) {
            opened++;
            *ret = &kits[i].origin;
            return 0;
        }
    }
    return kf_fail(error, KF_E_NOTFOUND, "no such kit");
}

static void meanwhile(void *arg, struct kf_origin *origin,
                      const struct kf_manifest *manifest)
{
    cr_assert_eq(origin, &kits[0].origin);
    met++;
}

static void begin(void)
{
    workq = kf_workq_new(1, NULL);
}

static void end(void)
{
    kf_workq_free(workq);
    cr_assert_eq(opened, closed);
}

TestSuite(chain, .init = begin, .fini = end);

/* `kitfile` is what the config holds beside its package. */
static struct fake_kit *make(const char *name, const char *kitfile)
{
    struct fake_kit *kit = &kits[kit_count++];
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;

    kit->origin.ops = &origin_ops;
    (void)snprintf(kit->name, sizeof(kit->name), "%s", name);
    (void)snprintf(kit->kitfile, sizeof(kit->kitfile),
                   "{\"package\":{\"name\":\"%s\"}%s%s}", name, *kitfile ? "," : "",
                   kitfile);
    cr_assert_eq(kf_digest_of(&digest, kit->kitfile, strlen(kit->kitfile), NULL), 0);
    (void)snprintf(kit->manifest, sizeof(kit->manifest),
                   "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"%s\",\"digest\":"
                   "\"%s\",\"size\":%zu},\"layers\":null}",
                   KF_MEDIA_MODELKIT_CONFIG, kf_digest_format(&digest, text),
                   strlen(kit->kitfile));
    cr_assert_eq(kf_digest_of(&kit->digest, kit->manifest, strlen(kit->manifest), NULL),
                 0);
    return kit;
}

static void make_child(const char *name, const char *parent)
{
    char kitfile[512];

    (void)snprintf(kitfile, sizeof(kitfile), "\"model\":{\"path\":\"%s\"}", parent);
    (void)make(name, kitfile);
}

static int open_chain(const char *child)
{
    const struct kf_chain_from from = {.open = open_origin,
                                       .meanwhile = meanwhile,
                                       .timeout_ns = INT64_C(10000000000),
                                       .include_remote = include_remote,
                                       .child = child};
    struct kf_ref ref;
    int rc;

    kf_err_clear(&err);
    cr_assert_eq(kf_ref_parse(&ref, kits[0].name, NULL), 0);
    rc = kf_chain_open(&chain, &ref, &from, &err);
    kf_ref_fini(&ref);
    return rc;
}

/* "NAME PART:PREFIX" of all kits, in order. */
static void expect(const char *words)
{
    char text[4096] = "";

    cr_assert_eq(open_chain(NULL), 0, "%s", err.message);
    for (size_t i = 0; i < chain.count; i++) {
        const struct kf_chain_kit *kit = &chain.kits[i];

        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %c:%s",
                       i ? ", " : "", kit->name, "amd"[kit->part], kit -> prefix);
        cr_assert(kf_digest_equal(&kit->digest, &kit->resolved.digest));
        cr_assert_str_eq(kit->resolved.kitfile.package_name, kit->name);
    }
    cr_assert_str_eq(text, words);
    cr_assert_eq(met, 1); /* the first alone */
    kf_chain_forget(&chain);
    cr_assert_not(chain.kits[0].resolved.has_kitfile);
    kf_chain_fini(&chain);
}

static void expect_error(enum kf_err_kind kind, const char *words)
{
    cr_assert_eq(open_chain(NULL), -1);
    cr_assert_eq(err.kind, kind, "%s", err.message);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
}

Test(chain, a_kit_alone)
{
    make("r.io/a:v1", "");
    expect("r.io/a:v1 a:");
}

Test(chain, parents_come_first)
{
    make_child("r.io/a:v1", "r.io/b:v1");
    make_child("r.io/b:v1", "other.io:5000/team/c:v2,v3"); /* the first tag counts */
    make("other.io:5000/team/c:v2", "\"model\":{\"path\":\"w.bin\"}");
    expect("other.io:5000/team/c:v2 m:, r.io/b:v1 m:, r.io/a:v1 a:");
}

Test(chain, a_parent_by_digest)
{
    char digest[KF_DIGEST_TEXT_SIZE], name[128], words[256];
    struct fake_kit *parent;

    kit_count = 1; /* the child's place */
    parent = make("r.io/b", "");
    (void)kf_digest_format(&parent->digest, digest);
    (void)snprintf(parent->name, sizeof(parent->name), "r.io/b@%s", digest);
    kit_count = 0;
    (void)snprintf(name, sizeof(name), "r.io/b:ignored@%s", digest);
    make_child("r.io/a:v1", name);
    kit_count = 2;
    cr_assert_eq(open_chain(NULL), 0, "%s", err.message);
    (void)snprintf(words, sizeof(words), "r.io/b@%s", digest);
    cr_assert_str_eq(chain.kits[0].name, words);
    kf_chain_fini(&chain);
}

Test(chain, only_what_kit_takes_for_a_reference)
{
    static const char *const paths[] = {"model",           "a/b.gguf",
                                        "https://r.io/x",  "s3://bucket/key",
                                        "oci://r.io/x:v1", "A:b"};

    for (size_t i = 0; i < KF_ARRAY_LEN(paths); i++) {
        kit_count = met = 0;
        make_child("r.io/a:v1", paths[i]);
        expect("r.io/a:v1 a:");
    }
}

/* A kit does not lead us into a folder, nor past the store. */
Test(chain, prefixes_are_not_for_kits)
{
    make_child("r.io/a:v1", "oci:folder");
    make("store:oci:folder", "");
    expect("store:oci:folder m:, r.io/a:v1 a:");
}

/* A model whose layer is there is in it, whatever its path looks like. */
Test(chain, a_model_with_a_layer_is_none)
{
    make("r.io/a:v1",
         "\"model\":{\"path\":\"b:v1\",\"digest\":\"sha256:"
         "74fe57de5f642b904f00589c094eaf57503b8fc042e844a1dd5c5b3c86551ea0\"}");
    expect("r.io/a:v1 a:");
}

static void make_line(unsigned references)
{
    char name[64], parent[64];

    for (unsigned i = 0; i < references; i++) {
        (void)snprintf(name, sizeof(name), "r.io/k%u:v1", i);
        (void)snprintf(parent, sizeof(parent), "r.io/k%u:v1", i + 1);
        make_child(name, parent);
    }
    (void)snprintf(name, sizeof(name), "r.io/k%u:v1", references);
    make(name, "");
}

Test(chain, ten_references)
{
    make_line(KF_CHAIN_REFERENCES);
    cr_assert_eq(open_chain(NULL), 0, "%s", err.message);
    cr_assert_eq(chain.count, KF_CHAIN_REFERENCES + 1);
    kf_chain_fini(&chain);
    /* With a child that refers to the first it is one too many. */
    cr_assert_eq(open_chain("child"), -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
}

Test(chain, eleven_references)
{
    make_line(KF_CHAIN_REFERENCES + 1);
    expect_error(KF_E_LIMIT, "more than 10 references one after the other: r.io/k0:v1 -> "
                             "r.io/k1:v1 -> ");
    cr_assert_not_null(strstr(err.message, "r.io/k10:v1 -> r.io/k11:v1"));
    cr_assert_eq(opened, KF_CHAIN_REFERENCES + 1); /* it was not asked for */
}

Test(chain, cycles_by_name)
{
    make_child("r.io/a:v1", "r.io/b:v1");
    make_child("r.io/b:v1", "r.io/a:v1");
    expect_error(KF_E_ARG, "references lead back: r.io/a:v1 -> r.io/b:v1 -> r.io/a:v1");
    cr_assert_eq(opened, 2);
    kit_count = 0;
    make_child("r.io/a:v1", "r.io/a:v1");
    expect_error(KF_E_ARG, "references lead back: r.io/a:v1 -> r.io/a:v1");
    /* A kit that is being packed. */
    kit_count = 0;
    make_child("r.io/a:v1", "r.io/new:v1");
    make("r.io/new:v1", "");
    cr_assert_eq(open_chain("r.io/new:v1"), -1);
    cr_assert_str_eq(err.message,
                     "references lead back: r.io/new:v1 -> r.io/a:v1 -> r.io/new:v1");
}

Test(chain, cycles_by_digest)
{
    make_child("r.io/a:v1", "r.io/b:v1");
    make_child("r.io/b:v1", "mirror.io/a:latest");
    kits[kit_count] = kits[0];
    (void)snprintf(kits[kit_count++].name, sizeof(kits[0].name), "mirror.io/a:latest");
    expect_error(KF_E_ARG, "references lead back: r.io/a:v1 -> r.io/b:v1 -> "
                           "mirror.io/a:latest, which is r.io/a:v1");
}

/* Two ways to one kit lead nowhere back. */
Test(chain, a_diamond)
{
    include_remote = true;
    make("r.io/a:v1", "\"model\":{\"path\":\"r.io/b:v1\"},\"datasets\":["
                      "{\"path\":\"./d//1/\",\"remotePath\":\"r.io/c:v1\"},"
                      "{\"path\":\"d2\",\"remotePath\":\"r.io/b:v1\"},"
                      "{\"path\":\"d3\",\"remotePath\":\"r.io/b:v1\"}]");
    make("r.io/b:v1", "\"datasets\":[{\"path\":\"x\"}]");
    make("r.io/c:v1", "\"model\":{\"path\":\"none:v1\"},\"datasets\":["
                      "{\"path\":\"in\",\"remotePath\":\"r.io/b:v1\"},"
                      "{\"path\":\".\",\"remotePath\":\"r.io/b:v1\"}]");
    expect("r.io/b:v1 m:, r.io/b:v1 d:d/1/in, r.io/b:v1 d:d/1, r.io/c:v1 d:d/1, "
           "r.io/b:v1 d:d2, r.io/b:v1 d:d3, r.io/a:v1 a:");
}

/* Of a parent the datasets do not count, wherever they are. */
Test(chain, remote_datasets_of_parents_are_not_looked_at)
{
    include_remote = true;
    make_child("r.io/a:v1", "r.io/b:v1");
    make("r.io/b:v1", "\"datasets\":[{\"path\":\"d\",\"remotePath\":\"none.io/x:v1\"},"
                      "{\"path\":\"e\",\"remotePath\":\"s3://bucket/key\"}]");
    expect("r.io/b:v1 m:, r.io/a:v1 a:");
}

Test(chain, remote_datasets_are_left_out_unless_wanted)
{
    make("r.io/a:v1", "\"datasets\":[{\"path\":\"d\",\"remotePath\":\"none.io/x:v1\"},"
                      "{\"path\":\"e\",\"remotePath\":\"s3://bucket/key\"}]");
    expect("r.io/a:v1 a:");
}

Test(chain, datasets_elsewhere)
{
    include_remote = true;
    make("r.io/a:v1",
         "\"datasets\":[{\"path\":\"d\",\"remotePath\":\"s3://bucket/key\"}]");
    expect_error(KF_E_UNSUPPORTED, "dataset 'd' of 'r.io/a:v1' is at 's3://bucket/key': "
                                   "s3:// is not supported");
    kit_count = 0;
    make("r.io/a:v1", "\"datasets\":[{\"remotePath\":\"/etc\"}]");
    expect_error(KF_E_MALFORMED, "dataset '' of 'r.io/a:v1' is at '/etc': neither a kit");
    kit_count = 0;
    make("r.io/a:v1", "\"datasets\":[{\"path\":\"d\",\"remotePath\":\"r.io/a:v1\"}]");
    expect_error(KF_E_ARG, "references lead back: r.io/a:v1 -> r.io/a:v1");
}

Test(chain, datasets_stay_below_the_root)
{
    static const char *const paths[] = {"../x", "a/../../x", "/etc", "a..b", ".."};
    char kitfile[256];

    include_remote = true;
    for (size_t i = 0; i < KF_ARRAY_LEN(paths); i++) {
        kit_count = 0;
        (void)snprintf(kitfile, sizeof(kitfile),
                       "\"datasets\":[{\"path\":\"%s\",\"remotePath\":\"r.io/b:v1\"}]",
                       paths[i]);
        make("r.io/a:v1", kitfile);
        make("r.io/b:v1", "");
        expect_error(KF_E_MALFORMED, "a dataset of 'r.io/a:v1': bad name");
    }
}

static void make_many(unsigned count)
{
    struct kf_buf list;

    kf_buf_init(&list, 8000);
    cr_assert_eq(kf_buf_append_text(&list, "\"datasets\":[", NULL), 0);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(kf_buf_printf(&list, NULL,
                                   "%s{\"path\":\"%u\",\"remotePath\":\"r.io/b:v1\"}",
                                   i ? "," : "", i),
                     0);
    cr_assert_eq(kf_buf_append(&list, "]", 2, NULL), 0);
    make("r.io/a:v1", (const char *)list.data);
    make("r.io/b:v1", "");
    kf_buf_fini(&list);
}

Test(chain, sixty_four_kits_in_all)
{
    include_remote = true;
    make_many(KF_CHAIN_KITS - 1);
    cr_assert_eq(open_chain(NULL), 0, "%s", err.message);
    cr_assert_eq(chain.count, KF_CHAIN_KITS);
    kf_chain_fini(&chain);
    kit_count = 0;
    make_many(KF_CHAIN_KITS);
    expect_error(KF_E_LIMIT, "more than 64 kits refer to one another: r.io/a:v1 -> "
                             "r.io/b:v1");
}

Test(chain, what_fails_is_named)
{
    make_child("r.io/a:v1", "r.io/b:v1");
    expect_error(KF_E_NOTFOUND, "r.io/a:v1 -> r.io/b:v1: no such kit");
    kit_count = 0;
    make_child("r.io/a:v1",
               "r.io/b@sha512:" /* a reference for kit */
               "74fe57de5f642b904f00589c094eaf57503b8fc042e844a1dd5c5b3c86551ea0"
               "74fe57de5f642b904f00589c094eaf57503b8fc042e844a1dd5c5b3c86551ea0");
    expect_error(KF_E_ARG, "r.io/a:v1: reference 'r.io/b@sha512:");
    kit_count = 0;
    make_child("r.io/a:v1", "r.io:80/b");
    make("r.io:80/b", "");
    expect_error(KF_E_ARG, "r.io/a:v1 -> r.io:80/b: the reference has neither tag nor");
}

/* The end of a long chain is what matters. */
Test(chain, a_long_chain_is_cut_in_front)
{
    char second[128], third[300];

    (void)snprintf(second, sizeof(second), "r.io/%0100d:v2", 2);
    (void)snprintf(third, sizeof(third), "r.io/%0240d:v3", 3);
    make_child("r.io/a:v1", second);
    make_child(second, third);
    expect_error(KF_E_NOTFOUND, "... -> ...0000");
    cr_assert_not_null(strstr(err.message, "0003:v3: no such kit"), "%s", err.message);
}
