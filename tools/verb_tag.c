#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/workq.h"
#include "oci/dest.h"
#include "oci/manifest.h"
#include "oci/media.h"
#include "opened.h"
#include "options.h"
#include "verbs.h"

/* What gets other names. */
struct subject {
    struct kf_origin_opts opts;
    struct kf_ref ref;
    enum kf_ref_where where; /* never KF_REF_ANY */
    struct kf_buf json;
    struct kf_digest digest;
    enum kf_manifest_kind kind;
    struct kf_manifest manifest; /* of KF_KIND_MANIFEST */
};

static const char *place_of(enum kf_ref_where where)
{
    static const char *const places[] = {[KF_REF_ANY] = "",
                                         [KF_REF_REGISTRY] = "the registry",
                                         [KF_REF_STORE] = "kit's store",
                                         [KF_REF_LAYOUT] = "the layout"};

    return places[where];
}

/* ---- the kit ---- */

static int read_manifest(struct subject *subject, struct kf_origin *origin,
                         struct kf_err *err)
{
    const struct kf_ref *ref = &subject->ref;
    char text[KF_DIGEST_TEXT_SIZE];
    const char *wanted = ref->tag ? ref->tag : "";

    if (ref->has_digest)
        wanted = kf_digest_format(&ref->digest, text);
    if (kf_origin_manifest(origin, wanted, NULL, &subject->json, &subject->digest, err) <
            0 ||
        kf_manifest_kind(subject->json.data, subject->json.length, &subject->kind, err) !=
            0)
        return -1;
    if (subject->kind == KF_KIND_INDEX)
        return 0;
    return kf_manifest_parse(&subject->manifest, subject->json.data, subject->json.length,
                             err);
}

static int open_subject(struct subject *subject, const struct kf_options *options,
                        struct kf_err *err)
{
    kf_auto(kf_free) char *text = kf_ref_with_tag(options->args[0], options->quiet, err);
    struct kf_origin *origin = NULL;
    int rc;

    if (!text || kf_ref_parse(&subject->ref, text, err) != 0 ||
        kf_origin_open(&origin, &subject->ref, &subject->opts, err) != 0)
        return -1;
    subject->where = subject->ref.where == KF_REF_LAYOUT ? KF_REF_LAYOUT
                     : origin->is_local                  ? KF_REF_STORE
                                                         : KF_REF_REGISTRY;
    rc = read_manifest(subject, origin, err);
    kf_origin_close(origin);
    return rc;
}

/* ---- its new names ---- */

static bool is_same_folder(const char *a, const char *b)
{
    struct stat one, other;

    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* Whether `ref` is, or for one without a prefix can be, where the kit is. */
static bool is_same_place(const struct subject *subject, const struct kf_ref *ref)
{
    if (subject->where == KF_REF_LAYOUT)
        return ref->where == KF_REF_LAYOUT && is_same_folder(subject->ref.dir, ref->dir);
    if (ref->where != subject->where && ref->where != KF_REF_ANY)
        return false;
    return subject->where == KF_REF_STORE ||
           strcmp(kf_ref_api_host(&subject->ref), kf_ref_api_host(ref)) == 0;
}

static const char *other_place(const struct subject *subject, const struct kf_ref *ref)
{
    if (ref->where == subject->where)
        return "another one";
    if (ref->where == KF_REF_ANY)
        return kf_ref_is_local(ref) ? place_of(KF_REF_STORE) : "another registry";
    return place_of(ref->where);
}

/* The name as a place to put to. */
static int take_name(struct kf_ref *ret, const struct subject *subject, const char *text,
                     struct kf_err *err)
{
    kf_auto(kf_free) char *tagged = kf_ref_with_tag(text, true, err);

    if (!tagged || kf_ref_parse(ret, tagged, err) != 0)
        return -1;
    if (ret->has_digest || !ret->tag)
        return kf_fail(err, KF_E_ARG, "'%s' names no tag", text);
    if (!is_same_place(subject, ret))
        return kf_fail(err, KF_E_ARG,
                       "the kit is in %s, and '%s' is in %s: a tag names a kit where it "
                       "is; copy it there (kit push, kit pull, skopeo copy)",
                       place_of(subject->where), text, other_place(subject, ret));
    ret->where = subject->where;
    return 0;
}

static int check_blob(struct kf_dest *dest, const struct kf_desc *desc,
                      const struct kf_ref *ref, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    int has = kf_dest_has(dest, &desc->digest, desc->size, err);

    if (has != 0)
        return has < 0 ? -1 : 0;
    return kf_fail(err, KF_E_NOTFOUND,
                   "'%s/%s' does not have the kit's blob '%s': copy the kit there (kit "
                   "push, skopeo copy)",
                   ref->registry, ref->repository, kf_digest_format(&desc->digest, text));
}

/* A registry's repository has its own blobs; store and layout have each one once. */
static int check_blobs(struct kf_dest *dest, const struct subject *subject,
                       const struct kf_ref *ref, struct kf_err *err)
{
    const struct kf_manifest *manifest = &subject->manifest;

    if (subject->where != KF_REF_REGISTRY ||
        strcmp(subject->ref.repository, ref->repository) == 0)
        return 0;
    if (subject->kind == KF_KIND_INDEX)
        return kf_fail(err, KF_E_UNSUPPORTED,
                       "an index of kits gets names in its own repository only: copy it "
                       "(skopeo copy --all)");
    if (check_blob(dest, &manifest->config, ref, err) != 0)
        return -1;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (check_blob(dest, &manifest->layers[i], ref, err) != 0)
            return -1;
    return 0;
}

static int put_name(const struct subject *subject, const struct kf_ref *ref,
                    struct kf_err *err)
{
    const struct kf_manifest *manifest = &subject->manifest;
    const char *type = subject->kind == KF_KIND_INDEX ? KF_MEDIA_OCI_INDEX
                       : manifest->media_type && *manifest->media_type
                           ? manifest->media_type
                           : NULL;
    const struct kf_dest_manifest put = {.json = subject->json.data,
                                         .length = subject->json.length,
                                         .digest = &subject->digest,
                                         .media_type = type,
                                         .artifact_type = manifest->artifact_type};
    struct kf_dest *dest;
    int rc;

    if (kf_dest_open(&dest, ref, &subject->opts, err) != 0)
        return -1;
    rc = check_blobs(dest, subject, ref, err);
    if (rc == 0)
        rc = kf_dest_manifest(dest, &put, err);
    kf_dest_close(dest);
    return rc;
}

/* All names are looked at before the first one is given. */
static int put_names(const struct subject *subject, const struct kf_options *options,
                     struct kf_err *err)
{
    struct kf_ref refs[KF_ARGS_LIMIT] = {0};
    size_t count = options->arg_count - 1;
    char digest[KF_DIGEST_TEXT_SIZE];
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = take_name(&refs[i], subject, options->args[i + 1], err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = put_name(subject, &refs[i], err);
        if (rc == 0 && !options->quiet)
            printf("%s is %s in %s\n", options->args[i + 1],
                   kf_digest_format(&subject->digest, digest), place_of(subject->where));
    }
    for (size_t i = 0; i < count; i++)
        kf_ref_fini(&refs[i]);
    return rc;
}

int kf_verb_tag(const struct kf_options *options)
{
    struct subject subject = {0};
    struct kf_err err = {0};
    int rc = -1;

    kf_buf_init(&subject.json, KF_MANIFEST_LIMIT);
    kf_origin_from_options(&subject.opts, options);
    subject.opts.timeout_ns = options->read_timeout_ns;
    subject.opts.workq = kf_workq_new(1, &err);
    if (subject.opts.workq)
        rc = open_subject(&subject, options, &err);
    if (rc == 0)
        rc = put_names(&subject, options, &err);
    kf_buf_fini(&subject.json);
    kf_manifest_fini(&subject.manifest);
    kf_ref_fini(&subject.ref);
    kf_workq_free(subject.opts.workq);
    return rc == 0 ? 0 : kf_report_ref("tag", options, &err);
}
