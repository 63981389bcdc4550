/* kit's local store, read; and where references without a prefix are looked for. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/dest.h"
#include "oci/kitstore.h"
#include "oci/kitstore_files.h"
#include "oci/origin.h"

#define ONE "{\"layers\":[]}"
#define TWO "{\"layers\":[] }"

static char dir[64];
static int dir_fd;
static struct kf_err err;

static int remove_one(const char *path, const struct stat *info, int type,
                      struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void set_up(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/kitfs-kitstore.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    cr_assert_geq(dir_fd, 0);
    cr_assert_eq(setenv("KITOPS_HOME", dir, 1), 0);
}

static void tear_down(void)
{
    (void)close(dir_fd);
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(kitstore, .init = set_up, .fini = tear_down, .timeout = 60);

static void put(const char *text, const char *json)
{
    struct kf_origin_opts opts = {0};
    struct kf_digest digest;
    struct kf_dest *dest;
    struct kf_ref ref;

    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    cr_assert_eq(kf_dest_open(&dest, &ref, &opts, &err), 0, "%s", err.message);
    cr_assert_eq(kf_digest_of(&digest, json, strlen(json), &err), 0);
    cr_assert_eq(kf_dest_manifest(dest,
                                  &(struct kf_dest_manifest){.json = json,
                                                             .length = strlen(json),
                                                             .digest = &digest},
                                  &err),
                 0, "%s", err.message);
    kf_dest_close(dest);
    kf_ref_fini(&ref);
}

static void put_file(const char *path, const char *text)
{
    cr_assert_eq(kf_save_file(dir_fd, path, text, strlen(text), 0600, &err), 0, "%s",
                 err.message);
}

static int open_with(struct kf_origin **ret, const char *text, enum kf_pull pull,
                     bool offline)
{
    struct kf_origin_opts opts = {.pull = pull, .offline = offline};
    struct kf_ref ref;
    int rc;

    kf_err_clear(&err);
    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    rc = kf_origin_open(ret, &ref, &opts, &err);
    kf_ref_fini(&ref);
    return rc;
}

/* "the registry", "kit's store"; "none" where there is nothing to ask; NULL: `err`. */
static const char *place(const char *text, enum kf_pull pull, bool offline)
{
    struct kf_origin *origin = NULL;
    const char *kind;

    if (open_with(&origin, text, pull, offline) != 0)
        return NULL;
    kind = origin ? origin->kind : "none";
    kf_origin_close(origin);
    return kind;
}

static void expect_place(const char *text, enum kf_pull pull, const char *kind)
{
    const char *found = place(text, pull, false);

    cr_expect(found && strcmp(found, kind) == 0, "%s: %s (%s)", text,
              found ? found : "failed", err.message);
}

static void expect_failure(const char *text, enum kf_pull pull, enum kf_err_kind kind,
                           const char *part)
{
    cr_expect_null(place(text, pull, false), "%s", text);
    cr_expect_eq(err.kind, kind, "%s: %s", text, err.message);
    cr_expect_not_null(strstr(err.message, part), "%s: %s", text, err.message);
}

/* The bytes of a manifest; "" with `err` set. Ours until the next call. */
static const char *manifest_of(const char *text, const char *wanted)
{
    static struct kf_buf bytes;
    struct kf_origin *origin;
    struct kf_digest digest;
    int rc;

    kf_buf_fini(&bytes);
    kf_buf_init(&bytes, 4096);
    if (open_with(&origin, text, KF_PULL_MISSING, false) != 0)
        return "";
    rc = kf_origin_manifest(origin, wanted, NULL, &bytes, &digest, &err);
    kf_origin_close(origin);
    return rc == 0 ? (const char *)bytes.data : "";
}

static char *digest_text(const char *json, char out[KF_DIGEST_TEXT_SIZE])
{
    struct kf_digest digest;

    cr_assert_eq(kf_digest_of(&digest, json, strlen(json), &err), 0);
    return kf_digest_format(&digest, out);
}

Test(kitstore, names_of_files)
{
    static const char *const wrong[] = {
        "index.json",
        "-index.json",
        "bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcw-index.json",   /* not padded */
        "bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcx==-index.json", /* bits beyond the end */
        "bG9jYWxob3N0L2xvY2Fs!G9zdC9maWxlcw==-index.json", /* no digit */
        "bG9jYWxob3N0-index.json",                         /* no repository */
        "bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcw==-tags.json",
        "bG9jYWxob3N0LwBiYXNpYzE=-index.json", /* a NUL within */
    };
    kf_auto(kf_free) char *name =
        kf_kitstore_repository("bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcw==-index.json");

    cr_assert_not_null(name);
    cr_expect_str_eq(name, "localhost/localhost/files");
    for (size_t i = 0; i < KF_ARRAY_LEN(wrong); i++)
        cr_expect_null(kf_kitstore_repository(wrong[i]), "%s", wrong[i]);
}

Test(kitstore, by_tag_and_by_digest)
{
    char digest[KF_DIGEST_TEXT_SIZE], text[256];

    put("me/kit:v1", ONE);
    put("me/kit:v2", TWO);
    cr_expect_str_eq(manifest_of("me/kit:v1", "v1"), ONE, "%s", err.message);
    cr_expect_str_eq(manifest_of("store:me/kit:v2", "v2"), TWO, "%s", err.message);
    (void)digest_text(TWO, digest);
    (void)snprintf(text, sizeof(text), "me/kit@%s", digest);
    cr_expect_str_eq(manifest_of(text, digest), TWO, "%s", err.message);
    /* A bare digest is looked for in all of the store. */
    cr_expect_str_eq(manifest_of(digest, digest), TWO, "%s", err.message);
    (void)snprintf(text, sizeof(text), "me/other@%s", digest);
    put("me/other:v1", ONE);
    expect_failure(text, KF_PULL_MISSING, KF_E_NOTFOUND, "no such manifest");
}

Test(kitstore, what_it_does_not_hold)
{
    expect_failure("me/kit:v1", KF_PULL_MISSING, KF_E_NOTFOUND, "No such file");
    put("me/kit:v1", ONE);
    put("me/kit:v2", TWO);
    expect_failure("me/kit:v3", KF_PULL_MISSING, KF_E_NOTFOUND,
                   "no such tag 'v3' of 'me/kit' in it (there are: v1, v2)");
    expect_failure("store:me/kit:v3", KF_PULL_MISSING, KF_E_NOTFOUND, "v1, v2");
    expect_failure("me/none:v1", KF_PULL_MISSING, KF_E_NOTFOUND, "no 'me/none' in it");
    expect_failure("store:me/none", KF_PULL_MISSING, KF_E_NOTFOUND, "no 'me/none' in it");
    cr_expect_str_eq(manifest_of("me/kit:v1", ""), "");
    cr_expect_eq(err.kind, KF_E_ARG, "%s", err.message);
}

/* What has lost its last tag is still there by digest. */
Test(kitstore, without_tags)
{
    put("me/kit", ONE);
    expect_failure("me/kit:v1", KF_PULL_MISSING, KF_E_NOTFOUND, "name a @digest");
    expect_place("store:me/kit", KF_PULL_MISSING, "kit's store");
}

Test(kitstore, without_a_home_it_holds_nothing)
{
    put("a.b/kit:v1", ONE);
    cr_assert_eq(unsetenv("KITOPS_HOME") | unsetenv("XDG_DATA_HOME") | unsetenv("HOME"),
                 0);
    expect_place("a.b/kit:v1", KF_PULL_MISSING, "the registry");
    expect_failure("store:a.b/kit:v1", KF_PULL_MISSING, KF_E_NOTFOUND, "KITOPS_HOME");
}

Test(kitstore, pull)
{
    put("a.b/kit:v1", ONE);
    put("me/kit:v1", ONE);
    expect_place("a.b/kit:v1", KF_PULL_MISSING, "kit's store");
    expect_place("a.b/kit:v2", KF_PULL_MISSING, "the registry");
    expect_place("a.b/kit:v1", KF_PULL_ALWAYS, "the registry");
    expect_place("a.b/kit:v1", KF_PULL_NEVER, "kit's store");
    expect_failure("a.b/kit:v2", KF_PULL_NEVER, KF_E_NOTFOUND, "--pull never");
    /* Without tag and digest: what a registry has is more. */
    expect_place("a.b/kit", KF_PULL_MISSING, "the registry");
    expect_place("a.b/kit", KF_PULL_NEVER, "kit's store");
    expect_place("me/kit", KF_PULL_MISSING, "kit's store");
    /* Names without a registry are nowhere else. */
    expect_place("me/kit:v1", KF_PULL_MISSING, "kit's store");
    expect_failure("me/kit:v2", KF_PULL_MISSING, KF_E_NOTFOUND, "names no registry");
    expect_failure("me/kit:v1", KF_PULL_ALWAYS, KF_E_ARG, "names no registry");
    /* A prefix has said it. */
    expect_place("oci://a.b/kit:v1", KF_PULL_MISSING, "the registry");
    expect_place("oci://a.b/kit:v1", KF_PULL_NEVER, "the registry");
    expect_place("store:a.b/kit:v1", KF_PULL_ALWAYS, "kit's store");
    expect_failure("oci://me/kit:v1", KF_PULL_MISSING, KF_E_ARG, "names no registry");
}

Test(kitstore, offline)
{
    put("a.b/kit:v1", ONE);
    cr_expect_str_eq(place("a.b/kit:v1", KF_PULL_MISSING, true), "kit's store");
    cr_expect_str_eq(place("a.b/kit:v2", KF_PULL_MISSING, true), "none");
    cr_expect_str_eq(place("a.b/kit:v1", KF_PULL_ALWAYS, true), "none");
    cr_expect_str_eq(place("oci://a.b/kit:v1", KF_PULL_MISSING, true), "none");
}

/* Another kit of that name may lie in the registry: what is here is not passed over. */
Test(kitstore, damage_is_no_reason_to_ask_the_registry)
{
    /* a.b/kit */
    static const char tags[] = "storage/YS5iL2tpdA==-tags.json";
    static const char index[] = "storage/YS5iL2tpdA==-index.json";
    static const char *const wrong[] = {"", "[]", "{\"v1\":", "{\"v1\":{}}"};

    put("a.b/kit:v1", ONE);
    for (size_t i = 0; i < KF_ARRAY_LEN(wrong); i++) {
        put_file(tags, wrong[i]);
        expect_failure("a.b/kit:v1", KF_PULL_MISSING, KF_E_MALFORMED, "--pull always");
        expect_failure("a.b/kit:v1", KF_PULL_NEVER, KF_E_MALFORMED, "-tags.json");
        expect_place("a.b/kit:v1", KF_PULL_ALWAYS, "the registry");
    }
    put("a.b/other:v1", ONE);
    put_file("storage/YS5iL290aGVy-index.json", "no");
    expect_failure("a.b/other:v1", KF_PULL_MISSING, KF_E_MALFORMED, "-index.json");
    /* A tag of a kit that its repository does not list is a tag of it all the same. */
    cr_assert_eq(unlinkat(dir_fd, tags, 0), 0);
    put("a.b/kit:v1", ONE);
    cr_assert_eq(unlinkat(dir_fd, index, 0), 0);
    cr_expect_str_eq(manifest_of("a.b/kit:v1", "v1"), ONE, "%s", err.message);
}

static void blob_path(const char *json, char out[128])
{
    char digest[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(out, 128, "storage/blobs/sha256/%s", digest_text(json, digest) + 7);
}

Test(kitstore, a_manifest_that_is_gone_or_another)
{
    char path[128];

    put("me/kit:v1", ONE);
    blob_path(ONE, path);
    put_file(path, "{}");
    cr_expect_str_eq(manifest_of("me/kit:v1", "v1"), "");
    cr_expect_eq(err.kind, KF_E_CORRUPT, "%s", err.message);
    cr_assert_eq(unlinkat(dir_fd, path, 0), 0);
    cr_expect_str_eq(manifest_of("me/kit:v1", "v1"), "");
    cr_expect_eq(err.kind, KF_E_CORRUPT, "not: no such tag (%s)", err.message);
}

Test(kitstore, files_of_kit_before_1_0)
{
    cr_assert_eq(kf_make_dirs(dir_fd, "storage/a.b/me/kit", 0700, &err), 0);
    put_file("storage/a.b/me/kit/index.json", "{}");
    expect_failure("a.b/me/kit:v1", KF_PULL_MISSING, KF_E_UNSUPPORTED, "kit list");
    expect_failure("store:a.b/me/kit:v1", KF_PULL_MISSING, KF_E_UNSUPPORTED,
                   "a.b/me/kit/index.json");
    expect_place("a.b/me/other:v1", KF_PULL_MISSING, "the registry");
    put("a.b/me/kit:v1", ONE); /* converted */
    expect_place("a.b/me/kit:v1", KF_PULL_MISSING, "kit's store");
}

static void rename_to(const char *from, const char *to)
{
    char old_path[300], new_path[300];

    (void)snprintf(old_path, sizeof(old_path), "storage/%s", from);
    (void)snprintf(new_path, sizeof(new_path), "storage/%s", to);
    cr_assert_eq(renameat(dir_fd, old_path, dir_fd, new_path), 0);
}

/* The longest name whose files kit can make: 255 bytes with -index.json. */
Test(kitstore, longest_name)
{
    char text[256] = "a.b/", *at = text + strlen(text);
    struct kf_kitstore_names names;
    struct kf_ref ref;

    put("a.b/kit:v1", ONE);
    memset(at, 'x', 179);
    (void)snprintf(at + 179, 4, ":v1");
    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    cr_assert_eq(kf_kitstore_names(&names, &ref, &err), 0);
    rename_to("YS5iL2tpdA==-tags.json", names.tags);
    rename_to("YS5iL2tpdA==-index.json", names.index);
    cr_expect_eq(strlen(names.index), 255);
    kf_kitstore_names_fini(&names);
    kf_ref_fini(&ref);
    expect_place(text, KF_PULL_MISSING, "kit's store");
    (void)snprintf(at + 179, 5, "x:v1");
    expect_place(text, KF_PULL_MISSING, "the registry");
}

Test(kitstore, list)
{
    struct kf_kitstore_list list;
    char digest[KF_DIGEST_TEXT_SIZE];

    cr_assert_eq(kf_kitstore_list(&list, &err), 0, "%s", err.message);
    cr_expect_eq(list.count, 0, "no store");
    put("me/kit:v2", ONE);
    put("me/kit:v1", ONE);
    put("me/kit:v1", TWO);
    put("a.b/kit:v1", ONE);
    put_file("storage/notes-index.json", "mine");
    cr_assert_eq(kf_kitstore_list(&list, &err), 0, "%s", err.message);
    cr_assert_eq(list.count, 3);
    cr_expect_str_eq(list.kits[0].name, "a.b/kit");
    cr_expect_str_eq(list.kits[0].ref.registry, "a.b");
    cr_expect_str_eq(list.kits[0].ref.repository, "kit");
    for (size_t i = 1; i < 3; i++) {
        const struct kf_kitstore_kit *kit = &list.kits[i];
        bool is_one = strcmp(kf_digest_format(&kit->ref.digest, (char[80]){0}),
                             digest_text(ONE, digest)) == 0;

        cr_expect_str_eq(kit->name, "localhost/me/kit");
        cr_expect_eq(kit->tags.count, 1);
        cr_expect_str_eq(kit->tags.items[0], is_one ? "v2" : "v1");
    }
    kf_kitstore_list_fini(&list);
    put_file("storage/YS5iL2tpdA==-tags.json", "mine");
    cr_expect_eq(kf_kitstore_list(&list, &err), -1);
    cr_expect_eq(err.kind, KF_E_MALFORMED, "%s", err.message);
}
