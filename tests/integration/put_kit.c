/*
 * Puts blobs of given sizes and a manifest that names them at a destination, as pack
 * does, for the tests of destinations:
 *
 *     put_kit [OPTIONS] REF SIZE...
 *       --abandon        begins all blobs, writes them, and gives them up
 *       --wrong-digest   commits blobs under a digest that is not theirs
 *       --known          says digest and size before (and with --wrong-digest those of
 *                        something else)
 *       --no-manifest    blobs alone
 *       --pause MS       after each MiB
 *       --tls-cert FILE  https with this CA; else plain HTTP
 *
 * Blob n is made of a generator seeded with n. Prints the manifest's digest; a failure is
 * one line "[ERROR] KIND: message".
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/mem.h"
#include "oci/dest.h"
#include "oci/media.h"

#define PIECE 100003u /* no boundary of anything */
#define PAUSE_BYTES (1u << 20)
#define LAYER_TYPE "application/vnd.kitops.modelkit.model.v1.tar"

static struct {
    int abandon, wrong_digest, known, no_manifest;
    long pause_ms;
    const char *ca_file;
} options;

static void fill(uint8_t *data, size_t length, uint64_t *state)
{
    for (size_t i = 0; i < length; i++) {
        *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        data[i] = (uint8_t)(*state >> 56);
    }
}

static void rest(uint64_t before, uint64_t now)
{
    struct timespec pause = {.tv_sec = options.pause_ms / 1000,
                             .tv_nsec = options.pause_ms % 1000 * 1000000};

    if (options.pause_ms > 0 && before / PAUSE_BYTES != now / PAUSE_BYTES)
        (void)nanosleep(&pause, NULL); /* shorter is no harm */
}

static int write_blob(struct kf_dest_blob *blob, const uint8_t *whole, uint64_t size,
                      struct kf_err *err)
{
    static uint8_t piece[PIECE];

    for (uint64_t at = 0; at < size;) {
        size_t take = (size_t)kf_min_u64(PIECE, size - at);

        memcpy(piece, whole + at, take); /* that the destination copies, too */
        if (kf_dest_write(blob, piece, take, err) != 0)
            return -1;
        rest(at, at + take);
        at += take;
    }
    return 0;
}

static int begin(struct kf_dest_blob **ret, struct kf_dest *dest,
                 const struct kf_digest *digest, uint64_t size, struct kf_err *err)
{
    if (options.known)
        return kf_dest_begin_known(ret, dest, digest, size, err);
    *ret = kf_dest_begin(dest, err);
    return *ret ? 0 : -1;
}

static int put_blob(struct kf_dest *dest, uint64_t seed, uint64_t size,
                    struct kf_digest *ret, struct kf_err *err)
{
    kf_auto(kf_free) uint8_t *whole = malloc(size + 1); /* test sizes fit */
    struct kf_dest_blob *blob = NULL;
    struct kf_digest said;
    int rc;

    if (!whole)
        return kf_fail(err, KF_E_NOMEM, "no memory");
    fill(whole, size, &seed);
    if (kf_digest_of(ret, whole, size, err) != 0 ||
        kf_digest_of(&said, whole, options.wrong_digest ? size / 2 : size, err) != 0)
        return -1;
    rc = begin(&blob, dest, &said, size, err);
    if (rc != 0)
        return rc > 0 ? 0 : -1;
    if (write_blob(blob, whole, size, err) != 0) {
        kf_dest_abandon(blob);
        return -1;
    }
    if (options.abandon) {
        kf_dest_abandon(blob);
        return 0;
    }
    return kf_dest_commit(blob, options.known ? ret : &said, err);
}

static int put_manifest(struct kf_dest *dest, struct kf_buf *json, struct kf_err *err)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;
    const struct kf_dest_manifest manifest = {.json = json->data,
                                              .length = json->length,
                                              .digest = &digest,
                                              .artifact_type =
                                                  KF_MEDIA_MODELKIT_ARTIFACT};

    if (kf_digest_of(&digest, json->data, json->length, err) != 0 ||
        kf_dest_manifest(dest, &manifest, err) != 0)
        return -1;
    (void)printf("%s\n", kf_digest_format(&digest, text));
    return 0;
}

static int put_all(struct kf_dest *dest, char *const *sizes, int count,
                   struct kf_err *err)
{
    static const char config[] = "{\"manifestVersion\":\"1.0.0\",\"package\":{}}";
    kf_auto(kf_buf_fini) struct kf_buf json;
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest digest;

    kf_buf_init(&json, 1 << 20);
    if (kf_digest_of(&digest, config, strlen(config), err) != 0 ||
        kf_buf_printf(&json, err,
                      "{\"schemaVersion\":2,\"mediaType\":\"" KF_MEDIA_OCI_MANIFEST
                      "\",\"artifactType\":\"" KF_MEDIA_MODELKIT_ARTIFACT
                      "\",\"config\":{\"mediaType\":\"" KF_MEDIA_MODELKIT_CONFIG
                      "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
                      kf_digest_format(&digest, text), strlen(config)) != 0)
        return -1;
    for (int i = 0; i < count; i++) {
        uint64_t size = strtoull(sizes[i], NULL, 10);
        struct kf_digest layer;

        if (put_blob(dest, (uint64_t)i + 1, size, &layer, err) != 0 ||
            kf_buf_printf(&json, err,
                          "%s{\"mediaType\":\"" LAYER_TYPE
                          "\",\"digest\":\"%s\",\"size\":%llu}",
                          i > 0 ? "," : "", kf_digest_format(&layer, text),
                          (unsigned long long)size) != 0)
            return -1;
    }
    if (options.abandon || options.no_manifest)
        return 0;
    if (kf_buf_append_text(&json, "]}", err) != 0 ||
        kf_dest_put(dest, config, strlen(config), &digest, err) != 0)
        return -1;
    return put_manifest(dest, &json, err);
}

static int run(int argc, char **argv, struct kf_err *err)
{
    kf_auto(kf_ref_fini) struct kf_ref ref = {0};
    struct kf_origin_opts opts = {.net.plain_http = !options.ca_file,
                                  .net.ca_file = options.ca_file};
    struct kf_dest *dest;
    int rc;

    if (argc < 1)
        return kf_fail(err, KF_E_ARG, "no reference");
    if (kf_ref_parse(&ref, argv[0], err) != 0 ||
        kf_dest_open(&dest, &ref, &opts, err) != 0)
        return -1;
    rc = put_all(dest, argv + 1, argc - 1, err);
    kf_dest_close(dest);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option rows[] = {
        {"abandon", no_argument, &options.abandon, 1},
        {"wrong-digest", no_argument, &options.wrong_digest, 1},
        {"known", no_argument, &options.known, 1},
        {"no-manifest", no_argument, &options.no_manifest, 1},
        {"pause", required_argument, NULL, 'p'},
        {"tls-cert", required_argument, NULL, 'c'},
        {0},
    };
    struct kf_err err = {0};
    int option;

    while ((option = getopt_long(argc, argv, "", rows, NULL)) != -1) {
        if (option == 'p')
            options.pause_ms = strtol(optarg, NULL, 10);
        else if (option == 'c')
            options.ca_file = optarg;
        else if (option != 0)
            return 2;
    }
    if (run(argc - optind, argv + optind, &err) == 0)
        return 0;
    (void)fprintf(stderr, "[ERROR] %s: %s\n", kf_err_kind_name(err.kind), err.message);
    return 1;
}
