#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/sink.h"
#include "base/stats.h"
#include "oci/origin.h"

#define BLOB_SIZE ((size_t)1 << 20)
#define WAIT_S 30

static char dir[64];
static int dir_fd;
static struct kf_workq *workq;
static struct kf_stats stats;
static struct kf_err err;
static uint8_t content[BLOB_SIZE];
static struct kf_desc blob;

static void put(const char *path, const void *data, size_t length)
{
    cr_assert_eq(kf_save_file(dir_fd, path, data, length, 0600, &err), 0, "%s",
                 err.message);
}

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

static struct kf_digest put_blob(const void *data, size_t length)
{
    struct kf_digest digest;
    char hex[65], path[96];

    cr_assert_eq(kf_digest_of(&digest, data, length, &err), 0);
    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", kf_digest_hex(&digest, hex));
    put(path, data, length);
    return digest;
}

/* Two manifests and their tags; `tags` NULL leaves one out. */
static void put_index(const char *tag_a, const char *tag_b)
{
    static const char *const manifests[] = {"{\"a\":1}", "{\"b\":2}"};
    const char *tags[] = {tag_a, tag_b};
    struct kf_buf json;

    kf_buf_init(&json, 4096);
    cr_assert_eq(kf_buf_append_text(&json, "{\"schemaVersion\":2,\"manifests\":[", &err),
                 0);
    for (size_t i = 0; i < 2; i++) {
        struct kf_digest digest = put_blob(manifests[i], 7);
        char text[KF_DIGEST_TEXT_SIZE];

        cr_assert_eq(kf_buf_printf(&json, &err, "%s{\"digest\":\"%s\",\"size\":7",
                                   i ? "," : "", kf_digest_format(&digest, text)),
                     0);
        if (tags[i])
            cr_assert_eq(kf_buf_printf(&json, &err,
                                       ",\"annotations\":{\"org.opencontainers.image."
                                       "ref.name\":\"%s\"}",
                                       tags[i]),
                         0);
        cr_assert_eq(kf_buf_append_text(&json, "}", &err), 0);
    }
    cr_assert_eq(kf_buf_append_text(&json, "]}", &err), 0);
    put("index.json", json.data, json.length);
    kf_buf_fini(&json);
}

static void init(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/kf-layout-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(kf_make_dirs(dir_fd, "blobs/sha256", 0700, &err), 0);
    put_text("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    put_index("v1", "v2");
    for (size_t i = 0; i < BLOB_SIZE; i++)
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    blob.digest = put_blob(content, BLOB_SIZE);
    blob.size = BLOB_SIZE;
    workq = kf_workq_new(2, &err);
    cr_assert_not_null(workq);
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *ftw)
{
    return remove(path);
}

static void fini(void)
{
    kf_workq_free(workq);
    (void)close(dir_fd);
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* leave the rest */
}

TestSuite(layout, .init = init, .fini = fini, .timeout = 60);

static int open_at(struct kf_origin **ret, char *path)
{
    struct kf_ref ref = {.where = KF_REF_LAYOUT, .dir = path};
    struct kf_origin_opts opts = {
        .workq = workq, .stats = &stats, .timeout_ns = WAIT_S * KF_NS_PER_S};

    kf_err_clear(&err);
    return kf_origin_open(ret, &ref, &opts, &err);
}

static struct kf_origin *open_layout(void)
{
    struct kf_origin *origin = NULL;

    cr_assert_eq(open_at(&origin, dir), 0, "%s", err.message);
    return origin;
}

/* The manifest's text, or NULL with `err` set. */
static char *manifest_of(const char *wanted)
{
    struct kf_origin *origin = open_layout();
    struct kf_digest digest;
    struct kf_buf bytes;
    char *text = NULL;

    kf_buf_init(&bytes, 4096);
    if (kf_origin_manifest(origin, wanted, NULL, &bytes, &digest, &err) == 0)
        text = (char *)kf_buf_take(&bytes, NULL);
    kf_buf_fini(&bytes);
    kf_origin_close(origin);
    return text;
}

static void expect_manifest(const char *wanted, const char *expected)
{
    kf_auto(kf_free) char *text = manifest_of(wanted);

    cr_assert_not_null(text, "%s", err.message);
    cr_assert_str_eq(text, expected);
}

static void expect_failure(const char *wanted, enum kf_err_kind kind, const char *part)
{
    cr_assert_null(manifest_of(wanted));
    cr_assert_eq(err.kind, kind, "%s", err.message);
    cr_assert(strstr(err.message, part), "%s", err.message);
}

Test(layout, manifests_by_tag_and_by_digest)
{
    struct kf_digest digest;
    char text[KF_DIGEST_TEXT_SIZE];

    expect_manifest("v1", "{\"a\":1}");
    expect_manifest("v2", "{\"b\":2}");
    /* By digest, what the index does not name, too. */
    digest = put_blob("{\"c\":3}", 7);
    expect_manifest(kf_digest_format(&digest, text), "{\"c\":3}");
}

Test(layout, unknown_tags_and_digests)
{
    expect_failure("v3", KF_E_NOTFOUND, "no such tag 'v3'");
    expect_failure("v3", KF_E_NOTFOUND, "v1, v2");
    expect_failure("", KF_E_ARG, "v1, v2");
    expect_failure("sha256:00000000000000000000000000000000000000000000000000000000000000"
                   "00",
                   KF_E_NOTFOUND, "blobs/sha256/00");
    expect_failure("sha256:../../../etc/passwd", KF_E_MALFORMED, "digest");
}

Test(layout, the_only_manifest_needs_no_tag)
{
    struct kf_digest digest = put_blob("{}", 2);
    char json[256], text[KF_DIGEST_TEXT_SIZE];

    (void)snprintf(json, sizeof(json),
                   "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"%s\",\"size\":2}]}",
                   kf_digest_format(&digest, text));
    put_text("index.json", json);
    expect_manifest("", "{}");
    expect_failure("v1", KF_E_NOTFOUND, "name a @digest");
}

/* kit's own store: several manifests, none with a tag. */
Test(layout, without_tags)
{
    struct kf_digest digest = put_blob("{\"b\":2}", 7);
    char text[KF_DIGEST_TEXT_SIZE];

    put_index(NULL, NULL);
    expect_failure("v1", KF_E_NOTFOUND, "name a @digest");
    expect_failure("", KF_E_NOTFOUND, "name a @digest");
    expect_manifest(kf_digest_format(&digest, text), "{\"b\":2}");
    put_text("index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
    expect_failure("", KF_E_NOTFOUND, "empty");
}

Test(layout, many_tags_do_not_overrun_the_message)
{
    char tag_a[300], tag_b[300];

    memset(tag_a, 'a', sizeof(tag_a) - 1);
    memset(tag_b, 'b', sizeof(tag_b) - 1);
    tag_a[299] = tag_b[299] = '\0';
    put_index(tag_a, tag_b);
    expect_failure("v1", KF_E_NOTFOUND, "no such tag 'v1'");
}

Test(layout, a_known_digest_is_not_read_again)
{
    struct kf_origin *origin = open_layout();
    struct kf_digest digest, known;
    struct kf_buf bytes;

    kf_buf_init(&bytes, 4096);
    cr_assert_eq(kf_digest_of(&known, "{\"a\":1}", 7, &err), 0);
    cr_assert_eq(kf_origin_manifest(origin, "v1", &known, &bytes, &digest, &err), 1);
    cr_assert(kf_digest_equal(&known, &digest));
    cr_assert_eq(bytes.length, 0);
    cr_assert_eq(kf_origin_manifest(origin, "v2", &known, &bytes, &digest, &err), 0);
    cr_assert_not(kf_digest_equal(&known, &digest));
    cr_assert_eq(bytes.length, 7);
    kf_buf_fini(&bytes);
    kf_origin_close(origin);
}

Test(layout, a_manifest_with_other_content_is_corrupt)
{
    struct kf_digest digest;
    char hex[65], path[96];

    cr_assert_eq(kf_digest_of(&digest, "{\"a\":1}", 7, &err), 0);
    (void)snprintf(path, sizeof(path), "blobs/sha256/%s", kf_digest_hex(&digest, hex));
    put_text(path, "{\"a\":2}");
    expect_failure("v1", KF_E_CORRUPT, "another digest");
    put_text(path, "");
    expect_failure("v1", KF_E_CORRUPT, "another digest");
}

Test(layout, tags_are_sorted)
{
    struct kf_origin *origin;
    struct kf_strings tags = {0};

    put_index("b", "a");
    origin = open_layout();
    cr_assert_eq(kf_origin_tags(origin, &tags, &err), 0);
    cr_assert_eq(tags.count, 2);
    cr_assert_str_eq(tags.items[0], "a");
    cr_assert_str_eq(tags.items[1], "b");
    kf_strings_fini(&tags);
    kf_origin_close(origin);
}

static void expect_no_layout(const char *part)
{
    struct kf_origin *origin = NULL;

    cr_assert_eq(open_at(&origin, dir), -1);
    cr_assert_null(origin);
    cr_assert(strstr(err.message, part), "%s", err.message);
    cr_assert(strstr(err.message, dir), "%s", err.message);
}

Test(layout, folders_that_are_no_layout)
{
    struct kf_origin *origin = NULL;
    char none[] = "/nonexistent/layout";

    put_text("index.json", "[]");
    expect_no_layout("not an object");
    cr_assert_eq(unlinkat(dir_fd, "index.json", 0), 0);
    expect_no_layout("index.json");
    put_text("oci-layout", "hello");
    expect_no_layout("oci-layout");
    put_text("oci-layout", "");
    expect_no_layout("oci-layout");
    cr_assert_eq(unlinkat(dir_fd, "oci-layout", 0), 0);
    expect_no_layout("oci-layout");
    cr_assert_eq(open_at(&origin, none), -1);
    cr_assert_eq(err.kind, KF_E_NOTFOUND, "%s", err.message);
}

Test(layout, limit_of_the_index)
{
    const char text[] = "{\"schemaVersion\":2,\"manifests\":[]}";
    char *json = malloc(KF_MANIFEST_LIMIT + 1);

    cr_assert_not_null(json);
    memset(json, ' ', KF_MANIFEST_LIMIT + 1);
    memcpy(json, text, sizeof(text) - 1);
    put("index.json", json, KF_MANIFEST_LIMIT);
    kf_origin_close(open_layout());
    put("index.json", json, KF_MANIFEST_LIMIT + 1);
    expect_no_layout("index.json");
    cr_assert_eq(err.kind, KF_E_LIMIT);
    free(json);
}

/* --- blobs --- */

Test(layout, ranges_of_a_blob)
{
    static const struct {
        uint64_t offset, length;
    } cases[] = {
        {0, 1}, {0, BLOB_SIZE}, {12345, 300000}, {BLOB_SIZE - 1, 1}, {262144, 262144}};
    struct kf_origin *origin = open_layout();
    struct kf_source *source = kf_origin_blob(origin, &blob, &err);
    uint8_t *data = malloc(BLOB_SIZE);
    uint64_t sum = 0;

    cr_assert(source && data, "%s", err.message);
    cr_assert_eq(kf_source_size(source), BLOB_SIZE);
    kf_origin_close(origin); /* sources may outlive it */
    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(kf_source_read(source, data, cases[i].offset, cases[i].length,
                                    kf_deadline_ns(WAIT_S * KF_NS_PER_S), &err),
                     0, "%s", err.message);
        cr_assert_eq(memcmp(data, content + cases[i].offset, cases[i].length), 0);
        sum += cases[i].length;
    }
    cr_assert_eq(kf_stats_get(&stats, KF_STAT_FETCHED_BYTES), sum);
    cr_assert_eq(kf_stats_get(&stats, KF_STAT_FETCH_REQUESTS), KF_ARRAY_LEN(cases));
    kf_source_close(source);
    free(data);
}

Test(layout, ranges_outside_of_a_blob)
{
    static const struct {
        uint64_t offset, length;
    } cases[] = {{BLOB_SIZE, 1}, {BLOB_SIZE - 1, 2}, {UINT64_MAX, 1}, {1, UINT64_MAX}};
    struct kf_origin *origin = open_layout();
    struct kf_source *source = kf_origin_blob(origin, &blob, &err);
    uint8_t data[2];

    cr_assert_not_null(source);
    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        cr_assert_eq(kf_source_read(source, data, cases[i].offset, cases[i].length,
                                    kf_deadline_ns(WAIT_S * KF_NS_PER_S), &err),
                     -1);
        cr_assert_eq(err.kind, KF_E_ARG);
    }
    cr_assert_eq(kf_stats_get(&stats, KF_STAT_FETCH_REQUESTS), 0);
    kf_source_close(source);
    kf_origin_close(origin);
}

static void blob_path(char path[96])
{
    char hex[65];

    (void)snprintf(path, 96, "blobs/sha256/%s", kf_digest_hex(&blob.digest, hex));
}

static void expect_no_blob(enum kf_err_kind kind)
{
    struct kf_origin *origin = open_layout();

    cr_assert_null(kf_origin_blob(origin, &blob, &err));
    cr_assert_eq(err.kind, kind, "%s", err.message);
    kf_origin_close(origin);
}

Test(layout, a_blob_of_another_size_or_kind)
{
    char path[96];

    blob_path(path);
    blob.size = BLOB_SIZE - 1;
    expect_no_blob(KF_E_CORRUPT);
    blob.size = BLOB_SIZE + 1;
    expect_no_blob(KF_E_CORRUPT);
    blob.size = BLOB_SIZE;
    cr_assert_eq(unlinkat(dir_fd, path, 0), 0);
    expect_no_blob(KF_E_NOTFOUND);
    cr_assert_eq(mkfifoat(dir_fd, path, 0600), 0);
    expect_no_blob(KF_E_CORRUPT); /* and does not wait for a writer */
    cr_assert_eq(unlinkat(dir_fd, path, 0), 0);
    cr_assert_eq(mkdirat(dir_fd, path, 0700), 0);
    expect_no_blob(KF_E_CORRUPT);
}

Test(layout, a_symlinked_blob_is_fine)
{
    struct kf_origin *origin = open_layout();
    struct kf_source *source;
    char path[96];
    uint8_t byte;

    blob_path(path);
    cr_assert_eq(renameat(dir_fd, path, dir_fd, "elsewhere"), 0);
    cr_assert_eq(symlinkat("../../elsewhere", dir_fd, path), 0);
    source = kf_origin_blob(origin, &blob, &err);
    cr_assert_not_null(source, "%s", err.message);
    cr_assert_eq(
        kf_source_read(source, &byte, 77, 1, kf_deadline_ns(WAIT_S * KF_NS_PER_S), &err),
        0);
    cr_assert_eq(byte, content[77]);
    kf_source_close(source);
    kf_origin_close(origin);
}

Test(layout, a_blob_cut_while_it_is_open)
{
    struct kf_origin *origin = open_layout();
    struct kf_source *source = kf_origin_blob(origin, &blob, &err);
    char path[96], full[192];
    uint8_t data[10];

    cr_assert_not_null(source);
    blob_path(path);
    (void)snprintf(full, sizeof(full), "%s/%s", dir, path);
    cr_assert_eq(truncate(full, 100), 0);
    cr_assert_eq(
        kf_source_read(source, data, 95, 10, kf_deadline_ns(WAIT_S * KF_NS_PER_S), &err),
        -1);
    cr_assert_eq(err.kind, KF_E_CORRUPT);
    kf_source_close(source);
    kf_origin_close(origin);
}

Test(layout, whole_small_blobs)
{
    struct kf_origin *origin = open_layout();
    struct kf_desc desc = {.digest = put_blob("config", 6), .size = 6};
    struct kf_buf bytes;
    char hex[65], path[96];

    kf_buf_init(&bytes, 6);
    cr_assert_eq(kf_origin_blob_bytes(origin, &desc, WAIT_S * KF_NS_PER_S, &bytes, &err),
                 0, "%s", err.message);
    cr_assert_str_eq((char *)bytes.data, "config");
    kf_buf_fini(&bytes);
    kf_buf_init(&bytes, 5);
    cr_assert_eq(kf_origin_blob_bytes(origin, &desc, WAIT_S * KF_NS_PER_S, &bytes, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_LIMIT);
    kf_buf_fini(&bytes);
    (void)snprintf(path, sizeof(path), "blobs/sha256/%s",
                   kf_digest_hex(&desc.digest, hex));
    put_text(path, "cOnfig");
    kf_buf_init(&bytes, 100);
    cr_assert_eq(kf_origin_blob_bytes(origin, &desc, WAIT_S * KF_NS_PER_S, &bytes, &err),
                 -1);
    cr_assert_eq(err.kind, KF_E_CORRUPT);
    cr_assert_eq(bytes.length, 0);
    /* Nothing is nothing, without a file. */
    desc = (struct kf_desc){0};
    cr_assert_eq(kf_digest_of(&desc.digest, "", 0, &err), 0);
    cr_assert_eq(kf_origin_blob_bytes(origin, &desc, WAIT_S * KF_NS_PER_S, &bytes, &err),
                 0, "%s", err.message);
    cr_assert_eq(bytes.length, 0);
    kf_buf_fini(&bytes);
    kf_origin_close(origin);
}

/* --- requests --- */

enum after_piece { GO_ON, CANCEL, STOP, FAIL, TIME_OUT };

/* A sink that acts after its first piece. */
struct request {
    struct kf_source_req req;
    struct kf_sink sink;
    size_t pieces, largest;
    enum after_piece then;
    sem_t ended;
    enum kf_err_kind kind;
};

static int take_piece(struct kf_sink *sink, const uint8_t *data, size_t length,
                      struct kf_err *sink_err)
{
    struct request *r = kf_container_of(sink, struct request, sink);

    r->pieces++;
    r->largest = length > r->largest ? length : r->largest;
    if (r->then == CANCEL)
        kf_source_cancel(r->req.source, &r->req);
    if (r->then == TIME_OUT)
        kf_clock_fake(r->req.deadline_ns + 1);
    if (r->then == FAIL)
        return kf_fail(sink_err, KF_E_IO, "no room");
    return r->then == STOP ? -1 : 0;
}

static void request_done(struct kf_source_req *req, const struct kf_err *result)
{
    struct request *r = kf_container_of(req, struct request, req);

    r->kind = result ? result->kind : KF_E_NONE;
    (void)sem_post(&r->ended);
}

static struct request run_request(enum after_piece then)
{
    struct kf_origin *origin = open_layout();
    struct kf_source *source = kf_origin_blob(origin, &blob, &err);
    struct request r = {.then = then, .sink.write = take_piece};

    cr_assert_not_null(source);
    (void)sem_init(&r.ended, 0, 0);
    r.req = (struct kf_source_req){.length = BLOB_SIZE,
                                   .sink = &r.sink,
                                   .deadline_ns = kf_deadline_ns(WAIT_S * KF_NS_PER_S),
                                   .done = request_done};
    kf_source_submit(source, &r.req);
    kf_source_close(source); /* the request holds it */
    while (sem_wait(&r.ended) != 0)
        ;
    kf_origin_close(origin);
    return r;
}

Test(layout, bytes_come_in_pieces)
{
    struct request r = run_request(GO_ON);

    cr_assert_eq(r.kind, KF_E_NONE);
    cr_assert_eq(r.pieces, 4);
    cr_assert_eq(r.largest, 256u << 10);
}

Test(layout, a_request_ends_between_two_pieces)
{
    static const struct {
        enum after_piece then;
        enum kf_err_kind kind;
    } cases[] = {{CANCEL, KF_E_CANCELLED},
                 {STOP, KF_E_CANCELLED},
                 {FAIL, KF_E_IO},
                 {TIME_OUT, KF_E_TIMEOUT}};

    for (size_t i = 0; i < KF_ARRAY_LEN(cases); i++) {
        struct request r = run_request(cases[i].then);

        cr_assert_eq(r.kind, cases[i].kind, "case %zu: %s", i, kf_err_kind_name(r.kind));
        cr_assert_eq(r.pieces, 1);
        kf_clock_fake(-1);
    }
}
