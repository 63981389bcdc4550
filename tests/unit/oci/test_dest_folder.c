/* Layout folders and kit's store as destinations. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "oci/dest.h"
#include "oci/manifest.h"

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
    (void)snprintf(dir, sizeof(dir), "/tmp/kitfs-dest.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    cr_assert_geq(dir_fd, 0);
}

static void tear_down(void)
{
    (void)close(dir_fd);
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(dest_folder, .init = set_up, .fini = tear_down, .timeout = 60);

static int open_dest(struct kf_dest **ret, const char *text)
{
    struct kf_origin_opts opts = {.net.plain_http = true};
    struct kf_ref ref = {0};
    int rc;

    cr_assert_eq(kf_ref_parse(&ref, text, &err), 0, "%s", err.message);
    rc = kf_dest_open(ret, &ref, &opts, &err);
    kf_ref_fini(&ref);
    return rc;
}

/* The layout in our folder, with a tag or without one. */
static struct kf_dest *layout(const char *tag)
{
    struct kf_dest *dest;
    char text[128];

    (void)snprintf(text, sizeof(text), "oci:%s%s%s", dir, tag ? ":" : "", tag ? tag : "");
    cr_assert_eq(open_dest(&dest, text), 0, "%s", err.message);
    return dest;
}

static struct kf_digest digest_of(const char *text)
{
    struct kf_digest digest;

    cr_assert_eq(kf_digest_of(&digest, text, strlen(text), &err), 0);
    return digest;
}

static int put_manifest(struct kf_dest *dest, const char *json)
{
    struct kf_digest digest = digest_of(json);

    return kf_dest_manifest(dest,
                            &(struct kf_dest_manifest){.json = json,
                                                       .length = strlen(json),
                                                       .digest = &digest,
                                                       .artifact_type = "application/x"},
                            &err);
}

static void tag_layout(const char *tag, const char *json)
{
    struct kf_dest *dest = layout(tag);

    cr_assert_eq(put_manifest(dest, json), 0, "%s", err.message);
    kf_dest_close(dest);
}

/* A file below the folder, whole; "" when it is not there. Ours until the next call. */
static const char *content(const char *path)
{
    static struct kf_buf buf;

    kf_buf_fini(&buf);
    kf_buf_init(&buf, 8 << 20);
    if (kf_load_file(dir_fd, path, &buf, NULL) != 0 || buf.length == 0)
        return "";
    return (const char *)buf.data;
}

static void put_file(const char *path, const char *text)
{
    cr_assert_eq(kf_save_file(dir_fd, path, text, strlen(text), 0600, &err), 0, "%s",
                 err.message);
}

static unsigned files_in(const char *path)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY);
    DIR *open_dir = fdopendir(fd);
    unsigned count = 0;

    cr_assert_not_null(open_dir);
    for (const struct dirent *entry; (entry = readdir(open_dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    (void)closedir(open_dir);
    return count;
}

/* How an entry stands in an index that we wrote. */
static const char *entry(const char *json, const char *tag)
{
    static char out[512];
    struct kf_digest digest = digest_of(json);
    char text[KF_DIGEST_TEXT_SIZE];
    int length = snprintf(
        out, sizeof(out),
        "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":"
        "\"%s\",\"size\":%zu,\"artifactType\":\"application/x\"",
        kf_digest_format(&digest, text), strlen(json));

    (void)snprintf(
        out + length, sizeof(out) - (size_t)length,
        tag ? ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}}" : "}",
        tag);
    return out;
}

static void expect_index(const char *first, const char *second)
{
    char want[2048];

    (void)snprintf(want, sizeof(want),
                   "{\"schemaVersion\":2,\"mediaType\":"
                   "\"application/vnd.oci.image.index.v1+json\",\"manifests\":[%s%s%s]}",
                   first, second ? "," : "", second ? second : "");
    cr_expect_str_eq(content("index.json"), want);
}

/* ---- blobs ---- */

Test(dest_folder, a_blob_is_there_when_it_is_complete)
{
    struct kf_dest *dest = layout("v1");
    struct kf_dest_blob *blob = kf_dest_begin(dest, &err);
    struct kf_digest digest = digest_of("hello");
    char path[96], hex[65];

    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", kf_digest_hex(&digest, hex));
    cr_assert_not_null(blob);
    cr_expect_eq(kf_dest_write(blob, "he", 2, &err), 0);
    cr_expect_eq(kf_dest_write(blob, "llo", 3, &err), 0);
    cr_expect_eq(blob->size, 5);
    cr_expect_eq(kf_dest_has(dest, &digest, 5, &err), 0);
    cr_expect_eq(kf_dest_commit(blob, &digest, &err), 0);
    cr_expect_eq(kf_dest_has(dest, &digest, 5, &err), 1);
    cr_expect_eq(kf_dest_has(dest, &digest, 4, &err), 0, "another size is another blob");
    cr_expect_str_eq(content(path), "hello");
    cr_expect_eq(files_in("blobs/sha256"), 1);
    kf_dest_close(dest);
}

Test(dest_folder, two_blobs_at_once_and_one_given_up)
{
    struct kf_dest *dest = layout("v1");
    struct kf_dest_blob *a = kf_dest_begin(dest, &err), *b = kf_dest_begin(dest, &err);
    struct kf_digest digest = digest_of("b");

    cr_assert(a && b);
    cr_expect_eq(kf_dest_write(a, "a", 1, &err), 0);
    cr_expect_eq(kf_dest_write(b, "b", 1, &err), 0);
    kf_dest_abandon(a);
    kf_dest_abandon(NULL);
    cr_expect_eq(kf_dest_commit(b, &digest, &err), 0);
    cr_expect_eq(files_in("blobs/sha256"), 1);
    kf_dest_close(dest);
}

Test(dest_folder, a_blob_of_wrong_size_is_replaced)
{
    struct kf_dest *dest = layout("v1");
    struct kf_digest digest = digest_of("whole");
    char path[96], hex[65];

    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", kf_digest_hex(&digest, hex));
    put_file(path, "who");
    cr_expect_eq(kf_dest_put(dest, "whole", 5, &digest, &err), 0);
    cr_expect_str_eq(content(path), "whole");
    kf_dest_close(dest);
}

Test(dest_folder, what_a_dead_writer_left_goes_and_a_living_one_stays)
{
    struct kf_dest *dest = layout("v1"), *other;
    struct kf_dest_blob *blob = kf_dest_begin(dest, &err);

    cr_assert_not_null(blob);
    put_file("blobs/sha256/.kitfs-1-1.tmp", "half");
    put_file("blobs/sha256/.keep", "not ours");
    other = layout("v2");
    cr_expect_eq(files_in("blobs/sha256"), 2, "the living one's, and what is not ours");
    kf_dest_close(other);
    kf_dest_abandon(blob);
    kf_dest_close(dest);
}

/* ---- layouts ---- */

Test(dest_folder, layout_is_made_with_its_marker)
{
    struct kf_dest *dest;
    struct stat before, after;
    char text[128];

    (void)snprintf(text, sizeof(text), "oci:%s/deep/er:v1", dir);
    cr_assert_eq(open_dest(&dest, text), 0, "%s", err.message);
    kf_dest_close(dest);
    cr_expect_str_eq(content("deep/er/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
    cr_assert_eq(fstatat(dir_fd, "deep/er/oci-layout", &before, 0), 0);
    cr_assert_eq(open_dest(&dest, text), 0, "%s", err.message);
    kf_dest_close(dest);
    cr_assert_eq(fstatat(dir_fd, "deep/er/oci-layout", &after, 0), 0);
    cr_expect_eq(before.st_ino, after.st_ino, "it is what writers lock");
    cr_expect_eq(files_in("deep/er"), 2);
}

Test(dest_folder, tags_are_added_and_moved)
{
    char two[512];

    tag_layout("v1", ONE);
    expect_index(entry(ONE, "v1"), NULL);
    tag_layout("v2", TWO);
    (void)snprintf(two, sizeof(two), "%s", entry(TWO, "v2"));
    expect_index(entry(ONE, "v1"), two);
    tag_layout("v1", TWO);
    expect_index(two, entry(TWO, "v1"));
    cr_expect_eq(files_in("blobs/sha256"), 2, "blobs stay");
}

Test(dest_folder, without_a_tag_a_manifest_is_listed_once)
{
    tag_layout(NULL, ONE);
    tag_layout(NULL, ONE);
    expect_index(entry(ONE, NULL), NULL);
    tag_layout("v1", ONE);
    expect_index(entry(ONE, "v1"), NULL);
    tag_layout(NULL, ONE);
    expect_index(entry(ONE, "v1"), NULL);
}

Test(dest_folder, what_others_wrote_into_the_index_stays)
{
    put_file("index.json", "{\"annotations\":{\"a\":\"b\"},\"manifests\":[{\"digest\":"
                           "\"sha512:x\",\"platform\":{\"os\":\"linux\"}}],"
                           "\"schemaVersion\":2}");
    tag_layout("v1", ONE);
    cr_expect_not_null(strstr(content("index.json"),
                              "{\"annotations\":{\"a\":\"b\"},\"manifests\":[{\"digest\":"
                              "\"sha512:x\",\"platform\":{\"os\":\"linux\"}},{"));
}

Test(dest_folder, an_index_that_is_none_is_left_alone)
{
    static const char *const texts[] = {"", "{", "[]", "{\"manifests\":{}}", "{}"};

    for (size_t i = 0; i < KF_ARRAY_LEN(texts); i++) {
        struct kf_dest *dest = layout("v1");

        put_file("index.json", texts[i]);
        cr_expect_eq(put_manifest(dest, ONE), -1, "'%s'", texts[i]);
        cr_expect_eq(err.kind, KF_E_MALFORMED, "'%s': %s", texts[i], err.message);
        cr_expect_not_null(strstr(err.message, dir), "%s", err.message);
        cr_expect_str_eq(content("index.json"), texts[i]);
        kf_dest_close(dest);
    }
}

/* An index of exactly so many bytes. */
static void put_large_index(size_t size)
{
    static const char head[] = "{\"manifests\":[],\"x\":\"";
    char *text = malloc(size + 1);

    cr_assert_not_null(text);
    memset(text, 'x', size);
    memcpy(text, head, strlen(head));
    memcpy(text + size - 2, "\"}", 3);
    put_file("index.json", text);
    free(text);
}

Test(dest_folder, an_index_at_the_limit_does_not_grow_and_above_it_is_not_read)
{
    struct kf_dest *dest = layout("v1");

    put_large_index(KF_MANIFEST_LIMIT);
    cr_expect_eq(put_manifest(dest, ONE), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    cr_expect_not_null(strstr(err.message, "would be"), "%s", err.message);
    put_large_index(KF_MANIFEST_LIMIT + 1);
    cr_expect_eq(put_manifest(dest, ONE), -1);
    cr_expect_eq(err.kind, KF_E_LIMIT, "%s", err.message);
    put_large_index(KF_MANIFEST_LIMIT - strlen(entry(ONE, "v1")));
    cr_expect_eq(put_manifest(dest, ONE), 0, "%s", err.message);
    kf_dest_close(dest);
}

Test(dest_folder, temporary_indexes_of_the_dead_go)
{
    put_file("index.json.77.1.tmp", "{");
    tag_layout("v1", ONE);
    cr_expect_eq(files_in("."), 3, "oci-layout, index.json, blobs");
}

Test(dest_folder, the_lock_follows_the_marker_and_is_given_back)
{
    int fd;

    tag_layout("v1", ONE);
    put_file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"); /* another file now */
    tag_layout("v2", ONE);
    fd = openat(dir_fd, "oci-layout", O_RDWR);
    cr_expect_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    (void)close(fd);
}

Test(dest_folder, a_digest_is_no_name_for_something_new)
{
    struct kf_dest *dest;
    char text[160];

    (void)snprintf(text, sizeof(text), "oci:%s@sha256:%064d", dir, 1);
    cr_expect_eq(open_dest(&dest, text), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
}

Test(dest_folder, a_file_in_the_place_of_the_folder)
{
    struct kf_dest *dest;
    char text[128];

    put_file("file", "x");
    (void)snprintf(text, sizeof(text), "oci:%s/file:v1", dir);
    cr_expect_eq(open_dest(&dest, text), -1);
    cr_expect_neq(err.kind, KF_E_NONE);
    cr_expect_not_null(strstr(err.message, "file"), "%s", err.message);
}

/* ---- kit's store ---- */

static void put_in_store(const char *ref, const char *json)
{
    struct kf_dest *dest;

    cr_assert_eq(open_dest(&dest, ref), 0, "%s", err.message);
    cr_expect_str_eq(dest->kind, "kit's store");
    cr_assert_eq(put_manifest(dest, json), 0, "%s", err.message);
    kf_dest_close(dest);
}

/* As in entry(), but kit's do not have an artifact type. */
static const char *descriptor(const char *json)
{
    static char out[256];
    struct kf_digest digest = digest_of(json);
    char text[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(out, sizeof(out),
                   "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
                   "\"digest\":\"%s\",\"size\":%zu}",
                   kf_digest_format(&digest, text), strlen(json));
    return out;
}

static void expect_json(const char *path, const char *before, const char *json,
                        const char *behind)
{
    char want[512];

    (void)snprintf(want, sizeof(want), "%s%s%s", before, descriptor(json), behind);
    cr_expect_str_eq(content(path), want, "%s is '%s'", path, content(path));
}

#define INDEX_HEAD                                                                    \
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\"," \
    "\"manifests\":["

/* The names are those that kit 1.15 gave: tests/data/kits. */
Test(dest_folder, store_has_the_files_of_kit)
{
    cr_assert_eq(setenv("KITOPS_HOME", dir, 1), 0);
    put_in_store("localhost/files:v1", ONE);
    expect_json("storage/index.json", INDEX_HEAD, ONE, "]}");
    expect_json("storage/bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcw==-index.json", INDEX_HEAD,
                ONE, "]}");
    expect_json("storage/bG9jYWxob3N0L2xvY2FsaG9zdC9maWxlcw==-tags.json", "{\"v1\":", ONE,
                "}");
    put_in_store("store:localhost/basic:a", ONE);
    put_in_store("localhost/agent:a", ONE);
    expect_json("storage/index.json", INDEX_HEAD, ONE, "]}");
    expect_json("storage/bG9jYWxob3N0L2xvY2FsaG9zdC9iYXNpYw==-tags.json", "{\"a\":", ONE,
                "}");
    expect_json("storage/bG9jYWxob3N0L2xvY2FsaG9zdC9hZ2VudA==-tags.json", "{\"a\":", ONE,
                "}");
    put_in_store("localhost/rootdir:a", ONE); /* no padding */
    expect_json("storage/bG9jYWxob3N0L2xvY2FsaG9zdC9yb290ZGly-tags.json", "{\"a\":", ONE,
                "}");
}

Test(dest_folder, a_tag_of_the_store_moves_and_manifests_stay)
{
    cr_assert_eq(setenv("KITOPS_HOME", dir, 1), 0);
    put_in_store("me/kit:v1", ONE);
    put_in_store("me/kit:v1", TWO);
    put_in_store("me/kit:v1", TWO);
    expect_json("storage/bG9jYWxob3N0L21lL2tpdA==-tags.json", "{\"v1\":", TWO, "}");
    cr_expect_eq(strlen(content("storage/index.json")), strlen(INDEX_HEAD "]}") +
                                                            strlen(descriptor(ONE)) + 1 +
                                                            strlen(descriptor(TWO)));
}

Test(dest_folder, the_store_is_where_kit_looks)
{
    char data[96];

    (void)snprintf(data, sizeof(data), "%s/data", dir);
    cr_assert_eq(unsetenv("KITOPS_HOME") | setenv("XDG_DATA_HOME", data, 1) |
                     setenv("HOME", dir, 1),
                 0);
    put_in_store("me/kit:v1", ONE);
    cr_expect_str_neq(content("data/kitops/storage/index.json"), "");
    cr_assert_eq(setenv("KITOPS_HOME", "", 1) | setenv("XDG_DATA_HOME", "", 1), 0);
    put_in_store("registry.example:5000/kit:v1", ONE);
    cr_expect_str_neq(content(".local/share/kitops/storage/index.json"), "");
}

Test(dest_folder, without_a_home_there_is_no_store)
{
    struct kf_dest *dest;

    cr_assert_eq(unsetenv("KITOPS_HOME") | unsetenv("XDG_DATA_HOME") | unsetenv("HOME"),
                 0);
    cr_expect_eq(open_dest(&dest, "me/kit:v1"), -1);
    cr_expect_eq(err.kind, KF_E_ARG);
    cr_expect_not_null(strstr(err.message, "KITOPS_HOME"));
}

/* ---- blobs that are known before ---- */

static struct kf_dest *open_layout(void)
{
    struct kf_dest *dest;
    char text[80];

    (void)snprintf(text, sizeof(text), "oci:%s/known:v1", dir);
    cr_assert_eq(open_dest(&dest, text), 0, "%s", err.message);
    return dest;
}

static struct kf_dest_blob *begin_known(struct kf_dest *dest, struct kf_digest *digest)
{
    struct kf_dest_blob *blob = NULL;

    cr_assert_eq(kf_digest_of(digest, "abc", 3, &err), 0);
    cr_assert_eq(kf_dest_begin_known(&blob, dest, digest, 3, &err), 0, "%s", err.message);
    return blob;
}

Test(dest_folder, a_blob_known_before)
{
    struct kf_dest *dest = open_layout();
    struct kf_digest digest;
    struct kf_dest_blob *blob = begin_known(dest, &digest);

    cr_expect_not(kf_dest_wants_size(dest));
    cr_expect_eq(kf_dest_write(blob, "ab", 2, &err), 0);
    cr_expect_eq(kf_dest_write(blob, "c", 1, &err), 0);
    cr_expect_eq(kf_dest_commit(blob, &digest, &err), 0, "%s", err.message);
    cr_expect_eq(kf_dest_begin_known(&blob, dest, &digest, 3, &err), 1, "it is there");
    kf_dest_close(dest);
}

Test(dest_folder, more_than_was_said_before)
{
    struct kf_dest *dest = open_layout();
    struct kf_digest digest;
    struct kf_dest_blob *blob = begin_known(dest, &digest);

    cr_expect_eq(kf_dest_write(blob, "abc", 3, &err), 0);
    cr_expect_eq(kf_dest_write(blob, "d", 1, &err), -1);
    cr_expect_eq(err.kind, KF_E_CORRUPT, "%s", err.message);
    kf_dest_abandon(blob);
    cr_expect_eq(kf_dest_has(dest, &digest, 3, &err), 0);
    kf_dest_close(dest);
}

Test(dest_folder, other_than_was_said_before)
{
    struct kf_dest *dest = open_layout();
    struct kf_digest digest, other;
    struct kf_dest_blob *blob = begin_known(dest, &digest);

    cr_expect_eq(kf_dest_write(blob, "ab", 2, &err), 0);
    cr_expect_eq(kf_dest_commit(blob, &digest, &err), -1, "less");
    cr_expect_eq(err.kind, KF_E_CORRUPT, "%s", err.message);
    blob = begin_known(dest, &digest);
    cr_assert_eq(kf_digest_of(&other, "abd", 3, &err), 0);
    cr_expect_eq(kf_dest_write(blob, "abd", 3, &err), 0);
    cr_expect_eq(kf_dest_commit(blob, &other, &err), -1, "another");
    cr_expect_eq(err.kind, KF_E_CORRUPT, "%s", err.message);
    cr_expect_eq(kf_dest_has(dest, &digest, 3, &err), 0);
    cr_expect_eq(kf_dest_has(dest, &other, 3, &err), 0);
    kf_dest_close(dest);
}
