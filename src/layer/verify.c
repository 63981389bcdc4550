#include "layer/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/source.h"
#include "cache/cuts.h"
#include "layer/blob_stream.h"
#include "layer/chunk_map.h"
#include "layer/digesting.h"
#include "layer/frame.h"
#include "layer/layer.h"
#include "layer/layer_state.h"
#include "layer/le.h"
#include "layer/seektab.h"
#include "layer/streamed.h"
#include "layer/tar_check.h"
#include "layer/tar_encode.h"

#define TOC_MAGIC UINT32_C(0x184D2A5A)
#define TAIL_SLACK 4096u /* end mark and frame headers */

struct verifying {
    struct kf_layer *layer;
    const struct kf_verify_opts *opts;
    struct kf_digesting blob, diff; /* diff: none when the blob is the stream */
    struct kf_tar_check *tar;       /* NULL: none, or it has failed */
    bool stream_lost;
    struct kf_streamed
        *streamed; /* of a layer that is streamed; NULL: or it has failed */
    struct kf_digest streamed_diff;
    /* With a TOC: where we are in the blob. */
    struct kf_chunk_map map;
    struct kf_frame_decoder *decoder;
    uint64_t chunk;
    uint8_t *stored; /* of the chunk that comes in */
    size_t have, capacity;
    uint8_t *data; /* of a chunk that was unpacked */
    size_t data_capacity;
    struct kf_buf tail; /* what follows the chunks */
};

static void report(const struct verifying *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void report(const struct verifying *v, const char *format, ...)
{
    char line[KF_ERR_MESSAGE_SIZE];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args); /* cut is fine */
    va_end(args);
    v->opts->problem(v->opts->arg, line);
}

/* ---- the unpacked stream ---- */

/* Data of the stream, in order. */
static void check_archive(struct verifying *v, const uint8_t *data, size_t length)
{
    struct kf_err why;

    if (v->tar && kf_tar_check_push(v->tar, data, length, &why) != 0) {
        report(v, "%s", why.message);
        kf_tar_check_free(kf_steal(v->tar));
    }
}

/* What is unpacked behind a damaged chunk says nothing any more. */
static void lose_stream(struct verifying *v)
{
    v->stream_lost = true;
    kf_tar_check_free(kf_steal(v->tar));
}

/* ---- chunks ---- */

static int grow(uint8_t **data, size_t *capacity, size_t length, struct kf_err *err)
{
    uint8_t *grown;

    if (length <= *capacity)
        return 0;
    grown = realloc(*data, length);
    if (!grown)
        return kf_fail(err, KF_E_NOMEM, "no memory to verify a chunk");
    *data = grown;
    *capacity = length;
    return 0;
}

static size_t length_of(const struct verifying *v, uint64_t chunk)
{
    const uint64_t *offsets = v->map.cuts->offsets;

    return (size_t)(offsets[chunk + 1] - offsets[chunk]);
}

static int check_chunk(struct verifying *v, const uint8_t *stored, struct kf_err *err)
{
    uint64_t chunk = v->chunk;
    size_t length = length_of(v, chunk);
    const uint8_t *data = stored;
    struct kf_digest digest;
    struct kf_err why;

    if (v->decoder) {
        if (grow(&v->data, &v->data_capacity, length, err) != 0)
            return -1;
        if (kf_frame_decode(v->decoder, stored, v->map.stored_length[chunk], v->data,
                            length, &why) != 0) {
            report(v, "chunk %" PRIu64 " at offset %" PRIu64 ": %s", chunk,
                   v->map.stored_offset[chunk], why.message);
            lose_stream(v);
            return 0;
        }
        data = v->data;
    }
    if (v->diff.hasher)
        kf_digesting_start(&v->diff, data, length);
    if (kf_digest_of(&digest, data, length, err) != 0 ||
        (v->diff.hasher && kf_digesting_wait(&v->diff, err) != 0))
        return -1;
    if (!kf_digest_equal(&digest, &v->map.cuts->digests[chunk])) {
        report(v,
               "chunk %" PRIu64 " at offset %" PRIu64 " has other bytes than its digest "
               "says",
               chunk, v->map.stored_offset[chunk]);
        lose_stream(v);
    }
    check_archive(v, data, length);
    return 0;
}

/* Bytes of chunks; returns how many were used. */
static int take_chunks(struct verifying *v, const uint8_t *data, size_t length,
                       size_t *ret_used, struct kf_err *err)
{
    size_t used = 0;

    while (used < length && v->chunk < v->map.cuts->count) {
        size_t whole = v->map.stored_length[v->chunk];
        size_t part = (size_t)kf_min_u64(whole - v->have, length - used);
        const uint8_t *stored = data + used;

        if (part < whole) {
            if (grow(&v->stored, &v->capacity, whole, err) != 0)
                return -1;
            memcpy(v->stored + v->have, data + used, part);
            stored = v->stored;
        }
        v->have += part;
        used += part;
        if (v->have < whole)
            break;
        if (check_chunk(v, stored, err) != 0)
            return -1;
        v->chunk++;
        v->have = 0;
    }
    *ret_used = used;
    return 0;
}

/* What goes wrong is told once; the blob is read on, for its digest. */
static void lose_streamed(struct verifying *v, const struct kf_err *why)
{
    report(v, "%s", why->message);
    kf_streamed_free(kf_steal(v->streamed));
    lose_stream(v);
}

static int take_piece(struct verifying *v, const uint8_t *data, size_t length,
                      struct kf_err *err)
{
    size_t used = 0;
    struct kf_err why;

    if (v->streamed && kf_streamed_push(v->streamed, data, length, &why) != 0)
        lose_streamed(v, &why);
    if (!v->layer->has_toc)
        return 0; /* the blob's digest is all there is */
    if (take_chunks(v, data, length, &used, err) != 0)
        return -1;
    if (used < length && kf_buf_append(&v->tail, data + used, length - used, NULL) != 0)
        return kf_fail(err, KF_E_CORRUPT, "too much follows the chunks");
    return 0;
}

static int take_blob(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct verifying *v = arg;
    int rc;

    kf_digesting_start(&v->blob, data, length);
    rc = take_piece(v, data, length, err);
    if (kf_digesting_wait(&v->blob, rc == 0 ? err : NULL) != 0)
        rc = -1;
    if (rc == 0 && v->opts->progress)
        v->opts->progress(v->opts->arg, length);
    return rc;
}

/* ---- what follows the chunks ---- */

static const uint8_t zeros[KF_TAR_END_SIZE];

static int check_end_mark(struct verifying *v, const uint8_t *data, size_t length,
                          struct kf_err *err)
{
    if (length != sizeof(zeros) || memcmp(data, zeros, sizeof(zeros)) != 0) {
        report(v, "the end of the archive is not 1024 zero bytes");
        lose_stream(v);
        return 0;
    }
    if (v->diff.hasher)
        kf_digesting_start(&v->diff, zeros, sizeof(zeros));
    check_archive(v, zeros, sizeof(zeros));
    return 0;
}

static bool check_seek_entries(const struct verifying *v,
                               const struct kf_seek_entry *entries, uint32_t count,
                               uint64_t area, size_t end_mark)
{
    uint64_t chunks = v->map.cuts->count;

    if (count != chunks + 2)
        return false;
    for (uint64_t i = 0; i < chunks; i++)
        if (entries[i].stored_length != v->map.stored_length[i] ||
            entries[i].length != length_of(v, i))
            return false;
    return entries[chunks].stored_length == area + 8 && entries[chunks].length == 0 &&
           entries[chunks + 1].stored_length == end_mark &&
           entries[chunks + 1].length == KF_TAR_END_SIZE;
}

static void check_seek_table(struct verifying *v, const uint8_t *data, size_t length,
                             size_t end_mark)
{
    kf_auto(kf_free) struct kf_seek_entry *entries = NULL;
    struct kf_err why;
    uint32_t count;

    if (length == 0)
        return; /* packed without one */
    if (kf_seektab_decode(data, length, kf_source_size(v->layer->blob), &entries, &count,
                          &why) != 0)
        report(v, "seek table: %s", why.message);
    else if (!check_seek_entries(v, entries, count, v->layer->toc_area, end_mark))
        report(v, "the seek table and the table of contents say different things");
}

/* The TOC, which was checked when the layer was opened; the end mark; the seek table. */
static int check_packed_tail(struct verifying *v, struct kf_err *err)
{
    const uint8_t *at = v->tail.data;
    size_t left = v->tail.length, frame;
    uint8_t mark[KF_TAR_END_SIZE];
    struct kf_err why;

    if (left < 8 + v->layer->toc_area || kf_le32(at) != TOC_MAGIC ||
        kf_le32(at + 4) != v->layer->toc_area) {
        report(v, "no frame with the table of contents follows the chunks");
        lose_stream(v);
        return 0;
    }
    at += 8 + v->layer->toc_area;
    left -= 8 + v->layer->toc_area;
    frame = kf_frame_length(at, left);
    if (frame == 0 ||
        kf_frame_decode(v->decoder, at, frame, mark, sizeof(mark), &why) != 0) {
        report(v, "no frame with the end of the archive follows the table of contents");
        lose_stream(v);
        return 0;
    }
    if (check_end_mark(v, mark, sizeof(mark), err) != 0)
        return -1;
    check_seek_table(v, at + frame, left - frame, frame);
    return 0;
}

static int check_tail(struct verifying *v, struct kf_err *err)
{
    if (v->chunk < v->map.cuts->count)
        return kf_fail(err, KF_E_CORRUPT, "the blob ends in chunk %" PRIu64, v->chunk);
    if (v->layer->toc.toc.carrier == KF_CARRIER_TAR_ZSTD)
        return check_packed_tail(v, err);
    if (v->layer->toc.toc.carrier == KF_CARRIER_TAR)
        return check_end_mark(v, v->tail.data, v->tail.length, err);
    if (v->tail.length > 0)
        report(v, "%zu bytes follow the file", v->tail.length);
    return 0;
}

/* ---- all of it ---- */

static bool is_archive(const struct kf_layer *layer)
{
    return layer->has_toc ? layer->toc.toc.carrier != KF_CARRIER_RAW : layer->is_tar;
}

static int prepare_toc(struct verifying *v, struct kf_err *err)
{
    const struct kf_layer *layer = v->layer;
    uint64_t chunks = layer->toc.toc.chunk_count;

    kf_buf_init(&v->tail, (size_t)(layer->toc_area + 8 * (chunks + 2) + TAIL_SLACK));
    if (kf_layer_chunks(v->layer, &v->map, err) != 0)
        return -1;
    if (layer->toc.toc.carrier != KF_CARRIER_TAR_ZSTD)
        return 0;
    v->decoder = kf_frame_decoder_new(err);
    return v->decoder ? kf_digesting_init(&v->diff, err) : -1;
}

static int prepare_streamed(struct verifying *v, struct kf_err *err)
{
    const struct kf_streamed_opts opts = {
        .packing = v->layer->packing, .is_tar = v->layer->is_tar, .digest = true};

    v->streamed = kf_streamed_new(&opts, err);
    return v->streamed ? 0 : -1;
}

static int prepare(struct verifying *v, struct kf_err *err)
{
    struct kf_layer *layer = v->layer;
    uint64_t stream_size = layer->table.stream_size;

    if (kf_digesting_init(&v->blob, err) != 0 ||
        (layer->has_toc && prepare_toc(v, err) != 0) ||
        (layer->is_streamed && prepare_streamed(v, err) != 0))
        return -1;
    if (!is_archive(layer))
        return 0;
    if (layer->has_toc)
        stream_size += KF_TAR_END_SIZE; /* chunks do not cover it */
    else
        return 0; /* its table came from its own headers */
    v->tar = kf_tar_check_new(&layer->table, stream_size, err);
    return v->tar ? 0 : -1;
}

static bool is_of_text(const struct kf_digest *digest, const struct kf_digest *of)
{
    char text[KF_DIGEST_TEXT_SIZE];
    struct kf_digest found;

    (void)kf_digest_format(of, text);
    return kf_digest_of(&found, text, strlen(text), NULL) == 0 &&
           kf_digest_equal(&found, digest);
}

static int compare_digests(struct verifying *v, struct kf_err *err)
{
    struct kf_digest blob, diff;
    char text[KF_DIGEST_TEXT_SIZE];

    if (kf_digesting_finish(&v->blob, &blob, err) != 0)
        return -1;
    if (!kf_digest_equal(&blob, &v->layer->digest))
        report(v, "the blob's digest is %s", kf_digest_format(&blob, text));
    diff = v->layer->is_streamed ? v->streamed_diff : blob;
    if (v->diff.hasher && kf_digesting_finish(&v->diff, &diff, err) != 0)
        return -1;
    if (v->opts->diff_id && !v->stream_lost && !kf_digest_equal(&diff, v->opts->diff_id))
        report(v,
               "the digest of its unpacked content is %s, and the Kitfile says another",
               kf_digest_format(&diff, text));
    if (v->opts->config_diff_id && !v->stream_lost &&
        !kf_digest_equal(&diff, v->opts->config_diff_id) &&
        !is_of_text(v->opts->config_diff_id, &diff) &&
        !is_of_text(v->opts->config_diff_id, &v->layer->digest))
        report(v, "the digest of its unpacked content is %s, and the config says another",
               kf_digest_format(&diff, text));
    return 0;
}

static int take_stream(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct verifying *v = arg;

    kf_digesting_start(&v->diff, data, length);
    return kf_digesting_wait(&v->diff, err);
}

/* Of a layer that is read by its frames: each is decoded, and its checksums looked at. */
static int hash_stream(struct verifying *v, struct kf_err *err)
{
    struct kf_err why;

    if (kf_digesting_init(&v->diff, err) != 0)
        return -1;
    if (kf_blob_stream(&(struct kf_blob_stream){.source = v->layer->source,
                                                .timeout_ns = v->opts->timeout_ns,
                                                .take = take_stream,
                                                .arg = v},
                       &why) == 0)
        return 0;
    report(v, "%s", why.message);
    lose_stream(v);
    return 0;
}

static int run(struct verifying *v, struct kf_err *err)
{
    struct kf_err why;

    if (prepare(v, err) != 0 ||
        kf_blob_stream(&(struct kf_blob_stream){.source = v->layer->blob,
                                                .timeout_ns = v->opts->timeout_ns,
                                                .take = take_blob,
                                                .arg = v},
                       err) != 0)
        return -1;
    if (kf_layer_access(v->layer) == KF_ACCESS_FRAMES && hash_stream(v, err) != 0)
        return -1;
    if (v->layer->has_toc && check_tail(v, err) != 0)
        return -1;
    if (v->streamed && kf_streamed_end(v->streamed, &v->streamed_diff, &why) != 0)
        lose_streamed(v, &why);
    if (v->tar && kf_tar_check_end(v->tar, &why) != 0)
        report(v, "%s", why.message);
    return compare_digests(v, err);
}

int kf_layer_verify(struct kf_layer *layer, const struct kf_verify_opts *opts,
                    struct kf_err *err)
{
    struct verifying v = {.layer = layer, .opts = opts};
    int rc = run(&v, err);

    kf_digesting_fini(&v.blob);
    kf_digesting_fini(&v.diff);
    kf_streamed_free(v.streamed);
    kf_tar_check_free(v.tar);
    kf_chunk_map_fini(&v.map);
    kf_frame_decoder_free(v.decoder);
    kf_buf_fini(&v.tail);
    free(v.stored);
    free(v.data);
    return rc;
}

/* ---- a blob alone ---- */

struct hashing {
    const struct kf_verify_opts *opts;
    struct kf_hasher *hasher;
};

static int hash_blob(void *arg, const uint8_t *data, size_t length, struct kf_err *err)
{
    struct hashing *hashing = arg;

    if (hashing->opts->progress)
        hashing->opts->progress(hashing->opts->arg, length);
    return kf_hasher_update(hashing->hasher, data, length, err);
}

int kf_blob_verify(struct kf_source *source, const struct kf_digest *digest,
                   const struct kf_verify_opts *opts, struct kf_err *err)
{
    struct hashing hashing = {opts, kf_hasher_new(err)};
    struct kf_digest found;
    char line[160], text[KF_DIGEST_TEXT_SIZE];
    const struct kf_blob_stream stream = {.source = source,
                                          .timeout_ns = opts->timeout_ns,
                                          .take = hash_blob,
                                          .arg = &hashing};
    int rc = hashing.hasher ? kf_blob_stream(&stream, err) : -1;

    if (rc == 0)
        rc = kf_hasher_finish(hashing.hasher, &found, err);
    kf_hasher_free(hashing.hasher);
    if (rc != 0 || kf_digest_equal(&found, digest))
        return rc;
    (void)snprintf(line, sizeof(line), "the blob's digest is %s",
                   kf_digest_format(&found, text)); /* fits */
    opts->problem(opts->arg, line);
    return 0;
}
